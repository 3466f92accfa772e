"""Environments on the terminal: the two questions, the build while it runs, and the result without one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from story import PROOF, Story
from test_cli import on_a_terminal
from test_terminal import HOSTILE, ended, frame, lines, printed, terminal

from nodes.events import ApprovalRequired, Event
from server.cli.exit_codes import UsageError
from server.cli.views.approval_prompts import answer_flags, answers_from_flags, show_request

BUILD: dict[str, Any] = {
    "kind": "environment",
    "commands": ["uv venv --python 3.12 /opt/environment/venv", "uv pip install -e '.[dev]'"],
    "sources": ["pyproject.toml", "uv.lock"],
    "reasons": ["Python 3.12, as requires-python says"],
    "packages": ["libxml2-dev"],
    "at_hand": [".venv"],
    "difference": [],
}
PROBLEM = """The environment could not be built: ffi.h is missing.
The command that failed: pip install cffi
To build it in another way, write in .autocode.toml: [environment] setup = ["…"]
Last lines of the output:
    #include <ffi.h>
    compilation terminated."""
GO_ON: dict[str, Any] = {
    "kind": "environment",
    "commands": [],
    "problem": PROBLEM,
    "question": "Go on without the environment? The result cannot be verified.",
}


def shown(request: dict[str, Any], width: int = 80) -> str:
    console, file = terminal(width, color_system=None)
    show_request(console, ApprovalRequired(id="i", request=request))
    return file.getvalue()


def built(story: Story, *end: Event) -> Iterator[Event]:
    """Yield a build with output, and its end."""
    yield story.event("node.started", "environment")
    yield story.event("environment", "environment", status="building", commands=BUILD["commands"])
    output = "Resolved 9 packages\nDownloading lxml\nPrepared 9 packages\n"
    yield story.event("environment", "environment", wait=4, status="output", text=output)
    yield from end


def test_the_question_to_build_shows_every_command_on_a_line_and_what_it_is_made_from() -> None:
    text = shown(BUILD)
    assert "YOUR APPROVAL: environment" in text
    assert "made from pyproject.toml, uv.lock." in text and "- Python 3.12, as requires-python says" in text
    assert "system packages: libxml2-dev" in text
    assert "run once, in the sandbox, with network and without your keys:" in text
    assert [line.strip() for line in text.splitlines() if "$ " in line] == [
        f"$ {command}" for command in BUILD["commands"]
    ]
    assert ".venv can be used as it is" in text and "alters" not in text
    long = shown({**BUILD, "commands": [f"uv pip install {' '.join(['package'] * 40)}"]}, 60)
    assert long.count("package") >= 40 and max(len(line) for line in long.splitlines()) <= 60


def test_a_difference_is_shown_as_a_diff() -> None:
    difference = [
        "--- a/pyproject.toml",
        "+++ b/pyproject.toml",
        "@@ -3 +3 @@",
        "-dependencies = []",
        '+"lxml"',
    ]
    text = shown({**BUILD, "difference": difference, "at_hand": []})
    assert "The change alters what the environment is made from:" in text
    assert '+"lxml"' in text and text.index("-dependencies = []") < text.index('+"lxml"')
    assert "can be used as it is" not in text


def test_the_question_to_go_on_shows_the_problem_with_its_last_lines_indented() -> None:
    text = shown(GO_ON, 40)
    assert "YOUR ANSWER: no environment" in text and "ffi.h is missing" in text.replace("\n", " ")
    assert "    #include <ffi.h>\n" in "\n".join(line.rstrip() for line in text.splitlines())
    assert max(len(line) for line in text.splitlines()) <= 40
    assert text.rstrip().endswith("verified.")


def test_a_hostile_question_cannot_steer_the_terminal() -> None:
    evil = [HOSTILE]
    build = {name: evil for name in ("commands", "sources", "reasons", "packages", "at_hand", "difference")}
    for request in ({"kind": "environment", **build}, {**GO_ON, "problem": f"x\n   {HOSTILE}"}):
        text = shown(request)
        assert "[bold red]Verified[/]" in text.replace("\n", "")
        assert not set(text) & set("\x1b\x07\x9b\u202e")


ASK = f"""
from nodes.events import ApprovalRequired
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole
questions = [
    ApprovalRequired(id="b", request={BUILD!r}),
    ApprovalRequired(id="g", request={GO_ON!r}),
]
print("ANSWER", approvals.ask(CliConsole.open().out, questions))
"""


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"e\na\nmaybe\ny\n", {"b": {"decision": "approve"}, "g": {"decision": "approve"}}),
        (b"u\nn\n", {"b": {"decision": "edit", "params": {"venv": ".venv"}}, "g": {"decision": "reject"}}),
        (b"r\nYES\n", {"b": {"decision": "reject"}, "g": {"decision": "approve"}}),
        (b"a\n\x04", None),
    ],
)
def test_a_human_approves_refuses_uses_what_is_at_hand_or_leaves(typed: bytes, answer: object) -> None:
    text = on_a_terminal(ASK, typed)
    assert "[a]pprove, [r]eject, [u]se .venv?" in text and "[e]dit" not in text
    assert "Go on without it? [y]es, [n]o?" in text
    assert f"ANSWER {answer}" in text


def test_a_parked_question_names_the_flags_that_answer_it() -> None:
    build, go_on = (ApprovalRequired(id="i", request=request) for request in (BUILD, GO_ON))
    assert answer_flags(build) == ["--approve i", "--reject i", """--edit i '{"venv": ".venv"}'"""]
    assert answer_flags(go_on) == ["--approve i", "--reject i"]
    edited = answers_from_flags([build], edit=("i", '{"venv": ".venv"}'))
    assert edited == {"i": {"decision": "edit", "params": {"venv": ".venv"}}}
    with pytest.raises(UsageError, match="JSON"):
        answers_from_flags([build], edit=("i", ".venv"))


def test_a_build_is_a_line_with_its_last_output_and_ends_as_one_line() -> None:
    story = Story()
    begun = [story.begin(), *built(story)]
    drawn = frame(begun)
    (row,) = [line for line in drawn if "building the environment" in line]
    assert " build " in row and row.endswith("4.1s")
    assert [line.strip() for line in drawn if "│ " in line] == ["│ Downloading lxml", "│ Prepared 9 packages"]
    ready = story.event("environment", "environment", status="ready", key="3f2a", seconds=12.3)
    over = [*begun, ready, story.event("node.finished", "environment", seconds=12.4)]
    (left,) = [line for line in printed(over) if "environment" in line or "lxml" in line]
    assert "environment ready, 12.3 s" in left and left.startswith("✓")


def test_a_build_that_fails_is_a_line_with_its_cause_and_a_change_can_build_another() -> None:
    story = Story()
    failed = story.event("environment", "environment", status="failed", text=PROBLEM)
    events = [story.begin(), *built(story, failed), story.event("node.finished", "environment", seconds=5)]
    left = printed(events)
    assert any(line.startswith("✗   build") and "environment missing" in line for line in left)
    assert any("ffi.h is missing" in line for line in left) and not any("#include" in line for line in left)
    events += [
        story.event("node.started", "sandbox"),
        story.event("environment", "sandbox", status="building", commands=["npm ci"], folder="web"),
        story.event("environment", "sandbox", status="ready", key="9b", seconds=2, folder="web"),
    ]
    rows = [line for line in printed(events) if " build " in line]
    assert len(rows) == 2 and rows[1].startswith("✓") and "environment of web ready, 2.0 s" in rows[1]


def test_plain_lines_tell_the_build_its_end_and_the_whole_problem() -> None:
    story = Story()
    ready = story.event("environment", "environment", status="ready", key="3f2a", seconds=12.3)
    said = "\n".join(lines([story.begin(), *built(story, ready)]))
    assert "building the environment" in said and "$ uv pip install -e '.[dev]'" in said
    assert "environment ready, 12.3 s" in said and "lxml" not in said
    failed = story.event("environment", "environment", status="failed", text=PROBLEM)
    asked = story.event("approval.required", "go_on", id="i-1", request=GO_ON)
    said = "\n".join(lines([story.begin(), *built(story, failed), asked]))
    assert "environment missing" in said and "    #include <ffi.h>" in said
    assert "WAITING   for your approval of an environment: i-1" in said


def test_a_result_without_its_environment_says_so_first_and_one_with_it_names_it() -> None:
    story = Story()
    lack = "the environment is missing: The environment could not be built: ffi.h is missing"
    proof = {**PROOF, "missing_environment": PROBLEM, "gaps": [lack]}
    text = ended([story.begin(), story.end("unverified", reason=lack, missing=[lack], proof=proof)], 160)
    assert text.strip().startswith("NOT verified: the environment is missing")
    assert text.count("ffi.h is missing") == 1
    one = {"key": "3f2a9c10" * 3, "sources": ["pyproject.toml"]}
    text = ended([story.begin(), story.end(proof={**PROOF, "environments": [one]}, branch="b")], 160)
    assert "in the environment 3f2a9c10… from pyproject.toml" in text


def test_json_lines_carry_the_build_unchanged() -> None:
    from server.cli.views.plain_output import JsonLines
    from server.cli.views.run_view import RunView

    story = Story()
    said: list[str] = []
    view = JsonLines(said.append, said.append, RunView())
    events = list(built(story))
    for event in events:
        view.show(event)
    assert [json.loads(line)["data"] for line in said] == [event.data.model_dump() for event in events]
