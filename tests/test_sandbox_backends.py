"""Which sandbox is opened, and what is said where there is none."""

import os
from pathlib import Path

import pytest

from sandbox.backends import diagnose, open_sandbox
from sandbox.base import Sandbox, SandboxError


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.mark.docker
async def test_auto_takes_docker_where_an_engine_answers(docker: Sandbox, tmp_path: Path) -> None:
    opened = await open_sandbox("auto", tmp_path)
    assert opened.name == "docker"
    await opened.aclose()


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("no_engine")
async def test_auto_takes_bubblewrap_where_none_answers(bubblewrap: Sandbox, sandbox_home: Path) -> None:
    opened = await open_sandbox("auto", sandbox_home)
    assert opened.name == "bubblewrap"
    await opened.aclose()


@pytest.mark.usefixtures("no_engine", "no_bubblewrap")
async def test_with_neither_nothing_is_opened_and_both_cures_are_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as error:
        await open_sandbox("auto", tmp_path)
    for cure in ("systemctl start docker", "DOCKER_HOST", "apt", "install bubblewrap"):
        assert cure in str(error.value)
    assert not os.listdir(tmp_path)


@pytest.mark.usefixtures("no_engine", "no_bubblewrap")
async def test_the_backend_asked_for_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no Docker Engine answers"):
        await open_sandbox("docker", tmp_path)
    with pytest.raises(SandboxError, match="bubblewrap is not installed"):
        await open_sandbox("bubblewrap", tmp_path)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("no_engine")
async def test_the_doctor_hears_what_holds_and_what_is_missing(
    bubblewrap: Sandbox, sandbox_home: Path
) -> None:
    docker, found = await diagnose(sandbox_home)
    assert not docker.available and "systemctl start docker" in docker.problem
    assert found.available and "pytest" in found.version
    assert [limit.partition(":")[0] for limit in found.limits][:3] == ["memory", "cpu", "processes"]
