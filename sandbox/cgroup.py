"""Control groups of version 1 and 2, in any place where this process may create them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Literal

from sandbox.base import UNKNOWN, Limits, Ownership, SandboxError

Resource = Literal["memory", "cpu", "pids"]
RESOURCES: tuple[Resource, ...] = ("memory", "cpu", "pids")

# Programs get an eighth of what other processes get when the processor is busy. The value of `nice` would
# count inside a control group only.
CPU_SHARES = 128

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "autocode-"
_PERIOD_US = 100_000


@dataclass(frozen=True)
class Cgroup:
    """The groups of one run: one directory in version 2, one directory for each resource in version 1."""

    directories: tuple[Path, ...] = ()
    memory: Path | None = None

    def ooms(self) -> int:
        """Count the processes that the kernel killed here because memory ran out."""
        count = 0
        for file in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                count += sum_of_ooms((self.memory / file).read_text() if self.memory else "")
        return count

    def remove(self) -> None:
        """Remove the groups. The kernel needs a moment after the last process has ended."""
        for directory in self.directories:
            for attempt in range(200):
                with suppress(OSError):
                    directory.rmdir()
                if not directory.exists():
                    break
                with suppress(OSError):
                    (directory / "cgroup.kill").write_text("1")  # version 2 on Linux 5.14 and newer
                time.sleep(min(0.0005 * 2**attempt, 0.02))


@dataclass(frozen=True)
class Cgroups:
    """The version and the parent directory of new groups, for each resource that can be limited."""

    parents: Mapping[Resource, tuple[int, Path]] = field(default_factory=dict)

    @classmethod
    def find(cls) -> "Cgroups":
        """Try where groups can be created. A resource that this process may not limit is left out."""
        places = {
            resource: next((place for place in _places(resource) if _usable(resource, *place)), None)
            for resource in RESOURCES
        }
        return cls({resource: place for resource, place in places.items() if place})

    def create(self, limits: Limits, ownership: Ownership) -> Cgroup:
        """Create groups with these limits, which apply to each process that is moved in."""
        name = f"{_PREFIX}{ownership.label}-{token_hex(4)}"
        created: dict[Resource, Path] = {}
        try:
            for resource, (version, parent) in self.parents.items():
                directory = parent / name
                directory.mkdir(exist_ok=True)  # in version 2 the resources share it
                created[resource] = directory
                for file, value in _files(version, resource, limits).items():
                    if file != _SWAP[version] or (directory / file).exists():
                        (directory / file).write_text(str(value))
        except OSError as error:
            for directory in created.values():
                with suppress(OSError):
                    directory.rmdir()
            raise SandboxError(f"cannot create a cgroup: {error}") from error
        return Cgroup(tuple(dict.fromkeys(created.values())), created.get("memory"))

    def sweep(self, ownership: Ownership) -> None:
        """Kill what owners that have died left running. Their groups go now or at the next sweep."""
        for _, parent in self.parents.values():
            for directory in parent.glob(f"{_PREFIX}*"):
                label = directory.name.removeprefix(_PREFIX).rpartition("-")[0]
                if not ownership.has_died(label):
                    continue
                with suppress(OSError):
                    for pid in (directory / "cgroup.procs").read_text().split():
                        with suppress(OSError):
                            os.kill(int(pid), signal.SIGKILL)
                    directory.rmdir()


def sum_of_ooms(text: str) -> int:
    """Read the `oom_kill` counter of memory.events (version 2) or memory.oom_control (version 1)."""
    return sum(int(count) for count in re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE))


# A kernel can be built without the accounting of swap, and then lacks these files.
_SWAP = {1: "memory.memsw.limit_in_bytes", 2: "memory.swap.max"}


def _files(version: int, resource: Resource, limits: Limits) -> dict[str, int | str]:
    """Map the files that limit a resource to their values. The first file is the one that must exist."""
    total, quota = limits.total_memory, max(1000, int(limits.cpus * _PERIOD_US))
    by_version: dict[Resource, tuple[dict[str, int | str], dict[str, int | str]]] = {
        "memory": ({"memory.limit_in_bytes": total, _SWAP[1]: total}, {"memory.max": total, _SWAP[2]: 0}),
        "cpu": (
            {"cpu.cfs_quota_us": quota, "cpu.shares": CPU_SHARES},
            {"cpu.max": f"{quota} {_PERIOD_US}", "cpu.weight": CPU_SHARES * 100 // 1024},
        ),
        "pids": ({"pids.max": limits.processes}, {"pids.max": limits.processes}),
    }
    return by_version[resource][version - 1]


def _places(resource: Resource) -> Iterator[tuple[int, Path]]:
    """Yield the directories that could hold a group, with their version: our own one, then its parents."""
    try:
        memberships = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for membership in memberships:
        _, controllers, own = membership.split(":", 2)
        if controllers and resource not in controllers.split(","):
            continue
        version, top = (1, _ROOT / resource) if controllers else (2, _ROOT)
        here = top / own.lstrip("/")
        for directory in (here, *here.parents):
            # A container can see the path that its group has on the host, which does not exist here.
            if directory.is_relative_to(top) and directory.is_dir():
                yield version, directory


def _usable(resource: Resource, version: int, directory: Path) -> bool:
    """Create a group with a limit and move a process in: a run would fail where this fails."""
    if version == 2:
        with suppress(OSError):
            if resource not in (directory / "cgroup.subtree_control").read_text().split():
                (directory / "cgroup.subtree_control").write_text(f"+{resource}")
    try:
        probe = Cgroups({resource: (version, directory)}).create(Limits(), UNKNOWN)
    except SandboxError:
        return False
    sleeper = subprocess.Popen(["/bin/sleep", "5"])
    try:
        (probe.directories[0] / "cgroup.procs").write_text(str(sleeper.pid))
        return True
    except OSError:
        return False
    finally:
        sleeper.kill()
        sleeper.wait()
        probe.remove()
