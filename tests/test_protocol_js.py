"""The Agent Protocol as LangGraph's npm SDK speaks it, run by node against a real server process."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gitrepo import GitRepo
from programs import REQUIRED, find_program
from served import Served

from server.protocol.assistants import ASSISTANT_ID

HERE = Path(__file__).parent / "js"


@pytest.fixture(scope="session")
def packages() -> None:
    """The npm packages that tests/js/package-lock.json pins, installed once for each version of it."""
    mark = HERE / "node_modules" / ".installed"
    lock = (HERE / "package-lock.json").read_text()
    if mark.is_file() and mark.read_text() == lock:
        return
    npm = [find_program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(npm, cwd=HERE, capture_output=True, text=True)
    if done.returncode and not REQUIRED:
        pytest.skip(f"npm ci cannot fetch the SDK: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    mark.write_text(lock)


@pytest.mark.usefixtures("packages")
def test_the_npm_sdk_works_unmodified(served: Served, repo: GitRepo) -> None:
    command = [find_program("node"), str(HERE / "client.mjs"), served.url, str(repo.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    seen: dict[str, Any] = json.loads(done.stdout)
    assert (
        seen["assistant"] == ASSISTANT_ID and "planner" in seen["nodes"] and "input_schema" in seen["schemas"]
    )
    assert seen["created"] and seen["events"] == ["metadata", "custom", "values", "updates", "messages"]
    (interrupt,) = seen["interrupts"]
    assert interrupt["value"]["kind"] == "plan" and seen["waiting"] == "interrupted"
    ((node, text),) = seen["spoken"]
    assert node == "planner" and json.loads(text)["steps"]
    assert seen["updates"] == [
        "approval", "dispatch", "coder", "merge", "dispatch", "tester", "sandbox", "critic", "commit"
    ]  # fmt: skip
    assert seen["status"] == ["success", "verified"] and seen["missing"] == []
    assert seen["messages"][0] == "human" and seen["messages"][-1] == "ai"
    assert seen["history"] == 3 and seen["found"] == 1
    assert seen["rejoined"] and seen["copied"] and seen["followed"]
    assert seen["rejected"]["status"] == 409 and "unfinished run" in seen["rejected"]["text"]
    assert seen["cancelled"] == "interrupted" and seen["deleted"] == 404
    assert seen["unserved"]["status"] == 501 and "webhook" in seen["unserved"]["text"]
    assert seen["unknown"]["status"] == 404 and seen["invalid"]["status"] == 422
