"""An index that follows its folder: one thread keeps the text, another brings vectors behind it."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Generic, Protocol, TypeVar

from memory.live.debounce import Dirt, Pile
from memory.live.watch import Watch, WatchLimit
from memory.repo_index.base import Changes, Progress, Status

RECONCILE = 300.0
"""Seconds after which the whole folder is looked through although nothing was marked."""

POLL = 5.0
"""The same where folders cannot be watched."""

BEAT = 1.0
"""Seconds between looks whether the folder itself is still there, and the store of vectors."""

RETRY = (5.0, 60.0)
"""Seconds after which missing vectors are tried for again: at first, and at most."""

LONGEST_REST = 1.0
"""Seconds that vectors rest between two batches at most."""


class Index(Protocol):
    """What is kept up to date."""

    root: Path

    def refresh(self, paths: Collection[str] | None, progress: Progress) -> Changes: ...

    def embed(self, progress: Progress, stop: Callable[[], bool]) -> None: ...

    def status(self) -> Status: ...

    @property
    def lacks_text(self) -> bool: ...

    @property
    def lacks_vectors(self) -> bool: ...

    def close(self) -> None: ...


Kept = TypeVar("Kept", bound=Index)

Listener = Callable[[Changes, Status], None]
"""Hears on a worker's thread what was found, and how far the index is; also when vectors have caught up."""


class _Closing(Exception):
    """Leaves a refresh that is under way."""


class LiveIndex(Generic[Kept]):
    """Follows one folder until it is closed; `say` hears what a person should know, once each time."""

    def __init__(
        self,
        index: Kept,
        say: Callable[[str], None],
        listener: Listener | None = None,
        patience: float = 0.0,
    ) -> None:
        self.index = index
        self._say = say
        self._listener = listener
        self._patience = patience
        self._pile = Pile()
        self._closing = Event()
        self._read, self._embedded, self._behind = Event(), Event(), Event()
        self._watch: Watch | None = None
        self._notes: dict[str, str] = {}
        self._due = self._rested = 0.0
        self._inode = 0
        self._threads = [Thread(target=work, daemon=True) for work in (self._follow, self._embed)]

    def start(self) -> "LiveIndex[Kept]":
        """Look the folder through in the background, and again every few minutes."""
        for thread in self._threads:
            thread.start()
        return self

    def watch(self) -> None:
        """Follow changes as they happen, too."""
        if self._watch is None:
            self._watch = Watch(self.index.root, self._pile.mark)
            self._pile.mark()

    def status(self) -> Status:
        """How far the index is, and what is not as it should be."""
        status = self.index.status()
        return replace(status, note="; ".join(filter(None, [status.note, *self._notes.values()])))

    def wait(self, timeout: float, vectors: bool = False) -> bool:
        """Wait until the folder was read once, with `vectors` until that is embedded; False if it is late."""
        return (self._embedded if vectors else self._read).wait(timeout)

    def close(self) -> None:
        """Stop all threads, also in the middle of their work; what they have done stays good."""
        self._closing.set()
        self._behind.set()
        self._pile.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        if self._watch is not None:
            self._watch.close()
        self.index.close()

    def _follow(self) -> None:
        dirt = Dirt(everywhere=True)
        while not self._closing.is_set():
            self._guarded("text", partial(self._look, dirt))
            dirt = self._pile.take(BEAT)

    def _look(self, dirt: Dirt) -> None:
        """Read what may have changed; a folder that is gone keeps its index until it is back."""
        try:
            inode = self.index.root.stat().st_ino
        except OSError:
            self._note("root", f"{self.index.root} is gone; its index rests until it is back")
            self._due = 0.0
            return
        self._note("root", "")
        lost = inode != self._inode or self.index.lacks_text
        everywhere = dirt.everywhere or lost or time.monotonic() >= self._due
        if everywhere:
            self._inode = inode
            self._renew()
            polled = self._watch is not None and "watch" in self._notes
            self._due = time.monotonic() + (POLL if polled else RECONCILE)
        elif not dirt.paths:
            return
        changes = self.index.refresh(None if everywhere else dirt.paths, self._progress)
        if changes.changed or changes.gone or not self._read.is_set():
            self._embedded.clear()
            self._read.set()
            self._behind.set()
            if self._listener:
                self._listener(changes, self.status())

    def _renew(self) -> None:
        if self._watch is not None:
            try:
                self._watch.renew()
                self._note("watch", "")
            except WatchLimit as error:
                self._note("watch", str(error))

    def _embed(self) -> None:
        self._closing.wait(self._patience)
        pause = BEAT
        while not self._closing.is_set():
            called = self._behind.wait(pause)
            if self._closing.is_set():
                return
            if self._read.is_set() and (called or self.index.lacks_vectors):
                self._behind.clear()
                self._guarded("vectors", self._catch_up)
                pause = min(max(2 * pause, RETRY[0]), RETRY[1]) if self.index.lacks_vectors else BEAT

    def _catch_up(self) -> None:
        self._rested = time.monotonic()
        self.index.embed(self._ignore, self._rest)
        if not (self.index.lacks_vectors or self._behind.is_set() or self._closing.is_set()):
            self._embedded.set()
            if self._listener:
                self._listener(Changes(), self.status())

    def _rest(self) -> bool:
        """Leave others as much time as was worked, for Chroma's writing holds them up; True to stop."""
        self._closing.wait(min(time.monotonic() - self._rested, LONGEST_REST))
        self._rested = time.monotonic()
        return self._closing.is_set()

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        """The edge of a thread: whatever fails is said, and tried again later."""
        try:
            work()
            self._note(what, "")
        except _Closing:
            pass
        except Exception as error:
            self._note(what, f"the index of {self.index.root} waits: {error or type(error).__name__}")
            self._due = time.monotonic() + POLL

    def _note(self, what: str, text: str) -> None:
        if text and self._notes.get(what) != text:
            self._say(text)
        if text:
            self._notes[what] = text
        else:
            self._notes.pop(what, None)

    def _progress(self, done: int, total: int) -> None:
        if self._closing.is_set():
            raise _Closing

    def _ignore(self, done: int, total: int) -> None:
        pass
