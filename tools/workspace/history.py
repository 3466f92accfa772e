"""The last commits before a snapshot as a git folder of their own, which shows nothing else."""

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from tools.workspace.errors import missing_objects
from tools.workspace.packing.archive import TAR_END, file_member
from tools.workspace.recent import Recent

COMMITS = 40
"""The most commits that the folder holds."""

_MOST_UNPACKED = 4
"""Bytes of files for each byte of the archive, as text is packed."""

_MOST_ENTRIES, _MOST_CHANGED = 100_000, 5_000
"""Entries of folders that are compared for one commit, and paths that are named."""

PAST = 300
"""The most commits whose subjects are searched."""
_MOST_PATHS = 20
"""Changed paths from which a commit says nothing about each of them."""
_SECONDS = 1.0
"""Processor time for commits that were not compared before. The next search compares what is left."""
_COMPARED: Recent[str, tuple[str, ...]] = Recent(20 * PAST)

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
            author = commit.author.raw_name.decode(errors="replace")
            entries.append(LogEntry(str(commit.id), author, commit.commit_time, _subject(commit)))
    return entries


def history(repo: pygit2.Repository, base: str, snapshot: str, largest: int) -> bytes | None:
    """Return a tar archive of a `.git` folder whose HEAD is `snapshot`.

    The tag `base` is where the run began. There is no other branch, no remote, and nothing of the user's
    configuration. The archive has at most `largest` bytes: there are fewer commits then, and None if not even
    one fits.
    """
    commits: list[_Step] = []
    seen, weight = set[pygit2.Oid](), 0
    with missing_objects():
        for commit in islice(repo.walk(snapshot), COMMITS):
            step = _Step.of(repo, commit, seen)
            # Packing takes seconds for each 100 MB, so what is far too large is not even tried.
            weight += step.size
            if weight > _MOST_UNPACKED * largest:
                break
            commits.append(step)
        while commits:
            files = _folder(repo, commits, largest)
            if files is None:
                commits = commits[: len(commits) // 2]
                continue
            if any(str(step.commit.id) == base for step in commits):
                files["refs/tags/base"] = f"{base}\n".encode()
            return b"".join(file_member(*file, FileMode.BLOB) for file in files.items()) + TAR_END
    return None


@dataclass(frozen=True)
class _Step:
    """A commit with the objects that newer ones lack. `size` counts the bytes of their files."""

    commit: pygit2.Commit
    objects: tuple[pygit2.Oid, ...]
    size: int

    @classmethod
    def of(cls, repo: pygit2.Repository, commit: pygit2.Commit, seen: set[pygit2.Oid]) -> "_Step":
        """Collect the objects that are not `seen`, and add them. Each tree is entered once."""
        objects, size = [commit.id], 0
        waiting: list[pygit2.Object] = [commit.tree]
        while waiting:
            entry = waiting.pop()
            if entry.id in seen or entry.filemode == FileMode.COMMIT:
                continue
            seen.add(entry.id)
            objects.append(entry.id)
            if isinstance(entry, pygit2.Tree):
                waiting += entry
            else:
                size += repo.odb.read_header(entry.id)[1]
        return cls(commit, tuple(objects), size)


def _folder(repo: pygit2.Repository, steps: list[_Step], largest: int) -> dict[str, bytes] | None:
    """Return the files of the folder, None if they have more than `largest` bytes."""
    builder = pygit2.PackBuilder(repo)
    for step in steps:
        for id in step.objects:  # libgit2 adds a tree as often as it is named, and few trees name billions
            builder.add(id)
    commits = [step.commit for step in steps]
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
            changed.append(_changed_paths(parent, commit.tree) if parent else set())
    return changed


def _changed_paths(old: pygit2.Tree, new: pygit2.Tree, most: int = _MOST_CHANGED) -> set[str]:
    """Return the first paths that differ. A diff of libgit2 has no bound, and few trees name many files."""
    paths, left = set[str](), _MOST_ENTRIES
    waiting: list[tuple[str, pygit2.Object | None, pygit2.Object | None]] = [("", old, new)]
    while waiting and left > 0 and len(paths) < most:
        folder, one, other = waiting.pop()
        before, after = _entries(one), _entries(other)
        left -= len(before) + len(after)
        for name in before.keys() | after.keys():
            sides = before.get(name), after.get(name)
            if len({(side.id, side.filemode) if side else None for side in sides}) == 1:
                continue
            if any(isinstance(side, pygit2.Tree) for side in sides):
                waiting.append((f"{folder}{name}/", *sides))
            if any(side and not isinstance(side, pygit2.Tree) for side in sides):
                paths.add(folder + name)
    return paths


def _entries(tree: pygit2.Object | None) -> dict[str, pygit2.Object]:
    """Return the entries of a folder by name, none for anything else."""
    return (
        {os.fsdecode(entry.raw_name or b""): entry for entry in tree} if isinstance(tree, pygit2.Tree) else {}
    )


def past_changes(repo: pygit2.Repository, snapshot: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return subject and changed paths of the last commits up to a snapshot, the newest first.

    Merges are left out, and commits of many files. A shallow clone has fewer commits.
    """
    past: list[tuple[str, tuple[str, ...]]] = []
    end = time.thread_time() + _SECONDS
    with suppress(KeyError, pygit2.GitError):  # as above
        for commit in islice(repo.walk(snapshot), 2 * PAST):
            paths = _COMPARED.get(str(commit.id))
            if paths is None and time.thread_time() < end:
                paths = _own_paths(commit)
                _COMPARED.put(str(commit.id), paths)
            if paths:
                past.append((_subject(commit), paths))
    return past[:PAST]


def _own_paths(commit: pygit2.Commit) -> tuple[str, ...]:
    """Return the paths that a commit changed, none if it is a merge or changed many."""
    if len(commit.parent_ids) != 1:
        return ()
    paths = _changed_paths(commit.parents[0].tree, commit.tree, _MOST_PATHS + 1)
    return tuple(sorted(paths)) if len(paths) <= _MOST_PATHS else ()


def _subject(commit: pygit2.Commit) -> str:
    return commit.raw_message.decode(errors="replace").strip().partition("\n")[0][:500]
