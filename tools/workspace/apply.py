"""Bring a result into the user's checkout: every file or none, and never over work."""

import os
import shutil
import stat
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pygit2
from pygit2.enums import BlobFilter, FileMode

from tools.workspace.errors import WorkspaceError
from tools.workspace.objects import Entry, Objects
from tools.workspace.paths import is_git_folder
from tools.workspace.progress import has_filter


@dataclass(frozen=True)
class Move:
    """One path's way from what base holds to what the result holds."""

    path: str
    old: Entry | None
    new: Entry | None


def apply(repo: pygit2.Repository, objects: Objects, root: Path, base: str, result: str) -> tuple[str, ...]:
    """Check every path first, then write; any failure puts everything back."""
    moves = _moves(objects, base, result)
    checkout = Checkout(repo, root, frozenset(move.path for move in moves if move.new is None))
    problems = [f"  {move.path}: {problem}" for move in moves if (problem := checkout.problem(move))]
    if problems:
        raise WorkspaceError(
            "nothing was applied, for these paths stand in the way:\n"
            + "\n".join(problems)
            + "\nput them in order and apply again, or merge the branch: git merge BRANCH"
        )
    wanted = [move for move in moves if checkout.holds(move) != move.new]
    try:
        _write(checkout, wanted)
    except OSError as error:
        raise WorkspaceError(f"nothing was applied, every file is as before: {error}") from error
    return tuple(move.path for move in wanted)


def _moves(objects: Objects, base: str, result: str) -> list[Move]:
    moves = []
    for delta in objects.diff(base, result).deltas:
        old, new = delta.old_file, delta.new_file
        path = os.fsdecode(new.raw_path)
        before = Entry(old.id, FileMode(old.mode)) if old.mode else None
        moves.append(Move(path, before, Entry(new.id, FileMode(new.mode)) if new.mode else None))
    return sorted(moves, key=lambda move: move.path)


@dataclass(frozen=True)
class Checkout:
    """The user's files; `leaving` are the paths about to be deleted."""

    repo: pygit2.Repository
    root: Path
    leaving: frozenset[str]

    def problem(self, move: Move) -> str | None:
        """Say why `move` must not be made, in words for the user."""
        if problem := self._unfit(move) or self._blocked(move.path):
            return problem
        try:
            now = self.holds(move)
        except (pygit2.GitError, OSError) as error:
            return f"cannot be compared ({error})"
        if now in (move.old, move.new):
            return None
        if move.old is None:
            return "a file that git does not know lies there"
        return "it is gone" if now is None else "it has changed since the run began"

    def _unfit(self, move: Move) -> str | None:
        if FileMode.COMMIT in [entry.mode for entry in (move.old, move.new) if entry]:
            return "it is a submodule"
        if any(part in ("", ".", "..") or is_git_folder(part) for part in move.path.split("/")):
            return "git's own files are never written"
        if has_filter(self.repo, move.path):
            return "a filter such as Git LFS stands between it and git"
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
            return None if emptied else "a folder lies there"
        return None

    def holds(self, move: Move) -> Entry | None:
        """Read what lies at a path, as git would store it; nothing is written to the object database."""
        file = self.root / move.path
        try:
            mode = file.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(mode):
            return Entry(pygit2.hash(os.fsencode(os.readlink(file))), FileMode.LINK)
        if stat.S_ISDIR(mode):
            return None
        if not stat.S_ISREG(mode):
            raise OSError("it is a device or a pipe")
        kind = FileMode.BLOB_EXECUTABLE if mode & stat.S_IXUSR else FileMode.BLOB
        known = move.old or move.new
        if known and known.is_file and not self._keeps_modes:
            kind = known.mode
        return Entry(self.repo.hashfile(move.path), kind)

    @property
    def _keeps_modes(self) -> bool:
        config = self.repo.config
        return config.get_bool("core.filemode") if "core.filemode" in config else True

    def stage(self, move: Move, new: Entry, file: Path) -> None:
        """Write the new contents to `file`, with the checkout's line ends, mode and owner."""
        target = self.root / move.path
        replaced = target.is_file() and not target.is_symlink()
        like = target if replaced else next(above for above in target.parents if above.exists())
        if new.mode == FileMode.LINK:
            os.symlink(self.repo[new.id].peel(pygit2.Blob).data, os.fsencode(file))
        else:
            blob = self.repo[new.id].peel(pygit2.Blob)
            with pygit2.BlobIO(blob, as_path=move.path, flags=BlobFilter(0)) as contents:
                executable = new.mode == FileMode.BLOB_EXECUTABLE
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if executable else 0o666)
                with open(fd, "wb") as out:
                    shutil.copyfileobj(contents, out)
            if replaced:
                file.chmod(self._mode(target, move, executable))
        _give(file, like)

    def _mode(self, target: Path, move: Move, executable: bool) -> int:
        mode = stat.S_IMODE(target.stat().st_mode) & 0o777
        if move.old is None or move.new is None or move.old.mode == move.new.mode or not self._keeps_modes:
            return mode
        return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111

    def place(self, path: str, file: Path, undo: ExitStack) -> None:
        """Rename `file` to its place; `undo` learns how to put back what was there."""
        target = self.root / path
        for folder in reversed(target.parents):
            if not folder.exists():
                folder.mkdir()
                undo.callback(folder.rmdir)
                _give(folder, folder.parent)
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(f"{path} is a folder with other files in it")
        if os.path.lexists(target):
            backup = file.with_suffix(".old")
            _copy(target, backup)
            undo.callback(os.replace, backup, target)
        else:
            undo.callback(target.unlink, missing_ok=True)
        file.replace(target)

    def remove(self, path: str, backup: Path, undo: ExitStack) -> None:
        """Move a file away, and with it the folders that it leaves empty."""
        target = self.root / path
        target.rename(backup)
        undo.callback(os.replace, backup, target)
        for folder in target.parents:
            if folder == self.root or any(folder.iterdir()):
                break
            mode = stat.S_IMODE(folder.stat().st_mode)
            folder.rmdir()
            undo.callback(folder.mkdir, mode)


def _write(checkout: Checkout, moves: list[Move]) -> None:
    folder = tempfile.TemporaryDirectory(prefix="autocode-apply-", dir=_beside(checkout))
    with folder as staging, ExitStack() as undo:
        staged = [(move, Path(staging, str(number))) for number, move in enumerate(moves)]
        for move, file in staged:
            if move.new:
                checkout.stage(move, move.new, file)
        for move, file in staged:
            if move.new is None:
                checkout.remove(move.path, file, undo)
        for move, file in staged:
            if move.new:
                checkout.place(move.path, file, undo)
        undo.pop_all()


def _beside(checkout: Checkout) -> str:
    """Choose where to prepare files, out of sight in .git when a rename from there can work."""
    same_device = os.stat(checkout.repo.path).st_dev == checkout.root.stat().st_dev
    return checkout.repo.path if same_device else str(checkout.root)


def _copy(source: Path, copy: Path) -> None:
    try:
        os.link(source, copy, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, copy, follow_symlinks=False)


def _give(file: Path, like: Path) -> None:
    """Give a file the owner of another, for when we run as root in a user's repository."""
    owner = like.lstat()
    with suppress(PermissionError):
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
