"""Calls to models. Each reply is paid for once, within a budget, with retries and a fallback model."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from memory.calls.budget import BudgetLimits, BudgetSpent, Estimate, Sums, within_time
from memory.calls.completions import CallKey, Completions, Grant
from memory.records.notes import Notes
from nodes.events import BudgetUpdated, ErrorReported, Event, NoteRead, Retried
from nodes.llm.answer import check_end, is_cut, read_answer
from nodes.llm.call import ANSWER, Call, Reply
from nodes.llm.cassette import CassetteProvider, record
from nodes.llm.model_settings import ModelError, ModelSettings, price_advice
from nodes.llm.prices import ModelLimits, limits_of
from nodes.llm.prompt import Prompt, ReplyListener, hide_keys, output_limit
from nodes.llm.provider_errors import PromptTooLong, ProviderError, ToolsRefused, classify, refuses_tools
from nodes.llm.providers import LiteLLMProvider, Offers, OpenAIProvider, PricedModel, Provider
from nodes.llm.retries import RateGates, Retries
from nodes.llm.tool_calls import ToolDefinition
from nodes.llm.wire import THOUGHTS
from nodes.publish import Draft, Publish
from nodes.state import Agent, Options

TOTAL_TIMEOUTS = 10
"""A reply may take so many times LLM_TIMEOUT in all, which itself counts only silence."""


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
    refused: dict[str, str] = field(default_factory=dict)
    offers: Offers = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offers", Offers(self.settings, self.provider))

    def preload(self) -> None:
        """Import the client library ahead of the first call. Blocks for seconds."""
        self.provider.preload()

    async def check(self, options: Options) -> None:
        """Raise ModelError if the options of a run name models that cannot be reached, or have no key."""
        settings = self.settings.chosen_by(options)
        settings.check_chosen()
        await self.provider.check({agent: settings.model_of(agent) for agent in settings.chosen})

    async def probe(self, options: Options | None = None) -> None:
        """Raise ModelError if a key is missing, a server does not answer, or LLM_RECORD is not writable."""
        settings = self.settings.chosen_by(options or Options())
        await self.provider.probe({agent: settings.model_of(agent) for agent in settings.agents})
        tape = self.settings.record
        if tape and not os.access(tape if tape.exists() else tape.absolute().parent, os.W_OK):
            raise ModelError(f"LLM_RECORD={tape} cannot be written; name a file in a writable folder")

    async def notes(self, call: Call) -> list[str]:
        """Return the user's notes for a call. A repeated call gets the same ones.

        A note counts until the end of its run. Each step of an agent reads it once, which is an event.
        """
        if self.user_notes is None:
            return []

        def read(notes: list[int]) -> Draft:
            return Draft(NoteRead(notes=notes), call.agent, None if call.agent == "planner" else call.step)

        return await self.user_notes.for_call(call.run, call.agent, call.step, call.ordinal, read)

    async def notes_of(self, run: str) -> list[str]:
        """Return all notes of the user to a run."""
        return await self.user_notes.of_run(run) if self.user_notes else []

    @asynccontextmanager
    async def within_time(self, run: str, options: Options) -> AsyncIterator[None]:
        """Stop the work inside when the time of its run is up. Raises BudgetSpent."""
        limit = (await self.options(run, options)).max_run_seconds
        async with within_time(limit, await self.completions.seconds(run)):
            yield

    async def options(self, run: str, options: Options) -> Options:
        """Return the options of a run, with those that a resume gave."""
        return Options.model_validate(await self.completions.options(run, options.model_dump()))

    async def calls_tools(self, agent: Agent, options: Options | None = None) -> bool:
        """Return False if the agent's model is known to call no tools, which a refusal may teach."""
        name = self.settings.chosen_by(options or Options()).model_of(agent)
        return name not in self.refused and await self.provider.calls_tools(name, agent)

    async def recorded_result(self, call: Call, call_id: str) -> str | None:
        """Return what a tool answered when a call was recorded, None where nothing is replayed."""
        key = CallKey(call.run, call.agent, call.step, call.ordinal, "")
        return await self.provider.recorded_result(key, call_id)

    async def window(self, agent: Agent, options: Options) -> int | None:
        """Return the tokens that the agent's model takes at once, None if nobody knows."""
        name = self.settings.chosen_by(options).model_of(agent)
        known = self.learned.get(name) or await asyncio.to_thread(limits_of, name)
        return self.settings.context_tokens or (known.window if known else None)

    async def complete(
        self,
        call: Call,
        messages: Sequence[BaseMessage],
        options: Options,
        publish: Publish,
        tools: Sequence[ToolDefinition] = (),
    ) -> Reply:
        """Return the reply, the stored one if the call was paid for before.

        Raises BudgetSpent, ToolsRefused if the model or the fallback takes no tools, and ModelError once all
        retries and the fallback have failed.
        """
        prompt = Prompt(hide_keys(messages, self.settings.secrets), tools)
        key = CallKey(call.run, call.agent, call.step, call.ordinal, prompt.hash)
        if stored := await self.completions.lookup(key):
            reply = Reply(**{**vars(stored), "cost_usd": 0.0}, cached=True)  # it was paid for before
            _publish_usage(publish, call.agent, reply, await self.completions.sums(call.run))
            return reply
        options = await self.options(call.run, options)
        request = _Request(key, prompt, BudgetLimits.of(options.model_dump()), publish)
        chosen, fallback = self.settings.chosen_by(options).model_of(call.agent), self.settings.fallback
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
        if request.prompt.tools and not await self.provider.calls_tools(name, request.key.agent):
            self.refused.setdefault(name, "its profile says so")
        if request.prompt.tools and name in self.refused:
            raise ToolsRefused(name, self.refused[name])
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
        estimate = Estimate(
            prompt.tokens, longest, *((price.most_input, price.output) if price else (None, None))
        )
        grant = await self.completions.reserve(
            request.key, model.name, prompt.wire, estimate, request.limits, prompt.tools
        )
        window = self.learned.get(model.name, model.limits).window
        listener = ReplyListener(prompt, price, window, grant.output_tokens)
        labels = {"agent": request.key.agent, "step_id": request.key.step_id}
        # A copy, because calls of one model run in parallel. LangGraph listens to its callbacks as well.
        chat = model.chat.model_copy(update={"callbacks": [listener], "metadata": labels})
        try:
            message = await self._message(chat, model.name, prompt, grant, listener)
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
                if prompt.tools and refuses_tools(failure):
                    self.refused[model.name] = str(failure)
                    raise ToolsRefused(model.name, str(failure)) from error
            raise failure from error
        return await self._settle(request, model.name, grant, message, listener)

    async def _message(
        self, chat: BaseChatModel, name: str, prompt: Prompt, grant: Grant, listener: ReplyListener
    ) -> AIMessage:
        """Return the whole message of a reply. Raises ProviderError for one that is not the answer."""
        longest = TOTAL_TIMEOUTS * self.settings.timeout
        THOUGHTS.set(listener.thoughts)
        try:
            async with asyncio.timeout(longest) as clock:
                asked = chat.bind_tools(prompt.tools) if prompt.tools else chat
                arguments = self.provider.arguments(prompt, grant.output_tokens)
                message = await asked.ainvoke(self.provider.messages(prompt, name), **arguments)
        except TimeoutError as error:
            if not clock.expired():
                raise
            reason = f"the reply took over {longest:g} s in all, {TOTAL_TIMEOUTS} times LLM_TIMEOUT"
            raise ProviderError(reason, retries=1) from error
        check_end(message)
        return message

    async def _settle(
        self, request: _Request, model: str, grant: Grant, message: AIMessage, listener: ReplyListener
    ) -> Reply:
        """Store the reply before anything else uses it."""
        spent = listener.spent(message)
        cut = is_cut(message, spent.output_tokens >= grant.output_tokens)
        if cut and grant.capped:  # by the budget, so a longer reply would not be paid for either
            sums, limits = await self.completions.abandon(grant, spent), request.limits
            if grant.capped == "cost":
                raise BudgetSpent("cost", sums.cost_usd, limits.cost_usd or 0.0)
            raise BudgetSpent("tokens", sums.tokens, limits.tokens or 0)
        prompt, key = request.prompt, request.key
        place = f"{key.agent} {key.step_id} {key.ordinal}"
        answer = read_answer(message, listener, prompt, place, cut).hidden(self.settings.secrets)
        sums = await self.completions.settle(grant, answer, spent)
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
        usage = {name: value for name, value in vars(spent).items() if name != "seconds"}
        reply = Reply(**vars(answer), **usage, model=model)
        _publish_usage(request.publish, request.key.agent, reply, sums)
        return reply


def _publish_usage(publish: Publish, agent: str, reply: Reply, sums: Sums) -> None:
    usage = {name: value for name, value in vars(reply).items() if name not in ANSWER}
    totals = {"total_tokens": sums.tokens, "total_cost_usd": sums.cost_usd}
    unpriced = reply.cost_usd is None or sums.unpriced
    usage["estimated"] = reply.estimated or sums.estimated
    publish(BudgetUpdated(agent=agent, **usage, **totals, unpriced=unpriced))
