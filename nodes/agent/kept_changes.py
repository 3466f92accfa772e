"""The changes that an agent made to the files of its session, as a snapshot."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from memory.repo_index.ignore import Ignore
from nodes.event_parts import FileEdit
from nodes.events import FilesEdited
from sandbox.base import SessionChanges
from tools.workspace import PathError, Workspace

_DROPPING = re.compile(
    r"(?:^|/)(?:__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.hypothesis|\.tox|\.nox|\.venv|venv"
    r"|node_modules|\.cache|htmlcov|\.eggs|[^/]+\.egg-info)(?:/|$)"
    r"|\.py[co]$|(?:^|/)\.coverage(?:\.[^/]*)?$|(?:^|/)\.DS_Store$|\.(?:orig|rej|swp)$"
)
"""Files that programs leave behind, and that nobody wants in a commit."""


@dataclass(frozen=True)
class KeptChanges:
    """A snapshot with the changes of a session: the paths that it adds, and why some files are not in it."""

    snapshot: str
    added: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()


def hold_edit(
    workspace: Workspace,
    thread: str,
    name: str,
    base: str,
    snapshot: str,
    placed: Mapping[str, list[str]] | None = None,
) -> FilesEdited:
    """Hold an edit by a ref, so that git keeps it, and return its event. Blocks."""
    workspace.hold(thread, name, snapshot)
    changes, how = workspace.changes(base, snapshot), placed or {}
    files = [
        FileEdit(path=each.path, added=each.added, removed=each.removed, placed=how.get(each.path, []))
        for each in changes
    ]
    added, removed = sum(each.added for each in changes), sum(each.removed for each in changes)
    return FilesEdited(files=files, added=added, removed=removed, snapshot=snapshot)


def leaves_out(workspace: Workspace, base: str) -> Callable[[str], bool]:
    """Return what decides on new files: git ignores them, or builds and tests leave them behind. Blocks."""
    ignore = Ignore(partial(workspace.read, base))
    return lambda path: bool(_DROPPING.search(path)) or ignore.leaves_out(path)


def keep_changes(workspace: Workspace, base: str, changes: SessionChanges, message: str) -> KeptChanges:
    """Write the changes of a session, which began with `base`, on top of it. Blocks."""
    left_out = [f"{shown_path(path)}: links cannot be written" for path in changes.links]
    before = workspace.files(base).keys()
    contents: dict[str, bytes | None] = {path: file.content for path, file in changes.files.items()}
    contents |= dict.fromkeys(changes.removed & before)
    # Environments bring files that a session loses, and the base does not have.
    others = dict.fromkeys(changes.removed - before)
    unlinked = others.keys() - workspace.refused(base, others).keys()
    if changes.links:  # one of them may be the other end of a move
        notes = (
            f"{shown_path(path)}: the link stays, as links cannot be written" for path in sorted(unlinked)
        )
        left_out += notes
    else:
        contents |= dict.fromkeys(unlinked)
    modes = {path: 0o755 if file.executable else 0o644 for path, file in changes.files.items()}
    # Programs choose the names, and may choose thousands that no repository can hold.
    while refused := workspace.refused(base, contents):
        left_out += refused.values()
        for path in refused:
            contents.pop(path)
            modes.pop(path, None)
    try:
        snapshot = workspace.write(base, contents, message, modes)
    except PathError as error:  # such as two names that differ by case on this file system
        return KeptChanges(base, left_out=(*left_out, str(error)))
    return KeptChanges(snapshot, frozenset(modes.keys() - before), tuple(left_out))


def shown_path(path: str) -> str:
    """Return a path that can be printed: its names are the program's."""
    return path if path.isprintable() else repr(path)
