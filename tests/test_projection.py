"""The projection of a log to the protocol, for logs that a real run rarely writes."""

from typing import Any

import pytest
from langgraph.types import PregelTask, StateSnapshot
from runs import PLAN

from nodes.events import EVENT, Event
from server.protocol.projection import Projection, ProtocolEvent
from server.protocol.state_json import thread_state

SECRET = "sk-very-secret"


async def read(thread_id: str, checkpoint_id: str) -> dict[str, Any]:
    """A state whose one task has returned its checkpoint's name."""
    task = PregelTask(f"task-{checkpoint_id}", "coder", (), result={"head": checkpoint_id})
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_id": checkpoint_id}}
    values = {"at": checkpoint_id, "key": SECRET}
    snapshot = StateSnapshot(values, (), config, None, None, None, (task,), ())
    return thread_state(snapshot, (SECRET,))


def projection(*modes: str) -> Projection:
    return Projection("t", "r", modes, read)


def lines(*told: dict[str, Any]) -> list[Event]:
    """A log of these lines."""
    head = {"thread_id": "t", "run_id": "r", "ts": "2026-01-01T00:00:00.000Z"}
    return [EVENT.validate_python({**head, "seq": seq, **one}) for seq, one in enumerate(told, 1)]


def line(type: str, node: str | None = None, **data: Any) -> dict[str, Any]:
    return {"type": type, "node": node, "data": data}


def checkpoint(id: str, parent: str | None, source: str = "loop") -> dict[str, Any]:
    return line("checkpoint", id=id, parent=parent, source=source, step=1, next=[])


BEGIN = line("run.started", task="x", repo="/r")
AGAIN = line("run.started", task="x", repo="/r", resumed=True)
PARKED = line("run.finished", status="waiting", reason="the server stopped")


async def parts(view: Projection, *told: dict[str, Any]) -> list[ProtocolEvent]:
    return [part for event in lines(*told) for part in await view.add(event)]


async def test_a_run_that_the_server_parked_asks_nothing() -> None:
    assert [part.name for part in await parts(projection("values", "updates"), BEGIN, PARKED)] == ["metadata"]


async def test_a_question_stands_until_it_is_answered() -> None:
    asked = [line("approval.required", "approval", id=id, request={"kind": "plan"}) for id in ("a", "b")]
    answered = line("approval.resolved", id="a", decision="approve")
    told = await parts(projection("updates"), BEGIN, *asked, PARKED, answered, AGAIN, PARKED)
    shown = [[one["id"] for one in part.data["__interrupt__"]] for part in told if part.name == "updates"]
    assert shown == [["a", "b"], ["b"]]
    only = await parts(projection("messages"), BEGIN, asked[0], PARKED)
    assert only[-1].name == "values", "whoever asked for neither values nor updates is told as well"


async def test_a_checkpoint_that_is_named_again_brings_no_updates_again() -> None:
    told = await parts(
        projection("updates", "values"),
        BEGIN, checkpoint("c0", None, "input"), checkpoint("c1", "c0"), PARKED, AGAIN,
        checkpoint("c1", "c0"), checkpoint("c2", "c1"),
    )  # fmt: skip
    updates = [part.data["coder"]["head"] for part in told if part.name == "updates"]
    assert updates == ["c0", "c1"]
    assert [part.data["at"] for part in told if part.name == "values"] == ["c1", "c1", "c2"]
    assert all(part.data["key"] == "***" for part in told if part.name == "values")


async def test_a_superstep_whose_line_a_crash_swallowed_is_told_by_the_resume() -> None:
    told = await parts(
        projection("updates"),
        BEGIN, checkpoint("c1", "c0"), AGAIN, checkpoint("c2", "c1"),
    )  # fmt: skip
    assert [part.data["coder"]["head"] for part in told if part.name == "updates"] == ["c0", "c1"]


async def test_a_call_that_is_tried_again_speaks_under_a_new_id() -> None:
    said = [line("token", "coder", text=text) for text in ("Hal", "Hello", " you")]
    again = line("retry", "coder", reason="dropped", attempt=1)
    usage = {"agent": "coder", "model": "m", "input_tokens": 3, "output_tokens": 2, "cost_usd": None}
    done = line("budget", "coder", **usage, total_tokens=5, total_cost_usd=0.0)
    for mode, texts in (
        ("messages-tuple", ["Hal", "Hello", " you", ""]),
        ("messages", ["Hal", "Hello", "Hello you", "Hello you"]),
    ):
        told = await parts(projection(mode), BEGIN, said[0], again, *said[1:], done)
        spoken = [part for part in told if part.name.startswith("messages") and "meta" not in part.name]
        assert [part.data[0]["content"] for part in spoken] == texts
        assert [part.data[0]["id"] for part in spoken] == ["run-r-2", "run-r-4", "run-r-4", "run-r-4"]
        assert spoken[-1].data[0]["usage_metadata"]["total_tokens"] == 5


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('{"answer": "**Because** of `a.py`."}', "**Because** of `a.py`."),
        (PLAN, PLAN),
        ("I look at a.py first.", "I look at a.py first."),
    ],
)
async def test_the_planner_speaks_once_its_answer_is_known(reply: str, text: str) -> None:
    said = [line("token", "planner", text=each) for each in (reply[:5], reply[5:])]
    usage = {"agent": "planner", "model": "m", "input_tokens": 3, "output_tokens": 2, "cost_usd": None}
    done = line("budget", "planner", **usage, total_tokens=5, total_cost_usd=0.0)
    for mode in ("messages-tuple", "messages"):
        told = await parts(projection(mode), BEGIN, *said, done)
        spoken = [part for part in told if part.name.startswith("messages") and "meta" not in part.name]
        assert [(part.data[0]["content"], part.data[0]["id"]) for part in spoken] == [(text, "run-r-2")]


async def test_every_replay_gives_the_same_ids() -> None:
    told = (BEGIN, checkpoint("c1", "c0"), line("token", "coder", text="x"), PARKED)
    modes = ("values", "updates", "messages-tuple", "custom", "events", "checkpoints")
    once, twice = await parts(projection(*modes), *told), await parts(projection(*modes), *told)
    assert once == twice and len({part.id for part in once}) == len(once)
