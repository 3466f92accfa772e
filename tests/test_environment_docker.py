"""Real builds with Docker."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from environment_tools import PATH, commands, tar
from uv import find_uv_bin

from sandbox.base import Limits, Sandbox
from sandbox.environment.backend import BuildLimits, EnvironmentFailure
from sandbox.environment.detection.detect import detect
from sandbox.environment.docker_builder import DockerEnvironments
from sandbox.environment.environments import Environments, stored
from sandbox.environment.registries import Registries

pytestmark = pytest.mark.docker

FILES = {"requirements.txt": "iniconfig\n", "test_a.py": "import iniconfig\n\ndef test_a():\n    pass\n"}


@pytest.fixture
async def store(docker: Sandbox, tmp_path: Path) -> AsyncIterator[tuple[Environments, DockerEnvironments]]:
    backend = await DockerEnvironments.open(find_uv_bin())
    yield (
        Environments(
            tmp_path, backend, Registries.read(os.environ, Path.home()), BuildLimits(seconds=120, disk_mb=300)
        ),
        backend,
    )
    for record in stored(tmp_path):
        await backend.remove(record.image)
    await backend.aclose()


async def test_an_image_is_built_once_and_tests_run_in_it(
    store: tuple[Environments, DockerEnvironments],
) -> None:
    environments, backend = store
    (recipe,) = detect(FILES, await backend.toolset())
    heard: list[str] = []
    environment = await environments.build(recipe, tar(FILES), FILES, heard.append)
    assert "$ uv pip install -r requirements.txt" in "".join(heard)
    assert await environments.build(recipe, tar(FILES), FILES) == environment
    sandbox = await backend.sandbox_with(environment)
    path = ":".join((*environment.path, PATH))
    words = ["env", f"PATH={path}", "sh", "-c", "python -m pytest -q; touch /opt/environment/x"]
    result = await sandbox.run([*environment.members(), *tar(FILES)], words, Limits(processes=128))
    assert "1 passed" in result.stdout
    assert "Read-only file system" in result.stderr
    await sandbox.aclose()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 3", "exit code 3"),
        ("dd if=/dev/zero of=/opt/environment/x bs=1M count=900; sleep 30", "it wrote too much to the disk"),
    ],
)
async def test_failing_builds_leave_no_container(
    store: tuple[Environments, DockerEnvironments], command: str, message: str
) -> None:
    environments, backend = store
    with pytest.raises(EnvironmentFailure, match=message):
        await environments.build(commands(command), tar({"a": ""}), {"a": ""})
    assert not await backend.leftovers()
