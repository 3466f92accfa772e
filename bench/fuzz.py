"""Feed replies, diffs, events, configurations, API bodies and repositories that nobody would write.

usage: python bench/fuzz.py [--minutes N] [--target NAME]… [--seed N]

Each target runs in a process of its own, in turns of half a minute. An example fails if it raises an error
that the code does not promise, if it takes over a second of CPU time, or if it kills or hangs the process.
hypothesis makes a failing example as small as it can. The exit code is 1 if anything was found.
"""

import argparse
import asyncio
import faulthandler
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pygit2
from hypothesis import HealthCheck, Verbosity, given, seed, settings
from hypothesis import strategies as st
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz_examples import DIFF, NAMES, REPLY, ROUTES, TOML, bodies, soup, values

from graph.settings import Settings
from memory.secrets import mask
from memory.validation import read_json, valid_text
from nodes.agent.toolbox import definitions
from nodes.check.output_text import cut_output, normalise
from nodes.check.suites.config import NoSuite, read_config
from nodes.dialogue.answers import spoken_answer
from nodes.dialogue.diffs import lines_shown
from nodes.dialogue.edits import check_whole
from nodes.dialogue.episodes import abridge
from nodes.dialogue.last_words import as_markdown
from nodes.dialogue.replies import Unusable, explanation, parse_edits, parse_json
from nodes.dialogue.verdicts import parse_verdict
from nodes.events import EVENT
from nodes.llm.reasoning import without_reasoning
from nodes.llm.tool_calls import read_call
from nodes.llm.written_calls import written_calls
from nodes.planning.plan_reply import read_reply
from sandbox.base import Limits
from sandbox.environment.detection.declaration import Declaration
from sandbox.environment.detection.sources import Sources
from sandbox.json_report import read_json as read_test_json
from sandbox.report import read_report
from server.app import create_app
from tools.patch import PatchError, apply_patch
from tools.policy import PolicyError, repository_policy
from tools.workspace import Workspace, WorkspaceError

TURN_SECONDS = 30.0
CPU_SECONDS = 1.0
"""The most that one example may take."""

LINES, WIDTH = 40, 300
"""The part of a traceback that is shown."""

HANG_SECONDS = 30
"""The clock's time after which the system ends the process."""


def fuzz_replies(text: str) -> None:
    """Read a text in each way that a reply is read."""
    text = valid_text(text)
    plain = without_reasoning(text)
    for read in (parse_edits, parse_json, parse_verdict, explanation, spoken_answer, as_markdown, normalise):
        with suppress(Unusable):
            read(plain)
    with suppress(Unusable):
        read_reply(parse_json(plain))
    with suppress(Unusable):
        check_whole("a.py", plain, "a\n")
    json.dumps(read_call("a", text).arguments, allow_nan=False)
    written_calls(text, definitions(Limits(), search=True))
    mask(cut_output(text))
    for data in (text.encode(), b"<testsuite><testcase>" + text.encode()):
        read_report(data)
        with suppress(ValueError):
            read_test_json(data)


def fuzz_plans(value: Any) -> None:
    """Validate a value as a planner's reply."""
    try:
        plan = read_reply(value) if isinstance(value, dict) else ""
    except Unusable:
        return
    json.dumps(plan if isinstance(plan, str) else dict(plan), allow_nan=False, ensure_ascii=False).encode()


def fuzz_diffs(text: str) -> None:
    """Apply a diff."""
    text = valid_text(text)
    with suppress(PatchError):
        after = apply_patch({"a.py": "a\nb\nc\n" * 20}, text)
        "".join(after.values()).encode()
    lines_shown(text)
    abridge({"a.py": text})


def fuzz_events(value: Any) -> None:
    """Read an event as the database has it."""
    with suppress(ValidationError, ValueError):
        event = EVENT.validate_python(read_json(json.dumps(value)))
        EVENT.dump_json(event)


def fuzz_toml(text: str) -> None:
    """Read a configuration file of a repository."""
    text = valid_text(text)
    with suppress(NoSuite):
        table = read_config(text)
        if table.timeout:
            int(table.timeout)
        if any("\0" in word for word in table.command or ()):
            raise ValueError("a word of the command holds NUL")
    with suppress(PolicyError):
        repository_policy(text, "file")
    Declaration.read(Sources({".autocode.toml": text, "a.py": ""}), "")


class Api:
    """The application in this process, over a home of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._client = self._loop.run_until_complete(self._open())

    async def _open(self) -> httpx.AsyncClient:
        home = Path(tempfile.mkdtemp(prefix="autocode-fuzz-"))
        options: dict[str, Any] = {"llm_mode": "local", "local_llm_url": "http://127.0.0.1:9/v1"}
        app = create_app(Settings(autocode_home=home, enable_memory=False, **options))
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", timeout=20)

    def __call__(self, request: tuple[str, str, bytes]) -> None:
        """Send a request. Raises AssertionError for an answer that blames the server."""
        method, path, body = request
        answer = self._loop.run_until_complete(
            self._client.request(method, path, content=body, headers={"Content-Type": "application/json"})
        )
        if answer.status_code >= 500 and answer.status_code not in (501, 503):
            raise AssertionError(f"{answer.status_code} {answer.text[:500]}")


def fuzz_repository(faults: list[tuple[str, bytes | None]]) -> None:
    """Open a repository some of whose files are damaged, or replaced by a FIFO."""
    with tempfile.TemporaryDirectory() as folder:
        repo = pygit2.init_repository(folder, initial_head="main")
        (Path(folder) / "a.py").write_text("a\n")
        repo.index.add_all()
        tree, author = repo.index.write_tree(), pygit2.Signature("a", "a@b.c", 1, 0)
        repo.create_commit("refs/heads/main", author, author, "a", tree, [])
        repo.index.write()
        for name, data in faults:
            path = Path(folder, ".git", name) if name in NAMES else Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if data is None:
                os.mkfifo(path)
            else:
                path.write_bytes(data)
        with suppress(WorkspaceError):
            workspace = Workspace.open(Path(folder))
            base = workspace.begin()
            workspace.files(base.snapshot)
            workspace.text(base.snapshot, "a.py")
            workspace.diff(base.snapshot, base.snapshot)


def targets() -> dict[str, tuple[st.SearchStrategy[Any], Callable[[], Callable[[Any], None]]]]:
    """Return each target's examples, and a function that makes what they are given to."""
    git = [
        b"",
        b"\0",
        b"ref: refs/heads/main\n",
        b"ref: ../../x\n",
        b"/\n",
        b"[core]\nbare = 1\n",
        b"[include]\npath = /dev/zero\n",
    ]
    data = st.none() | st.sampled_from(git) | st.binary(max_size=60)
    names = st.sampled_from([*NAMES, ".gitignore", ".gitattributes", "b.py", ".git/objects/aa/bb"])
    requests = st.tuples(
        st.sampled_from(["POST", "PATCH", "PUT", "GET", "DELETE"]), st.sampled_from(ROUTES), bodies()
    )
    return {
        "replies": (soup(REPLY), lambda: fuzz_replies),
        "plans": (values(), lambda: fuzz_plans),
        "diffs": (soup(DIFF), lambda: fuzz_diffs),
        "events": (values(), lambda: fuzz_events),
        "toml": (soup(TOML), lambda: fuzz_toml),
        "api": (requests, Api),
        "repositories": (st.lists(st.tuples(names, data), max_size=3), lambda: fuzz_repository),
    }


@contextmanager
def limits(example: Any, last: Path) -> Any:
    """Note the example, let the system end a process that hangs, and refuse a slow one."""
    last.write_text(ascii(example)[:20_000])
    signal.alarm(HANG_SECONDS)
    start = time.process_time()
    try:
        yield
    finally:
        signal.alarm(0)
    if (spent := time.process_time() - start) > CPU_SECONDS:
        raise AssertionError(f"took {spent:.1f} s of CPU time")


def run(name: str, number: int, seconds: float, last: Path) -> None:
    """Run one target for some seconds. Raises the error of the smallest failing example."""
    faulthandler.register(signal.SIGALRM, chain=True)  # shows where a process hangs before it ends
    examples, make = targets()[name]
    check, end, count = make(), time.monotonic() + seconds, 0
    while time.monotonic() < end:

        @seed(number)
        @settings(
            max_examples=200,
            deadline=None,
            database=None,
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(examples)
        def test(example: Any) -> None:
            with limits(example, last):
                check(example)

        test()
        number, count = number + 1, count + 200
    print(f"{name}: about {count} examples", flush=True)


def _end(text: str) -> str:
    """Return the last lines of a traceback, each as far as it fits a terminal."""
    return "\n".join(line[:WIDTH] for line in text.splitlines()[-LINES:])


def main() -> int:
    """Run the targets in turns until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--target", action="append", choices=list(targets()))
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    parser.add_argument("--child", nargs=2, metavar=("SECONDS", "FILE"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        try:
            run(words.target[0], words.seed, float(words.child[0]), Path(words.child[1]))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)  # the application's threads would keep the process
    end, number, broken = time.monotonic() + 60 * words.minutes, words.seed, list[str]()
    print(f"seed {number}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            for name in words.target or targets():
                seconds = min(TURN_SECONDS, 60 * words.minutes / len(words.target or targets()))
                last = Path(folder, name)
                child = ["--target", name, "--seed", str(number), "--child", str(seconds), str(last)]
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", __file__, *child], capture_output=True, text=True
                )
                print(done.stdout, end="", flush=True)
                if done.returncode:
                    broken.append(name)
                    print(f"FOUND in {name} (--seed {number}), exit code {done.returncode}")
                    print(_end(done.stderr))
                    print(f"last example: {last.read_text()[:2000] if last.exists() else ''}", flush=True)
            number += 1_000_000
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
