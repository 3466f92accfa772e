"""One repository as agents see it: begin from the user's files, deliver a branch, apply it when asked."""

from dataclasses import dataclass
from pathlib import Path

import pygit2

from tools.workspace.apply import apply
from tools.workspace.errors import WorkspaceError, git_errors
from tools.workspace.objects import Objects
from tools.workspace.progress import Progress, collect
from tools.workspace.refs import Refs
from tools.workspace.snapshots import Snapshots

PROGRESS = "Work in progress (not by AutoCodeAI)"


@dataclass(frozen=True)
class Base:
    """Where a run starts. `snapshot` is HEAD itself unless the checkout is `dirty`.

    `left_out` names changed files that look like secrets and `filtered` those behind a filter such as LFS;
    both stay as HEAD has them.
    """

    snapshot: str
    head: str | None
    dirty: bool
    left_out: tuple[str, ...]
    filtered: tuple[str, ...] = ()


class Workspace(Snapshots, Refs):
    """A git repository, read and written through its object database and refs of our own.

    Only `apply` touches the user's files. No git program, hook or filter runs.
    """

    def __init__(self, path: Path, repo: pygit2.Repository) -> None:
        self.path = path
        objects = Objects(repo.odb)
        Snapshots.__init__(self, objects)
        Refs.__init__(self, repo, objects)

    @classmethod
    def open(cls, path: Path) -> "Workspace":
        """Open the repository that `path` lies in. Raises WorkspaceError."""
        pygit2.settings.owner_validation = False  # another user's repository is safe: nothing in it runs
        if not path.is_dir():
            raise WorkspaceError(f"there is no folder {path}")
        found = pygit2.discover_repository(str(path))
        if found is None:
            raise WorkspaceError(f"{path} is not in a git repository; --init makes it one")
        with git_errors(_UNREADABLE.format(path=path)):
            repo = pygit2.Repository(found)
        return cls(_root(repo), repo)

    @classmethod
    def init(cls, path: Path) -> "Workspace":
        """Make `path` a repository if it is not the root of one, and open it."""
        pygit2.settings.owner_validation = False
        if not (path / ".git").exists():
            with git_errors(f"cannot make {path} a git repository"):
                pygit2.init_repository(str(path))
        return cls.open(path)

    def begin(self, from_head: bool = False) -> Base:
        """Take the snapshot that a run starts from: HEAD and, unless `from_head`, work in progress on it."""
        self.check_free()
        head = self._head()
        start = head or self._objects.store(self._objects.empty_tree(), [], "Empty repository")
        tree = self._objects.tree(start)
        for _ in self._objects.entries(tree):  # refuses a malformed tree before anything relies on it
            pass
        progress = Progress() if from_head or self._repo.is_bare else self._progress(tree.id)
        snapshot = start
        if progress.changes:
            with git_errors(f"{self.path}: cannot store work in progress (--from-head leaves it out)"):
                grafted = self._objects.graft(tree, progress.changes)
                if grafted != tree.id:
                    snapshot = self._objects.store(grafted, [start], PROGRESS, self.user())
        left_out, filtered = tuple(sorted(progress.secrets)), tuple(sorted(progress.filtered))
        return Base(snapshot, head, snapshot != start, left_out, filtered)

    def apply(self, base: str, result: str) -> tuple[str, ...]:
        """Bring what lies between two snapshots into the user's checkout, entirely or not at all.

        Index and HEAD stay as they are. Raises WorkspaceError, which lists the paths, where the checkout no
        longer holds what `base` does. Returns the paths written or deleted.
        """
        if self._repo.is_bare:
            raise WorkspaceError(f"{self.path} has no checkout to apply to; merge the branch instead")
        return apply(self._repo, self._objects, self.path, base, result)

    def _head(self) -> str | None:
        if self._repo.head_is_unborn:
            return None
        with git_errors(f"{self.path}: HEAD cannot be read"):
            return str(self._repo.head.peel(pygit2.Commit).id)

    def _progress(self, head: pygit2.Oid) -> Progress:
        with git_errors(_PROGRESS_UNREADABLE.format(path=self.path)):
            return collect(self._repo, self._repo[head].peel(pygit2.Tree))


_UNREADABLE = (
    "{path}: this repository cannot be opened (partial clones, SHA-256 and reftable repositories "
    "cannot; a full, ordinary clone can)"
)
_PROGRESS_UNREADABLE = (
    "{path}: cannot read the work in progress; --from-head leaves it out (a split index is joined by "
    "`git update-index --no-split-index`, a sparse one by `git sparse-checkout reapply --no-sparse-index`)"
)


def _root(repo: pygit2.Repository) -> Path:
    """Give the checkout's root; a config that points it at a folder of others is not followed."""
    if repo.is_bare:
        return Path(repo.path)
    root = Path(repo.workdir)
    if pygit2.discover_repository(str(root)) != repo.path:
        raise WorkspaceError(
            f"{repo.path}: its config names {root} as its files (core.worktree), and that folder is not this "
            "repository's; correct it: git config --unset core.worktree"
        )
    return root
