"""Name of a process, by which others can tell whether it still lives."""

import hashlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

LEASE_SECONDS = 15.0
"""Age of a heartbeat at which an owner that cannot be seen from here counts as dead."""

CLOCK_SLACK = 2.0
"""Seconds by which two readings of a process's start may differ, because the system clock is adjusted."""


@dataclass(frozen=True)
class Owner:
    """A process. `place` tells boots and pid namespaces of a host apart. As text: `host:pid:start:place`."""

    host: str
    pid: int
    started: float
    place: str

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started:.2f}:{self.place}"

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Parse the text of an owner. None for any other text."""
        try:
            host, pid, started, place = text.rsplit(":", 3)
            return cls(host, int(pid), float(started), place)
        except ValueError:
            return None

    def died(self) -> bool:
        """Return True if the process is known to be gone. One that is out of sight counts as alive."""
        # A pid means nothing on another host, after a reboot, or in another container.
        if (self.host, self.place) != (socket.gethostname(), _place()):
            return False
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            # The same pid with another start is another process.
            return abs(process.create_time() - self.started) > CLOCK_SLACK
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


def this_process() -> Owner:
    """Return the owner that this process is."""
    return Owner(socket.gethostname(), os.getpid(), psutil.Process().create_time(), _place())


def live_owner(row: Any) -> str | None:
    """Return a lease's owner if its heartbeat is fresh and its process is not known to be dead."""
    if not row.owner or time.time() - row.heartbeat >= LEASE_SECONDS:
        return None
    owner = Owner.parse(row.owner)  # a dead process of this host is noticed before its heartbeat gets old
    return None if owner and owner.died() else str(row.owner)


def _place() -> str:
    """Return a name of this boot and pid namespace."""
    # Containers share their host's boot and may share its name, but their pids mean other processes.
    boot = Path("/proc/sys/kernel/random/boot_id")
    booted = boot.read_text().strip() if boot.exists() else str(int(psutil.boot_time()))
    namespace = Path("/proc/self/ns/pid")
    seen_from = os.readlink(namespace) if namespace.is_symlink() else ""
    return hashlib.sha256(f"{booted} {seen_from}".encode()).hexdigest()[:8]
