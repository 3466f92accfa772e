"""The journal: leases, runs and the event log, through real files and real processes."""

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from forking import Forked

from memory.records.database import JournalError
from memory.records.journal import Journal
from memory.records.owner import Owner, this_process
from memory.records.threads import ThreadBusy
from nodes.event_parts import Payload
from nodes.events import (
    EVENT,
    ApprovalRequired,
    Event,
    FilesEdited,
    RunFinished,
    RunStatus,
    SandboxOutput,
    Token,
)
from nodes.publish import Draft

ROOT = Path(__file__).parent.parent


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'home' / 'autocode.db'}"


@pytest.fixture
async def journal(url: str) -> AsyncIterator[Journal[Event]]:
    opened = await Journal.open(
        url, EVENT.validate_python, secrets=["sk-very-secret", "budget", 'quo"ted\nkey']
    )
    yield opened
    await opened.aclose()


def program(url: str, script: str) -> str:
    """Write a program with the journal open as `journal`, its name as `me`, and `token(number)`."""
    body = "\n".join(f"    {line}" for line in script.splitlines())
    return (
        "import asyncio, sys\nfrom memory.records.journal import Journal\n"
        "from memory.records.owner import this_process\n"
        "from nodes.events import EVENT, Token\nfrom nodes.publish import Draft\n"
        "def token(number):\n    return Draft(Token(text=str(number)))\n"
        f"async def main():\n    journal = await Journal.open({url!r}, EVENT.validate_python)\n"
        f"    me = str(this_process())\n{body}\n"
        "asyncio.run(main())\n"
    )


def elsewhere(url: str, script: str) -> Forked:
    """Start such a program in another process."""
    return Forked(["-c", program(url, script)], stdout=subprocess.PIPE, env=os.environ)


def token(number: int) -> Draft:
    return Draft(Token(text=str(number)))


HOLD = 'await journal.threads.acquire("t", "/r", me)\nprint(me, flush=True)\nawait asyncio.sleep(60)'


async def test_events_are_numbered_without_gaps_whoever_writes_and_whatever_is_cancelled(
    url: str, journal: Journal[Event]
) -> None:
    await journal.threads.acquire("t", "/repo", "me")
    await journal.threads.acquire("other", "/repo", "me")
    second = await Journal.open(url, EVENT.validate_python)
    writers = [
        asyncio.create_task(writer.events.write(thread, "r", [token(number)]))
        for number in range(40)
        for writer in (journal, second)
        for thread in ("t", "other")
    ]
    await asyncio.sleep(0.03)
    for task in writers[::7]:
        task.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    (last,) = await journal.events.write("t", "r", [Draft(Token(text="last"), "coder", "s1")])
    events = await second.events.read("t")
    assert [event.seq for event in events] == list(range(1, last.seq + 1))
    assert events[-1] == last
    assert (last.node, last.step_id, last.ts[-1], len(last.ts)) == ("coder", "s1", "Z", 24)
    assert await journal.events.read("t", after=last.seq - 1) == [last]
    await second.aclose()


async def test_secrets_are_masked_wherever_they_stand_in_an_event(url: str, journal: Journal[Event]) -> None:
    await journal.threads.acquire("t", "/repo", "me")
    request = {"a": ["x sk-very-secret y"], "sk-very-secret": {"b": 'quo"ted\nkey'}, "n": 1}
    (event,) = await journal.events.write("t", "r", [Draft(ApprovalRequired(id="1", request=request))])
    assert event.data == ApprovalRequired(id="1", request={"a": ["x *** y"], "***": {"b": "***"}, "n": 1})
    assert await journal.events.read("t") == [event]
    home = Path(url[10:]).parent
    assert not [name for name in os.listdir(home) if b"sk-very-secret" in (home / name).read_bytes()]


def unchecked(payload: type[Payload], **data: Any) -> Draft:
    return Draft(payload.model_construct(**data))


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        (
            unchecked(FilesEdited, files="calc.py", added=1, snapshot="f" * 40),
            r"edit event 3 of thread t .*data\.files: Input should be a valid list; .*removed: Field",
        ),
        # `budget` is one of the secrets, and its mask is no status.
        (Draft(RunFinished(status="budget")), r"run\.finished event 3 .*status"),
        (unchecked(Token, text=object()), "token event 3 .*object"),
    ],
)
async def test_an_ill_shaped_event_is_refused_and_leaves_nothing_behind(
    draft: Draft, reason: str, journal: Journal[Event]
) -> None:
    published: list[Event] = []
    journal.events.subscribe(published.extend)
    await journal.threads.acquire("t", "/repo", "me")
    await journal.events.write("t", "r", [token(1)])
    large = Draft(SandboxOutput(text="x" * 100_000))
    refused = asyncio.create_task(journal.events.write("t", "r", [large, draft, token(2)]))
    other = asyncio.create_task(journal.events.write("t", "r", [token(3)]))
    with pytest.raises(JournalError, match=reason):
        await refused
    events = await journal.events.read("t")
    assert [event.seq for event in events] == [1, 2] and events[1:] == await other
    assert published == events
    assert await journal.events.full_data("t", 3) is None
    assert await journal.events.ends(["t"]) == {"t": 2}


async def test_a_run_does_not_end_when_its_last_event_is_ill_shaped(journal: Journal[Event]) -> None:
    await journal.threads.acquire("t", "/repo", "me")
    await journal.runs.start("r", "t", {"task": "x"})
    with pytest.raises(JournalError, match=r"run\.finished event 1 of thread t is ill-shaped"):
        await journal.runs.end("t", "r", unchecked(RunFinished, status="well"), "verified")
    run = await journal.runs.get("r")
    assert run and (run.status, run.finished) == ("running", None)


async def test_a_thread_that_a_live_process_holds_is_refused_and_its_owner_named(
    url: str, journal: Journal[Event]
) -> None:
    with elsewhere(url, HOLD) as holder:
        assert holder.stdout
        owner = holder.stdout.readline().strip()
        with pytest.raises(ThreadBusy, match=f"process {holder.pid} ") as busy:
            await journal.threads.acquire("t", "/repo", str(this_process()))
        assert busy.value.owner == owner
        thread = await journal.threads.get("t")
        assert thread and thread.owner == owner
        holder.kill()


async def test_the_lease_of_a_killed_process_is_taken_over_at_once_even_before_it_is_reaped(
    url: str, journal: Journal[Event]
) -> None:
    command = [sys.executable, "-c", program(url, HOLD)]  # our own child, which nobody else reaps
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as holder:  # noqa: ASYNC220
        assert holder.stdout
        holder.stdout.readline()
        os.kill(holder.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        await journal.threads.acquire("t", "/repo", str(this_process()))
        with pytest.raises(ThreadBusy):
            await journal.threads.acquire("t", "/repo", str(this_process()))


async def test_a_process_on_another_host_holds_the_lease_as_long_as_its_heart_beats(
    url: str, journal: Journal[Event]
) -> None:
    far = "far.example:1:1.00:cafecafe"
    await journal.threads.acquire("t", "/repo", far)
    with pytest.raises(ThreadBusy, match=r"far\.example"):
        await journal.threads.acquire("t", "/repo", "me")
    with sqlite3.connect(url[10:]) as database:
        database.execute("UPDATE threads SET heartbeat = heartbeat - 60")
    database.close()
    await journal.threads.acquire("t", "/repo", "me")
    assert await journal.threads.renew(far, {"t": "r"}, 1.0) == {}
    await journal.threads.release("t", far)
    assert await journal.threads.renew("me", {"t": "r"}, 1.0) == {"t": False}


async def test_a_cancel_reaches_the_live_owner_with_its_next_beat_and_nobody_else(
    journal: Journal[Event],
) -> None:
    assert not await journal.threads.request_cancel("t")
    await journal.threads.acquire("t", "/repo", "me")
    await journal.threads.acquire("other", "/repo", "me")
    held = {"t": "r", "other": "r2"}
    assert await journal.threads.renew("me", held, 0.0) == {"t": False, "other": False}
    assert await journal.threads.request_cancel("t")
    assert await journal.threads.renew("me", held, 0.0) == {"t": True, "other": False}
    await journal.threads.release("t", "me")
    assert not await journal.threads.request_cancel("t")
    await journal.threads.acquire("t", "/repo", "me")
    assert await journal.threads.renew("me", {"t": "r"}, 0.0) == {"t": False}


async def end(
    journal: Journal[Event], thread: str, run: str, status: RunStatus, branch: str | None = None
) -> None:
    draft = Draft(RunFinished(status=status, branch=branch))
    assert await journal.runs.end(thread, run, draft, status, branch)


async def test_threads_show_their_newest_run_newest_thread_first(journal: Journal[Event]) -> None:
    for thread in ("a", "b"):
        await journal.threads.acquire(thread, f"/{thread}", "me")
        await journal.runs.start(f"{thread}1", thread, {"task": f"first of {thread}"})
    await end(journal, "a", "a1", "verified", "autocode/a")
    await journal.threads.release("a", "me")
    await journal.runs.start("a2", "a", {"task": "second of a", "options": {"parallel": False}})
    for _ in range(2):
        await journal.threads.renew("me", {"b": "b1"}, 1.5)
    rows = [(row.id, row.task, row.status, row.owner) for row in await journal.threads.all()]
    assert rows == [("b", "first of b", "running", "me"), ("a", "second of a", "running", None)]
    await end(journal, "a", "a2", "waiting")
    await journal.runs.resume("a2", "running")
    await end(journal, "a", "a2", "verified", "autocode/a")
    run = await journal.runs.current("a")
    assert run and run.finished and (run.id, run.status, run.branch) == ("a2", "verified", "autocode/a")
    assert run.input == {"task": "second of a", "options": {"parallel": False}}
    other = await journal.runs.current("b")
    assert other and (other.seconds, other.finished) == (3.0, None)
    assert await journal.runs.current("c") is None and await journal.threads.get("c") is None


async def test_what_was_written_before_a_kill_is_there_after_it(url: str, journal: Journal[Event]) -> None:
    script = (
        'await journal.threads.acquire("t", "/r", me)\nwhile True:\n'
        '    (event,) = await journal.events.write("t", "r", [token(1)])\n    print(event.seq, flush=True)'
    )
    with elsewhere(url, script) as writer:
        assert writer.stdout
        seen = [int(writer.stdout.readline()) for _ in range(50)]
        writer.kill()
        seen += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    stored = [event.seq for event in await journal.events.read("t")]
    assert stored[: len(seen)] == seen and stored == list(range(1, len(stored) + 1))
    assert len(stored) - len(seen) <= 1


def test_many_processes_may_open_a_new_database_at_once(url: str) -> None:
    script = (
        'await journal.threads.acquire(me, "/r", me)\n'
        'print((await journal.events.write(me, "r", [token(1)]))[0].seq)'
    )
    writers = [elsewhere(url, script + "\nawait journal.aclose()") for _ in range(4)]
    assert [writer.communicate()[0] for writer in writers] == ["1\n"] * 4


async def test_the_home_and_the_database_are_the_users_alone(url: str, journal: Journal[Event]) -> None:
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (Path(url[10:]).parent, url[10:])]
    assert modes == [0o700, 0o600]


async def test_a_database_that_cannot_be_used_says_where_it_is_and_what_to_do(tmp_path: Path) -> None:
    damaged = tmp_path / "odd name?#%.db"
    damaged.write_bytes(b"this is no database " * 100)
    with pytest.raises(JournalError, match=r"odd name\?#%\.db.*damaged: move it aside"):
        await Journal.open(f"sqlite:///{damaged}", EVENT.validate_python)
    with pytest.raises(JournalError, match="AUTOCODE_HOME"):
        await Journal.open(f"sqlite:///{tmp_path}", EVENT.validate_python)
    with pytest.raises(JournalError, match=r"psycopg|refused") as missing:
        await Journal.open("postgresql://me:pa55word@127.0.0.1:1/database", EVENT.validate_python)
    assert "pa55word" not in str(missing.value)
    damaged.unlink()
    opened = await Journal.open(f"sqlite:///{damaged}", EVENT.validate_python)
    with pytest.raises(JournalError, match="there is no thread nobody"):
        await opened.events.write("nobody", "r", [token(1)])
    await opened.aclose()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
async def test_a_read_only_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "autocode.db"
    await (await Journal.open(f"sqlite:///{file}", EVENT.validate_python)).aclose()
    file.chmod(0o400)
    with pytest.raises(JournalError, match="make it writable"):
        await Journal.open(f"sqlite:///{file}", EVENT.validate_python)


async def test_the_result_of_a_check_is_kept_and_replaced(journal: Journal[Event]) -> None:
    assert await journal.checks.check("key") is None
    await journal.checks.store_check("key", json.dumps([1]))
    await journal.checks.store_check("key", json.dumps([2]))
    assert await journal.checks.check("key") == "[2]"


def test_a_process_id_that_was_given_to_another_process_counts_as_dead() -> None:
    me = this_process()
    assert Owner.parse(str(me)) is not None and not me.died()
    assert Owner(me.host, me.pid, me.started - 100, me.place).died()
    assert not Owner(me.host, me.pid, me.started - 100, "elsewhere").died()
    assert Owner.parse("not an owner") is None


OLD = """
CREATE TABLE checks ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE completions (number INTEGER NOT NULL, run_id TEXT NOT NULL, agent TEXT NOT NULL,
 step_id TEXT NOT NULL, ordinal INTEGER NOT NULL, prompt_hash TEXT NOT NULL, model TEXT NOT NULL,
 messages TEXT NOT NULL, reply TEXT, state TEXT NOT NULL, input_tokens INTEGER NOT NULL,
 output_tokens INTEGER NOT NULL, cost_usd FLOAT, prompt_cost_usd FLOAT, seconds FLOAT NOT NULL,
 PRIMARY KEY (number));
CREATE TABLE events (thread_id TEXT NOT NULL, seq INTEGER NOT NULL, run_id TEXT NOT NULL, ts TEXT NOT NULL,
 type TEXT NOT NULL, node TEXT, step_id TEXT, data TEXT NOT NULL, PRIMARY KEY (thread_id, seq));
CREATE TABLE runs (number INTEGER NOT NULL, id TEXT NOT NULL, thread_id TEXT NOT NULL, input TEXT NOT NULL,
 status TEXT NOT NULL, branch TEXT, started TEXT NOT NULL, finished TEXT, seconds FLOAT NOT NULL,
 PRIMARY KEY (number), UNIQUE (id));
CREATE TABLE threads (number INTEGER NOT NULL, id TEXT NOT NULL, repo TEXT NOT NULL, created TEXT NOT NULL,
 last_seq INTEGER NOT NULL, owner TEXT, heartbeat FLOAT NOT NULL, cancel BOOLEAN NOT NULL,
 PRIMARY KEY (number), UNIQUE (id));
INSERT INTO threads VALUES (1, 't', '/r', '2026-11-01T00:00:00.000Z', 1, NULL, 0.0, 0);
INSERT INTO runs VALUES (1, 'r', 't', '{"task": "Add mul", "repo": "/r"}', 'waiting', NULL,
 '2026-11-01T00:00:00.000Z', '2026-11-01T00:00:01.000Z', 1.5);
INSERT INTO events VALUES ('t', 1, 'r', '2026-11-01T00:00:00.000Z', 'token', 'coder', 's1', '{"text": "x"}');
"""
"""What the first version wrote."""


async def test_a_database_of_the_first_version_opens_with_all_that_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "autocode.db"
    with sqlite3.connect(file) as database:
        database.executescript(OLD)
    database.close()
    for _ in range(2):
        opened = await Journal.open(f"sqlite:///{file}", EVENT.validate_python)
        (thread,) = await opened.threads.all()
        assert (thread.id, thread.status, thread.metadata) == ("t", "waiting", {})
        assert thread.updated == thread.created
        (run,) = await opened.runs.of_thread("t")
        assert (run.input["task"], run.seconds, run.metadata) == ("Add mul", 1.5, {})
        (event,) = await opened.events.read("t")
        assert (event.data, event.cut) == (Token(text="x"), False)
        await opened.aclose()
    opened = await Journal.open(f"sqlite:///{file}", EVENT.validate_python)
    assert await opened.threads.label("t", {"a": 1})
    (event,) = await opened.events.write("t", "r", [token(1)])
    assert event.seq == 2
    await opened.aclose()
    with sqlite3.connect(file) as database:
        database.execute("UPDATE about SET value = '99' WHERE key = 'schema'")
    database.close()
    with pytest.raises(JournalError, match="by a newer AutoCodeAI"):
        await Journal.open(f"sqlite:///{file}", EVENT.validate_python)


async def test_threads_are_labelled_searched_and_deleted(journal: Journal[Event]) -> None:
    for number, thread in enumerate(("a", "b", "c")):
        assert await journal.threads.create(thread, {"graph": "autocode", "n": number % 2})
    assert not await journal.threads.create("a", {"n": 7})
    assert await journal.threads.label("b", {"owner": "me"}) and not await journal.threads.label("z", {})
    await journal.runs.start("r", "c", {"task": "x"})
    found = await journal.threads.search({"n": 0})
    assert [(row.id, row.status) for row in found] == [("c", "running"), ("a", "new")]
    assert [row.id for row in await journal.threads.search({"n": 0}, offset=1)] == ["a"]
    assert [row.id for row in await journal.threads.search(statuses=("new",), limit=1)] == ["b"]
    assert [row.id for row in await journal.threads.search(order="id", ascending=True)] == ["a", "b", "c"]
    assert (await journal.threads.search(order="updated"))[0].id in ("b", "c")
    row = await journal.threads.get("b")
    assert row and row.metadata == {"graph": "autocode", "n": 1, "owner": "me"}
    await journal.threads.delete("c")
    assert await journal.threads.get("c") is None and await journal.runs.get("r") is None


async def test_runs_queue_on_their_thread_and_one_process_claims_each(journal: Journal[Event]) -> None:
    for run, thread in (("1", "t"), ("2", "t"), ("3", "u")):
        await journal.runs.submit(run, thread, {"task": run, "repo": "/r"}, {"k": run}, behind=True)
    with pytest.raises(ThreadBusy, match="unfinished run"):
        await journal.runs.submit("4", "t", {"task": "4"}, {}, behind=False)
    assert [run.id for run in await journal.runs.queue(10)] == ["1", "3"]
    assert not await journal.runs.claim("2", "me")
    claims = await asyncio.gather(*(journal.runs.claim("1", f"far:{n}:1.00:cafecafe") for n in range(3)))
    assert claims.count(True) == 1
    assert await journal.runs.withdraw("1", Draft(RunFinished(status="cancelled"))) is None
    current = await journal.runs.current("t")
    assert current and (current.id, current.status, current.metadata) == ("1", "running", {"k": "1"})
    await end(journal, "t", "1", "verified")
    assert [run.id for run in await journal.runs.queue(10)] == ["2", "3"]
    assert not await journal.runs.claim("2", "me")
    await journal.threads.release("t", f"far:{claims.index(True)}:1.00:cafecafe")
    assert await journal.runs.claim("2", "me")
