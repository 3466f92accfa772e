"""The repository that agents work on: a start from the user's files, a branch, its application."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import DescribeStrategy

from tools.workspace.applying import (
    Application,
    Applying,
    ApplyRecord,
    ChangedFile,
    Selection,
    Undone,
    changed_files,
    check_finished,
    recover,
    select,
)
from tools.workspace.errors import WorkspaceError, damage, git_errors
from tools.workspace.history import LogEntry, history, log, past_changes, recent_changes
from tools.workspace.objects import Objects
from tools.workspace.opening import GitFolder, check_inside, is_bounded, look
from tools.workspace.refs import APPLIED, Refs
from tools.workspace.snapshots import Snapshots
from tools.workspace.status import QUICK_STEPS, WorkInProgress, collect, collect_apart, look_at_checkout
from tools.workspace.thread_branches import ThreadBranches

WORK_MESSAGE = "Work in progress (not by AutoCodeAI)"

_VERSION = re.compile(r"(?:^|[^\d.])v?(\d{1,9}(?:\.\d{1,9}){0,5})(?:\D|$)")

_SUPPORTED = "Partial clones, SHA-256 and reftable repositories are not supported; use a full clone"
_JOIN_INDEX = (
    "option from_head leaves it out. Join a split index with `git update-index --no-split-index`, "
    "a sparse one with `git sparse-checkout reapply --no-sparse-index`; `git fsck` shows what is damaged"
)


@dataclass(frozen=True)
class Base:
    """The start of a run. `snapshot` is HEAD itself unless the checkout is `dirty`.

    `left_out` names changed files that look like secrets, `filtered` those with a filter such as LFS, and
    `large` untracked files over 5 MB. All of them stay as they are in HEAD.
    """

    snapshot: str
    head: str | None
    dirty: bool
    left_out: tuple[str, ...]
    filtered: tuple[str, ...] = ()
    large: tuple[str, ...] = ()


class Workspace(Snapshots, Refs):
    """A git repository, accessed through its object database and our own refs.

    Only `apply` touches the user's files. No git program, hook or filter runs. `folder` is empty, as the
    paths are relative to the root.
    """

    folder = ""

    def __init__(self, path: Path, repo: pygit2.Repository, folder: GitFolder) -> None:
        self.path = path
        objects = Objects(repo.odb, Path(folder.shared, "objects"))
        Snapshots.__init__(self, objects)
        Refs.__init__(self, repo, objects, folder)

    @classmethod
    def open(cls, path: Path) -> "Workspace":
        """Open the repository around `path`. Raises WorkspaceError."""
        pygit2.settings.owner_validation = False  # safe, because nothing of the repository runs
        if not path.is_dir():
            raise WorkspaceError(f"there is no folder {path}")
        folder = look(path)
        with git_errors(f"{path}: this repository cannot be opened. {_SUPPORTED}"):
            repo = pygit2.Repository(str(path))
            root = _root(repo)
            check_inside(str(root))
            return cls(root, repo, folder)

    @classmethod
    def init(cls, path: Path) -> "Workspace":
        """Create a repository at `path` unless it is the root of one, and open it."""
        pygit2.settings.owner_validation = False
        if not (path / ".git").exists():
            with git_errors(f"cannot make {path} a git repository"):
                pygit2.init_repository(str(path))
        return cls.open(path)

    def begin(self, from_head: bool = False) -> Base:
        """Return the snapshot for the start of a run: HEAD and, unless `from_head`, the work in progress."""
        self.check_free()
        head = None
        with damage(self.path):
            if not self._repo.head_is_unborn:
                head = str(self._repo.head.peel(pygit2.Commit).id)
        objects = self._objects.repo
        start = head or self._objects.store(objects.TreeBuilder().write(), [], "Empty repository")
        tree = self._objects.tree(start)
        self._objects.listing(tree)  # rejects a malformed tree before anything relies on it
        work = WorkInProgress()
        if not from_head and not self._repo.is_bare:
            check_finished(Path(self._repo.path), self.path)
            with git_errors(f"{self.path}: cannot read the work in progress; {_JOIN_INDEX}"):
                work = self._collect(tree)
        snapshot = start
        if work.changes:
            with git_errors(f"{self.path}: cannot store work in progress (option from_head leaves it out)"):
                grafted = self._objects.graft(tree, work.changes)
                if grafted != tree.id:
                    snapshot = self._objects.store(grafted, [start], WORK_MESSAGE, self.user())
        left_out = (tuple(sorted(paths)) for paths in (work.secrets, work.filtered, work.large))
        return Base(snapshot, head, snapshot != start, *left_out)

    def _collect(self, tree: pygit2.Tree) -> WorkInProgress:
        look = look_at_checkout(str(self.path), self._folder.places)
        # A server's repositories belong to others, who can make a changed file a pipe while it is read.
        if look.steps > QUICK_STEPS or is_bounded():
            return collect_apart(self.path, str(tree.id))
        return collect(self._repo, self._repo[tree.id].peel(pygit2.Tree))

    def version(self, snapshot: str) -> str:
        """Return the version in the newest tag before a snapshot, such as `1.4.2`, empty without one."""
        with suppress(KeyError, pygit2.GitError):  # no tags, or a shallow clone
            name = self._repo[snapshot].peel(pygit2.Commit)
            tag = self._repo.describe(name, describe_strategy=DescribeStrategy.TAGS, abbreviated_size=0)
            if match := _VERSION.search(tag):
                return match[1]
        return ""

    def history(self, base: str, snapshot: str, largest: int) -> bytes | None:
        """Return a tar archive of a `.git` folder with the last commits. See `history`."""
        return history(self._repo, base, snapshot, largest)

    def log(self, snapshot: str, count: int) -> list[LogEntry]:
        """Return the newest commits up to a snapshot, fewer in a shallow clone."""
        return log(self._repo, snapshot, count)

    def recent_changes(self, snapshot: str) -> list[set[str]]:
        """Return the paths that each of the last commits changed, along first parents, the newest first."""
        return recent_changes(self._repo, snapshot)

    def past_changes(self, snapshot: str) -> list[tuple[str, tuple[str, ...]]]:
        """Return subject and changed paths of the commits up to a snapshot, the newest first. See there."""
        return past_changes(self._repo, snapshot)

    def recover(self) -> str:
        """Undo an application that was interrupted, and return a message if there was one. See `recover`."""
        return recover(Path(self._repo.path), self.path, self)

    def changed_files(self, base: str, head: str) -> list[ChangedFile]:
        """Return the files that differ between two snapshots, by path, with their hunks."""
        return changed_files(self._patches(base, head), self._objects.diff(base, head))

    def select(self, base: str, files: Sequence[ChangedFile], selection: Selection) -> str:
        """Return the snapshot with the selected part of the change of `files`. See `select`."""
        return select(self._objects, base, files, selection)

    def apply(self, base: str, result: str, application: Application | None = None) -> tuple[str, ...]:
        """Apply the difference of two snapshots to the user's checkout, entirely or not at all.

        Files that the user changed since `base` are merged. Index and HEAD stay as they are. An `application`
        is recorded, so that it can be undone. Returns the paths that were written or deleted. Raises
        CheckoutConflict, which lists the paths that conflict.
        """
        with git_errors(f"{self.path}: the checkout cannot be read, so nothing was applied"):
            return self._applying().apply(base, result, application)

    def records(self, thread: str) -> Iterator[ApplyRecord]:
        """Yield the records of what a thread's user has applied, newest first."""
        return ApplyRecord.chain(self._objects, thread, self.held(thread).get(APPLIED))

    def newest_records(self) -> list[ApplyRecord]:
        """Return the newest record of each thread."""
        return [ApplyRecord.read(self._objects, *held) for held in self.holders(APPLIED).items()]

    def thread_branches(self, thread: str, runs: Collection[str]) -> ThreadBranches:
        """Return the branches of a thread whose runs have the ids `runs`."""
        return ThreadBranches(self._repo, self, thread, runs)

    def undo(self, record: ApplyRecord, base: str) -> Undone:
        """Take back the newest application of a thread. See `Applying.undo`. Raises CheckoutConflict."""
        with git_errors(f"{self.path}: the checkout cannot be read, so nothing was taken back"):
            return self._applying().undo(record, base)

    def _applying(self) -> Applying:
        if self._repo.is_bare:
            raise WorkspaceError(f"{self.path} has no checkout to apply to; merge the branch instead")
        return Applying(self._repo, self._objects, self, self.path, self._folder.places)


def _root(repo: pygit2.Repository) -> Path:
    """Return the root of the checkout. A config that names a foreign folder is an error."""
    if repo.is_bare:
        return Path(repo.path)
    root = Path(repo.workdir)
    if pygit2.discover_repository(str(root)) != repo.path:
        raise WorkspaceError(
            f"{repo.path}: its config names {root} as its checkout (core.worktree), which belongs to another "
            "repository; correct it: git config --unset core.worktree"
        )
    return root


def archive(
    path: Path, snapshot: str, paths: Iterable[str] | None = None, edits: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """Yield a snapshot as `Workspace.tar` packs it, from the repository at `path`.

    Only the reader opens the repository, because libgit2's are not for several threads, opening blocks, and
    a sandbox reads in a thread of its choice.
    """
    yield from Workspace.open(path).tar(snapshot, paths, edits)
