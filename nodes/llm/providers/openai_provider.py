"""OpenAI's models, and servers that speak its protocol."""

import asyncio
import functools
import ssl
from collections.abc import Mapping
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.prices import listed_models
from nodes.llm.prompt import Prompt
from nodes.llm.providers.base import LibraryProvider
from nodes.llm.providers.offer import served_models
from nodes.llm.wire import regularize
from nodes.state import Agent

DEEPSEEK_URL = "https://api.deepseek.com"
CONNECT_SECONDS = 10.0
PROBE_SECONDS = 3.0
PROBES = 3  # a full backlog, or a busy event loop, makes a server that listens look silent
UNREACHABLE = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return the context of all clients, because the certificates take 25 ms to load."""
    return httpx.create_ssl_context()


class OpenAIProvider(LibraryProvider):
    """OpenAI, and servers that speak its protocol: DeepSeek, Ollama, vLLM and others."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._client: httpx.AsyncClient | None = None
        self._key_variable = {"openai": "OPENAI_API_KEY", "deepseek": "DEEPSEEK_API_KEY"}.get(settings.mode)
        self._url = {"deepseek": DEEPSEEK_URL, "local": settings.local_url}.get(settings.mode)

    def _http(self) -> httpx.AsyncClient:
        """Return the shared client. It opens any number of connections and follows no redirect."""
        if self._client is None:
            timeout = httpx.Timeout(self._settings.timeout, connect=CONNECT_SECONDS)
            limits = httpx.Limits(max_keepalive_connections=20)
            self._client = httpx.AsyncClient(
                timeout=timeout,
                limits=limits,
                headers={"Accept-Encoding": "identity"},  # the hook reads the body as it comes
                verify=_certificates(),
                event_hooks={"response": [regularize]},  # a transport would shut out the user's HTTPS_PROXY
            )
        return self._client

    def _build(self, name: str) -> BaseChatModel:
        from langchain_openai import ChatOpenAI

        secret = self._settings.keys.get(self._key_variable or "LOCAL_LLM_API_KEY", "none")
        return ChatOpenAI(
            model=name,
            base_url=self._url,
            api_key=SecretStr(secret),
            http_async_client=self._http(),
            http_socket_options=(),  # they would make a warning of the user's HTTPS_PROXY, which works
            timeout=self._http().timeout,
            stream_chunk_timeout=None,  # it is a wait_for, which on Python 3.11 may swallow a cancellation
            max_retries=0,
            streaming=True,
            stream_usage=True,
            use_responses_api=False,
            cache=False,
        )

    async def calls_tools(self, name: str, agent: str) -> bool:
        # The names of local models are anything, so the map may mean another one.
        return self._settings.mode == "local" or await super().calls_tools(name, agent)

    def arguments(self, prompt: Prompt, tokens: int) -> dict[str, Any]:
        limit: dict[str, Any] = {"max_tokens": tokens}
        if self._settings.mode == "openai":
            return limit
        # ChatOpenAI renames max_tokens for OpenAI's newer models, but other servers know only the old name.
        # It also leaves out reasoning, without which DeepSeek and Kimi refuse the calls that it led to. They
        # want the field in every message of theirs. Only servers that sent it get it back.
        if any("reasoning_content" in message for message in prompt.wire):
            blank = {"reasoning_content": ""}
            limit["messages"] = [
                {**blank, **message} if message["role"] == "assistant" else message for message in prompt.wire
            ]
        return {"extra_body": limit}

    def preload(self) -> None:
        """Import the client library ahead of the first call. Blocks for seconds."""
        import openai.resources.chat  # noqa: F401  # the import is the purpose
        from langchain_openai import ChatOpenAI  # noqa: F401  # the import is the purpose

    async def check(self, models: Mapping[Agent, str]) -> None:
        if self._key_variable and not self._settings.keys.get(self._key_variable):
            raise ModelError(
                f"LLM_MODE={self._settings.mode} needs a key: set {self._key_variable}, or use LLM_MODE=local"
            )

    async def probe(self, models: Mapping[Agent, str]) -> None:
        await self.check(models)
        if self._settings.mode == "local":
            await self._probe_server(self._settings.local_url)

    async def offered(self) -> list[str]:
        if self._settings.mode == "local":
            return await served_models(self._settings.local_url)
        has_key = self._key_variable in self._settings.keys
        return await asyncio.to_thread(listed_models, [self._settings.mode]) if has_key else []

    async def _probe_server(self, url: str) -> None:
        """Raise ModelError if no server listens at `url`. A slow answer, or an error, is a server as well."""
        try:
            await self._ask_for_models(url)
        except UNREACHABLE as error:
            raise ModelError(
                f"no model server answers at {url} ({type(error).__name__}: {error}); start one, such as "
                "`ollama serve`, or set LOCAL_LLM_URL, or choose another LLM_MODE"
            ) from error
        except (httpx.HTTPError, TimeoutError):
            pass  # it took the connection: a server with one slot may be busy with another reply

    async def _ask_for_models(self, url: str) -> None:
        for attempt in range(PROBES):
            try:
                # The head of an answer is enough. Its body may have no end.
                async with (
                    asyncio.timeout(PROBES * PROBE_SECONDS),
                    self._http().stream("GET", f"{url.rstrip('/')}/models", timeout=PROBE_SECONDS),
                ):
                    return
            except httpx.ConnectTimeout:
                if attempt == PROBES - 1:
                    raise

    async def aclose(self) -> None:
        if self._client:
            await self._client.aclose()
