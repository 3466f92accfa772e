"""Control groups, version 1 or 2, wherever this process may make some."""

import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sandbox.base import Limits, SandboxError
from sandbox.owner import Owner

Resource = Literal["memory", "cpu", "pids"]
RESOURCES: tuple[Resource, ...] = ("memory", "cpu", "pids")

_PERIOD_US = 100_000
_FILES: Mapping[tuple[int, Resource], str] = {
    (1, "memory"): "memory.limit_in_bytes",
    (1, "cpu"): "cpu.cfs_quota_us",
    (1, "pids"): "pids.max",
    (2, "memory"): "memory.max",
    (2, "cpu"): "cpu.max",
    (2, "pids"): "pids.max",
}
SHARES = 128
"""Of the processors when all are wanted, where others have 1024: `nice` counts within a group alone, and who
runs programs comes first."""

_SHARE: Mapping[int, tuple[str, int]] = {1: ("cpu.shares", SHARES), 2: ("cpu.weight", SHARES * 100 // 1024)}

_NAME = re.compile(r"autocode-(\d+)-(\d+)-[\w-]+")
_numbers = itertools.count()


@dataclass(frozen=True)
class Cgroup:
    """The groups of one run: one directory in version 2, one for each resource in version 1."""

    directories: tuple[Path, ...]
    memory: Path | None

    def ooms(self) -> int:
        """How many processes the kernel has killed here for want of memory."""
        if not self.memory:
            return 0
        counts = 0
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                counts += sum_of_ooms((self.memory / name).read_text())
        return counts

    def remove(self) -> None:
        """Take the groups down once the last process has gone, which takes the kernel a moment."""
        for directory in self.directories:
            for _ in range(200):
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    with suppress(OSError):
                        (directory / "cgroup.kill").write_text("1")
                    time.sleep(0.01)
                else:
                    break


@dataclass(frozen=True)
class Cgroups:
    """Where groups can be made: a parent directory for each resource that can be limited."""

    parents: Mapping[Resource, tuple[int, Path]] = field(default_factory=dict)

    @classmethod
    def find(cls) -> "Cgroups":
        """Try it out; what an ordinary user or a container is not let do is left out."""
        parents = {}
        for resource in RESOURCES:
            for version, directory in _places(resource):
                if _usable(version, directory, resource):
                    parents[resource] = (version, directory)
                    break
        return cls(parents)

    def __contains__(self, resource: Resource) -> bool:
        return resource in self.parents

    def version(self, resource: Resource) -> int:
        """1 or 2."""
        return self.parents[resource][0]

    def make(self, limits: Limits) -> Cgroup:
        """New groups that hold a run to `limits`; whoever is put in is limited from then on."""
        owner = Owner.current()
        name = f"autocode-{owner.pid}-{owner.started or 0}-{next(_numbers)}"
        made: dict[Resource, Path] = {}
        try:
            for resource, (version, parent) in self.parents.items():
                directory = parent / name
                directory.mkdir(exist_ok=True)
                made[resource] = directory
                _limit(version, directory, resource, limits)
        except OSError as error:
            for directory in made.values():
                with suppress(OSError):
                    directory.rmdir()
            raise SandboxError(f"no cgroup could be made: {error}") from error
        return Cgroup(tuple(dict.fromkeys(made.values())), made.get("memory"))

    def sweep(self) -> None:
        """Remove the groups that dead owners left behind."""
        here = Owner.current()
        for _, parent in self.parents.values():
            for directory in parent.glob("autocode-*-*-*"):
                if not (match := _NAME.fullmatch(directory.name)):
                    continue
                owner = Owner(here.boot, here.pids, match[1], match[2])
                if owner.state() == "dead":
                    _empty(directory)


def _empty(directory: Path) -> None:
    """Kill whatever did not notice its owner's death; the directory goes now, or at the next sweep."""
    with suppress(OSError):
        for pid in (directory / "cgroup.procs").read_text().split():
            with suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        directory.rmdir()


def sum_of_ooms(text: str) -> int:
    """The `oom_kill` counter out of memory.events (version 2) or memory.oom_control (version 1)."""
    return sum(int(count) for count in re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE))


def _limit(version: int, directory: Path, resource: Resource, limits: Limits) -> None:
    file = directory / _FILES[version, resource]
    if resource == "pids":
        file.write_text(str(limits.processes))
    elif resource == "cpu":
        quota = max(1000, int(limits.cpus * _PERIOD_US))
        file.write_text(str(quota) if version == 1 else f"{quota} {_PERIOD_US}")
        name, share = _SHARE[version]
        (directory / name).write_text(str(share))
    else:
        _limit_memory(version, file, total_memory(limits))


def _limit_memory(version: int, file: Path, amount: int) -> None:
    file.write_text(str(amount))
    swap, value = ("memory.swap.max", 0) if version == 2 else ("memory.memsw.limit_in_bytes", amount)
    if (file.parent / swap).exists():
        (file.parent / swap).write_text(str(value))


def total_memory(limits: Limits) -> int:
    """Bytes that a run may hold in all: tmpfs counts as memory, so files come on top of the program's."""
    return (limits.memory_mb + limits.workspace_mb + limits.tmp_mb) * 2**20


def _places(resource: Resource) -> Iterator[tuple[int, Path]]:
    """Directories in which a group for `resource` may be possible: our own first, then its ancestors."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
        memberships = Path("/proc/self/cgroup").read_text()
    except OSError:
        return
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup" and resource in options.split(","):
            own = re.search(rf"^\d+:(?:[^:]*,)?{resource}(?:,[^:]*)?:(.*)$", memberships, re.MULTILINE)
        elif kind == "cgroup2":
            own = re.search(r"^0::(.*)$", memberships, re.MULTILINE)
        else:
            continue
        top = Path(point)
        inner = Path(own[1]) if own else Path("/")
        here = top / (inner.relative_to(root) if inner.is_relative_to(root) else ".")
        for directory in (here, *here.parents):
            if directory.is_relative_to(top):
                yield (1 if kind == "cgroup" else 2), directory


def _usable(version: int, directory: Path, resource: Resource) -> bool:
    """Make a group, see its limit, move a process in: what fails here would fail for a run."""
    probe = directory / f"autocode-probe-{next(_numbers)}"
    if version == 2:
        with suppress(OSError):
            if resource not in (directory / "cgroup.subtree_control").read_text().split():
                (directory / "cgroup.subtree_control").write_text(f"+{resource}")
    try:
        probe.mkdir()
    except OSError:
        return False
    sleeper = subprocess.Popen(["/bin/sleep", "5"])
    try:
        (probe / "cgroup.procs").write_text(str(sleeper.pid))
        return (probe / _FILES[version, resource]).exists()
    except OSError:
        return False
    finally:
        sleeper.kill()
        sleeper.wait()
        with suppress(OSError):
            probe.rmdir()
