"""Readers of a thread's log: nothing missing, nothing twice, whoever writes and whenever they come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from test_journal import elsewhere

from graph.errors import UnknownThread
from graph.event_log import BUFFER_EVENTS, PAGE_EVENTS, EventLog
from memory.records.events import LARGEST
from memory.records.journal import Journal
from nodes.events import EVENT, ApprovalRequired, CheckFinished, Event, RunFinished, SandboxOutput, Token
from nodes.publish import Draft


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'autocode.db'}"


@pytest.fixture
async def journal(url: str) -> AsyncIterator[Journal[Event]]:
    opened = await Journal.open(url, EVENT.validate_python)
    await opened.threads.acquire("t", "/r", "me")
    await opened.runs.start("r", "t", {})
    yield opened
    await opened.aclose()


async def read(log: EventLog, count: int, after: int = 0, pause: float = 0.0) -> list[Event]:
    """So many events, `pause` seconds apart."""
    found: list[Event] = []
    async with aclosing(log.follow("t", after)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
            await asyncio.sleep(pause)
    return found


def token(number: int) -> Draft:
    return Draft(Token(text=str(number)))


async def test_many_readers_get_every_event_once_however_late_or_slow_they_are(
    journal: Journal[Event],
) -> None:
    log = EventLog(journal)
    total = BUFFER_EVENTS + 400
    await journal.events.write("t", "r", [token(number) for number in range(100)])
    quick = [asyncio.create_task(read(log, total - after, after)) for after in (0, 1, 50, 100)]
    slow = asyncio.create_task(read(log, total, pause=0.0005))
    for start in range(100, total, 4):
        await asyncio.gather(*(journal.events.write("t", "r", [token(start + n)]) for n in range(4)))
    late = asyncio.create_task(read(log, total - 700, 700))
    for reader in (*quick, slow, late):
        numbers = [event.seq for event in await reader]
        assert numbers == list(range(total - len(numbers) + 1, total + 1))


async def test_a_page_of_large_events_is_short_so_that_slow_readers_hold_little(
    journal: Journal[Event],
) -> None:
    log = EventLog(journal)
    await journal.events.write("t", "r", [Draft(Token(text="x" * 60_000)) for _ in range(12)])
    await journal.events.write("t", "r", [token(number) for number in range(300)])
    sizes = [len(page) async for page in log.pages("t")]
    assert sum(sizes) == 312 and max(sizes[:2]) == 5 and max(sizes) == PAGE_EVENTS
    assert [event.seq async for page in log.pages("t", 300) for event in page] == list(range(301, 313))
    assert [event.seq for event in await read(log, 312)] == list(range(1, 313))
    assert [page async for page in log.pages("nobody")] == []


async def test_a_reader_that_comes_while_others_are_looked_after_stays(journal: Journal[Event]) -> None:
    log = EventLog(journal)
    names = [f"t{number}" for number in range(20)]
    for name in names:
        await journal.threads.acquire(name, "/r", "me")
    readers = [asyncio.create_task(anext(log.follow(name), None)) for name in names]
    await asyncio.sleep(0.3)
    for name in names:
        await journal.events.write(name, "r", [token(1)])
    assert all(await asyncio.gather(*readers))
    log.close()


async def test_what_another_process_writes_arrives_between_our_own(url: str, journal: Journal[Event]) -> None:
    log = EventLog(journal)
    reader = asyncio.create_task(read(log, 60))
    script = 'for n in range(30):\n    await journal.events.write("t", "r", [token(n)])'
    with elsewhere(url, script + "\nawait journal.aclose()"):
        for number in range(30):
            await journal.events.write("t", "r", [token(number)])
            await asyncio.sleep(0.02)
    assert [event.seq for event in await reader] == list(range(1, 61))


async def test_a_run_is_followed_through_its_parks_to_its_end_and_no_further(journal: Journal[Event]) -> None:
    log = EventLog(journal)
    end = Draft(RunFinished(status="waiting"))
    await journal.events.write("t", "r", [token(1), end])
    await journal.runs.start("other", "t", {})
    reader = asyncio.create_task(_all(log, "r"))
    await journal.events.write("t", "other", [token(2)])
    await journal.events.write("t", "r", [token(3)])
    assert await journal.runs.end("t", "r", Draft(RunFinished(status="verified")), "verified")
    assert [event.seq for event in await reader] == [1, 2, 4, 5]
    assert await _all(log, "r", after=5) == []
    with pytest.raises(UnknownThread):
        await anext(log.follow("nobody"))


async def _all(log: EventLog, run: str, after: int = 0) -> list[Event]:
    return [event async for event in log.follow("t", after, run)]


async def test_readers_end_when_their_thread_is_deleted_and_when_the_process_closes(
    journal: Journal[Event],
) -> None:
    log = EventLog(journal)
    reader = asyncio.create_task(read(log, 1))
    await journal.threads.acquire("u", "/r", "me")
    other = asyncio.create_task(anext(log.follow("u"), None))
    await asyncio.sleep(0)
    await journal.threads.release("t", "me")
    await journal.threads.delete("t")
    assert await reader == []
    log.close()
    assert await other is None


async def test_what_is_too_large_is_cut_and_kept_whole_aside(journal: Journal[Event]) -> None:
    text = "x" * (3 * LARGEST)
    cases = [{"id": f"tests.test_{n}", "base": "absent", "head": "passed"} for n in range(5000)]
    check = CheckFinished(green=True, passed=5000, failed=0, cases=cases, tree="0" * 40)
    whole = ApprovalRequired(id="1", request={"kind": "tool", "params": {"text": text}})
    (output, small, checked, asked) = await journal.events.write(
        "t",
        "r",
        [
            Draft(SandboxOutput(text=text)),
            token(1),
            Draft(check),
            Draft(whole),
        ],
    )
    assert [event.cut for event in (output, small, checked, asked)] == [True, False, True, False]
    assert len(output.wire) < LARGEST + 500 and "characters left out" in output.wire
    assert len(checked.wire) < LARGEST + 500 and '"passed":5000' in checked.wire
    assert await journal.events.full_data("t", output.seq) == {"text": text}
    assert (await journal.events.full_data("t", checked.seq) or {})["cases"] == cases
    assert await journal.events.full_data("t", small.seq) == {"text": "1"}
    assert await journal.events.full_data("t", 99) is None


def test_the_union_has_a_schema_that_tells_types_apart() -> None:
    described = EVENT.json_schema()
    assert {"run.started", "message", "check"} <= set(described["discriminator"]["mapping"])
