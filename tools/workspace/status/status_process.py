"""A process that collects the work in progress, and that is killed when it takes too long."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from tools.workspace.errors import WorkspaceError
from tools.workspace.listing import TreeEntry
from tools.workspace.status.work_in_progress import WorkInProgress, collect

SECONDS = 60.0

_ROOT = str(Path(__file__).resolve().parent.parent.parent.parent)
_MAIN = "from tools.workspace.status.status_process import main; main()"
_START = f"import sys; sys.path.insert(0, {_ROOT!r}); {_MAIN}"
_SETS = ("secrets", "large", "filtered")  # in the order of the fields


def collect_apart(root: Path, tree: str) -> WorkInProgress:
    """Collect the work in progress on top of a tree in another process. Raises WorkspaceError."""
    # -I keeps modules of the current folder, which may be the repository's, out of the process.
    command = [sys.executable, "-I", "-c", _START, os.fspath(root), tree]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise WorkspaceError(
            f"{root}: comparing its files took more than {SECONDS:.0f} s, because of many patterns with `*` "
            "in .gitignore or .gitattributes; use simpler ones, or leave out work in progress (from_head)"
        ) from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "it was killed"
        raise WorkspaceError(f"{root}: cannot read the work in progress: {reason}")
    answer = json.loads(done.stdout)
    work = WorkInProgress({}, *(set(answer[name]) for name in _SETS))
    for path, entry in answer["changes"].items():
        work.changes[path] = TreeEntry(pygit2.Oid(hex=entry[0]), FileMode(entry[1])) if entry else None
    return work


def main() -> None:
    """Collect for the repository and the tree that the arguments name, and print the result."""
    limit = int(SECONDS)  # of the process itself, because its parent may be killed before it
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    pygit2.settings.owner_validation = False
    repo = pygit2.Repository(sys.argv[1])
    work = collect(repo, repo[sys.argv[2]].peel(pygit2.Tree))
    changes = {
        path: [str(entry.id), int(entry.mode)] if entry else None for path, entry in work.changes.items()
    }
    print(json.dumps({"changes": changes, **{name: sorted(getattr(work, name)) for name in _SETS}}))  # noqa: T201
