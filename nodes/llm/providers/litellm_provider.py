"""Models of a hundred providers, through LiteLLM."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from nodes.llm.model_settings import ModelError
from nodes.llm.prices import listed_models
from nodes.llm.prompt import Prompt, without_field
from nodes.llm.providers.base import LibraryProvider
from nodes.state import Agent

REASONING_PROVIDERS = ("deepseek", "moonshot", "zai")
"""LiteLLM's providers that demand their `reasoning_content` back. Others, such as Groq, refuse the field."""


class LiteLLMProvider(LibraryProvider):
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

    async def offered(self) -> list[str]:
        return await asyncio.to_thread(listed_models, sorted(self._settings.providers))

    async def check(self, models: Mapping[Agent, str]) -> None:
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
