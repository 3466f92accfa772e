"""Application of a result to the user's checkout: every file or none, and never over other work."""

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pygit2
from pygit2.enums import BlobFilter, FileMode

from tools.workspace.applying.journal import ApplyJournal, applying, finish, recover_locked, staging
from tools.workspace.errors import WorkspaceError
from tools.workspace.listing import TreeEntry
from tools.workspace.objects import Objects
from tools.workspace.paths import is_git_folder
from tools.workspace.status import QUICK_STEPS, has_filter, look_along


@dataclass(frozen=True)
class PathChange:
    """The change of one path: its entries in the base and in the result."""

    path: str
    old: TreeEntry | None
    new: TreeEntry | None


def apply(
    repo: pygit2.Repository, objects: Objects, root: Path, git_folders: Iterable[str], base: str, result: str
) -> tuple[str, ...]:
    """Check every path first, then write. A failure restores every file."""
    with applying(Path(repo.path)):
        recover_locked(Path(repo.path), root)
        return _apply(repo, objects, root, git_folders, base, result)


def _apply(
    repo: pygit2.Repository, objects: Objects, root: Path, git_folders: Iterable[str], base: str, result: str
) -> tuple[str, ...]:
    changes = _changes(objects, base, result)
    look = look_along(str(root), git_folders, (change.path for change in changes))
    if look.steps > QUICK_STEPS:
        raise WorkspaceError(
            f"{root}: nothing was applied, because its .gitattributes take too long to match (many patterns "
            "with `*`); use simpler ones, or merge the branch: git merge BRANCH"
        )
    checkout = Checkout(repo, objects, root, frozenset(change.path for change in changes if not change.new))
    wanted, problems = list[PathChange](), list[str]()
    for change in changes:
        outcome = checkout.reconcile(change)
        if isinstance(outcome, str):
            problems.append(f"  {change.path}: {outcome}")
        elif outcome.old != outcome.new:
            wanted.append(outcome)
    if problems:
        raise WorkspaceError(
            "nothing was applied, because of these paths:\n"
            + "\n".join(problems)
            + "\nRepair them and apply again, or merge the branch: git merge BRANCH"
        )
    try:
        _write(checkout, wanted)
    except (OSError, KeyError, pygit2.GitError) as error:
        raise WorkspaceError(f"nothing was applied, every file is as before: {error}") from error
    return tuple(change.path for change in wanted)


def _changes(objects: Objects, base: str, result: str) -> list[PathChange]:
    changes = []
    for delta in objects.diff(base, result).deltas:
        old, new = delta.old_file, delta.new_file
        path = os.fsdecode(new.raw_path)
        before = TreeEntry(old.id, FileMode(old.mode)) if old.mode else None
        changes.append(PathChange(path, before, TreeEntry(new.id, FileMode(new.mode)) if new.mode else None))
    return sorted(changes, key=lambda change: change.path)


@dataclass(frozen=True)
class Checkout:
    """The user's files. `leaving` are the paths that will be deleted."""

    repo: pygit2.Repository
    objects: Objects
    root: Path
    leaving: frozenset[str]

    def reconcile(self, change: PathChange) -> PathChange | str:
        """Return the change from the file as it is now, or the reason why it cannot be made.

        A file that the user changed as well is merged. The reason is in words for the user.
        """
        if problem := self._unfit(change):
            return problem
        try:
            if change.new is None and self.holds(change) is None:  # also if a folder has its place
                return PathChange(change.path, None, None)
            if problem := self._blocked(change.path):
                return problem
            now = self.holds(change)
            if now in (change.old, change.new):
                return PathChange(change.path, now, change.new)
            if change.old is None:
                return "there is a file that git does not track"
            if now is None:
                return "it is gone"
            merged = self._merge(change.path, change.old, now, change.new)
        except (pygit2.GitError, OSError) as error:
            return f"cannot be compared ({error})"
        if merged is None and change.new is None:
            return "it has changed in the checkout, and the result deletes it"
        return (
            PathChange(change.path, now, merged)
            if merged
            else "it has changed in the checkout, and conflicts with the result"
        )

    def _merge(self, path: str, old: TreeEntry, now: TreeEntry, new: TreeEntry | None) -> TreeEntry | None:
        """Merge the user's change of a file with that of the result. None if they conflict."""
        if new is None or not (old.is_file and now.is_file and new.is_file):
            return None
        # libgit2 merges blobs, so the file becomes one. Nothing refers to it, and git prunes it in time.
        ours = TreeEntry(self.repo.create_blob_fromworkdir(path), now.mode)
        return self.objects.merge_files(old, ours, new)

    def _unfit(self, change: PathChange) -> str | None:
        if FileMode.COMMIT in [entry.mode for entry in (change.old, change.new) if entry]:
            return "it is a submodule"
        if any(part in ("", ".", "..") or is_git_folder(part) for part in change.path.split("/")):
            return "git's own files are never written"
        if has_filter(self.repo, change.path):
            return "it has a filter such as Git LFS"
        return None

    def _blocked(self, path: str) -> str | None:
        for folder in reversed(PurePosixPath(path).parents[:-1]):
            with suppress(FileNotFoundError, NotADirectoryError):
                mode = (self.root / folder).lstat().st_mode
                if stat.S_ISLNK(mode) and str(folder) not in self.leaving:
                    return f"{folder} is a symbolic link"
                if not stat.S_ISDIR(mode) and str(folder) not in self.leaving:
                    return f"{folder} is a file, not a folder"
        if (self.root / path).is_dir() and not (self.root / path).is_symlink():
            emptied = any(gone.startswith(f"{path}/") for gone in self.leaving)
            return None if emptied else "there is a folder"
        return None

    def holds(self, change: PathChange) -> TreeEntry | None:
        """Read the entry that git would store for a path. Nothing is written to the object database."""
        file = self.root / change.path
        try:
            mode = file.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(mode):
            return TreeEntry(pygit2.hash(os.fsencode(os.readlink(file))), FileMode.LINK)
        if stat.S_ISDIR(mode):
            return None
        if not stat.S_ISREG(mode):
            raise OSError("it is a device or a pipe")
        kind = FileMode.BLOB_EXECUTABLE if mode & stat.S_IXUSR else FileMode.BLOB
        known = change.old or change.new
        if known and known.is_file and not self._keeps_modes:
            kind = known.mode
        return TreeEntry(self.repo.hashfile(change.path), kind)

    @property
    def _keeps_modes(self) -> bool:
        config = self.repo.config
        return config.get_bool("core.filemode") if "core.filemode" in config else True

    def stage(self, change: PathChange, new: TreeEntry, file: Path) -> None:
        """Write the new content to `file`, with the checkout's line ends, mode and owner."""
        target = self.root / change.path
        replaced = target.is_file() and not target.is_symlink()
        like = target if replaced else next(above for above in target.parents if above.exists())
        if new.mode == FileMode.LINK:
            os.symlink(self.repo[new.id].peel(pygit2.Blob).data, os.fsencode(file))
        else:
            blob = self.repo[new.id].peel(pygit2.Blob)
            with pygit2.BlobIO(blob, as_path=change.path, flags=BlobFilter(0)) as contents:
                executable = new.mode == FileMode.BLOB_EXECUTABLE
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if executable else 0o666)
                with open(fd, "wb") as out:
                    shutil.copyfileobj(contents, out)
            if replaced:
                mode = stat.S_IMODE(target.stat().st_mode) & 0o777
                modes = {entry.mode for entry in (change.old, new) if entry}
                if len(modes) == 2 and self._keeps_modes:
                    mode = mode | (mode & 0o444) >> 2 if executable else mode & ~0o111
                file.chmod(mode)
        _give(file, like)

    def place(self, path: str, file: Path) -> None:
        """Rename `file` to its path, and keep the former file beside it."""
        target = self.root / path
        for folder in reversed(target.parents):
            if not folder.exists():
                folder.mkdir()
                _give(folder, folder.parent)
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(f"{path} is a folder with other files in it")
        if os.path.lexists(target):
            former = file.with_suffix(".old")
            try:
                os.link(target, former, follow_symlinks=False)
            except OSError:
                shutil.copy2(target, former, follow_symlinks=False)
        file.replace(target)

    def remove(self, path: str, former: Path) -> None:
        """Move a file away, and remove the folders that become empty."""
        target = self.root / path
        target.rename(former)
        for folder in target.parents:
            if folder == self.root or any(folder.iterdir()):
                break
            folder.rmdir()


def _write(checkout: Checkout, changes: list[PathChange]) -> None:
    git, root = Path(checkout.repo.path), checkout.root
    with staging(git, root) as folder:
        staged = [(change, folder / str(number)) for number, change in enumerate(changes)]
        for change, file in staged:
            if change.new:
                checkout.stage(change, change.new, file)
        journal = ApplyJournal.of(root, folder, [(change.path, change.new is not None) for change in changes])
        journal.write()
        try:
            for change, file in staged:
                if change.new is None:
                    checkout.remove(change.path, file.with_suffix(".old"))
            for change, file in staged:
                if change.new:
                    checkout.place(change.path, file)
        except BaseException:
            journal.undo()
            finish(folder)
            raise
        finish(folder)


def _give(file: Path, like: Path) -> None:
    """Copy the owner of `like` to a file, because we may run as root in a user's repository."""
    owner = like.lstat()
    with suppress(OSError):
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
