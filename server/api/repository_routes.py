"""Routes that help to choose a repository and files in it."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from graph.run_request import repository_bounds, scratch_root
from graph.settings import Settings
from server.api.dependencies import SupervisorDep
from server.api.problems import responses
from server.api.task_submission import check_repository
from tools.workspace import Workspace, WorkspaceError

router = APIRouter(prefix="/api/repositories", tags=["Repositories"])

SHOWN = 20
SEARCHED = 5000
"""Number of entries of a folder that are looked at."""

FILES = 50
LONGEST = 4096


class FolderChoice(BaseModel):
    """A folder that tasks may use. `repository` is true if it is the root of a git repository."""

    path: str
    repository: bool


@router.get("", responses=responses())
async def complete(
    supervisor: SupervisorDep,
    path: Annotated[str, Query(max_length=LONGEST, description="The beginning of a path, or a word.")] = "",
) -> list[FolderChoice]:
    """Complete a path to folders. A word without a slash is looked for where repositories usually are."""
    return await asyncio.to_thread(_complete, supervisor.settings, path)


@router.get("/files", responses=responses())
async def find_files(
    supervisor: SupervisorDep,
    repo: Annotated[str, Query(max_length=LONGEST, description="A git repository.")],
    words: Annotated[str, Query(max_length=200, description="Words that the paths contain.")] = "",
) -> list[str]:
    """Find committed files of a repository by their paths, the shortest paths first."""
    return await asyncio.to_thread(_find_files, supervisor.settings, repo, words)


def _complete(settings: Settings, text: str) -> list[FolderChoice]:
    scratch = scratch_root(settings)
    allowed = [folder for folder in repository_bounds(settings) if folder != scratch]
    path = Path(text)
    if path.is_absolute():
        folder, start = (path, "") if text.endswith("/") else (path.parent, path.name)
        named = list(_folders(folder, start, at_start=True))
    else:
        named = [child for root in allowed or [Path.home()] for child in _folders(root, text, at_start=False)]
    roots = [folder.resolve() for folder in allowed]
    inside = [folder for folder in named if not roots or _is_below(folder, roots)]
    return sorted(map(_choice, inside[:SHOWN]), key=lambda choice: not choice.repository)


def _choice(folder: Path) -> FolderChoice:
    return FolderChoice(path=str(folder), repository=(folder / ".git").exists())


def _folders(folder: Path, text: str, *, at_start: bool) -> Iterator[Path]:
    """Yield the folders in a folder whose names begin with `text`, or contain it.

    Hidden folders are left out, unless `text` begins with a dot.
    """
    wanted = text.lower()
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, SEARCHED) if entry.is_dir())
    except (OSError, ValueError):  # missing, forbidden, or no path at all
        return
    for name in names:
        matches = name.lower().startswith(wanted) if at_start else wanted in name.lower()
        hidden = name.startswith(".") and not wanted.startswith(".")
        if matches and not hidden and name.isprintable():
            yield folder / name


def _is_below(folder: Path, roots: Sequence[Path]) -> bool:
    try:
        return any(folder.resolve().is_relative_to(root) for root in roots)
    except (OSError, RuntimeError):
        return False


def _find_files(settings: Settings, repo: str, words: str) -> list[str]:
    workspace = Workspace.open(Path(check_repository(settings, repo)))
    try:
        paths = workspace.files(workspace.resolve("HEAD"))
    except WorkspaceError:  # a repository without a commit has no files
        return []
    wanted = words.lower().split()
    matching = [path for path in paths if all(word in path.lower() for word in wanted)]
    return sorted(matching, key=lambda path: (path.count("/"), len(path), path))[:FILES]
