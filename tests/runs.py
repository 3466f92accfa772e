"""Whole runs for tests: a project in git, a scripted model, and the runner between them."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desk import Desk, Request, Said
from gitrepo import GitRepo
from typer.testing import CliRunner, Result

from graph.event_log import open_journal
from graph.settings import Settings
from graph.supervisor import Supervisor
from nodes.events import Event, RunFinished
from nodes.proof import Proof, ResultSummary
from server.cli.app import app

CALC = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    ".autocode.toml": '[test]\nmutants = "off"\n',  # else every run of the suite would try them
}

PLAN = (
    '{"explanation": "One function.", "steps":'
    ' [{"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py"}]}'
)
MULTIPLY = "def mul(a, b):\n    return a * b"
MUL = """```diff
--- a/calc.py
+++ b/calc.py
@@ -1,2 +1,6 @@
 def add(a, b):
     return a + b
+
+
+def mul(a, b):
+    return a * b
```"""
BROKEN_MUL = MUL.replace("a * b", "a - b")
MEND = """The operator is wrong.
```diff
--- a/calc.py
+++ b/calc.py
@@ -3,4 +3,4 @@


 def mul(a, b):
-    return a - b
+    return a * b
```"""
TESTS = """### tests/test_mul.py
```python
from calc import mul


def test_mul():
    assert mul(3, 4) == 12
```"""
PASS = '{"verdict": "PASS", "reasons": []}'


def block(path: str, code: str) -> str:
    """A reply that writes one whole file."""
    return f"### {path}\n```\n{code}\n```"


def plan_of(*steps: dict[str, Any]) -> str:
    """A planner's reply with steps for coders."""
    return json.dumps({"explanation": "", "steps": [{"agent": "coder", **step} for step in steps]})


def script(desk: Desk, **replies: Said | Callable[[Request], Said]) -> Desk:
    """A desk that does the task well, but for the agents given."""
    well: dict[str, Said | Callable[[Request], Said]] = {
        "planner": PLAN,
        "coder": MUL,
        "tester": TESTS,
        "debugger": MEND,
        "critic": PASS,
    }
    for agent, reply in (well | replies).items():
        desk.on(f"system: You are (the|a) {agent}", reply)
    return desk


@dataclass
class Run:
    """What a run told, from its first event to its last."""

    events: list[Event]

    @property
    def end(self) -> RunFinished:
        """How it ended."""
        last = self.events[-1]
        assert isinstance(last.data, RunFinished)
        return last.data

    @property
    def proof(self) -> Proof:
        """What its end rests on."""
        return Proof.model_validate(self.end.proof)

    @property
    def summary(self) -> ResultSummary:
        """The result in sentences, as the last event holds it."""
        assert self.end.summary
        return self.end.summary

    @property
    def thread(self) -> str:
        """The thread it ran on."""
        return self.events[0].thread_id

    def of(self, type: str) -> list[Any]:
        """The data of all events of one type."""
        return [event.data for event in self.events if event.type == type]

    def nodes(self) -> list[str | None]:
        """The nodes that finished, in order, routes aside."""
        skipped = ("snapshot", "environment", "recall", "tryout", "dispatch", "merge")
        return [e.node for e in self.events if e.type == "node.finished" and e.node not in skipped]


class Bench:
    """One installation, one repository, one scripted model."""

    def __init__(self, desk: Desk, home: Path, repo: GitRepo) -> None:
        self.desk, self.home, self.repo = desk, home, repo

    def settings(self, **more: Any) -> Settings:
        """Settings for the scripted model and the daemonless sandbox."""
        fixed: dict[str, Any] = {
            "autocode_home": self.home,
            "llm_mode": "local",
            "local_llm_url": self.desk.url,
            "sandbox_backend": "bubblewrap",
        }
        return Settings.load(**(fixed | more))

    def supervisor(
        self, *, foreground: bool = False, **settings: Any
    ) -> AbstractAsyncContextManager[Supervisor]:
        """Open a supervisor of this installation."""
        return Supervisor.open(self.settings(**settings), foreground=foreground)

    def name_thread(self, id: str) -> str:
        """Create a thread of this id, so that a command can be told to run on it."""

        async def create() -> None:
            async with aclosing(await open_journal(self.settings())) as journal:
                await journal.threads.create(id, {})

        asyncio.run(create())
        return id

    def autocode(self, *arguments: str) -> Result:
        """Run a command on this installation."""
        (empty := self.home / "empty.env").touch()
        env = {
            "AUTOCODE_HOME": str(self.home),
            "LLM_MODE": "local",
            "LOCAL_LLM_URL": self.desk.url,
            "SANDBOX_BACKEND": "bubblewrap",
            "AUTOCODE_ENV_FILE": str(empty),
        }
        return CliRunner().invoke(app, arguments, env=env)

    async def run(
        self,
        task: str = "Add mul",
        thread: str | None = None,
        settings: Mapping[str, Any] | None = None,
        **input: Any,
    ) -> Run:
        """Run a task to its end."""
        async with self.supervisor(foreground=True, **(settings or {})) as supervisor:
            given: Any = {"task": task, "repo": str(self.repo.path), **input}
            run = await supervisor.submit(given, thread)
            return Run([event async for event in supervisor.watch(run)])

    async def resume(
        self,
        thread: str,
        answers: Mapping[str, Mapping[str, Any]] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> Run:
        """Go on with a thread."""
        async with self.supervisor(foreground=True) as supervisor:
            seen = await supervisor.journal.events.read(thread)
            run = await supervisor.resume(thread, answers, limits)
            return Run([event async for event in supervisor.watch(run, len(seen))])
