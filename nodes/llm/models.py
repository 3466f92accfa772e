"""Calls to models. Each reply is paid for once, within a budget, with retries and a fallback model."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from memory.records.budget import BudgetLimits, BudgetSpent, Estimate, Sums
from memory.records.completions import CallKey, Completions, Grant, Spent, StoredReply
from memory.records.notes import Notes
from memory.validation import valid_text
from nodes.events import BudgetUpdated, ErrorReported, Event, Retried
from nodes.llm.cassette import record
from nodes.llm.context import output_limit
from nodes.llm.model_settings import ModelError, ModelSettings, price_advice
from nodes.llm.prices import ModelLimits
from nodes.llm.prompt import Prompt, ReplyListener
from nodes.llm.provider_errors import PromptTooLong, ProviderError, classify
from nodes.llm.providers import CassetteProvider, LiteLLMProvider, OpenAIProvider, PricedModel, Provider
from nodes.llm.retries import RateGates, Retries
from nodes.llm.wire import UNKNOWN_END
from nodes.publish import Publish
from nodes.state import Agent, Options

TOTAL_TIMEOUTS = 10
"""A reply may take so many times LLM_TIMEOUT in all, which itself counts only silence."""

CUT = {"length", "max_tokens", "model_length"}
BROKEN = {"content_filter", "error", "abort", "cancelled", "canceled"}
"""Reasons of the end of a reply that is not the answer, in lower case."""


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
    gates: RateGates = field(default_factory=RateGates)
    learned: dict[str, ModelLimits] = field(default_factory=dict)

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
        limits = await self.completions.limits(call.run, options.model_dump())
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
        check_time = partial(self.completions.check_time, request.key.run_id, request.limits)
        retries = Retries(self.settings, self.gates, model, request.publish, check_time)
        return await retries.run(partial(self._attempt, request, model))

    async def _attempt(self, request: _Request, name: str) -> Reply:
        """Send one request. A server that names its smaller context is asked again with a shorter limit."""
        model = await self.provider.model(name, request.key)
        if request.limits.cost_usd is not None and model.price is None:
            raise ModelError(price_advice({name: [request.key.agent]}))
        if model.warning and model.warning not in self.warned:
            self.warned.add(model.warning)
            request.publish(ErrorReported(message=model.warning, kind="warning"))
        try:
            return await self._send(request, model, self._output_limit(request, model))
        except PromptTooLong as error:
            known = self.learned.get(name, model.limits)
            learned = ModelLimits(error.window or known.window, error.output or known.output)
            if learned == known:
                raise
            self.learned[name] = learned
            limit = self._output_limit(request, model, error.prompt_tokens)
            request.publish(Retried(reason=f"the reply was limited to {limit} tokens: {error}", attempt=1))
        return await self._send(request, model, limit)

    def _output_limit(self, request: _Request, model: PricedModel, prompt_tokens: int | None = None) -> int:
        """Return the limit of a reply. Raises ModelError if there is no room for any."""
        limits = self.learned.get(model.name, model.limits)
        longest = min(filter(None, (self.settings.max_output_tokens, limits.output)))
        place = f"{request.key.agent}: {model.name}"
        return output_limit(longest, limits.window, request.prompt.tokens, prompt_tokens, place)

    async def _send(self, request: _Request, model: PricedModel, longest: int) -> Reply:
        """Reserve, send and settle one request."""
        prompt, price = request.prompt, model.price
        estimate = Estimate(prompt.tokens, longest, *((price.input, price.output) if price else (None, None)))
        grant = await self.completions.reserve(request.key, model.name, prompt.wire, estimate, request.limits)
        window = self.learned.get(model.name, model.limits).window
        listener = ReplyListener(prompt, price, window, grant.output_tokens)
        labels = {"agent": request.key.agent, "step_id": request.key.step_id}
        # A copy, because calls of one model run in parallel. LangGraph listens to its callbacks as well.
        chat = model.chat.model_copy(update={"callbacks": [listener], "metadata": labels})
        try:
            message = await self._message(chat, prompt, grant)
        except asyncio.CancelledError:
            # The provider bills a cancelled call for the prompt and for what it had written.
            await self.completions.abandon(grant, listener.spent())
            raise
        except Exception as error:  # client libraries raise errors of many kinds
            settings = self.settings
            failure = classify(error, request.key.agent, model.name, settings.secrets, settings.timeout)
            if listener.text or (isinstance(failure, ProviderError) and failure.billed):
                await self.completions.abandon(grant, listener.spent())
            else:
                await self.completions.release(grant)
            raise failure from error
        return await self._settle(request, model.name, grant, message, listener.spent(message))

    async def _message(self, chat: BaseChatModel, prompt: Prompt, grant: Grant) -> AIMessage:
        """Return the whole message of a reply. Raises ProviderError for one that is not the answer."""
        longest = TOTAL_TIMEOUTS * self.settings.timeout
        try:
            async with asyncio.timeout(longest) as clock:
                messages, limit = list(prompt.messages), self.provider.limit(grant.output_tokens)
                message = await chat.ainvoke(messages, **limit)
        except TimeoutError as error:
            if not clock.expired():
                raise
            reason = f"the reply took over {longest:g} s in all, {TOTAL_TIMEOUTS} times LLM_TIMEOUT"
            raise ProviderError(reason, retries=0) from error
        end = _end_of(message)
        if not end and not message.usage_metadata:
            raise ProviderError("the stream broke off")
        if end == "content_filter":
            raise ProviderError("the provider's content filter stopped the reply", retries=1)
        if end in BROKEN:
            raise ProviderError(f"the server ended the reply early (finish_reason {end})")
        return message

    async def _settle(
        self, request: _Request, model: str, grant: Grant, message: AIMessage, spent: Spent
    ) -> Reply:
        """Store the reply before anything else uses it."""
        text = valid_text(str(message.text))
        end = _end_of(message)
        # A server that gives no reason may have stopped at the limit as well.
        cut = end in CUT or (end == UNKNOWN_END and spent.output_tokens >= grant.output_tokens)
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
            if grant.output_tokens < self.settings.max_output_tokens:
                advice = f"was cut at {grant.output_tokens} tokens, the most that the model has room for"
            request.publish(ErrorReported(message=f"a reply of {model} {advice}", kind="warning"))
        usage = (spent.input_tokens, spent.output_tokens, spent.cost_usd)
        reply = Reply(text, model, *usage, cut=cut, estimated=spent.estimated, cached=False)
        _publish_usage(request.publish, request.key.agent, reply, sums)
        return reply


def _end_of(message: AIMessage) -> str:
    """Return the reason of the end of a reply, in lower case."""
    return str(message.response_metadata.get("finish_reason") or "").lower()


def _publish_usage(publish: Publish, agent: str, reply: Reply, sums: Sums) -> None:
    usage = {name: value for name, value in vars(reply).items() if name not in ("text", "cut")}
    totals = {"total_tokens": sums.tokens, "total_cost_usd": sums.cost_usd}
    unpriced = reply.cost_usd is None or sums.unpriced
    usage["estimated"] = reply.estimated or sums.estimated
    publish(BudgetUpdated(agent=agent, **usage, **totals, unpriced=unpriced))
