"""The user's files, as an application compares, stages, places and removes them."""

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pygit2
from pygit2.enums import BlobFilter, FileMode

from tools.workspace.applying.hunks import shown_path
from tools.workspace.applying.journal import Stamp, stamp_of
from tools.workspace.listing import TreeEntry
from tools.workspace.objects import Objects
from tools.workspace.paths import is_git_folder
from tools.workspace.status import has_filter

Obstacle = Literal["untracked", "gone", "deleted", "lines"]

WORDS: dict[Obstacle, tuple[str, str]] = {
    "untracked": ("there is a file that git does not track", "there is another file now"),
    "gone": ("it is gone", "it is gone"),
    "deleted": (
        "it has changed in the checkout, and the result deletes it",
        "it has changed since, and would be deleted",
    ),
    "lines": (
        "it has changed in the checkout, and conflicts with the result",
        "the same lines have changed since",
    ),
}
"""Reasons why a path cannot be changed, for an application and for its undo."""


@dataclass(frozen=True)
class PathChange:
    """The change of one path: its entries before and after. `stamp` is that of the file when it was read."""

    path: str
    old: TreeEntry | None
    new: TreeEntry | None
    stamp: Stamp | None = None


@dataclass(frozen=True)
class Checkout:
    """The user's files. `leaving` are the paths that will be deleted. `undoing` chooses the words."""

    repo: pygit2.Repository
    objects: Objects
    root: Path
    leaving: frozenset[str]
    undoing: bool = False

    def reconcile(self, change: PathChange) -> PathChange | str:
        """Return the change from the file as it is now, or the reason why it cannot be made.

        A file that the user changed as well is merged. The reason is in words for the user.
        """
        if problem := self._unfit(change):
            return problem
        stamp = self._stamp(change.path)  # before the file is read, so that no later change is missed
        try:
            if change.new is None and self.holds(change) is None:  # also if a folder has its place
                return PathChange(change.path, None, None)
            if problem := self._blocked(change.path):
                return problem
            now = self.holds(change)
            if now in (change.old, change.new):
                return PathChange(change.path, now, change.new, stamp)
            if change.old is None:
                return self._words("untracked")
            if now is None:
                return self._words("gone")
            merged = self._merge(change.path, change.old, now, change.new)
        except (pygit2.GitError, OSError) as error:
            return f"cannot be compared ({error})"
        if merged is None and change.new is None:
            return self._words("deleted")
        return PathChange(change.path, now, merged, stamp) if merged else self._words("lines")

    def _words(self, obstacle: Obstacle) -> str:
        return WORDS[obstacle][self.undoing]

    def _stamp(self, path: str) -> Stamp | None:
        file = self.root / path
        return None if file.is_dir() and not file.is_symlink() else stamp_of(file)

    def keep(self, change: PathChange) -> None:
        """Store the file as it is now, so that an undo can restore it."""
        if change.old is None:
            return
        if change.old.mode == FileMode.LINK:
            id = self.repo.create_blob(os.fsencode(os.readlink(self.root / change.path)))
        else:
            id = self.repo.create_blob_fromworkdir(change.path)
        if id != change.old.id:
            raise OSError(f"{change.path} has changed in this moment; apply again")

    def check_unchanged(self, change: PathChange, former: Path) -> None:
        """Raise OSError if somebody wrote to a file after it was read. Its former content is in `former`."""
        kept = stamp_of(former)
        # A copy has another inode.
        if (kept and kept[1:]) != (change.stamp and change.stamp[1:]):
            raise OSError(f"{change.path} has changed in this moment; apply again")

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
        if shown_path(change.path) != change.path:
            return "its name is not UTF-8"  # pygit2's filters would wait for it without end
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

    def place(self, change: PathChange, file: Path) -> None:
        """Rename `file` to its path, and keep the former file beside it. Raises OSError if it has changed."""
        path = change.path
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
        self.check_unchanged(change, file.with_suffix(".old"))
        file.replace(target)

    def remove(self, change: PathChange, former: Path) -> None:
        """Move a file away, and remove the folders that become empty. Raises OSError if it has changed."""
        target = self.root / change.path
        target.rename(former)
        self.check_unchanged(change, former)
        for folder in target.parents:
            if folder == self.root or any(folder.iterdir()):
                break
            folder.rmdir()


def _give(file: Path, like: Path) -> None:
    """Copy the owner of `like` to a file, because we may run as root in a user's repository."""
    owner = like.lstat()
    with suppress(OSError):
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
