"""What only the Docker backend does: containers made ready, swept, and thrown away."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graph.resources import ownership
from memory.records.owner import Owner, this_process
from sandbox.base import Limits, Sandbox, SandboxError
from sandbox.docker.container import LABEL
from sandbox.docker.docker_sandbox import Docker, connect

pytestmark = pytest.mark.docker

EMPTY = [bytes(10_240)]


@pytest.fixture
def engine(docker: Sandbox) -> Iterator[Any]:
    client = connect()
    yield client.api
    client.close()


@pytest.fixture
async def own(docker: Sandbox) -> AsyncIterator[Docker]:
    opened = await Docker.open(ownership=ownership())
    yield opened
    await opened.aclose()


def mine(engine: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.containers(all=True, filters={"label": f"{LABEL}={this_process()}"})
    return found


def left_by(engine: Any, pid: int, running: bool = False) -> list[str]:
    labels = [
        found["Labels"][LABEL] for found in engine.containers(all=not running, filters={"label": LABEL})
    ]
    return [label for label in labels if (owner := Owner.parse(label)) and owner.pid == pid]


async def settled(engine: Any, count: int) -> list[dict[str, Any]]:
    for _ in range(100):
        running = [container for container in mine(engine) if container["State"] == "running"]
        if len(running) == count:
            return running
        await asyncio.sleep(0.1)
    raise AssertionError(f"not {count} containers but {mine(engine)}")


async def test_a_prepared_container_is_used_once_and_makes_the_start_short(own: Docker, engine: Any) -> None:
    own.prepare()
    own.prepare()
    (prepared,) = await settled(engine, 1)
    began = time.monotonic()
    result = await own.run(EMPTY, ["hostname"], Limits())
    spent = time.monotonic() - began
    assert result.stdout == "sandbox\n"
    assert prepared["Id"] not in [container["Id"] for container in mine(engine)]
    assert spent < 1.5
    assert not mine(engine)


async def test_other_limits_get_a_container_of_their_own(own: Docker, engine: Any) -> None:
    own.prepare()
    (prepared,) = await settled(engine, 1)
    larger = Limits(workspace_mb=300)
    result = await own.run(EMPTY, ["df", "--output=size", "-BM", "/workspace"], larger)
    assert result.stdout.split()[-1] == "300M"
    assert [container["Id"] for container in mine(engine)] == [prepared["Id"]]
    await own.run(EMPTY, ["true"], replace(Limits(), seconds=3, output_bytes=10))
    assert not mine(engine)


async def test_a_prepared_container_that_has_died_is_replaced(own: Docker, engine: Any) -> None:
    own.prepare()
    (prepared,) = await settled(engine, 1)
    engine.kill(prepared["Id"])
    assert (await own.run(EMPTY, ["echo", "on"], Limits())).stdout == "on\n"


async def test_closing_removes_what_was_prepared_and_what_is_being_prepared(own: Docker, engine: Any) -> None:
    own.prepare(2)
    await settled(engine, 2)
    own.prepare(4)
    await own.aclose()
    assert not mine(engine)


async def test_the_container_is_held_to_its_limits(own: Docker, engine: Any) -> None:
    own.prepare()
    (prepared,) = await settled(engine, 1)
    inspected = engine.inspect_container(prepared["Id"])
    config = inspected["HostConfig"]
    assert config["Memory"] == config["MemorySwap"] == (512 + 256 + 64) * 2**20
    assert (config["NanoCpus"], config["PidsLimit"], config["NetworkMode"]) == (500_000_000, 64, "none")
    assert config["ReadonlyRootfs"] and config["CapDrop"] == ["ALL"] and not config["Privileged"]
    privileges, seccomp = config["SecurityOpt"]
    assert privileges == "no-new-privileges" and seccomp.startswith("seccomp={")
    assert not config["Binds"]
    assert set(config["Tmpfs"]) == {"/workspace", "/tmp"}
    assert inspected["Config"]["User"] == "65534:65534"


async def test_cancelling_at_any_moment_leaves_no_container(own: Docker, engine: Any) -> None:
    own.prepare(2)
    tasks = [asyncio.create_task(own.run(EMPTY, ["sleep", "60"], Limits())) for _ in range(5)]
    for task in tasks:
        await asyncio.sleep(0.2)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(mine(engine)) <= 2  # prepared, and cancelled before they were taken
    await own.aclose()
    assert not mine(engine)


ORPHAN = """
import asyncio, sys
from graph.resources import ownership
from sandbox.base import Limits
from sandbox.docker.docker_sandbox import Docker
async def main():
    docker = await Docker.open(ownership=ownership())
    docker.prepare()
    command = ["sh", "-c", "echo on; sleep 300"]
    await docker.run([bytes(10240)], command, Limits(seconds=300), lambda _: print("on", flush=True))
asyncio.run(main())
"""


async def test_containers_of_a_killed_owner_stop_and_are_swept(own: Docker, engine: Any) -> None:
    own.prepare()
    (living,) = await settled(engine, 1)
    root = str(Path(__file__).parent.parent)
    orphan = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ORPHAN, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert orphan.stdout
    assert await asyncio.wait_for(orphan.stdout.readline(), 30) == b"on\n"
    orphan.send_signal(signal.SIGKILL)
    await orphan.wait()
    for _ in range(100):
        if not left_by(engine, orphan.pid, running=True):
            break
        await asyncio.sleep(0.1)
    assert not left_by(engine, orphan.pid, running=True)
    assert left_by(engine, orphan.pid)
    await (await Docker.open(ownership=ownership())).aclose()
    assert not left_by(engine, orphan.pid)
    assert [container["Id"] for container in mine(engine)] == [living["Id"]]


async def test_an_image_of_the_users_choice_is_used(docker: Sandbox) -> None:
    opened = await Docker.open("python:3.11-slim")
    result = await opened.run(EMPTY, ["python", "-c", "import pytest"], Limits())
    await opened.aclose()
    assert "No module named 'pytest'" in result.stderr
    assert await opened.identity() != await docker.identity()


async def test_an_image_that_is_nowhere_is_a_clear_error(docker: Sandbox) -> None:
    with pytest.raises(SandboxError, match="docker pull"):
        await Docker.open("localhost:1/no-such-image:1")
