"""The last commits before a snapshot as a git folder of their own, which shows nothing else."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pygit2

from tools.workspace.workspace import Workspace

COMMITS = 40
"""The most commits that the folder holds."""

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


def log(workspace: Workspace, snapshot: str, count: int) -> list[LogEntry]:
    """Return the newest commits up to a snapshot, fewer in a shallow clone. Blocks."""
    entries: list[LogEntry] = []
    with suppress(KeyError, pygit2.GitError):  # a shallow clone lacks the parents
        for commit in islice(Workspace.open(workspace.path)._repo.walk(snapshot), count):
            subject = commit.raw_message.decode(errors="replace").strip().partition("\n")[0]
            author = commit.author.raw_name.decode(errors="replace")
            entries.append(LogEntry(str(commit.id), author, commit.commit_time, subject[:500]))
    return entries


def history(path: Path, base: str, snapshot: str, largest: int) -> dict[str, bytes] | None:
    """Return the files of a `.git` folder whose HEAD is `snapshot`, by their paths in it. Blocks.

    The tag `base` is where the run began. There is no other branch, no remote, and nothing of the user's
    configuration. No file has more than `largest` bytes: there are fewer commits then, and None if not even
    one fits.
    """
    repo = Workspace.open(path)._repo  # the packs and walks of libgit2 are the whole work
    commits = list(islice(repo.walk(snapshot), COMMITS))
    while commits:
        files = _folder(repo, commits)
        if any(str(commit.id) == base for commit in commits):
            files["refs/tags/base"] = f"{base}\n".encode()
        if max(map(len, files.values())) <= largest:
            return files
        commits = commits[: len(commits) // 2]
    return None


def _folder(repo: pygit2.Repository, commits: list[pygit2.Commit]) -> dict[str, bytes]:
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
        packed = {file.name: file.read_bytes() for file in Path(made).iterdir()}
    files = {"index": packed.pop("index")} | {f"objects/pack/{name}": data for name, data in packed.items()}
    files |= {"HEAD": b"ref: refs/heads/main\n", "config": _CONFIG.encode()}
    files["refs/heads/main"] = f"{head}\n".encode()
    if cut:
        files["shallow"] = "".join(f"{commit.id}\n" for commit in cut).encode()
    return files
