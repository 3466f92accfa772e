"""An index that follows its folder: one thread keeps the text up to date, another makes vectors."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Generic, Protocol, TypeVar

from memory.live.debounce import ChangedPaths, Debouncer
from memory.live.watcher import Watcher, WatchLimit
from memory.repo_index.index_types import Changes, IndexStatus, ProgressCallback

RECONCILE_SECONDS = 300.0
"""Time after which the whole folder is read although nothing was reported."""

POLL_SECONDS = 5.0
"""The same for a folder that cannot be watched."""

CHECK_SECONDS = 1.0
"""Time between checks whether the folder still exists and whether vectors are missing."""

RETRY_SECONDS = (5.0, 60.0)
"""First and longest time after which missing vectors are tried again."""


class FollowedIndex(Protocol):
    """The part of RepoIndex that is kept up to date."""

    root: Path

    def refresh(self, paths: Collection[str] | None, progress: ProgressCallback) -> Changes: ...

    def embed(self, progress: ProgressCallback, stop: Callable[[], bool]) -> None: ...

    def status(self) -> IndexStatus: ...

    @property
    def lacks_text(self) -> bool: ...

    @property
    def lacks_vectors(self) -> bool: ...

    def close(self) -> None: ...


IndexT = TypeVar("IndexT", bound=FollowedIndex)

ChangeListener = Callable[[Changes, IndexStatus], None]
"""Receives each change on a worker's thread, and an empty change when the vectors are complete."""


class _Closing(Exception):
    """Leaves a refresh that is under way."""


class LiveIndex(Generic[IndexT]):
    """Follows one folder until it is closed. `notify` receives each message for people once."""

    def __init__(
        self,
        index: IndexT,
        notify: Callable[[str], None],
        listener: ChangeListener | None = None,
        delay: float = 0.0,
    ) -> None:
        self.index = index
        self._notify = notify
        self._listener = listener
        self._delay = delay
        self._marked = Debouncer()
        self._closing = Event()
        self._read, self._embedded, self._changed = Event(), Event(), Event()
        self._watcher: Watcher | None = None
        self._notes: dict[str, str] = {}
        self._reconcile_at = 0.0
        self._inode = 0
        self._threads = [Thread(target=work, daemon=True) for work in (self._follow, self._embed)]

    def start(self) -> "LiveIndex[IndexT]":
        """Read the folder in the background, and again every few minutes."""
        for thread in self._threads:
            thread.start()
        return self

    def watch(self) -> None:
        """Also follow changes as they happen."""
        if self._watcher is None:
            self._watcher = Watcher(self.index.root, self._marked.mark)
            self._marked.mark()

    def status(self) -> IndexStatus:
        """Return the state of the index, with notes on what is wrong."""
        status = self.index.status()
        return replace(status, note="; ".join(filter(None, [status.note, *self._notes.values()])))

    def wait(self, timeout: float, vectors: bool = False) -> bool:
        """Wait until the folder was read once, or until its vectors are complete. Return False if late."""
        return (self._embedded if vectors else self._read).wait(timeout)

    def close(self) -> None:
        """Stop all threads, also in the middle of their work. Finished work is kept."""
        self._closing.set()
        self._changed.set()
        self._marked.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        if self._watcher is not None:
            self._watcher.close()
        self.index.close()

    def _follow(self) -> None:
        changed = ChangedPaths(everything=True)
        while not self._closing.is_set():
            self._guard("text", partial(self._refresh, changed))
            changed = self._marked.take(CHECK_SECONDS)

    def _refresh(self, changed: ChangedPaths) -> None:
        """Read what may have changed. A folder that is gone keeps its index until it is back."""
        try:
            inode = self.index.root.stat().st_ino
        except OSError:
            self._note("root", f"{self.index.root} is gone; its index is kept until it is back")
            self._reconcile_at = 0.0
            return
        self._note("root", "")
        # Another inode means another folder under the same name, such as a new checkout.
        stale = inode != self._inode or self.index.lacks_text
        everything = changed.everything or stale or time.monotonic() >= self._reconcile_at
        if everything:
            self._inode = inode
            self._renew_watches()
            polled = self._watcher is not None and "watch" in self._notes
            self._reconcile_at = time.monotonic() + (POLL_SECONDS if polled else RECONCILE_SECONDS)
        elif not changed.paths:
            return
        changes = self.index.refresh(None if everything else changed.paths, self._stop_if_closing)
        if changes.changed or changes.gone or not self._read.is_set():
            self._embedded.clear()
            self._read.set()
            self._changed.set()
            if self._listener:
                self._listener(changes, self.status())

    def _renew_watches(self) -> None:
        if self._watcher is not None:
            try:
                self._watcher.renew()
                self._note("watch", "")
            except WatchLimit as error:
                self._note("watch", str(error))

    def _embed(self) -> None:
        self._closing.wait(self._delay)  # closing ends the wait
        pause = CHECK_SECONDS
        while not self._closing.is_set():
            changed = self._changed.wait(pause)
            if self._closing.is_set():
                return
            if self._read.is_set() and (changed or self.index.lacks_vectors):
                # Cleared before the work, so that a change during the work is not lost.
                self._changed.clear()
                self._guard("vectors", self._make_vectors)
                first, longest = RETRY_SECONDS
                pause = min(max(2 * pause, first), longest) if self.index.lacks_vectors else CHECK_SECONDS

    def _make_vectors(self) -> None:
        self.index.embed(lambda done, total: None, self._closing.is_set)
        if not (self.index.lacks_vectors or self._changed.is_set() or self._closing.is_set()):
            self._embedded.set()
            if self._listener:
                self._listener(Changes(), self.status())

    def _guard(self, topic: str, work: Callable[[], None]) -> None:
        """Run a thread's work. Say what fails, and try again later."""
        try:
            work()
            self._note(topic, "")
        except _Closing:
            pass
        except Exception as error:
            reason = error or type(error).__name__
            self._note(topic, f"the index of {self.index.root} is not up to date: {reason}")
            self._reconcile_at = time.monotonic() + POLL_SECONDS

    def _note(self, topic: str, text: str) -> None:
        if text and self._notes.get(topic) != text:
            self._notify(text)
        if text:
            self._notes[topic] = text
        else:
            self._notes.pop(topic, None)

    def _stop_if_closing(self, done: int, total: int) -> None:
        # A refresh has no other way to stop than an error from its progress callback.
        if self._closing.is_set():
            raise _Closing
