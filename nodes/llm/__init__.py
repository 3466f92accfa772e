"""Models answer calls: by mode and agent, within a budget, through retries, each paid for once."""

from memory.budget import BudgetSpent
from nodes.llm.models import Call, Models, Reply, open_models
from nodes.llm.settings import ModelError, ModelSettings

__all__ = ["BudgetSpent", "Call", "ModelError", "ModelSettings", "Models", "Reply", "open_models"]
