"""Calls to models. Each reply is paid for once, within a budget, with retries and a fallback model."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from langchain_core.messages import AIMessage, BaseMessage
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from memory.records.budget import BudgetLimits, BudgetSpent, Estimate, Sums
from memory.records.completions import CallKey, Completions, Grant
from memory.records.notes import Notes
from nodes.events import BudgetUpdated, ErrorReported, Event, Retried
from nodes.llm.cassette import record
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.prices import Price
from nodes.llm.prompt import Prompt, ReplyListener
from nodes.llm.provider_errors import ProviderError, classify
from nodes.llm.providers import PricedModel, Provider, provider_of
from nodes.publish import Publish
from nodes.state import Agent, Options

LONGEST_BACKOFF = 30.0


@dataclass(frozen=True)
class Call:
    """The place of a call: the `ordinal`th of an agent's step in a run."""

    run: str
    agent: Agent
    step: str
    ordinal: int


@dataclass(frozen=True)
class Reply:
    """A model's text and usage. `cost_usd` is None if the price is unknown."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cached: bool


@asynccontextmanager
async def open_models(
    settings: ModelSettings, completions: Completions, notes: Notes[Event] | None = None
) -> AsyncIterator["Models"]:
    """Open the models of the settings' mode, and close their connections at the end."""
    provider = provider_of(settings)
    try:
        yield Models(settings, completions, provider, notes)
    finally:
        await provider.aclose()


@dataclass(frozen=True)
class _Request:
    """The parts of a call that all its attempts share."""

    key: CallKey
    agent: Agent
    prompt: Prompt
    limits: BudgetLimits
    publish: Publish


class Models:
    """Models of a provider. Each call is looked up, reserved, sent and settled, in this order."""

    def __init__(
        self,
        settings: ModelSettings,
        completions: Completions,
        provider: Provider,
        notes: Notes[Event] | None,
    ) -> None:
        self._settings = settings
        self._notes = notes
        self._completions = completions
        self._provider = provider
        self._warned: set[str] = set()

    def preload(self) -> None:
        """Import the client library ahead of the first call. Blocks for seconds."""
        self._provider.preload()

    async def probe(self) -> None:
        """Raise ModelError if a key is missing, a server does not answer, or LLM_RECORD is not writable."""
        agents = self._settings.agents
        await self._provider.probe({agent: self._settings.model_of(agent) for agent in agents})
        tape = self._settings.record
        if tape and not os.access(tape if tape.exists() else tape.absolute().parent, os.W_OK):
            raise ModelError(f"LLM_RECORD={tape} cannot be written; name a file in a writable folder")

    async def notes(self, call: Call) -> list[str]:
        """Return the user's notes for a call. A repeated call gets the same ones."""
        if self._notes is None:
            return []
        return await self._notes.for_call(call.run, call.agent, call.step, call.ordinal)

    async def complete(
        self, call: Call, messages: Sequence[BaseMessage], options: Options, publish: Publish
    ) -> Reply:
        """Return the reply, the stored one if the call was paid for before.

        Raises BudgetSpent, and ModelError once all retries and the fallback have failed.
        """
        prompt = Prompt(messages)
        key = CallKey(call.run, call.agent, call.step, call.ordinal, prompt.hash)
        if stored := await self._completions.lookup(key):
            reply = Reply(**{**vars(stored), "cost_usd": 0.0}, cached=True)  # it was paid for before
            _publish_usage(publish, call.agent, reply, await self._completions.sums(call.run))
            return reply
        limits = BudgetLimits(options.max_cost_usd, options.max_tokens, options.max_run_seconds)
        request = _Request(key, call.agent, prompt, limits, publish)
        chosen, fallback = self._settings.model_of(call.agent), self._settings.fallback
        try:
            return await self._retry(request, chosen)
        except ProviderError as first:
            advice = f"try again later, or set {call.agent.upper()}_MODEL to another model"
            failure = f"{call.agent}: {chosen} keeps failing ({first.reason}); {advice}"
            if fallback == chosen:
                raise ModelError(failure) from first
            reason = f"{first.reason}; {fallback} steps in for {chosen}"
            publish(Retried(reason=reason, attempt=1, model=fallback))
            try:
                return await self._retry(request, fallback)
            except (ProviderError, ModelError) as second:
                raise ModelError(f"{failure}; {fallback} failed in its place: {second}") from second

    async def _retry(self, request: _Request, model: str) -> Reply:
        """Call until there is a reply. Raises ProviderError after the last retry."""
        backoff = wait_random_exponential(self._settings.retry_seconds, LONGEST_BACKOFF)
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, ProviderError) and not error.hopeless),
            stop=stop_after_attempt(self._settings.max_retries + 1),
            wait=lambda state: _wait_seconds(state, backoff(state)),
            before_sleep=partial(_publish_retry, request.publish, model),
            reraise=True,
        )
        return await attempts(self._attempt, request, model)

    async def _attempt(self, request: _Request, name: str) -> Reply:
        """Reserve, send and settle one request."""
        model = await self._provider.model(name, request.key)
        self._warn_once(model.warning, request.publish)
        estimate = self._estimate(request, model.price)
        grant = await self._completions.reserve(
            request.key, model.name, request.prompt.wire, estimate, request.limits
        )
        listener = ReplyListener(request.prompt, model.price)
        try:
            message = await self._send(request, model, grant, listener)
        except asyncio.CancelledError:
            # The provider bills a cancelled call for the prompt and for what it had written.
            await self._completions.abandon(grant, listener.spent())
            raise
        except Exception as error:  # client libraries raise errors of many kinds
            failure = classify(error, request.agent, name, self._settings.secrets)
            if listener.text or (isinstance(failure, ProviderError) and failure.billed):
                await self._completions.abandon(grant, listener.spent())
            else:
                await self._completions.release(grant)
            raise failure from error
        return await self._settle(request, model, grant, message, listener)

    async def _send(
        self, request: _Request, model: PricedModel, grant: Grant, listener: ReplyListener
    ) -> AIMessage:
        """Stream the reply through LangChain's callbacks, to which LangGraph listens as well."""
        labels = {"agent": request.agent, "step_id": request.key.step_id}
        # A copy, because calls of one model run in parallel.
        chat = model.chat.model_copy(update={"callbacks": [listener], "metadata": labels})
        limit = self._provider.limit(grant.output_tokens)
        message = await chat.ainvoke(list(request.prompt.messages), **limit)
        if not message.response_metadata.get("finish_reason") and not message.usage_metadata:
            raise ProviderError("the stream broke off")
        return message

    async def _settle(
        self,
        request: _Request,
        model: PricedModel,
        grant: Grant,
        message: AIMessage,
        listener: ReplyListener,
    ) -> Reply:
        """Store the reply before anything else uses it."""
        text = str(message.text)
        spent = listener.spent(message)
        cut = message.response_metadata.get("finish_reason") == "length"
        if cut and grant.capped:  # by the budget, so a longer reply would not be paid for either
            sums, limits = await self._completions.abandon(grant, spent), request.limits
            if grant.capped == "cost":
                raise BudgetSpent("cost", sums.cost_usd, limits.cost_usd or 0.0)
            raise BudgetSpent("tokens", sums.tokens, limits.tokens or 0)
        sums = await self._completions.settle(grant, text, spent)
        if self._settings.record:
            await self._record(self._settings.record, grant)
        if cut:
            advice = f"was cut at {spent.output_tokens} tokens; raise LLM_MAX_OUTPUT_TOKENS"
            _publish_warning(request.publish, f"a reply of {model.name} {advice}")
        reply = Reply(text, model.name, spent.input_tokens, spent.output_tokens, spent.cost_usd, cached=False)
        _publish_usage(request.publish, request.agent, reply, sums)
        return reply

    def _estimate(self, request: _Request, price: Price | None) -> Estimate:
        longest = self._settings.max_output_tokens
        if price is None:
            return Estimate(request.prompt.tokens, longest, None, None)
        longest = min(longest, price.max_output_tokens or longest)
        return Estimate(request.prompt.tokens, longest, price.input, price.output)

    async def _record(self, tape: Path, grant: Grant) -> None:
        exchange = await self._completions.exchange(grant)
        try:
            await asyncio.to_thread(record, tape, exchange)
        except OSError as error:
            raise ModelError(f"LLM_RECORD={tape} cannot be written: {error}") from error

    def _warn_once(self, warning: str, publish: Publish) -> None:
        if warning and warning not in self._warned:
            self._warned.add(warning)
            _publish_warning(publish, warning)


def _wait_seconds(state: RetryCallState, backoff: float) -> float:
    """Return the provider's Retry-After, else the backoff."""
    error = state.outcome and state.outcome.exception()
    seconds = error.retry_after if isinstance(error, ProviderError) else None
    return backoff if seconds is None else seconds


def _publish_retry(publish: Publish, model: str, state: RetryCallState) -> None:
    reason = str(state.outcome and state.outcome.exception())
    wait = state.next_action.sleep if state.next_action else 0.0
    attempt = state.attempt_number
    publish(Retried(reason=reason, attempt=attempt, model=model, wait_seconds=round(wait, 3)))


def _publish_warning(publish: Publish, message: str) -> None:
    publish(ErrorReported(message=message, kind="warning"))


def _publish_usage(publish: Publish, agent: Agent, reply: Reply, sums: Sums) -> None:
    usage = {name: value for name, value in vars(reply).items() if name != "text"}
    totals = {"total_tokens": sums.tokens, "total_cost_usd": sums.cost_usd}
    publish(BudgetUpdated(agent=agent, **usage, **totals, unpriced=reply.cost_usd is None))
