"""Watch a folder with Watchdog, without the subfolders that are not indexed."""

import errno
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from memory.repo_index.files import is_foreign, is_wanted
from memory.repo_index.ignore import Ignore

EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent,
    FileClosedEvent, FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileMovedEvent,
]  # fmt: skip
"""Events that report a change. Reading a file is none."""

WATCHES = 48
"""Watchdog's threads for one root. A root that needs more is watched as a whole."""

_LIMITS = {errno.ENOSPC, errno.EMFILE, errno.ENFILE}


class WatchLimit(Exception):
    """The system's limit of watches is reached. The message says what to do."""


@dataclass(frozen=True)
class _WatchedFolder:
    """A folder to watch. The inode tells it from a later folder of the same name."""

    path: str
    recursive: bool
    inode: int


class Watcher(FileSystemEventHandler):
    """Watches a root. `mark` receives a relative path, or None if anything may have changed."""

    def __init__(self, root: Path, mark: Callable[[str | None], None]) -> None:
        self._root = str(root)
        self._mark = mark
        self._observer: BaseObserver | None = None
        self._watches: dict[_WatchedFolder, ObservedWatch] = {}

    def renew(self) -> None:
        """Watch the folders that exist now. Raises WatchLimit."""
        try:
            if self._observer is None:
                logging.getLogger("watchdog").addHandler(logging.NullHandler())
                self._observer = Observer()
                self._observer.start()
            self._update_watches(self._observer)
        except OSError as error:
            self.close()
            if error.errno not in _LIMITS:
                raise
            raise WatchLimit(
                "the system's limit of watched folders is reached; the folder is read every few seconds "
                "until you raise fs.inotify.max_user_watches or max_user_instances"
            ) from error

    def close(self) -> None:
        """Stop watching."""
        observer, self._observer = self._observer, None
        self._watches.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Mark the paths of an event."""
        # This runs on Watchdog's thread. Reading files here would make it lose events.
        paths = [path for path in (event.src_path, event.dest_path) if path]
        names = [os.path.relpath(os.fsdecode(path), self._root) for path in paths]
        inside = [name for name in names if not any(map(is_foreign, name.split(os.sep)))]
        for name in inside:
            if event.is_directory or os.path.basename(name) == ".gitignore":
                self._mark(None)
            elif is_wanted(name):
                self._mark(name)

    def _update_watches(self, observer: BaseObserver) -> None:
        folders = set(_folders_to_watch(self._root))
        for gone in self._watches.keys() - folders:
            with suppress(KeyError):
                observer.unschedule(self._watches.pop(gone))
        fresh = folders - self._watches.keys()
        for folder in fresh:
            # A folder may be deleted between the listing and this line.
            with suppress(FileNotFoundError, NotADirectoryError):
                self._watches[folder] = observer.schedule(
                    self, folder.path, recursive=folder.recursive, event_filter=EVENTS
                )
        if fresh:
            _check_limit(observer)


def _folders_to_watch(root: str) -> list[_WatchedFolder]:
    """Return as few folders as keep large foreign ones out."""
    folders: list[_WatchedFolder] = []
    clean = _survey(root, "", Ignore.of_folder(Path(root)), folders)
    inode = os.stat(root).st_ino
    if clean or len(folders) >= WATCHES:
        return [_WatchedFolder(root, True, inode)]
    return folders


def _survey(root: str, folder: str, ignore: Ignore, folders: list[_WatchedFolder]) -> bool:
    """Collect the folders to watch at and below a folder. Return True if all of it can be watched."""
    below: list[_WatchedFolder] = []
    whole: list[_WatchedFolder] = []
    clean = True
    for entry in _subfolders(os.path.join(root, folder)):
        path = os.path.join(folder, entry.name)
        if is_foreign(entry.name) or ignore.ignores(f"{path}/"):
            clean = clean and not any(_subfolders(entry.path))
        elif _survey(root, path, ignore, below):
            whole.append(_WatchedFolder(entry.path, True, entry.inode()))
        else:
            clean = False
    if not clean:
        path = os.path.join(root, folder) if folder else root
        with suppress(OSError):
            folders += [_WatchedFolder(path, False, os.stat(path).st_ino), *whole, *below]
    return clean


def _subfolders(path: str) -> Iterator["os.DirEntry[str]"]:
    with suppress(OSError), os.scandir(path) as entries:
        yield from (entry for entry in entries if entry.is_dir(follow_symlinks=False))


def _check_limit(observer: BaseObserver) -> None:
    """Raise OSError if no watch is left."""
    # Watchdog ignores the limit where it is reached below a root, so one more watch is tried.
    with tempfile.TemporaryDirectory() as spare:
        observer.unschedule(observer.schedule(FileSystemEventHandler(), spare))
