"""Where chat models come from: one provider for each LLM_MODE, its libraries imported on first use."""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from memory.records.completions import Key
from nodes.llm.cassette import Cassette, CassetteError, Replay
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.prices import FREE, Price, price_of
from nodes.state import Agent

DEEPSEEK_URL = "https://api.deepseek.com"
CONNECT_SECONDS = 10.0
PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Voice:
    """A chat model ready to be asked, its price (None: unknown), and what a person should know of it."""

    chat: BaseChatModel
    model: str
    price: Price | None
    warning: str = ""


class Provider(Protocol):
    """Makes the chat models of one mode."""

    async def voice(self, model: str, key: Key) -> Voice:
        """The chat model for one call."""
        ...

    def limit(self, tokens: int) -> dict[str, Any]:
        """The arguments that keep a reply to `tokens`."""
        ...

    def warm(self) -> None:
        """Import what the first call would import, for a process that will make many. Takes seconds."""
        ...

    async def probe(self, models: Mapping[Agent, str]) -> None:
        """Raise ModelError for what would fail later: a missing key, an unreachable server."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


def provider_of(settings: ModelSettings) -> Provider:
    """The provider of the settings' mode."""
    if settings.mode == "replay":
        return Player(settings)
    return LiteLLM(settings) if settings.mode == "litellm" else OpenAIWire(settings)


class _Library(ABC):
    """Chat models by name, each made once, in a thread because the first one imports its library."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._chats: dict[str, BaseChatModel] = {}
        self._making = asyncio.Lock()

    async def voice(self, model: str, key: Key) -> Voice:
        async with self._making:
            if model not in self._chats:
                self._chats[model] = await asyncio.to_thread(self._chat, model)
            return Voice(self._chats[model], model, await asyncio.to_thread(price_of, model))

    @abstractmethod
    def _chat(self, model: str) -> BaseChatModel: ...


class OpenAIWire(_Library):
    """OpenAI itself, and servers that speak its protocol: DeepSeek, Ollama, vLLM and others."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._client: Any = None
        self._prober: Any = None
        self._variable = {"openai": "OPENAI_API_KEY", "deepseek": "DEEPSEEK_API_KEY"}.get(settings.mode)
        self._url = {"deepseek": DEEPSEEK_URL, "local": settings.local_url}.get(settings.mode)

    def _chat(self, model: str) -> BaseChatModel:
        import httpx
        from langchain_openai import ChatOpenAI
        from openai import DefaultAioHttpClient  # its parser is C: httpx's own reads 0.1 ms long at a piece

        from nodes.llm.chunks import Chunks
        from nodes.llm.joined import join

        timeout = httpx.Timeout(self._settings.timeout, connect=CONNECT_SECONDS)
        self._client = self._client or DefaultAioHttpClient(
            timeout=timeout, follow_redirects=False, event_hooks={"response": [join]}
        )
        secret = self._settings.keys.get(self._variable or "LOCAL_LLM_API_KEY", "none")
        chat = ChatOpenAI(
            model=model,
            base_url=self._url,
            api_key=SecretStr(secret),
            http_async_client=self._client,
            timeout=timeout,
            stream_chunk_timeout=None,  # it is a wait_for, which on Python 3.11 may swallow a cancellation
            max_retries=0,
            streaming=True,
            stream_usage=True,
            use_responses_api=False,
            cache=False,
        )
        chat.async_client = Chunks(chat.root_async_client)
        return chat

    def warm(self) -> None:
        import openai.resources.chat  # noqa: F401  # the import is what is wanted
        from langchain_openai import ChatOpenAI  # noqa: F401  # likewise

    def limit(self, tokens: int) -> dict[str, Any]:
        """ChatOpenAI renames `max_tokens` for OpenAI's newer models; other servers know only the old name."""
        limit = {"max_tokens": tokens}
        return limit if self._settings.mode == "openai" else {"extra_body": limit}

    async def probe(self, models: Mapping[Agent, str]) -> None:
        if self._variable and not self._settings.keys.get(self._variable):
            raise ModelError(
                f"LLM_MODE={self._settings.mode} needs a key: set {self._variable}, or use LLM_MODE=local"
            )
        if self._settings.mode == "local":
            await self._reach(self._settings.local_url)

    async def _reach(self, url: str) -> None:
        import httpx

        if self._prober is None:  # to make one takes 30 ms; a kept connection may be dead
            self._prober = httpx.AsyncClient(
                timeout=PROBE_SECONDS, limits=httpx.Limits(max_keepalive_connections=0)
            )
        try:
            await self._prober.get(f"{url.rstrip('/')}/models")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelError(
                f"no model server answers at {url} ({type(error).__name__}: {error}); start one, such as "
                "`ollama serve`, or set LOCAL_LLM_URL, or choose another LLM_MODE"
            ) from error

    async def aclose(self) -> None:
        for client in filter(None, (self._client, self._prober)):
            await client.aclose()


class LiteLLM(_Library):
    """A hundred providers by `provider/model`; keys of the settings, else of LiteLLM's own variables."""

    def _chat(self, model: str) -> BaseChatModel:
        provider = _litellm_provider(model)
        from langchain_litellm import ChatLiteLLM

        return ChatLiteLLM(
            model=model,
            api_key=self._settings.keys.get(f"{provider.upper()}_API_KEY"),
            request_timeout=self._settings.timeout,
            max_retries=1,
            model_kwargs={"max_retries": 0},
            streaming=True,
            cache=False,
        )

    def warm(self) -> None:
        _litellm()
        from langchain_litellm import ChatLiteLLM  # noqa: F401  # the import is what is wanted

    def limit(self, tokens: int) -> dict[str, Any]:
        return {"max_tokens": tokens}

    async def probe(self, models: Mapping[Agent, str]) -> None:
        litellm = await asyncio.to_thread(_litellm)
        lacking: dict[str, list[str]] = {}
        for agent, model in models.items():
            _litellm_provider(model)
            for variable in litellm.validate_environment(model)["missing_keys"]:
                if not self._settings.keys.get(variable):
                    lacking.setdefault(variable, []).append(f"{agent} ({model})")
        if lacking:
            wanted = "; ".join(f"{variable} for {', '.join(roles)}" for variable, roles in lacking.items())
            raise ModelError(
                f"keys are missing: {wanted}. Set them, or LLM_MODEL to a model whose key you have, "
                "or LLM_MODE=local"
            )

    async def aclose(self) -> None:
        if self._chats:
            await _litellm().close_litellm_async_clients()


def _litellm() -> Any:
    """LiteLLM, kept from phoning home for prices and from printing advice to stdout. Takes seconds."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    litellm.drop_params = True
    litellm.telemetry = False
    return litellm


def _litellm_provider(model: str) -> str:
    """The provider that LiteLLM takes `model` for."""
    litellm = _litellm()
    try:
        return str(litellm.get_llm_provider(model)[1])
    except litellm.exceptions.BadRequestError as error:
        raise ModelError(f"LiteLLM knows no provider of {model}; name it provider/model") from error


class Player:
    """Plays a cassette; free of charge except for costs that were recorded."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._cassette: Cassette | None = None

    async def voice(self, model: str, key: Key) -> Voice:
        cassette = await self._loaded()
        found = cassette.find(key.agent, key.step, key.ordinal, key.prompt_hash)
        call = f"{key.agent}'s call {key.ordinal} of step {key.step or '-'}"
        if found is None:
            raise ModelError(f"the cassette {cassette.path} ends before {call}; record the task anew")
        changed = f"the prompt of {call} is not the one that {cassette.path} recorded"
        pace = self._settings.replay_pieces_per_second
        replay = Replay(exchange=found, streaming=True, pieces_per_second=pace, cache=False)
        return Voice(replay, found.model, FREE, "" if found.prompt_hash == key.prompt_hash else changed)

    def warm(self) -> None:
        """A cassette is read when the first run is about to begin."""

    def limit(self, tokens: int) -> dict[str, Any]:
        return {}

    async def probe(self, models: Mapping[Agent, str]) -> None:
        await self._loaded()

    async def aclose(self) -> None:
        self._cassette = None

    async def _loaded(self) -> Cassette:
        if self._cassette is None:
            if self._settings.cassette is None:
                raise ModelError("LLM_MODE=replay needs a recording: set LLM_CASSETTE to its file")
            try:
                self._cassette = await asyncio.to_thread(Cassette, self._settings.cassette)
            except CassetteError as error:
                raise ModelError(str(error)) from error
        return self._cassette
