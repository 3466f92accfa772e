"""Indexes that follow their folders: Watchdog reports paths, one thread reads, another makes vectors."""

from memory.live.live_index import LiveIndex, LiveIndexes

__all__ = ["LiveIndex", "LiveIndexes"]
