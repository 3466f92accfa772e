"""The graph under LangGraph's own development server, driven by its own SDK."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import pytest
from forking import Forked
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from runs import Bench, script

ROOT = Path(__file__).parent.parent


@pytest.fixture
def studio(bench: Bench, tmp_path: Path, recordings_folder: Path) -> Iterator[SyncLangGraphClient]:
    """A client of `langgraph dev` on this project's langgraph.json."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "AUTOCODE_HOME": str(bench.home),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": bench.desk.url,
        "SANDBOX_BACKEND": "bubblewrap",
        "LANGSMITH_TRACING": "false",
        "PYTHONPATH": str(ROOT),
        "AUTOCODE_REPOS": str(bench.repo.path),
    }
    start = "import runpy; runpy.run_module('langgraph_cli', run_name='__main__')"
    command = ["-c", start, "dev", "--no-browser", "--no-reload"]
    config = ["--port", str(port), "--config", ROOT / "langgraph.json"]
    with (tmp_path / "studio.log").open("w") as log:
        server = Forked(
            [*command, *config], cwd=tmp_path, env={**os.environ, **settings}, stdin=subprocess.DEVNULL,
            stdout=log.fileno(), stderr=log.fileno(), start_new_session=True, replay=recordings_folder,
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}/ok", server)
            with get_sync_client(url=f"http://127.0.0.1:{port}") as client:
                yield client
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


def _wait_for(url: str, server: Forked) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("langgraph dev did not start")


def test_the_graph_is_shown_and_runs_a_task(studio: SyncLangGraphClient, bench: Bench) -> None:
    bench.desk.on("You are a coder", [("execute", {"command": "ls"})], times=1)
    script(bench.desk)
    (assistant,) = studio.assistants.search()
    drawn = studio.assistants.get_graph(assistant["assistant_id"])
    assert {"planner", "coder", "merge", "tester", "sandbox", "debugger", "critic", "commit"} <= {
        str(node["id"]) for node in drawn["nodes"]
    }
    thread = studio.threads.create()["thread_id"]
    task: dict[str, Any] = {
        "task": "Add mul",
        "repo": str(bench.repo.path),
        "options": {"approve_plan": True},
    }
    asked = [part.data for part in studio.runs.stream(thread, "autocode", input=task, stream_mode="updates")]
    assert "__interrupt__" in json.dumps(asked[-1])
    answer: Any = {"resume": {"decision": "approve"}}
    tools = []
    for part in studio.runs.stream(
        thread, "autocode", command=answer, stream_mode=["updates", "tasks"], stream_subgraphs=True
    ):
        assert part.event != "error", part.data
        if part.event.startswith("tasks|coder:") and "result" in part.data:
            tools.append(part.data["name"])
    assert tools == ["execute"]
    values = studio.threads.get_state(thread)["values"]
    assert isinstance(values, dict) and values["missing"] == []
    assert bench.repo.git("rev-parse", f"autocode/{thread}^{{tree}}") == values["proof"]["tree"]
    outside: dict[str, Any] = {"task": "Add mul", "repo": str(ROOT)}
    refused = [part.data for part in studio.runs.stream(None, "autocode", input=outside)]
    assert "error" in json.dumps(refused[-1]).lower() and "values" not in refused[-1], refused
    assert_our_routes_answer_beside(studio, bench)


def assert_our_routes_answer_beside(studio: SyncLangGraphClient, bench: Bench) -> None:
    """The mounted application carries out a task too; LangGraph's own routes are not hidden by it."""
    ours: httpx.Client = studio.http.client
    assert ours.get("/health").json()["status"] == "ok"
    assert "<title>AutoCodeAI" in ours.get("/").text and ours.get("/client.js").is_success
    body = {"task": "Add mul", "repo": str(bench.repo.path)}
    answer = ours.post("/api/agent/run", json=body, timeout=60).json()
    assert answer["status"] == "verified", answer
    assert ours.get("/docs", headers={"Origin": "https://studio.example"}).is_success
    assert ours.get("/api/threads", headers={"Origin": "https://studio.example"}).status_code == 403
