"""The ledger of model calls: what a run may still spend, across parallel calls and processes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.calls.budget import BudgetLimits, BudgetSpent, Estimate, Sums, allowed_output
from memory.calls.completions import CallKey, Completions, Grant, ModelUsage
from memory.calls.reply import Answer, Spent, ToolCall
from memory.records.journal import Journal
from nodes.events import EVENT, Event

MESSAGES = [{"role": "user", "content": "my key is sk-very-secret"}]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'autocode.db'}"


@pytest.fixture
async def journal(url: str) -> AsyncIterator[Journal[Event]]:
    opened = await Journal.open(url, EVENT.validate_python, secrets=["sk-very-secret"])
    await opened.runs.start("r", "t", {"task": "x"})
    yield opened
    await opened.aclose()


def key(step: str = "s1", ordinal: int = 0, prompt: str = "hash") -> CallKey:
    return CallKey("r", "coder", step, ordinal, prompt)


async def reserve(ledger: Completions, call: CallKey, limits: BudgetLimits, output: int = 1000) -> Grant:
    """A call whose prompt costs nothing to speak of, and a dollar for a thousand tokens of reply."""
    return await ledger.reserve(call, "m", MESSAGES, Estimate(10, output, 0.0, 0.001), limits)


async def test_a_reply_is_found_again_for_its_own_call_and_prompt_alone(journal: Journal[Event]) -> None:
    ledger = journal.completions
    grant = await reserve(ledger, key(), BudgetLimits())
    assert await ledger.lookup(key()) is None
    await ledger.settle(grant, Answer("said"), Spent(12, 3, 0.5, 1.0))
    stored = await ledger.lookup(key())
    assert stored and (stored.text, stored.model, stored.cost_usd) == ("said", "m", 0.5)
    for other in (key(step="s2"), key(ordinal=1), key(prompt="changed"), replace(key(), run_id="r2")):
        assert await ledger.lookup(other) is None


async def test_parallel_calls_of_two_processes_never_spend_more_than_the_limit(
    url: str, journal: Journal[Event]
) -> None:
    other = await Journal.open(url, EVENT.validate_python)
    limits = BudgetLimits(cost_usd=3.5)

    async def call(number: int) -> str:
        ledger = (journal, other)[number % 2].completions
        try:
            grant = await reserve(ledger, key(f"s{number}"), limits)
        except BudgetSpent as spent:
            assert (spent.kind, spent.limit) == ("cost", 3.5)
            return "refused"
        await asyncio.sleep(0.02)
        await ledger.settle(
            grant, Answer("said"), Spent(10, grant.output_tokens, grant.output_tokens * 0.001, 0.1)
        )
        return "said"

    said = await asyncio.gather(*(call(number) for number in range(8)))
    assert sorted(said) == ["refused"] * 4 + ["said"] * 4
    assert (await journal.completions.sums("r")).cost_usd == pytest.approx(3.5)
    await other.aclose()


async def test_a_call_waits_for_what_others_hold_and_mostly_do_not_use(journal: Journal[Event]) -> None:
    """A small budget must not fail parallel branches that together cost far less than it."""
    ledger, limits = journal.completions, BudgetLimits(cost_usd=1.2)

    async def call(number: int) -> None:
        grant = await reserve(ledger, key(f"s{number}"), limits)
        await asyncio.sleep(0.01)
        await ledger.settle(grant, Answer("said"), Spent(10, 50, 0.05, 0.1))

    await asyncio.wait_for(asyncio.gather(*(call(number) for number in range(8))), 30)
    assert (await ledger.sums("r")).cost_usd == pytest.approx(0.4)


async def test_what_is_left_caps_the_reply_and_too_little_is_refused(journal: Journal[Event]) -> None:
    ledger = journal.completions
    capped = await reserve(ledger, key("s1"), BudgetLimits(cost_usd=0.4))
    assert (capped.output_tokens, capped.capped) == (400, "cost")
    await ledger.release(capped)
    assert await ledger.sums("r") == Sums(0, 0.0)
    with pytest.raises(BudgetSpent, match=r"\$0\.0000 of \$0\.2"):
        await reserve(ledger, key("s1"), BudgetLimits(cost_usd=0.2))
    capped = await reserve(ledger, key("s1"), BudgetLimits(cost_usd=5, tokens=500))
    assert (capped.output_tokens, capped.capped) == (490, "tokens")
    await ledger.settle(capped, Answer("said"), Spent(300, 100, 0.1, 1.0))
    with pytest.raises(BudgetSpent, match="400 of 500 tokens") as spent:
        await reserve(ledger, key("s2"), BudgetLimits(tokens=500))
    assert (spent.value.kind, spent.value.spent, spent.value.limit) == ("tokens", 400, 500)


async def test_time_at_work_is_a_limit_too(journal: Journal[Event]) -> None:
    await journal.threads.acquire("t", "/repo", "me")
    await journal.threads.renew("me", {"t": "r"}, 59.0)
    await journal.completions.release(await reserve(journal.completions, key(), BudgetLimits(seconds=60)))
    await journal.threads.renew("me", {"t": "r"}, 1.5)
    with pytest.raises(BudgetSpent, match="60 of 60 seconds"):
        await reserve(journal.completions, key(), BudgetLimits(seconds=60))


async def test_an_unknown_price_counts_tokens_alone(journal: Journal[Event]) -> None:
    ledger, unpriced = journal.completions, Estimate(10, 1000, None, None)
    grant = await ledger.reserve(key(), "odd", MESSAGES, unpriced, BudgetLimits(cost_usd=0.01))
    await ledger.settle(grant, Answer("said"), Spent(10, 600, None, 2.0))
    assert await ledger.sums("r") == Sums(610, 0.0, unpriced=True)
    assert await ledger.usage("r") == [ModelUsage("coder", "odd", 1, 10, 600, None, 2.0)]
    with pytest.raises(BudgetSpent):
        await ledger.reserve(key("s2"), "odd", MESSAGES, unpriced, BudgetLimits(tokens=800))


async def test_what_a_dead_process_left_reserved_is_counted_at_its_prompt_and_blocks_nobody(
    journal: Journal[Event],
) -> None:
    ledger, limits = journal.completions, BudgetLimits(cost_usd=1.1)
    await ledger.reserve(key(), "m", MESSAGES, Estimate(100, 1000, 0.001, 0.001), limits)
    waiting = asyncio.create_task(reserve(ledger, key("s2"), limits))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await ledger.abandon_all("r")
    assert await ledger.sums("r") == Sums(100, 0.1)
    assert await ledger.lookup(key()) is None
    assert (await reserve(ledger, key("s2"), limits)).output_tokens == 1000


async def test_a_cancelled_call_leaves_no_reservation_behind(journal: Journal[Event]) -> None:
    ledger = journal.completions
    for turns in range(12):
        task = asyncio.create_task(reserve(ledger, key(), BudgetLimits()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Grant):  # sooner done than cancelled: whoever called holds it
            await ledger.release(outcome)
        else:
            assert isinstance(outcome, asyncio.CancelledError)
    await asyncio.wait_for(reserve(ledger, key(), BudgetLimits(cost_usd=1.0)), 30)


async def test_a_settled_call_becomes_a_line_of_a_cassette_without_secrets(journal: Journal[Event]) -> None:
    ledger = journal.completions
    await ledger.abandon(await reserve(ledger, key(), BudgetLimits()), Spent(10, 5, 0.25, 1.0))
    grant = await reserve(ledger, key(), BudgetLimits())
    await ledger.settle(grant, Answer("sk-very-secret!"), Spent(10, 3, 0.5, 1.0))
    assert await ledger.exchange(grant) == {
        "agent": "coder",
        "step": "s1",
        "ordinal": 0,
        "prompt_hash": "hash",
        "model": "m",
        "messages": [{"role": "user", "content": "my key is ***"}],
        "reply": "***!",
        "usage": {
            "input_tokens": 10,
            "output_tokens": 3,
            "cost_usd": 0.5,
            "seconds": 1.0,
            "cached_tokens": 0,
        },
    }
    assert await ledger.usage("r") == [ModelUsage("coder", "m", 2, 20, 8, 0.75, 2.0)]


PRICES = st.one_of(st.none(), st.floats(0, 1e-3))
TOKENS = st.integers(1, 200_000)
ESTIMATES = st.builds(Estimate, TOKENS, TOKENS, PRICES, PRICES)
LIMITS = st.builds(BudgetLimits, st.floats(1e-6, 10), TOKENS)


@given(ESTIMATES, LIMITS, st.builds(Sums, TOKENS, st.floats(0, 10)))
def test_a_granted_call_fits_into_its_limits(estimate: Estimate, limits: BudgetLimits, sums: Sums) -> None:
    tokens, kind = allowed_output(estimate, limits, sums)
    assert tokens <= estimate.output_tokens and (kind or tokens == estimate.output_tokens)
    if tokens > 0:
        assert limits.tokens and sums.tokens + estimate.input_tokens + tokens <= limits.tokens
        cost = estimate.input_tokens * (estimate.input_price or 0) + tokens * (estimate.output_price or 0)
        assert limits.cost_usd and sums.cost_usd + cost <= limits.cost_usd * (1 + 1e-9)


@pytest.mark.parametrize("argument", [10**30, float("inf"), "deep"], ids=["number", "infinity", "deep"])
async def test_a_stored_reply_that_cannot_be_read_is_asked_for_anew(
    journal: Journal[Event], argument: object
) -> None:
    value: object = argument
    for _ in range(200 if argument == "deep" else 0):
        value = [value]
    ledger = journal.completions
    grant = await reserve(ledger, key(), BudgetLimits())
    await ledger.settle(grant, Answer("", tool_calls=(ToolCall("1", "read", {"a": value}),)), Spent())
    assert await ledger.lookup(key()) is None
