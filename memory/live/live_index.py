"""Indexes that follow their folders: one thread keeps the text up to date, another makes vectors."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

from memory.live.pace import Pace
from memory.live.watcher import Watcher, WatchLimit
from memory.repo_index import Changes, IndexSettings, IndexStatus, RepoIndex
from memory.vectors import VectorStore

RECONCILE_SECONDS = 300.0
"""Time after which the whole folder is read although nothing was reported."""

POLL_SECONDS = 5.0
"""The same for a folder that cannot be watched."""

CHECK_SECONDS = 1.0
"""Time between checks whether the folder still exists and whether vectors are missing."""

QUIET_SECONDS = 0.25
"""Time without a new path after which the marked paths are read."""

LONGEST_SECONDS = 2.0
"""Time after which the marked paths are read although more keep arriving."""

MANY = 200
"""Number of paths beyond which the whole folder is read."""

RETRY_SECONDS = (5.0, 60.0)
"""First and longest time after which missing vectors are tried again."""


ChangeListener = Callable[[Changes, IndexStatus], None]
"""Receives each change on a worker's thread, and an empty change when the vectors are complete."""


class _Closing(Exception):
    """Leaves a refresh that is under way."""


class LiveIndex:
    """Follows one folder until it is closed. `notify` receives each message for people once."""

    def __init__(
        self,
        index: RepoIndex,
        notify: Callable[[str], None],
        listener: ChangeListener | None = None,
        delay: float = 0.0,
        share: float = 1.0,
    ) -> None:
        self.index = index
        self._notify = notify
        self._listener = listener
        self._delay = delay
        self._marked: SimpleQueue[str | None] = SimpleQueue()
        self._closing = Event()
        self._text_pace, self._vector_pace = Pace(share, self._closing), Pace(share, self._closing)
        self._read, self._embedded, self._changed = Event(), Event(), Event()
        self._watcher: Watcher | None = None
        self._notes: dict[str, str] = {}
        self._reconcile_at = 0.0
        self._inode = 0
        self._threads = [Thread(target=work, daemon=True) for work in (self._follow, self._embed)]

    def start(self) -> "LiveIndex":
        """Read the folder in the background, and again every few minutes."""
        for thread in self._threads:
            thread.start()
        return self

    def watch(self) -> None:
        """Also follow changes as they happen."""
        if self._watcher is None:
            self._watcher = Watcher(self.index.root, self._marked.put)
            self._marked.put(None)

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
        self._marked.put(None)  # ends a wait for paths
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        if self._watcher is not None:
            self._watcher.close()
        self.index.close()

    def _follow(self) -> None:
        marked: set[str | None] = {None}
        while not self._closing.is_set():
            self._guard("text", partial(self._refresh, marked))
            marked = self._take_marked()

    def _take_marked(self) -> set[str | None]:
        """Wait until paths were marked and no more arrive. Return no path after CHECK_SECONDS."""
        marked = set[str | None]()
        with suppress(Empty):
            marked.add(self._marked.get(timeout=CHECK_SECONDS))
            deadline = time.monotonic() + LONGEST_SECONDS
            while (left := deadline - time.monotonic()) > 0 and not self._closing.is_set():
                marked.add(self._marked.get(timeout=min(QUIET_SECONDS, left)))
        return marked

    def _refresh(self, marked: set[str | None]) -> None:
        """Read the marked paths, or everything for None. A folder that is gone keeps its index."""
        try:
            inode = self.index.root.stat().st_ino
        except OSError:
            self._note("root", f"{self.index.root} is gone; its index is kept until it is back")
            self._reconcile_at = 0.0
            return
        self._note("root", "")
        # Another inode means another folder under the same name, such as a new checkout.
        stale = inode != self._inode or self.index.lacks_text
        everything = None in marked or len(marked) > MANY or stale or time.monotonic() >= self._reconcile_at
        if everything:
            self._inode = inode
            self._renew_watches()
            polled = self._watcher is not None and "watch" in self._notes
            self._reconcile_at = time.monotonic() + (POLL_SECONDS if polled else RECONCILE_SECONDS)
        elif not marked:
            return
        paths = None if everything else {path for path in marked if path is not None}
        self._text_pace.begin()
        changes = self.index.refresh(paths, self._pause_text)
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
        self._vector_pace.begin()
        self.index.embed(lambda done, total: None, self._vector_pace.pause)
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
        except Exception as error:  # the thread must live on, and users read the reason
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

    def _pause_text(self, done: int, total: int) -> None:
        # A refresh has no other way to stop than an error from its progress callback.
        if self._text_pace.pause():
            raise _Closing


class LiveIndexes:
    """Live indexes by their root.

    `notify` receives messages for people. Vectors start `delay` seconds after the text, because importing
    Chroma does not pay for a process that has ended by then. Text and vectors each take `share` of the time,
    because Chroma's writes and the reading of a large folder hold up everything else in the process.
    """

    def __init__(
        self,
        settings: IndexSettings,
        notify: Callable[[str], None],
        delay: float = 0.0,
        share: float = 1.0,
    ) -> None:
        self.vectors = VectorStore(settings.chroma, settings.chroma_host, settings.chroma_port, notify)
        self._settings = settings
        self._notify = notify
        self._delay, self._share = delay, share
        self._lock = Lock()
        self._live: dict[Path, LiveIndex] = {}

    def of(self, root: Path, listener: ChangeListener | None = None) -> LiveIndex:
        """Return a folder's index at once. It is brought up to date in the background.

        Raises RepoIndexError.
        """
        root = root.resolve()
        with self._lock:
            if root not in self._live:
                index = RepoIndex(root, self._settings, self.vectors.collection)
                live = LiveIndex(index, self._notify, listener, self._delay, self._share)
                self._live[root] = live.start()
            return self._live[root]

    def close(self) -> None:
        """Stop all indexes, also in the middle of their work."""
        with self._lock:
            for live in self._live.values():
                live.close()
            self._live.clear()
            self.vectors.close()
