"""Watchdog on a folder: marks what may have changed, and stays out of what is not indexed."""

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
"""What tells of a change; reading a file is none."""

WATCHES = 48
"""Watchdog's threads for one root; where it would take more, foreign folders are watched with the rest."""

_LIMITS = {errno.ENOSPC, errno.EMFILE, errno.ENFILE}


class WatchLimit(Exception):
    """The system's limit of watches is reached; the message says what to do."""


@dataclass(frozen=True)
class _Place:
    """A folder to watch; its inode tells it from a later one of the same name."""

    path: str
    recursive: bool
    inode: int


class Watch(FileSystemEventHandler):
    """Watches a root: `mark` gets paths relative to it, or nothing where anything may have changed."""

    def __init__(self, root: Path, mark: Callable[..., None]) -> None:
        self._root = str(root)
        self._mark = mark
        self._observer: BaseObserver | None = None
        self._watches: dict[_Place, ObservedWatch] = {}

    def renew(self) -> None:
        """Watch the folders that are there now; raises WatchLimit."""
        try:
            if self._observer is None:
                _quiet()
                self._observer = Observer()
                self._observer.start()
            self._follow(self._observer)
        except OSError as error:
            self.close()
            if error.errno not in _LIMITS:
                raise
            raise WatchLimit(
                "the system's limit of watched folders is reached: changes are looked for every few seconds "
                "until fs.inotify.max_user_watches or max_user_instances is raised"
            ) from error

    def close(self) -> None:
        """Watch nothing."""
        observer, self._observer = self._observer, None
        self._watches.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Mark what an event is about; on Watchdog's thread, so nothing is read here."""
        paths = [path for path in (event.src_path, event.dest_path) if path]
        names = [os.path.relpath(os.fsdecode(path), self._root) for path in paths]
        inside = [name for name in names if not any(map(is_foreign, name.split(os.sep)))]
        if event.is_directory:
            if inside:
                self._mark()
        elif any(os.path.basename(name) == ".gitignore" for name in inside):
            self._mark()
        elif wanted := [name for name in inside if is_wanted(name)]:
            self._mark(*wanted)

    def _follow(self, observer: BaseObserver) -> None:
        places = set(_places(self._root))
        for gone in self._watches.keys() - places:
            with suppress(KeyError):
                observer.unschedule(self._watches.pop(gone))
        fresh = places - self._watches.keys()
        for place in fresh:
            with suppress(FileNotFoundError, NotADirectoryError):
                self._watches[place] = observer.schedule(
                    self, place.path, recursive=place.recursive, event_filter=EVENTS
                )
        if fresh:
            _check_limit(observer)


def _places(root: str) -> list[_Place]:
    """The folders to watch: as few as keep heavy foreign ones out."""
    found: list[_Place] = []
    clean = _survey(root, "", Ignore(Path(root)), found)
    inode = os.stat(root).st_ino
    if clean or len(found) >= WATCHES:
        return [_Place(root, True, inode)]
    return found


def _survey(root: str, folder: str, ignore: Ignore, found: list[_Place]) -> bool:
    """Collect what to watch at and below a folder unless it is clean: then its parent decides."""
    below: list[_Place] = []
    whole: list[_Place] = []
    clean = True
    for entry in _folders(os.path.join(root, folder)):
        path = os.path.join(folder, entry.name)
        if is_foreign(entry.name) or ignore.ignores(f"{path}/"):
            clean = clean and not any(_folders(entry.path))
        elif _survey(root, path, ignore, below):
            whole.append(_Place(entry.path, True, entry.inode()))
        else:
            clean = False
    if not clean:
        place = os.path.join(root, folder) if folder else root
        with suppress(OSError):
            found += [_Place(place, False, os.stat(place).st_ino), *whole, *below]
    return clean


def _folders(path: str) -> Iterator["os.DirEntry[str]"]:
    with suppress(OSError), os.scandir(path) as entries:
        yield from (entry for entry in entries if entry.is_dir(follow_symlinks=False))


def _check_limit(observer: BaseObserver) -> None:
    """Add one watch more, for Watchdog passes over the limit silently where it is met below a root."""
    with tempfile.TemporaryDirectory() as spare:
        observer.unschedule(observer.schedule(FileSystemEventHandler(), spare))


def _quiet() -> None:
    logger = logging.getLogger("watchdog")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
