"""Models answer calls: each reply is paid for once, within a budget, through retries and a fallback."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from langchain_core.messages import AIMessage, BaseMessage
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from memory.records.budget import BudgetSpent, Estimate, Limits, Sums
from memory.records.completions import Completions, Grant, Key
from memory.records.notes import Notes
from nodes.events import BudgetUpdated, ErrorReported, Retried
from nodes.llm.cassette import record
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.prices import Price
from nodes.llm.prompt import Listener, Prompt
from nodes.llm.provider_errors import Trouble, understood
from nodes.llm.providers import Provider, Voice, provider_of
from nodes.publish import Publish
from nodes.state import Agent, Options

LONGEST_BACKOFF = 30.0


@dataclass(frozen=True)
class Call:
    """Which call: the `ordinal`th of an agent's step in a run."""

    run: str
    agent: Agent
    step: str
    ordinal: int


@dataclass(frozen=True)
class Reply:
    """What a model said and took; `cost_usd` is None where its price is unknown."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cached: bool


class Models(Protocol):
    """Answers calls."""

    async def complete(
        self, call: Call, messages: Sequence[BaseMessage], options: Options, publish: Publish
    ) -> Reply:
        """The reply: the stored one if this call was paid for before. Raises BudgetSpent, ModelError."""
        ...

    async def notes(self, call: Call) -> list[str]:
        """The user's notes that a call is to see: the same ones whenever it is made."""
        ...

    def warm(self) -> None:
        """Import what the first call would import, for a process that will make many. Takes seconds."""
        ...

    async def probe(self) -> None:
        """Raise ModelError before any work: a missing key, an unreachable server."""
        ...


@asynccontextmanager
async def open_models(
    settings: ModelSettings, completions: Completions, notes: Notes | None = None
) -> AsyncIterator[Models]:
    """The models of the settings' mode; connections are closed at the end."""
    provider = provider_of(settings)
    try:
        yield ChatModels(settings, completions, provider, notes)
    finally:
        await provider.aclose()


@dataclass(frozen=True)
class _Question:
    """One call with what all its attempts share."""

    key: Key
    agent: Agent
    prompt: Prompt
    limits: Limits
    publish: Publish


class ChatModels:
    """Models behind a provider: lookup, reservation, call, settlement, in this order."""

    def __init__(
        self, settings: ModelSettings, completions: Completions, provider: Provider, notes: Notes | None
    ) -> None:
        self._settings = settings
        self._notes = notes
        self._completions = completions
        self._provider = provider
        self._warned: set[str] = set()

    def warm(self) -> None:
        """Import what the first call would import, for a process that will make many. Takes seconds."""
        self._provider.warm()

    async def probe(self) -> None:
        """Raise ModelError before any work: a missing key, an unreachable server, an unwritable tape."""
        agents = self._settings.agents
        await self._provider.probe({agent: self._settings.model_of(agent) for agent in agents})
        tape = self._settings.record
        if tape and not os.access(tape if tape.exists() else tape.absolute().parent, os.W_OK):
            raise ModelError(f"LLM_RECORD={tape} cannot be written; name a file in a writable folder")

    async def notes(self, call: Call) -> list[str]:
        """The user's notes that a call is to see: the same ones whenever it is made."""
        if self._notes is None:
            return []
        return await self._notes.notes_for(call.run, call.agent, call.step, call.ordinal)

    async def complete(
        self, call: Call, messages: Sequence[BaseMessage], options: Options, publish: Publish
    ) -> Reply:
        """The reply: the stored one if this call was paid for before. Raises BudgetSpent, ModelError."""
        prompt = Prompt(messages)
        key = Key(call.run, call.agent, call.step, call.ordinal, prompt.hash)
        if stored := await self._completions.lookup(key):
            reply = Reply(**{**vars(stored), "cost_usd": 0.0}, cached=True)
            _announce(publish, call.agent, reply, await self._completions.sums(call.run))
            return reply
        limits = Limits(options.max_cost_usd, options.max_tokens, options.max_run_seconds)
        question = _Question(key, call.agent, prompt, limits, publish)
        chosen, fallback = self._settings.model_of(call.agent), self._settings.fallback
        try:
            return await self._persist(question, chosen)
        except Trouble as first:
            if fallback == chosen:
                raise ModelError(_given_up(call.agent, chosen, first)) from first
            reason = f"{first.reason}; {fallback} steps in for {chosen}"
            publish(Retried(reason=reason, attempt=1, model=fallback))
            try:
                return await self._persist(question, fallback)
            except (Trouble, ModelError) as second:
                given_up = _given_up(call.agent, chosen, first)
                raise ModelError(f"{given_up}; {fallback} failed in its place: {second}") from second

    async def _persist(self, question: _Question, model: str) -> Reply:
        """Ask until there is a reply; Trouble once the retries are used up."""
        patience = wait_random_exponential(self._settings.retry_seconds, LONGEST_BACKOFF)
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, Trouble) and not error.hopeless),
            stop=stop_after_attempt(self._settings.max_retries + 1),
            wait=lambda state: _asked_to_wait(state, patience(state)),
            before_sleep=partial(_tell, question.publish, model),
            reraise=True,
        )
        return await attempts(self._attempt, question, model)

    async def _attempt(self, question: _Question, model: str) -> Reply:
        """One request, reserved before it is made and settled after."""
        voice = await self._provider.voice(model, question.key)
        self._warn(voice.warning, question.publish)
        grant = await self._completions.reserve(
            question.key,
            voice.model,
            question.prompt.wire,
            self._estimate(question, voice.price),
            question.limits,
        )
        listener = Listener(question.prompt, voice.price)
        try:
            message = await self._ask(question, voice, grant, listener)
        except asyncio.CancelledError:
            await self._completions.abandon(grant, listener.spent())
            raise
        except Exception as error:  # client libraries raise whatever they like
            failure = understood(error, question.agent, model, self._settings.secrets)
            if listener.text or (isinstance(failure, Trouble) and failure.billed):
                await self._completions.abandon(grant, listener.spent())
            else:
                await self._completions.release(grant)
            raise failure from error
        return await self._settle(question, voice, grant, message, listener)

    async def _ask(self, question: _Question, voice: Voice, grant: Grant, listener: Listener) -> AIMessage:
        """Stream the reply through LangChain's callbacks, where LangGraph listens too."""
        labels = {"agent": question.agent, "step_id": question.key.step}
        chat = voice.chat.model_copy(update={"callbacks": [listener], "metadata": labels})
        message = await chat.ainvoke(
            list(question.prompt.messages), **self._provider.limit(grant.output_tokens)
        )
        if not message.response_metadata.get("finish_reason") and not message.usage_metadata:
            raise Trouble("the stream broke off")
        return message

    async def _settle(
        self, question: _Question, voice: Voice, grant: Grant, message: AIMessage, listener: Listener
    ) -> Reply:
        """Store the reply before anything else can happen to it."""
        text = str(message.text)
        spent = listener.spent(message)
        cut = message.response_metadata.get("finish_reason") == "length"
        if cut and grant.capped:
            sums = await self._completions.abandon(grant, spent)
            raise _spent_up(grant, sums, question.limits)
        sums = await self._completions.settle(grant, text, spent)
        if self._settings.record:
            await self._record(self._settings.record, grant)
        if cut:
            advice = f"was cut at {spent.output_tokens} tokens; raise LLM_MAX_OUTPUT_TOKENS"
            _caution(question.publish, f"a reply of {voice.model} {advice}")
        reply = Reply(
            text, voice.model, spent.input_tokens, spent.output_tokens, spent.cost_usd, cached=False
        )
        _announce(question.publish, question.agent, reply, sums)
        return reply

    def _estimate(self, question: _Question, price: Price | None) -> Estimate:
        wanted = self._settings.max_output_tokens
        if price is None:
            return Estimate(question.prompt.tokens, wanted, None, None)
        most = min(wanted, price.max_output_tokens or wanted)
        return Estimate(question.prompt.tokens, most, price.input, price.output)

    async def _record(self, tape: Path, grant: Grant) -> None:
        exchange = await self._completions.exchange(grant)
        try:
            await asyncio.to_thread(record, tape, exchange)
        except OSError as error:
            raise ModelError(f"LLM_RECORD={tape} cannot be written: {error}") from error

    def _warn(self, warning: str, publish: Publish) -> None:
        """Pass a warning on, the first time."""
        if warning and warning not in self._warned:
            self._warned.add(warning)
            _caution(publish, warning)


def _spent_up(grant: Grant, sums: Sums, limits: Limits) -> BudgetSpent:
    """The budget cut a reply short: half an answer is worth nothing."""
    if grant.capped == "cost":
        return BudgetSpent("cost", sums.cost_usd, limits.cost_usd or 0.0)
    return BudgetSpent("tokens", sums.tokens, limits.tokens or 0)


def _given_up(agent: Agent, model: str, trouble: Trouble) -> str:
    advice = f"try again later, or set {agent.upper()}_MODEL to another model"
    return f"{agent}: {model} keeps failing ({trouble.reason}); {advice}"


def _asked_to_wait(state: RetryCallState, backoff: float) -> float:
    """Seconds before the next attempt: as the provider asked, else the backoff."""
    trouble = state.outcome and state.outcome.exception()
    asked = trouble.retry_after if isinstance(trouble, Trouble) else None
    return backoff if asked is None else asked


def _tell(publish: Publish, model: str, state: RetryCallState) -> None:
    """Make a retry visible."""
    reason = str(state.outcome and state.outcome.exception())
    wait = state.next_action.sleep if state.next_action else 0.0
    attempt = state.attempt_number
    publish(Retried(reason=reason, attempt=attempt, model=model, wait_seconds=round(wait, 3)))


def _caution(publish: Publish, message: str) -> None:
    publish(ErrorReported(message=message, kind="warning"))


def _announce(publish: Publish, agent: Agent, reply: Reply, sums: Sums) -> None:
    publish(
        BudgetUpdated(
            agent=agent,
            model=reply.model,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost_usd=reply.cost_usd,
            total_tokens=sums.tokens,
            total_cost_usd=sums.cost_usd,
            unpriced=reply.cost_usd is None,
            cached=reply.cached,
        )
    )
