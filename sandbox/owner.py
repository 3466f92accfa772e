"""Who made a container or a cgroup, so that only what the dead left behind is swept away."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

PREFIX = "autocode."


@dataclass(frozen=True)
class Owner:
    """One process, told from every other: also from one that got its pid later, or after a reboot."""

    boot: str
    pids: str
    pid: str
    started: str

    @classmethod
    def current(cls) -> "Owner":
        """The process that asks."""
        return cls(_boot(), _namespace(), str(os.getpid()), _started(os.getpid()))

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> "Owner":
        """Read back what `labels` wrote; what is missing reads as empty."""
        return cls(*(labels.get(PREFIX + name, "") for name in cls.__match_args__))

    def labels(self) -> dict[str, str]:
        """What marks a container as this owner's."""
        return {PREFIX + name: getattr(self, name) for name in self.__match_args__}

    def state(self) -> Literal["alive", "dead", "rebooted", "unseen"]:
        """What is known of it from here; `unseen` lives in another pid namespace."""
        if self.boot != _boot():
            return "rebooted"
        if self.pids != _namespace():
            return "unseen"
        alive = self.pid.isdecimal() and _started(int(self.pid)) == self.started
        return "alive" if alive else "dead"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot, which no change of the clock moves; empty if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        return "" if Path("/proc/self/stat").exists() else str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""
