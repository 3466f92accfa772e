"""Chat models, one provider for each LLM_MODE. Client libraries are imported on first use."""

import asyncio
import functools
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from pydantic import SecretStr

from memory.calls.completions import CallKey
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.prices import ModelLimits, Price, limits_of, supports_tools
from nodes.llm.prompt import Prompt, without_field
from nodes.llm.wire import regularize
from nodes.state import Agent

DEEPSEEK_URL = "https://api.deepseek.com"
REASONING_PROVIDERS = ("deepseek", "moonshot", "zai")
"""LiteLLM's providers that demand their `reasoning_content` back. Others, such as Groq, refuse the field."""

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


@dataclass(frozen=True)
class PricedModel:
    """A chat model, its price, None if unknown, and its limits. `warning` is text for the user."""

    chat: BaseChatModel
    name: str
    price: Price | None
    limits: ModelLimits
    warning: str = ""


class Provider(ABC):
    """The chat models of one mode."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings

    @abstractmethod
    async def model(self, name: str, key: CallKey) -> PricedModel:
        """Return the chat model for one call. Raises ModelError if there is none."""

    async def calls_tools(self, name: str, agent: str) -> bool:
        """Return False if it is known that a model calls no tools."""
        return await asyncio.to_thread(supports_tools, name)  # the first reads a large file

    async def recorded_result(self, key: CallKey, call_id: str) -> str | None:
        """Return what a tool answered when the call was recorded, None where nothing is replayed."""
        return None

    def messages(self, prompt: Prompt, model: str) -> list[BaseMessage]:
        """Return the messages as the model's provider accepts them."""
        return list(prompt.messages)

    def arguments(self, prompt: Prompt, tokens: int) -> dict[str, Any]:
        """Return the further arguments of a call, which limit its reply to `tokens`."""
        return {"max_tokens": tokens}

    def preload(self) -> None:  # noqa: B027  # optional
        """Import the client library ahead of the first call. Blocks for seconds."""

    @abstractmethod
    async def probe(self, models: Mapping[Agent, str]) -> None:
        """Raise ModelError if a key is missing or a server does not answer."""

    async def aclose(self) -> None:  # noqa: B027  # optional
        """Close connections."""


class _LibraryProvider(Provider):
    """A provider with a client library. Each chat model is built once."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._chats: dict[str, BaseChatModel] = {}
        self._building = asyncio.Lock()

    async def model(self, name: str, key: CallKey) -> PricedModel:
        async with self._building:
            if name not in self._chats:  # in a thread, because the first build imports the client library
                self._chats[name] = await asyncio.to_thread(self._build, name)
            price = await asyncio.to_thread(self._settings.price_of, name)  # the first reads a large file
            limits = limits_of(name)
            if self._settings.context_tokens:
                limits = replace(limits, window=self._settings.context_tokens)
            return PricedModel(self._chats[name], name, price, limits)

    @abstractmethod
    def _build(self, name: str) -> BaseChatModel: ...


class OpenAIProvider(_LibraryProvider):
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

    async def probe(self, models: Mapping[Agent, str]) -> None:
        if self._key_variable and not self._settings.keys.get(self._key_variable):
            raise ModelError(
                f"LLM_MODE={self._settings.mode} needs a key: set {self._key_variable}, or use LLM_MODE=local"
            )
        if self._settings.mode == "local":
            await self._probe_server(self._settings.local_url)

    async def _probe_server(self, url: str) -> None:
        """Raise ModelError if no server listens at `url`. A slow answer, or an error, is a server as well."""
        try:
            await self._ask_for_models(url)
        except UNREACHABLE as error:
            raise ModelError(
                f"no model server answers at {url} ({type(error).__name__}: {error}); start one, such as "
                "`ollama serve`, or set LOCAL_LLM_URL, or choose another LLM_MODE"
            ) from error
        except httpx.HTTPError:
            pass  # it took the connection: a server with one slot may be busy with another reply

    async def _ask_for_models(self, url: str) -> None:
        for attempt in range(PROBES):
            try:
                await self._http().get(f"{url.rstrip('/')}/models", timeout=PROBE_SECONDS)
                return
            except httpx.ConnectTimeout:
                if attempt == PROBES - 1:
                    raise

    async def aclose(self) -> None:
        if self._client:
            await self._client.aclose()


class LiteLLMProvider(_LibraryProvider):
    """A hundred providers by `provider/model`. Keys come from the settings, else from LiteLLM's variables."""

    def _build(self, name: str) -> BaseChatModel:
        provider = _litellm_provider(name)
        from langchain_litellm import ChatLiteLLM

        # Anthropic caches what is marked alone. These marks cover tools, system prompt and conversation.
        marks = [{"location": "message", "role": "system"}, {"location": "message", "index": -1}]
        caching = {"cache_control_injection_points": marks} if "claude" in name else {}
        return ChatLiteLLM(
            model=name,
            api_key=self._settings.keys.get(f"{provider.upper()}_API_KEY"),
            request_timeout=self._settings.timeout,
            max_retries=1,  # the wrapper counts attempts, the client below it counts retries
            model_kwargs={"max_retries": 0, **caching},
            streaming=True,
            cache=False,
        )

    async def calls_tools(self, name: str, agent: str) -> bool:
        return await super().calls_tools(name, agent) and await asyncio.to_thread(_litellm_sends_tools, name)

    def messages(self, prompt: Prompt, model: str) -> list[BaseMessage]:
        if model.partition("/")[0] in REASONING_PROVIDERS:
            return list(prompt.messages)
        return [without_field(message, "reasoning_content") for message in prompt.messages]

    def preload(self) -> None:
        """Import the client library ahead of the first call. Blocks for seconds."""
        _litellm()
        from langchain_litellm import ChatLiteLLM  # noqa: F401  # the import is the purpose

    async def probe(self, models: Mapping[Agent, str]) -> None:
        litellm = await asyncio.to_thread(_litellm)
        missing: dict[str, list[str]] = {}
        for agent, model in models.items():
            _litellm_provider(model)
            for variable in litellm.validate_environment(model)["missing_keys"]:
                if not self._settings.keys.get(variable):
                    missing.setdefault(variable, []).append(f"{agent} ({model})")
        if missing:
            wanted = "; ".join(f"{variable} for {', '.join(roles)}" for variable, roles in missing.items())
            raise ModelError(
                f"keys are missing: {wanted}. Set them, or LLM_MODEL to a model whose key you have, "
                "or LLM_MODE=local"
            )

    async def aclose(self) -> None:
        if self._chats:
            await _litellm().close_litellm_async_clients()


def _litellm() -> Any:
    """Import LiteLLM without its requests for prices and its advice on stdout. Blocks for seconds."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # "1" would not count
    import litellm

    litellm.suppress_debug_info = True
    litellm.drop_params = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True  # it would count tokens with tokenizers from a hub
    return litellm


def _litellm_sends_tools(model: str) -> bool:
    litellm = _litellm()
    _litellm_provider(model)
    # LiteLLM drops what a provider does not know, tools too, and then the model would never see them.
    return "tools" in (litellm.get_supported_openai_params(model) or ())


def _litellm_provider(model: str) -> str:
    litellm = _litellm()
    try:
        return str(litellm.get_llm_provider(model)[1])
    except litellm.exceptions.BadRequestError as error:
        raise ModelError(f"LiteLLM knows no provider of {model}; name it provider/model") from error
