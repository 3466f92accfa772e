"""A run as text: agents that work at once are heard one after another."""

from typing import Any

from nodes.events import EVENT
from server.api.transcript import Transcript

PLAN = {"explanation": "", "steps": [
    {"id": "s1", "agent": "coder", "description": "One", "group": 0},
    {"id": "s2", "agent": "coder", "description": "Two", "group": 0},
]}  # fmt: skip


def read(*told: tuple[str, str | None, str | None, dict[str, Any]]) -> str:
    transcript, text = Transcript(), ""
    for seq, (type, node, step, data) in enumerate(told, 1):
        envelope = {"seq": seq, "thread_id": "t", "run_id": "r", "ts": "2026-01-01T00:00:00.000Z"}
        event = EVENT.validate_python({**envelope, "type": type, "node": node, "step_id": step, "data": data})
        text += "".join(transcript.add(event))
    return text


def says(step: str, text: str) -> tuple[str, str, str, dict[str, Any]]:
    return ("token", "coder", step, {"text": text})


def ends(step: str) -> tuple[str, str, str, dict[str, Any]]:
    return ("node.finished", "coder", step, {"seconds": 1})


def test_steps_that_run_at_once_do_not_talk_into_each_other() -> None:
    plan = ("plan", "planner", None, {"plan": PLAN})
    text = read(
        plan, says("s1", "a"), says("s2", "x\r\n"), says("s1", "b"), says("s2", "y"), ends("s2"), ends("s1")
    )
    assert text == "── coder: One ──\nab\n\n── coder: Two ──\nx\r\ny"
    text = read(
        plan, says("s1", "a"), says("s2", "x"), ends("s1"), says("s2", "y"), ends("s2"), says("s1", "c")
    )
    assert text == "── coder: One ──\na\n\n── coder: Two ──\nxy\n\n── coder: One ──\nc"


def test_a_run_that_is_stopped_leaves_nothing_unsaid() -> None:
    stopped = ("run.finished", None, None, {"status": "cancelled", "reason": "stopped"})
    text = read(says("s1", "a"), says("s2", "x"), stopped)
    assert text == "── coder ──\na\n\n── coder ──\nx\n\n── end: cancelled ──\n"
