"""Budgets of runs: limits, what has been spent, and the output that the rest allows."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

BudgetKind = Literal["cost", "tokens", "seconds"]

LEAST_OUTPUT = 256
"""Tokens that a reply must be allowed. With less left, a budget counts as spent."""


@dataclass(frozen=True)
class BudgetLimits:
    """The most that a run may spend. None means no limit."""

    cost_usd: float | None = None
    tokens: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "BudgetLimits":
        """Return the limits among a run's options."""
        return cls(options.get("max_cost_usd"), options.get("max_tokens"), options.get("max_run_seconds"))


@dataclass(frozen=True)
class Estimate:
    """The most that a call may take. Prices are USD per token, None if unknown."""

    input_tokens: int
    output_tokens: int
    input_price: float | None
    output_price: float | None


@dataclass(frozen=True)
class Sums:
    """Totals of a run's calls. They are lower bounds if `unpriced`, and inexact if `estimated`."""

    tokens: int
    cost_usd: float
    unpriced: bool = False
    estimated: bool = False


class BudgetSpent(Exception):
    """A limit of the run does not allow another call. Cost is in USD, time in seconds at work."""

    def __init__(self, kind: BudgetKind, spent: float, limit: float) -> None:
        used = {
            "cost": f"${spent:.4f} of ${limit:g}",
            "tokens": f"{spent:.0f} of {limit:.0f} tokens",
            "seconds": f"{spent:.0f} of {limit:g} seconds",
        }
        rest = "" if kind == "seconds" else ", too little left for another model call"
        super().__init__(f"the budget is spent: {used[kind]}{rest}")
        self.kind, self.spent, self.limit = kind, spent, limit


def allowed_output(estimate: Estimate, limits: BudgetLimits, sums: Sums) -> tuple[int, BudgetKind | None]:
    """Return the output tokens that the limits allow, and the limit that lowers the estimate, if any."""
    tokens: int = estimate.output_tokens
    kind: BudgetKind | None = None
    if limits.tokens is not None:
        left_tokens = limits.tokens - sums.tokens - estimate.input_tokens
        if left_tokens < tokens:
            tokens, kind = left_tokens, "tokens"
    if limits.cost_usd is not None:
        left = limits.cost_usd - sums.cost_usd - estimate.input_tokens * (estimate.input_price or 0.0)
        price = estimate.output_price or 0.0  # models without a price are refused before they are reserved
        if left <= 0 or left < tokens * price:
            tokens, kind = int(left / price) if price and left > 0 else 0, "cost"
    return tokens, kind


@asynccontextmanager
async def within_time(limit: float | None, spent: float) -> AsyncIterator[None]:
    """Stop the work inside once a run of `spent` seconds has reached its limit. Raises BudgetSpent."""
    if limit is None:
        yield
        return
    try:
        async with asyncio.timeout(max(0.0, limit - spent)) as clock:
            yield
    except TimeoutError as error:
        if not clock.expired():
            raise
        raise BudgetSpent("seconds", max(limit, spent), limit) from error
