"""Events of invented runs, for the tests of the views."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from memory.records.episodes import Episode, EpisodeRepair, FileChange
from nodes.events import EVENT, ApprovalRequired, Event

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PLAN: dict[str, Any] = {
    "explanation": "Parse durations in one module, use them in the command line.",
    "steps": [
        {
            "id": "s1",
            "agent": "coder",
            "description": "Add parse_duration() to the new src/durations.py: 1h30m, 90s, plain seconds",
            "file": "src/durations.py",
            "group": 1,
        },
        {"id": "s2", "agent": "coder", "description": "Document --timeout", "file": "README.md", "group": 1},
        {
            "id": "s3",
            "agent": "coder",
            "description": "Read --timeout through parse_duration in src/cli.py",
            "file": "src/cli.py",
            "group": 2,
        },
    ],
}
PENDING = [ApprovalRequired(id="i-1", request={"kind": "plan", "plan": PLAN})]
PROOF: dict[str, Any] = {
    "task": "Let --timeout take durations",
    "base": "b" * 40,
    "head": "a" * 40,
    "tree": "c" * 40,
    "backend": "bubblewrap",
    "image": "python 3.11.9, pytest 9.2.0",
    "command": ["python", "-m", "pytest", "-p", "no:cacheprovider"],
    "exit_code": 0,
    "green": True,
    "cases": [
        {
            "id": "tests.test_durations::test_hours_and_minutes",
            "base": "error",
            "head": "passed",
            "new": True,
        },
        {"id": "tests.test_durations::test_nonsense_raises", "base": "error", "head": "passed", "new": True},
        {"id": "tests.test_durations::test_module_exists", "base": "passed", "head": "passed", "new": True},
        {"id": "tests.test_cli::test_help", "base": "passed", "head": "passed", "new": False},
    ],
    "vacuous": ["tests.test_durations::test_module_exists"],
    "verdict": "PASS",
    "reasons": ["Small, and every case of the task is tested."],
}
USAGE = [
    {
        "agent": agent,
        "model": model,
        "calls": calls,
        "input_tokens": 1500 * calls,
        "output_tokens": 420 * calls,
        "cost_usd": cost,
        "seconds": 2.5 * calls,
    }
    for agent, model, calls, cost in [
        ("planner", "gpt-4o", 1, 0.012),
        ("coder", "deepseek/deepseek-chat", 3, 0.0021),
        ("tester", "groq/llama-3.3-70b-versatile", 1, None),
    ]
]


class Story:
    """Makes events with sequence numbers and times, as the journal does."""

    def __init__(self, thread: str = "7f3a12") -> None:
        self._thread = thread
        self._seq = 0
        self._at = START

    def event(
        self, type: str, node: str | None = None, step: str | None = None, wait: float = 0.1, **data: Any
    ) -> Event:
        """Make the next event, `wait` seconds after the last."""
        self._seq += 1
        self._at += timedelta(seconds=wait)
        ts = self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return EVENT.validate_python(
            {
                "seq": self._seq,
                "thread_id": self._thread,
                "run_id": "r1",
                "ts": ts,
                "type": type,
                "node": node,
                "step_id": step,
                "data": data,
            }
        )

    def node(
        self, node: str, seconds: float, *, error: str | None = None, step: str | None = None
    ) -> Iterator[Event]:
        """Start and finish a node without other events."""
        yield self.event("node.started", node, step)
        yield self.event("node.finished", node, step, wait=seconds, seconds=seconds, error=error)

    def begin(self, **data: Any) -> Event:
        """Start the run."""
        return self.event("run.started", task="Let --timeout take durations", repo="/srv/shop", **data)

    def plan(self) -> Iterator[Event]:
        """Plan three steps. The first two are parallel."""
        yield self.event("node.started", "planner")
        yield self.event("token", "planner", wait=0.5, text='{"explanation": "Parse dura')
        yield self.event("plan", "planner", wait=0.6, plan=PLAN)
        yield self.event("node.finished", "planner", seconds=1.2)

    def stream(self, steps: dict[str, str]) -> Iterator[Event]:
        """Stream replies of parallel coders, one token of each in turn."""
        for step in steps:
            yield self.event("node.started", "coder", step)
        pieces = {step: text.split(" ") for step, text in steps.items()}
        for number in range(max(len(words) for words in pieces.values())):
            for step, words in pieces.items():
                if number < len(words):
                    yield self.event("token", "coder", step, wait=0.06, text=words[number] + " ")

    def edit(
        self, node: str, step: str | None, path: str, added: int, removed: int, *placed: str
    ) -> Iterator[Event]:
        """Store an edit and finish the node."""
        file = {"path": path, "added": added, "removed": removed, "placed": list(placed)}
        yield self.event("edit", node, step, files=[file], added=added, removed=removed, snapshot="d" * 40)
        yield self.event("node.finished", node, step, seconds=3.4)

    def check(self, passed: int, failed: list[str]) -> Iterator[Event]:
        """Run the tests in the sandbox."""
        command = PROOF["command"]
        yield self.event("node.started", "sandbox")
        yield self.event(
            "sandbox.started", "sandbox", what="the change", backend="bubblewrap", command=command
        )
        yield self.event(
            "sandbox.output", "sandbox", wait=0.4, text="collected 4 items\n\ntests/test_cli.py ."
        )
        cases = [{"id": id, "base": "error", "head": "failed", "new": True} for id in failed]
        problems = [f"{id} fails" for id in failed]
        yield self.event(
            "check",
            "sandbox",
            wait=0.5,
            green=not failed,
            passed=passed,
            failed=len(failed),
            cases=cases,
            problems=problems,
            tree="c" * 40,
        )
        yield self.event("node.finished", "sandbox", seconds=0.9)

    def budget(self, tokens: int, cost: float) -> Event:
        """Update the totals of tokens and cost."""
        spent: dict[str, Any] = {"input_tokens": 100, "output_tokens": 100, "cost_usd": 0.001}
        return self.event(
            "budget",
            "coder",
            agent="coder",
            model="gpt-4o",
            total_tokens=tokens,
            total_cost_usd=cost,
            **spent,
        )

    def end(self, status: str = "verified", **data: Any) -> Event:
        """Finish the run."""
        return self.event("run.finished", status=status, **data)


def verified() -> Iterator[Event]:
    """Yield a run with two parallel coders, a retry, a red check, a repair, and a proof."""
    story = Story()
    yield story.begin(base="b" * 40)
    yield from story.plan()
    yield story.budget(1920, 0.012)
    code = "### src/durations.py ```python def parse_duration(text: str) -> float: \n    return 0.0"
    docs = (
        "```diff --- a/README.md +++ b/README.md @@ -3,4 +3,6 @@ Options:\n+ --timeout takes 90s, 5m or 1h30m"
    )
    yield from story.stream({"s1": code, "s2": docs})
    yield story.event(
        "retry", "coder", "s2", reason="429 Too Many Requests", attempt=1, model="gpt-4o", wait_seconds=2
    )
    yield from story.edit("coder", "s1", "src/durations.py", 24, 0)
    yield story.budget(3840, 0.0134)
    yield from story.edit("coder", "s2", "README.md", 3, 1, "hunk 1: offset +12")
    yield from story.node("merge", 0.01)
    yield from story.stream({"s3": "```diff --- a/src/cli.py +++ b/src/cli.py"})
    yield from story.edit("coder", "s3", "src/cli.py", 4, 2)
    yield from story.node("merge", 0.01)
    yield story.event("node.started", "tester")
    yield from story.edit("tester", None, "tests/test_durations.py", 31, 0)
    yield from story.check(3, ["tests.test_durations::test_nonsense_raises"])
    yield story.event("node.started", "debugger")
    yield from story.edit("debugger", None, "src/durations.py", 2, 1)
    yield from story.check(4, [])
    yield story.event("node.started", "critic")
    yield story.event("verdict", "critic", verdict="PASS", reasons=PROOF["reasons"], tree="c" * 40)
    yield story.event("node.finished", "critic", seconds=1.1)
    yield from story.node("commit", 0.05)
    yield story.budget(9600, 0.0141)
    yield story.end(proof=PROOF, branch="autocode/7f3a12", usage=USAGE)


def waiting() -> Iterator[Event]:
    """Yield a run that waits for approval of its plan."""
    story = Story()
    yield story.begin()
    yield from story.plan()
    yield story.event("approval.required", "planner", id="i-1", request={"kind": "plan", "plan": PLAN})
    yield story.end("waiting")


def episode(run: str = "r1", **changes: Any) -> Episode:
    """Return the episode of a run with one repair."""
    values: dict[str, Any] = {
        "run": run,
        "thread": "t1",
        "repo": "/home/me/calc",
        "root": "a" * 40,
        "task": "Add mul to the calculator",
        "plan": "One function.\n- Add mul to calc.py",
        "files": [FileChange(path="calc.py", added=4, removed=0)],
        "change": "calc.py\n@@ line 1 @@\n+def mul(a, b):\n+    return a * b",
        "mends": [
            EpisodeRepair(
                found=["test_mul: assert -1 == 12"], how="The operator is wrong.", files=["calc.py"]
            )
        ],
        "commit": "b" * 40,
        "tree": "c" * 40,
    }
    return Episode(**{**values, **changes})
