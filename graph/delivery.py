"""What a run delivered: its files and its diff, for clients without a checkout."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from memory.records.runs import RunRow
from tools.workspace import Workspace

LARGEST = 256 * 1024
"""Bytes of a file that are worth sending along."""


@dataclass(frozen=True)
class Delivery:
    """The changed files by path (None for one that was deleted, is not text, or too large) and the diff."""

    branch: str
    files: Mapping[str, str | None]
    diff: str


async def delivery(run: RunRow) -> Delivery | None:
    """What `run` put on its branch; None when it delivered nothing. Raises WorkspaceError."""
    if run.branch is None:
        return None
    return await asyncio.to_thread(_read, Path(run.input["repo"]), run.branch, run.id)


def _read(repo: Path, branch: str, run: str) -> Delivery:
    workspace = Workspace.open(repo)
    commit = workspace.resolve(f"refs/heads/{branch}")
    while (note := workspace.read_note(commit)) and json.loads(note).get("run") not in (run, None):
        commit = workspace.resolve(f"{commit}^")  # a later run on the thread has built on this one's result
    base = workspace.resolve(f"{commit}^")
    files = {change.path: _text(workspace, commit, change.path) for change in workspace.changes(base, commit)}
    return Delivery(branch, files, workspace.diff(base, commit))


def _text(workspace: Workspace, commit: str, path: str) -> str | None:
    text = workspace.text(commit, path)
    return text if text is not None and len(text) <= LARGEST else None
