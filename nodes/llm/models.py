"""Calls to models. Each reply is paid for once, within a budget, with retries and a fallback model."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from langchain_core.messages import AIMessage, BaseMessage
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from memory.records.budget import BudgetLimits, BudgetSpent, Estimate, Sums
from memory.records.completions import CallKey, Completions, Grant, Spent, StoredReply
from memory.records.notes import Notes
from memory.validation import valid_text
from nodes.events import BudgetUpdated, ErrorReported, Event, Retried
from nodes.llm.cassette import record
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.prompt import Prompt, ReplyListener
from nodes.llm.provider_errors import ProviderError, classify
from nodes.llm.providers import CassetteProvider, LiteLLMProvider, OpenAIProvider, Provider
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
class Reply(StoredReply):
    """A model's text and usage. `cached` is true if an earlier call paid for it."""

    cached: bool = False


@asynccontextmanager
async def open_models(
    settings: ModelSettings, completions: Completions, notes: Notes[Event] | None = None
) -> AsyncIterator["Models"]:
    """Open the models of the settings' mode, and close their connections at the end."""
    kinds: dict[str, type[Provider]] = {"replay": CassetteProvider, "litellm": LiteLLMProvider}
    provider = kinds.get(settings.mode, OpenAIProvider)(settings)
    try:
        yield Models(settings, completions, provider, notes)
    finally:
        await provider.aclose()


@dataclass(frozen=True)
class _Request:
    """The parts of a call that all its attempts share."""

    key: CallKey
    prompt: Prompt
    limits: BudgetLimits
    publish: Publish


@dataclass(frozen=True, eq=False)
class Models:
    """Models of a provider. Each call is looked up, reserved, sent and settled, in this order."""

    settings: ModelSettings
    completions: Completions
    provider: Provider
    user_notes: Notes[Event] | None
    warned: set[str] = field(default_factory=set)

    def preload(self) -> None:
        """Import the client library ahead of the first call. Blocks for seconds."""
        self.provider.preload()

    async def probe(self) -> None:
        """Raise ModelError if a key is missing, a server does not answer, or LLM_RECORD is not writable."""
        agents = self.settings.agents
        await self.provider.probe({agent: self.settings.model_of(agent) for agent in agents})
        tape = self.settings.record
        if tape and not os.access(tape if tape.exists() else tape.absolute().parent, os.W_OK):
            raise ModelError(f"LLM_RECORD={tape} cannot be written; name a file in a writable folder")

    async def notes(self, call: Call) -> list[str]:
        """Return the user's notes for a call. A repeated call gets the same ones."""
        if self.user_notes is None:
            return []
        return await self.user_notes.for_call(call.run, call.agent, call.step, call.ordinal)

    async def complete(
        self, call: Call, messages: Sequence[BaseMessage], options: Options, publish: Publish
    ) -> Reply:
        """Return the reply, the stored one if the call was paid for before.

        Raises BudgetSpent, and ModelError once all retries and the fallback have failed.
        """
        prompt = Prompt(messages)
        key = CallKey(call.run, call.agent, call.step, call.ordinal, prompt.hash)
        if stored := await self.completions.lookup(key):
            reply = Reply(**{**vars(stored), "cost_usd": 0.0}, cached=True)  # it was paid for before
            _publish_usage(publish, call.agent, reply, await self.completions.sums(call.run))
            return reply
        limits = BudgetLimits(options.max_cost_usd, options.max_tokens, options.max_run_seconds)
        request = _Request(key, prompt, limits, publish)
        chosen, fallback = self.settings.model_of(call.agent), self.settings.fallback
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
        backoff = wait_random_exponential(self.settings.retry_seconds, LONGEST_BACKOFF)
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, ProviderError) and not error.hopeless),
            stop=stop_after_attempt(self.settings.max_retries + 1),
            wait=lambda state: _wait_seconds(state, backoff(state)),
            before_sleep=partial(_publish_retry, request.publish, model),
            reraise=True,
        )
        return await attempts(self._attempt, request, model)

    async def _attempt(self, request: _Request, name: str) -> Reply:
        """Reserve, send and settle one request."""
        model, prompt = await self.provider.model(name, request.key), request.prompt
        if model.warning and model.warning not in self.warned:
            self.warned.add(model.warning)
            request.publish(ErrorReported(message=model.warning, kind="warning"))
        price, longest = model.price, self.settings.max_output_tokens
        rates = (price.input, price.output) if price else (None, None)
        if price and price.max_output_tokens:
            longest = min(longest, price.max_output_tokens)
        estimate = Estimate(prompt.tokens, longest, *rates)
        grant = await self.completions.reserve(request.key, model.name, prompt.wire, estimate, request.limits)
        listener = ReplyListener(prompt, price)
        labels = {"agent": request.key.agent, "step_id": request.key.step_id}
        # A copy, because calls of one model run in parallel. LangGraph listens to its callbacks as well.
        chat = model.chat.model_copy(update={"callbacks": [listener], "metadata": labels})
        try:
            message = await chat.ainvoke(list(prompt.messages), **self.provider.limit(grant.output_tokens))
            if not message.response_metadata.get("finish_reason") and not message.usage_metadata:
                raise ProviderError("the stream broke off")
        except asyncio.CancelledError:
            # The provider bills a cancelled call for the prompt and for what it had written.
            await self.completions.abandon(grant, listener.spent())
            raise
        except Exception as error:  # client libraries raise errors of many kinds
            failure = classify(error, request.key.agent, name, self.settings.secrets)
            if listener.text or (isinstance(failure, ProviderError) and failure.billed):
                await self.completions.abandon(grant, listener.spent())
            else:
                await self.completions.release(grant)
            raise failure from error
        return await self._settle(request, model.name, grant, message, listener.spent(message))

    async def _settle(
        self, request: _Request, model: str, grant: Grant, message: AIMessage, spent: Spent
    ) -> Reply:
        """Store the reply before anything else uses it."""
        text = valid_text(str(message.text))
        cut = message.response_metadata.get("finish_reason") == "length"
        if cut and grant.capped:  # by the budget, so a longer reply would not be paid for either
            sums, limits = await self.completions.abandon(grant, spent), request.limits
            if grant.capped == "cost":
                raise BudgetSpent("cost", sums.cost_usd, limits.cost_usd or 0.0)
            raise BudgetSpent("tokens", sums.tokens, limits.tokens or 0)
        sums = await self.completions.settle(grant, text, spent, cut)
        if tape := self.settings.record:
            exchange = await self.completions.exchange(grant)
            try:
                await asyncio.to_thread(record, tape, exchange)
            except OSError as error:
                raise ModelError(f"LLM_RECORD={tape} cannot be written: {error}") from error
        if cut:
            advice = f"was cut at {spent.output_tokens} tokens; raise LLM_MAX_OUTPUT_TOKENS"
            request.publish(ErrorReported(message=f"a reply of {model} {advice}", kind="warning"))
        usage = (spent.input_tokens, spent.output_tokens, spent.cost_usd)
        reply = Reply(text, model, *usage, cut=cut, cached=False)
        _publish_usage(request.publish, request.key.agent, reply, sums)
        return reply


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


def _publish_usage(publish: Publish, agent: str, reply: Reply, sums: Sums) -> None:
    usage = {name: value for name, value in vars(reply).items() if name not in ("text", "cut")}
    totals = {"total_tokens": sums.tokens, "total_cost_usd": sums.cost_usd}
    publish(BudgetUpdated(agent=agent, **usage, **totals, unpriced=reply.cost_usd is None))
