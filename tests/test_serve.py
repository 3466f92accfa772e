"""`autocode serve`: where it may listen, how it ends, and what survives that."""

import asyncio
import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from forking import MAIN, Forked
from gitrepo import GitRepo
from runs import Bench, script
from served import COMMAND, ForkedServer, Reader, Served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from graph.settings import Settings
from memory.records.database import Database
from memory.records.threads import Threads
from server.api.guard import is_loopback
from server.cli.exit_codes import UsageError
from server.serve import check_exposure, trusted_proxies


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "box.example", ""])
def test_beyond_loopback_a_key_and_roots_are_required(host: str) -> None:
    named: dict[str, Any] = {"autocode_host": host, "autocode_api_key": "k", "autocode_repos": "/srv"}
    check_exposure(Settings.load(**named))
    for blank in (
        {"autocode_api_key": ""},
        {"autocode_api_key": "  "},
        {"autocode_repos": ""},
        {"autocode_repos": " : "},
    ):
        with pytest.raises(UsageError, match=next(iter(blank)).upper()):
            check_exposure(Settings.load(**{**named, **blank}))
    assert not is_loopback(host)


def test_proxies_that_are_no_addresses_are_refused() -> None:
    settings = Settings(autocode_trusted_proxies="10.0.0.1, 192.168.0.0/16 ::1")
    assert [str(network) for network in trusted_proxies(settings)] == [
        "10.0.0.1/32",
        "192.168.0.0/16",
        "::1/128",
    ]
    with pytest.raises(UsageError, match=r"AUTOCODE_TRUSTED_PROXIES.*'proxy.example'"):
        trusted_proxies(Settings(autocode_trusted_proxies="proxy.example"))


def test_an_open_address_or_a_taken_port_is_told_with_its_exit_code(tmp_path: Path) -> None:
    def serve(*arguments: str) -> tuple[int | None, str, str]:
        environment = {"AUTOCODE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        with Forked(
            [MAIN, "serve", *arguments], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            out, err = process.communicate(60)
        return process.returncode, out, err

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, out, err = serve("--port", port)
    assert code == 5 and port in err and "--port" in err
    code, out, err = serve("--host", "0.0.0.0")
    assert code == 2 and "AUTOCODE_API_KEY" in err and not out and "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_ends_in_mid_run_goes_on_at_its_next_start_and_readers_miss_nothing(
    bench: Bench, recordings_folder: Path, number: signal.Signals
) -> None:
    script(bench.desk).on("never", "")
    bench.desk.rules[1].delay = 0.8  # the coder thinks
    server = ForkedServer(bench.home, bench.desk, replay=recordings_folder).start()
    body = {"task": "Add mul", "repo": str(bench.repo.path)}
    with server.client() as client:
        thread = client.post("/api/threads", json=body).json()["thread_id"]
        parked = client.post("/api/threads", json=body | {"options": {"approve_plan": True}}).json()[
            "thread_id"
        ]
        Reader(server.url, parked).until("run.finished")
    reader = Reader(server.url, thread)
    seen = reader.until("plan")
    with connect(server.url.replace("http", "ws") + "/api/ws", proxy=None):
        assert server.end(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    seen += reader.until("nothing")

    with server:
        again = Reader(server.url, thread, after=seen[-1]["seq"])
        while seen[-1]["type"] != "run.finished" or seen[-1]["data"]["status"] == "waiting":
            seen += again.until("run.finished")
        with server.client() as client:
            (asked,) = client.get(f"/api/threads/{parked}/approvals").json()
            whole = client.get(f"/api/threads/{thread}/events", headers={"Accept": "application/json"}).json()
            answer = {"answers": {asked["id"]: {"decision": "reject"}}}
            assert client.post(f"/api/threads/{parked}/approvals", json=answer).is_success
    assert seen == whole and [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["data"]["status"] == "verified"
    assert len(bench.desk.prompts("You are the planner")) == 2, "what was paid for is not asked for again"


def test_a_server_with_a_key_serves_its_owner_alone(bench: Bench, tmp_path: Path) -> None:
    inside, outside = tmp_path / "repo", GitRepo(tmp_path / "outside").path
    key = " a key of mine, mein Schlüssel "
    opening = ForkedServer(bench.home, bench.desk, AUTOCODE_API_KEY=key, AUTOCODE_REPOS=str(inside))
    with opening as server, server.client() as client:
        assert client.get("/health").json()["status"] == "ok" and client.get("/").is_success
        assert client.get("/api/threads").status_code == 401
        with pytest.raises(InvalidStatus, match="401"), connect(f"ws{server.url[4:]}/api/ws", proxy=None):
            pass
        client.headers = httpx.Headers([(b"X-Api-Key", "a key of mine, mein Schlüssel".encode())])
        assert client.get("/api/threads").json() == []
        refused = client.post("/api/threads", json={"task": "x", "repo": str(outside)})
        assert refused.status_code == 403 and "AUTOCODE_REPOS" in refused.json()["detail"]
        asyncio.run(_made_elsewhere(bench, outside))
        run = {"assistant_id": "autocode", "input": {"task": "x"}}
        refused = client.post("/threads/elsewhere/runs", json=run)
        assert refused.status_code == 403 and "AUTOCODE_REPOS" in refused.json()["detail"]


async def _made_elsewhere(bench: Bench, repo: Path) -> None:
    """A thread that the command line could have made on a repository that is closed to the server."""
    database = await Database.open(bench.settings().database)
    await Threads(database).create("elsewhere", {}, str(repo))
    await database.aclose()


def test_every_answer_is_one_that_the_openapi_document_tells(served: Served) -> None:
    schemathesis = COMMAND.with_name("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    done = subprocess.run(
        [
            schemathesis, "run", f"{served.url}/openapi.json", "--phases", "fuzzing", "--max-examples", "4",
            "--checks", checks, "--exclude-path-regex", "agent/|threads$", "--seed", "1",
        ],
        cwd=served.home, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    with served.client() as client:
        document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert {"401", "403", "422", "500"} <= set(operation["responses"]), (method, path)
    assert json.dumps(document).count("application/problem+json") > 20
