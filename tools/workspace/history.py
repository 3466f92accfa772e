"""The last commits before a snapshot as a git folder of their own, which shows nothing else."""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from tools.workspace.packing.archive import TAR_END, file_member

COMMITS = 40
"""The most commits that the folder holds."""

_HEADERS = 65_536  # bytes of the archive that are not the files' own

_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
[user]
\tname = agent
\temail = agent@localhost
[gc]
\tauto = 0
"""


@dataclass(frozen=True)
class LogEntry:
    """A commit of the history. `time` is in seconds since 1970."""

    id: str
    author: str
    time: int
    subject: str


def log(repo: pygit2.Repository, snapshot: str, count: int) -> list[LogEntry]:
    """Return the newest commits up to a snapshot, fewer in a shallow clone."""
    entries: list[LogEntry] = []
    with suppress(KeyError, pygit2.GitError):  # a shallow clone lacks the parents
        for commit in islice(repo.walk(snapshot), count):
            subject = commit.raw_message.decode(errors="replace").strip().partition("\n")[0]
            author = commit.author.raw_name.decode(errors="replace")
            entries.append(LogEntry(str(commit.id), author, commit.commit_time, subject[:500]))
    return entries


def history(repo: pygit2.Repository, base: str, snapshot: str, largest: int) -> bytes | None:
    """Return a tar archive of a `.git` folder whose HEAD is `snapshot`.

    The tag `base` is where the run began. There is no other branch, no remote, and nothing of the user's
    configuration. The archive has at most `largest` bytes: there are fewer commits then, and None if not even
    one fits.
    """
    commits = list(islice(repo.walk(snapshot), COMMITS))
    while commits:
        files = _folder(repo, commits, largest)
        if files is None:
            commits = commits[: len(commits) // 2]
            continue
        if any(str(commit.id) == base for commit in commits):
            files["refs/tags/base"] = f"{base}\n".encode()
        return b"".join(file_member(*file, FileMode.BLOB) for file in files.items()) + TAR_END
    return None


def _folder(repo: pygit2.Repository, commits: list[pygit2.Commit], largest: int) -> dict[str, bytes] | None:
    """Return the files of the folder, None if they have more than `largest` bytes."""
    builder = pygit2.PackBuilder(repo)
    for commit in commits:
        builder.add(commit.id)
        builder.add_recur(commit.tree_id)
    ids = {commit.id for commit in commits}
    # git follows no parent of these, which are not there.
    cut = [commit for commit in commits if not ids.issuperset(commit.parent_ids)]
    head = str(commits[0].id)
    with tempfile.TemporaryDirectory() as made:
        builder.write(made)
        index = pygit2.Index(str(Path(made) / "index"))
        index.read_tree(commits[0].tree)
        index.write()
        if sum(file.stat().st_size for file in Path(made).iterdir()) > largest - _HEADERS:
            return None
        packed = {file.name: file.read_bytes() for file in Path(made).iterdir()}
    files = {"index": packed.pop("index")} | {f"objects/pack/{name}": data for name, data in packed.items()}
    files |= {"HEAD": b"ref: refs/heads/main\n", "config": _CONFIG.encode()}
    files["refs/heads/main"] = f"{head}\n".encode()
    if cut:
        files["shallow"] = "".join(f"{commit.id}\n" for commit in cut).encode()
    return files


def recent_changes(repo: pygit2.Repository, snapshot: str) -> list[set[str]]:
    """Return the paths that each of the last commits changed, along first parents, the newest first.

    A merge stands for all that it brought in. A shallow clone has fewer commits.
    """
    walk = repo.walk(snapshot)
    walk.simplify_first_parent()
    changed: list[set[str]] = []
    with suppress(KeyError, pygit2.GitError):  # the parent of a shallow clone's last commit is not there
        for commit in islice(walk, COMMITS):
            parent = commit.parents[0].tree if commit.parent_ids else None
            diff = commit.tree.diff_to_tree(parent, swap=True) if parent else None
            changed.append({os.fsdecode(delta.new_file.raw_path) for delta in diff.deltas} if diff else set())
    return changed
