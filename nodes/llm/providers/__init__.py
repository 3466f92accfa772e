"""Chat models, one provider for each LLM_MODE. Client libraries are imported on first use."""

from nodes.llm.providers.base import PricedModel, Provider
from nodes.llm.providers.litellm_provider import LiteLLMProvider
from nodes.llm.providers.offer import ModelOffer, OfferedModel, Offers
from nodes.llm.providers.openai_provider import OpenAIProvider

__all__ = [
    "LiteLLMProvider",
    "ModelOffer",
    "OfferedModel",
    "Offers",
    "OpenAIProvider",
    "PricedModel",
    "Provider",
]
