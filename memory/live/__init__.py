"""Indexes that follow their folders: Watchdog reports paths, one thread reads, another makes vectors."""

from memory.live.live_index import ChangeListener, LiveIndex
from memory.live.live_indexes import LiveIndexes

__all__ = ["ChangeListener", "LiveIndex", "LiveIndexes"]
