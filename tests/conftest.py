"""Fixtures that several test files share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from projects import Files, Project

from sandbox.bubblewrap import Bubblewrap


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bubblewrap(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bubblewrap]:
    """A real sandbox, opened once."""
    opened = await Bubblewrap.open(tmp_path_factory.mktemp("home"))
    yield opened
    await opened.aclose()


@pytest.fixture
def project(tmp_path: Path, bubblewrap: Bubblewrap) -> Callable[[Files], Project]:
    """Makes a repository with these files, on which changes are proved."""
    return lambda files: Project(tmp_path / "repo", bubblewrap, files)
