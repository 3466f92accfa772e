"""Budgets: what a run may spend, what it has taken, and how much room that leaves for one more call."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["cost", "tokens", "seconds"]

LEAST_OUTPUT = 256
"""Tokens that a reply must have room for; with less left, a budget counts as spent."""


@dataclass(frozen=True)
class Limits:
    """What a run may spend; None is no limit."""

    cost_usd: float | None = None
    tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What a call may take before it is made; prices in USD a token, None where unknown."""

    input_tokens: int
    output_tokens: int
    input_price: float | None
    output_price: float | None


@dataclass(frozen=True)
class Sums:
    """What a run's calls have taken together."""

    tokens: int
    cost_usd: float


class BudgetSpent(Exception):
    """A run's limit leaves no room for another call; cost in USD, time in seconds of work."""

    def __init__(self, kind: Kind, spent: float, limit: float) -> None:
        used = {
            "cost": f"${spent:.4f} of ${limit:g}",
            "tokens": f"{spent:.0f} of {limit:.0f} tokens",
            "seconds": f"{spent:.0f} of {limit:g} seconds",
        }
        super().__init__(f"the budget is spent: {used[kind]}, too little left for another model call")
        self.kind, self.spent, self.limit = kind, spent, limit


def room(estimate: Estimate, limits: Limits, sums: Sums) -> tuple[int, Kind | None]:
    """How many tokens of reply the limits leave room for, and which of them, if any, cut it down."""
    tokens: int = estimate.output_tokens
    kind: Kind | None = None
    if limits.tokens is not None:
        left_tokens = limits.tokens - sums.tokens - estimate.input_tokens
        if left_tokens < tokens:
            tokens, kind = left_tokens, "tokens"
    if limits.cost_usd is not None:
        left = limits.cost_usd - sums.cost_usd - estimate.input_tokens * (estimate.input_price or 0.0)
        price = estimate.output_price or 0.0
        if left <= 0 or left < tokens * price:
            tokens, kind = int(left / price) if price and left > 0 else 0, "cost"
    return tokens, kind
