"""The journal of an application. The next command undoes from it what a killed process left half done."""

import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tools.workspace.errors import WorkspaceError
from tools.workspace.opening import read_file
from tools.workspace.paths import is_git_folder
from tools.workspace.refs import APPLIED, Refs

LOCK_SECONDS = 30.0
"""Time to wait for another application to the same checkout."""

_FOLDER = "autocode-apply"
_JOURNAL = "journal.json"
_JOURNAL_BYTES = 256 << 20

Stamp = tuple[int, int, int]
"""Inode, size and time of change, which tell a file that we wrote from one that the user changed since."""


@dataclass(frozen=True)
class Placement:
    """A path that gets a new file with this stamp, or loses its file if there is none."""

    path: str
    new: Stamp | None


@dataclass(frozen=True)
class Mark:
    """The move of a thread's ref `applied` from one record to another, which belongs to the application."""

    thread: str
    old: str | None
    new: str | None

    def undo(self, refs: Refs) -> None:
        """Move the ref back, unless it is elsewhere."""
        if refs.held(self.thread).get(APPLIED) == self.new:
            refs.mark(self.thread, APPLIED, self.old)


@dataclass(frozen=True)
class ApplyJournal:
    """The paths of an application, and the folders that it makes or may remove, with their modes.

    The staged file of the placement N is `N` in the folder of the journal, and the former file `N.old`.
    """

    root: Path
    folder: Path
    placements: tuple[Placement, ...]
    made: tuple[str, ...]
    emptied: tuple[tuple[str, int], ...]
    mark: Mark | None = None

    @classmethod
    def of(
        cls, root: Path, folder: Path, paths: Sequence[tuple[str, bool]], mark: Mark | None
    ) -> "ApplyJournal":
        """Return the journal for paths, each with whether its new file is staged."""
        placements = [
            Placement(path, stamp_of(folder / str(number)) if staged else None)
            for number, (path, staged) in enumerate(paths)
        ]
        made, emptied = set[str](), dict[str, int]()
        for placement in placements:
            for above in PurePosixPath(placement.path).parents[:-1]:
                place = root / above
                if placement.new is None:
                    emptied[str(above)] = stat.S_IMODE(place.stat().st_mode)
                elif place.is_symlink() or not place.is_dir():
                    made.add(str(above))
        sorted_folders = tuple(sorted(made)), tuple(sorted(emptied.items()))
        return cls(root, folder, tuple(placements), *sorted_folders, mark)

    def write(self) -> None:
        """Write the journal at once. Before it is there, nothing of the checkout may change."""
        data = asdict(self) | {"root": "", "folder": ""}
        unfinished = self.folder / "unfinished"
        with unfinished.open("w", encoding="ascii") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.folder / _JOURNAL)

    @classmethod
    def read(cls, root: Path, folder: Path) -> "ApplyJournal | None":
        """Read a journal that a killed process left. Anybody can have written it. Raises WorkspaceError."""
        text = read_file(folder / _JOURNAL, _JOURNAL_BYTES)
        if text is None:
            return None
        try:
            data = json.loads(text)
            placements = tuple(_placement(entry) for entry in data["placements"])
            emptied = tuple((str(path), int(mode) & 0o777) for path, mode in data["emptied"])
            mark = _mark(data.get("mark"))  # older versions have none
            journal = cls(root, folder, placements, tuple(map(str, data["made"])), emptied, mark)
            journal._check()
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise WorkspaceError(
                f"{folder / _JOURNAL} is damaged ({error}), so an interrupted application cannot be undone; "
                f"compare the checkout with its branch, and remove {folder}"
            ) from error
        return journal

    def _check(self) -> None:
        paths = [entry.path for entry in self.placements] + [*self.made, *(path for path, _ in self.emptied)]
        for path in paths:
            parts = path.split("/")
            if "\0" in path or any(part in ("", ".", "..") or is_git_folder(part) for part in parts):
                raise ValueError(f"a forbidden path {path[:200]!r}")
            if any((self.root / above).is_symlink() for above in PurePosixPath(path).parents[:-1]):
                raise ValueError(f"{path[:200]!r} is behind a symbolic link")

    @property
    def is_complete(self) -> bool:
        """True if every file was placed or removed."""
        return all(
            not os.path.lexists(self._staged(number)) if entry.new else os.path.lexists(self._former(number))
            for number, entry in enumerate(self.placements)
        )

    def undo(self, refs: Refs) -> list[str]:
        """Restore every file and the ref. Return the paths that the user has changed since, which stay."""
        kept: list[str] = []
        numbered = list(enumerate(self.placements))[::-1]
        for number, entry in numbered:
            if entry.new and not os.path.lexists(self._staged(number)):
                self._undo_placement(self._former(number), entry, kept)
        for path in sorted(self.made, reverse=True):
            with suppress(OSError):  # the user has put something there, or it was not made
                (self.root / path).rmdir()
        for number, entry in numbered:
            former = self._former(number)
            if entry.new is None and os.path.lexists(former):
                target = self.root / entry.path
                if os.path.lexists(target):
                    kept.append(entry.path)
                    continue
                self._restore_folders(target)
                former.replace(target)
        if self.mark:
            self.mark.undo(refs)
        return sorted(kept)

    def _undo_placement(self, former: Path, entry: Placement, kept: list[str]) -> None:
        target = self.root / entry.path
        now = stamp_of(target)
        if now not in (entry.new, None):
            # Without a former file there is nothing to restore, or an earlier undo has done it.
            kept += [entry.path] if os.path.lexists(former) else []
        elif os.path.lexists(former):
            self._restore_folders(target)
            former.replace(target)
        elif now:
            target.unlink()

    def _restore_folders(self, target: Path) -> None:
        modes = dict(self.emptied)
        for folder in reversed(target.relative_to(self.root).parents[:-1]):
            if not (self.root / folder).is_dir():
                (self.root / folder).mkdir(modes.get(str(folder), 0o777))

    def _staged(self, number: int) -> Path:
        return self.folder / str(number)

    def _former(self, number: int) -> Path:
        return self.folder / f"{number}.old"


def recover(git: Path, root: Path, refs: Refs) -> str:
    """Undo an application that was interrupted. Return what was done, in words for the user, if anything."""
    if not any(map(os.path.lexists, _folders(git, root))):
        return ""
    with applying(git):
        return recover_locked(git, root, refs)


def recover_locked(git: Path, root: Path, refs: Refs) -> str:
    """Do as `recover` in a process that holds the lock."""
    return "\n".join(filter(None, (_recovered(root, folder, refs) for folder in _folders(git, root))))


def check_finished(git: Path, root: Path) -> None:
    """Raise WorkspaceError if the checkout holds half of a result."""
    if any(os.path.lexists(folder / _JOURNAL) for folder in _folders(git, root)):
        raise WorkspaceError(
            f"{root}: an application of a result was interrupted, and some files are changed already; "
            "`autocode diff THREAD` undoes it"
        )


@contextmanager
def applying(git: Path) -> Iterator[None]:
    """Let one process at a time apply. Its lock ends with the process."""
    descriptor = os.open(git, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while not _lock(descriptor):
            if time.monotonic() > end:
                raise WorkspaceError(f"{git}: another process applies a result there; try again later")
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def staging(git: Path, root: Path) -> Iterator[Path]:
    """Make the folder for staged files, and remove it at the end."""
    # It is in .git, unless that is on another device, where renames fail.
    folder = _folders(git, root)[git.stat().st_dev != root.stat().st_dev]
    folder.mkdir(0o700)
    try:
        yield folder
    finally:
        # A journal is there if the files could not be restored. The next command tries again.
        if not os.path.lexists(folder / _JOURNAL):
            shutil.rmtree(folder, ignore_errors=True)


def finish(folder: Path) -> None:
    """Remove the journal: from here on, what it describes is done."""
    (folder / _JOURNAL).unlink()


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file or link, None if there is none."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _recovered(root: Path, folder: Path, refs: Refs) -> str:
    if not os.path.lexists(folder):
        return ""
    if folder.is_symlink() or not folder.is_dir():
        raise WorkspaceError(f"{folder} is no folder of AutoCodeAI; remove it")
    journal, done = ApplyJournal.read(root, folder), "had left nothing half done"
    if journal:
        done = f"had come to its end, and its {len(journal.placements)} files stay"
        if not journal.is_complete:
            kept = journal.undo(refs)
            done = "was undone, and every file is as before"
            if kept:
                done = f"was undone, but for files that have changed since: {', '.join(kept)}"
        finish(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return f"{root}: an application that was interrupted {done}."


def _folders(git: Path, root: Path) -> tuple[Path, Path]:
    return git / _FOLDER, root / f".{_FOLDER}"


def _placement(entry: dict[str, Any]) -> Placement:
    new = entry["new"]
    return Placement(str(entry["path"]), (int(new[0]), int(new[1]), int(new[2])) if new else None)


def _mark(entry: dict[str, Any] | None) -> Mark | None:
    if entry is None:
        return None
    old, new = (str(entry[side]) if entry[side] else None for side in ("old", "new"))
    if "/" in (thread := str(entry["thread"])) or not thread:
        raise ValueError(f"a forbidden thread {thread[:200]!r}")
    return Mark(thread, old, new)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True
