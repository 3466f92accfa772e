"""Counterparts that never answer: each wait for them ends by itself and says what it waited for."""

import asyncio
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from environment_tools import EnvironmentBench, commands
from githost import GitHost

import sandbox.bubblewrap.interpreter as interpreter
import sandbox.docker.docker_sandbox as docker_sandbox
import sandbox.environment.environments as environments
import tools.hosting.api as hosting
from graph.resources import ownership
from sandbox.base import SandboxError
from sandbox.docker.docker_sandbox import Docker
from sandbox.environment.backend import BuildLimits, EnvironmentFailure
from sandbox.limited_call import limited_call
from tools.hosting.errors import HostingError
from tools.hosting.sites import Site


class StuckEngine(BaseHTTPRequestHandler):
    """A Docker engine that answers small questions and never ends a pull."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rpartition("/")[2]
        missing = "/images/" in self.path
        answer = {"version": {"ApiVersion": "1.41"}, "_ping": "OK"}.get(path, [])
        data = json.dumps({"message": "No such image"} if missing else answer).encode()
        self.send_response(404 if missing else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        time.sleep(30)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "socket"


class Engine(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = tmp_path / "engine.sock"
    with Engine(str(path), StuckEngine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield
        server.shutdown()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_engine_that_never_ends_a_pull_is_given_up(
    engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_sandbox, "IMAGE_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(SandboxError, match=r"pulling .* did not end within"):
        await Docker.open("busybox:1", ownership=ownership())
    assert time.monotonic() - began < 5


async def test_a_limited_call_returns_and_raises_as_its_function_does() -> None:
    place = ContextVar("place", default="nowhere")
    place.set("in the node")
    assert await limited_call(5, "work", place.get) == "in the node"
    with pytest.raises(TimeoutError, match="its own"):
        await limited_call(5, "work", lambda: (_ for _ in ()).throw(TimeoutError("its own")))


async def test_the_lock_of_a_build_that_does_not_end_is_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_IMAGE_SECONDS", 0.3)
    first, second = EnvironmentBench("bubblewrap", home), EnvironmentBench("bubblewrap", home)
    recipe = commands("echo begun; sleep 20")
    building = asyncio.create_task(first.make(recipe, {"a": "a"}))
    for _ in range(600):
        if "begun" in "".join(first.heard):
            break
        await asyncio.sleep(0.05)
    with pytest.raises(EnvironmentFailure, match="has held the lock"):
        await second.make(recipe, {"a": "a"}, BuildLimits(seconds=0.1))
    building.cancel()
    await asyncio.wait([building])
    assert "Waiting for it" in second.heard[0]


def test_an_installer_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installer = tmp_path / "uv"
    installer.write_text("#!/bin/sh\nexec sleep 30\n")
    installer.chmod(0o755)
    monkeypatch.setattr(interpreter, "_INSTALL_SECONDS", 0.3)
    monkeypatch.setattr(interpreter, "_tools", lambda python: [[str(installer)]])
    with pytest.raises(SandboxError, match=r"uv did not end within 0\.3 s"):
        interpreter.Interpreter.make(tmp_path, lambda text: None)


async def test_a_site_whose_answer_drips_for_ever_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            for _ in range(100):
                handler.wfile.write(b" ")
                time.sleep(0.05)

    monkeypatch.setattr(hosting, "TOTAL_SECONDS", 0.5)
    with GitHost(tmp_path) as host:
        host.answers["api"] = drip
        async with hosting.HostingApi(Site("github", host.url("").rstrip("/"))) as api:
            with pytest.raises(HostingError, match=r"did not answer within 0\.5 s"):
                await api.get("repos/a/b")
