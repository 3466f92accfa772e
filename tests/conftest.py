"""Fixtures that many tests share."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from sandbox.backends import open_sandbox
from sandbox.base import Sandbox, SandboxError

REQUIRED = bool(os.environ.get("AUTOCODE_REQUIRE_SANDBOXES") or os.environ.get("CI"))


@pytest.fixture(scope="session")
def sandbox_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AUTOCODE_HOME whose Python environment is made once."""
    return tmp_path_factory.mktemp("home")


def opened(backend: Literal["docker", "bubblewrap"], home: Path) -> Iterator[Sandbox]:
    try:
        found = asyncio.run(open_sandbox(backend, home))
    except SandboxError as error:
        if REQUIRED:
            raise
        pytest.skip(str(error))
    yield found
    asyncio.run(found.aclose())


@pytest.fixture(scope="session")
def bubblewrap(sandbox_home: Path) -> Iterator[Sandbox]:
    """The daemonless backend; any event loop may use it."""
    yield from opened("bubblewrap", sandbox_home)


@pytest.fixture(scope="session")
def docker(sandbox_home: Path) -> Iterator[Sandbox]:
    """The Docker backend; a test that prepares containers opens its own."""
    yield from opened("docker", sandbox_home)


@pytest.fixture(
    params=[
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
        pytest.param("docker", marks=pytest.mark.docker),
    ]
)
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Each backend in turn."""
    found: Sandbox = request.getfixturevalue(request.param)
    return found
