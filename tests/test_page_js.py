"""The page's script as a browser runs it, on a document of its own making."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_protocol_js import HERE, needed

STATIC = Path(__file__).parent.parent / "server" / "static"


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Runs a script on the page's view, and returns what it prints."""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name in ("run.js", "approvals.js", "dom.js"):
        (tmp_path / name).write_text((STATIC / name).read_text().replace('"/static/', '"./'))

    def run(script: str) -> dict[str, Any]:
        command = [needed("node"), str(HERE / script), str(tmp_path / "run.js")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    return run


def test_an_edited_plan_is_sent_and_bad_json_says_so_and_loses_nothing(
    page: Callable[[str], dict[str, Any]],
) -> None:
    seen = page("page.mjs")
    assert seen["hidden"] and seen["open"]
    assert "This is not JSON" in seen["typed"][0] and seen["unsent"] == 0 and seen["kept"] == '{"steps": [}'
    assert seen["list"] == ["This is not a JSON object."] and seen["fine"] == []
    assert seen["refused"] == ["steps: too many"] and seen["again"]
    assert seen["edited"]["path"] == "/api/threads/t/approvals"
    answer = seen["edited"]["body"]["answers"]["i1"]
    assert answer["decision"] == "edit" and answer["plan"]["steps"][0]["description"] == "My way"
    assert seen["approved"] == seen["undone"] == {"decision": "approve"}
    assert seen["refusedResume"] and not seen["cancelledResume"]


def test_the_questions_about_an_environment_are_answered_with_buttons_and_never_edited(
    page: Callable[[str], dict[str, Any]],
) -> None:
    seen = page("environment.mjs")
    assert seen["commands"] == ["uv venv", "uv pip install -e '.[dev]'"] and seen["textareas"] == 0
    assert seen["buttons"] == ["Approve", "Use .venv", "Refuse"]
    assert "made from pyproject.toml, uv.lock" in seen["told"] and "libxml2-dev" in seen["told"]
    assert seen["approved"] == {"decision": "approve"} and seen["refused"] == {"decision": "reject"}
    assert seen["used"] == {"decision": "edit", "params": {"venv": ".venv"}}
    assert seen["failure"] == ["no longer waits"] and seen["again"]
    assert ['+"lxml"', "add"] in seen["difference"]
    assert seen["goOn"] == ["Go on without it", "End the run"] and seen["problem"].startswith(
        "ffi.h is missing"
    )
    assert seen["went"] == {"decision": "approve"} and seen["ended"] == {"decision": "reject"}


def test_a_build_is_a_block_that_runs_with_its_output_and_closes_when_it_has_ended(
    page: Callable[[str], dict[str, Any]],
) -> None:
    seen = page("environment.mjs")
    assert seen["building"]["open"] and seen["building"]["outcome"].startswith("building, ")
    assert seen["building"]["mark"] == "running" and seen["building"]["output"] == "Resolved 9\nPrepared 9\n"
    assert not seen["ready"]["open"] and seen["ready"]["outcome"] == "ready, 12.3 s"
    assert seen["ready"]["mark"] == "done" and seen["ready"]["output"] == "Resolved 9\nPrepared 9\n"
    assert not seen["failed"]["open"] and seen["failed"]["what"] == "environment of web"
    assert seen["failed"]["mark"] == "failed" and seen["failed"]["outcome"] == "node is missing"
    assert seen["stopped"]["mark"] == "stopped" and seen["blocks"] == 3


def test_a_tool_is_asked_for_with_its_command_and_never_as_raw_json(
    page: Callable[[str], dict[str, Any]],
) -> None:
    seen = page("tool.mjs")
    assert seen["title"] == "Waiting for you: run git_push?"
    assert seen["command"] == ["git push -- origin"] and "{" not in seen["told"]
    assert seen["scoped"] == {"decision": "approve", "scope": "repository"}
    assert seen["edited"] == {"decision": "edit", "params": {"branch": "autocode/b"}}
    assert seen["refused"] == {"decision": "reject", "reason": "not there"}
    assert seen["again"] == ["Approve", "Edit", "Reject"] and "may have happened" in seen["uncertain"]
    assert seen["left"] == 1 and "pushed" in seen["output"]
    assert 'rm_rf paths=["docs"]' in seen["planned"]
    assert seen["hidden"] == "python -c '<U+202E>tnirp<U+202C>' <U+200B><U+001B>[2J"
