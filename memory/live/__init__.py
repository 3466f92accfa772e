"""Indexes that follow their folders: Watchdog says where to look, a worker looks, vectors come behind."""

from memory.live.indexes import Indexes
from memory.live.live_index import Listener, LiveIndex

__all__ = ["Indexes", "Listener", "LiveIndex"]
