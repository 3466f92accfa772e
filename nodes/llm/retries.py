"""Retries of one call, and the gates that let all calls wait for a rate limit together."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from nodes.events import Retried
from nodes.llm.model_settings import ModelSettings
from nodes.llm.provider_errors import ProviderError
from nodes.publish import Publish

R = TypeVar("R")

LONGEST_BACKOFF = 30.0
LONGEST_LIMITED_BACKOFF = 15.0
"""Seconds between two attempts at a rate limit that does not say when it ends."""

SLICE_SECONDS = 1.0
"""Seconds between two looks at the run's time limit during a wait."""

VISIBLE_SECONDS = 1.0
"""Waits for the rate limit that another call met are reported from this length on."""


@dataclass
class RateGates:
    """Times until which models are not asked, because they refused a call of this process as too early."""

    _opening: dict[str, float] = field(default_factory=dict)

    def hold(self, model: str, seconds: float) -> None:
        """Keep all calls of a model back for so long."""
        self._opening[model] = max(self._opening.get(model, 0.0), time.monotonic() + seconds)

    def seconds(self, model: str) -> float:
        """Return the seconds until the model may be asked."""
        return max(0.0, self._opening.get(model, 0.0) - time.monotonic())


@dataclass
class Retries:
    """The attempts of one call at one model. Waits for rate limits count as no failure."""

    settings: ModelSettings
    gates: RateGates
    model: str
    publish: Publish
    check_time: Callable[[], Awaitable[None]]
    _failures: int = 0
    _refusals: int = 0
    _waited: float = 0.0

    async def run(self, attempt: Callable[[], Awaitable[R]]) -> R:
        """Attempt until there is a reply. Raises ProviderError after the last retry, and BudgetSpent."""
        while True:
            await self._pass_gate()
            try:
                return await attempt()
            except ProviderError as error:
                wait = self._limited_wait(error) if error.limited else self._failure_wait(error)
                self._report(error.reason, wait)
                if error.limited:
                    self.gates.hold(self.model, wait)  # the other branches would only be refused as well
                    await self._pass_gate(silent=True)
                else:
                    await self._sleep(wait)

    def _failure_wait(self, error: ProviderError) -> float:
        """Return the seconds to the next attempt. Raises the error after the last retry."""
        self._failures += 1
        most = self.settings.max_retries
        if self._failures > (most if error.retries is None else min(most, error.retries)):
            raise error
        backoff = random.uniform(0, self._backoff(self._failures, LONGEST_BACKOFF))  # noqa: S311  # no secret
        return self._within(error, backoff if error.retry_after is None else error.retry_after)

    def _limited_wait(self, error: ProviderError) -> float:
        """Return the seconds that a rate limit asks for. Raises ProviderError if it asks for too many."""
        self._refusals += 1
        backoff = self._backoff(self._refusals, LONGEST_LIMITED_BACKOFF)
        return self._within(error, max(error.retry_after or 0.0, backoff))

    def _within(self, error: ProviderError, wait: float) -> float:
        longest = self.settings.max_wait
        if self._waited + wait <= longest:
            return wait
        before = f" after {self._waited:.0f} s of waiting" if self._waited else ""
        raise ProviderError(
            f"{error.reason}; it can be asked again in {wait:.0f} s{before}, longer than LLM_MAX_WAIT "
            f"({longest:g} s)",
            billed=error.billed,
        ) from error

    def _backoff(self, number: int, longest: float) -> float:
        return float(min(longest, self.settings.retry_seconds * 2 ** min(number - 1, 30)))

    async def _pass_gate(self, silent: bool = False) -> None:
        """Wait until the model may be asked."""
        while (wait := self.gates.seconds(self.model)) > 0:
            if not silent and wait >= VISIBLE_SECONDS:
                self._report(f"another call met the rate limit of {self.model}", wait)
            await self._sleep(wait)

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not beyond the run's time limit."""
        self._waited += seconds
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await self.check_time()
            await asyncio.sleep(min(left, SLICE_SECONDS))

    def _report(self, reason: str, wait: float) -> None:
        attempt = max(1, self._failures + self._refusals)
        self.publish(Retried(reason=reason, attempt=attempt, model=self.model, wait_seconds=round(wait, 3)))
