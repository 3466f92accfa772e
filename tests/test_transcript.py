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


def test_an_environment_is_told_and_its_question_says_what_is_approved() -> None:
    request = {"kind": "environment", "commands": ["uv sync"], "sources": ["uv.lock"], "at_hand": [".venv"]}
    go_on = {"kind": "environment", "commands": [], "problem": "ffi.h is missing", "question": "Go on?"}
    text = read(
        ("approval.required", "environment", None, {"id": "i", "request": request}),
        (
            "environment",
            "environment",
            None,
            {"status": "building", "folder": "api"} | {"commands": ["uv sync"]},
        ),
        ("environment", "environment", None, {"status": "output", "text": "Resolved 9 packages"}),
        ("environment", "environment", None, {"status": "ready", "key": "3f", "seconds": 12.3}),
        ("environment", "environment", None, {"status": "failed", "text": "ffi.h is missing"}),
        ("approval.required", "go_on", None, {"id": "j", "request": go_on}),
    )
    assert text == (
        "── waiting: your approval is needed: i\nBuild the environment from uv.lock? This runs once, "
        "in the sandbox, with network and without keys:\n    uv sync\nOr say: use .venv ──\n"
        "\n\n── environment: building that of api\n    uv sync ──\n"
        "\n\n── environment: ready, 12.3 s ──\n"
        "\n\n── environment: ffi.h is missing ──\n"
        "\n\n── waiting: your approval is needed: j\nffi.h is missing\nGo on? ──\n"
    )
