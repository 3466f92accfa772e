"""Bubblewrap's arguments: the mounts, the user and the system calls that a program gets."""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.base import WORKSPACE, Limits
from sandbox.bubblewrap.interpreter import VENV, Interpreter
from sandbox.bubblewrap.seccomp import seccomp_filter
from sandbox.script import ENVIRONMENT, UID

PATH = f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

_MIB = 2**20
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_LINKER = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/nix/store")
_HOSTS = "127.0.0.1 localhost sandbox\n::1 localhost\n"
_UNUSED_UIDS = range(1_879_048_192, 2_147_483_647)  # systemd.io/UIDS-GIDS lists them as unused


@dataclass(frozen=True)
class Stage:
    """The surroundings of bubblewrap: a command that prepares mounts, and the folder that they end in.

    The folder becomes the workspace. Without one, the workspace is an empty tmpfs. `uid` owns the files
    of the folder. Other programs may have it too: they have at most `strangers` processes. With many of
    them, only a cgroup can count the program's own. `tmp` is the folder that becomes /tmp. `disk` is the
    folder on disk that programs write to without a limit of its own.
    """

    command: tuple[str, ...] = ()
    folder: str = ""
    uid: int | None = None
    strangers: int = 0
    tmp: str = ""
    disk: Path | None = None


@dataclass(frozen=True)
class Mounts:
    """Host paths that a program sees beside the system, as pairs of source and target, and links."""

    read_only: tuple[tuple[str, str], ...] = ()
    writable: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    def arguments(self) -> list[str]:
        """Return bubblewrap's arguments."""
        pairs = [("--bind", *pair) for pair in self.writable]
        pairs += [("--ro-bind", *pair) for pair in self.read_only]
        pairs += [("--symlink", *pair) for pair in self.links]
        targets = {target for _, _, target in pairs if target != WORKSPACE}
        parents = {str(parent) for target in targets for parent in list(Path(target).parents)[:-1]}
        arguments: list[str] = []
        for parent in sorted(parents - {WORKSPACE}):
            arguments += ["--perms", "0755", "--dir", parent]
        # A mount on a folder hides what was mounted below it, so outer targets come first.
        for flag, source, target in sorted(pairs, key=lambda pair: pair[2].count("/")):
            arguments += [flag, source, target]
        return arguments


@dataclass(frozen=True)
class Jail:
    """The paths of bubblewrap and of the interpreter that programs run on, and further mounts."""

    bwrap: str
    interpreter: Interpreter
    mounts: Mounts = field(default_factory=Mounts)

    def arguments(
        self, limits: Limits, info_fd: int, memory_is_counted: bool, stage: Stage
    ) -> tuple[list[str], list[int]]:
        """Return the prefix of a command, and the file descriptors to pass on besides `info_fd`."""
        uid = new_uid() if stage.uid is None else stage.uid
        fds = [
            _file(f"sandbox:x:{uid}:{uid}::{ENVIRONMENT['HOME']}:/bin/sh\n".encode()),
            _file(f"sandbox:x:{uid}:\n".encode()),
            _file(_HOSTS.encode()),
        ]
        arguments = [*stage.command, self.bwrap, *namespaces(), "--info-fd", str(info_fd)]
        arguments += self._mounts(limits, stage)
        for fd, path in zip(fds, ("/etc/passwd", "/etc/group", "/etc/hosts"), strict=True):
            arguments += ["--perms", "0644", "--file", str(fd), path]
        if code := seccomp_filter(memory_is_counted):
            fds.append(_file(code))
            arguments += ["--seccomp", str(fds[-1])]
        arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORKSPACE, "--"]
        if as_root():  # root is not bound by RLIMIT_NPROC, so programs become a user that nobody else is
            nothing = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]
            arguments += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *nothing, "--"]
        processes = limits.processes + stage.strangers
        return [*arguments, *_rlimits(limits, processes, memory_is_counted)], fds

    def _mounts(self, limits: Limits, stage: Stage) -> list[str]:
        arguments = ["--ro-bind", "/usr", "/usr"]
        for path in _SYSTEM:
            if os.path.islink(path):
                arguments += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                arguments += ["--ro-bind", path, path]
        paths = (*_LINKER, *self.interpreter.directories())
        shown = [(path, path) for path in paths if os.path.exists(path)]
        shown.append((str(self.interpreter.venv), VENV))
        parents = {str(parent) for _, path in shown for parent in list(Path(path).parents)[:-1]}
        for parent in sorted({"/etc", *parents}):  # bubblewrap's own would be closed to other users
            arguments += ["--perms", "0755", "--dir", parent]
        for source, path in shown:
            arguments += ["--ro-bind", source, path]
        arguments += ["--proc", "/proc", "--dev", "/dev"]
        sizes = {"/dev/shm": limits.tmp_mb, "/tmp": limits.tmp_mb, WORKSPACE: limits.workspace_mb}  # noqa: S108
        for folder, path in ((stage.folder, WORKSPACE), (stage.tmp, "/tmp")):  # noqa: S108  # inside the sandbox
            if folder:
                arguments += ["--bind", folder, path]
                del sizes[path]
        for path, mib in sizes.items():
            arguments += ["--size", str(mib * _MIB), "--perms", "1777", "--tmpfs", path]
        return [*arguments, *self.mounts.arguments()]


def namespaces() -> list[str]:
    """Return the options for new namespaces. An ordinary user needs a user namespace to get the others."""
    spaces = [f"--unshare-{name}" for name in ("pid", "net", "ipc", "uts", "cgroup-try")]
    common = [*spaces, "--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL"]
    if as_root():  # setpriv needs these to become a user without rights
        caps = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
        return [*common, *(word for cap in caps for word in ("--cap-add", cap))]
    return [*common, "--unshare-user", "--uid", str(UID), "--gid", str(UID)]


def as_root() -> bool:
    """Return whether this process may become other users."""
    return os.geteuid() == 0


def new_uid() -> int:
    """Return the uid for a program: one that nobody else has, if this process may choose."""
    return random.choice(_UNUSED_UIDS) if as_root() else UID  # noqa: S311  # unique, not secret


def _rlimits(limits: Limits, processes: int, memory_is_counted: bool) -> list[str]:
    # Set inside the namespaces, because outside the limit would count the user's other processes too. The
    # limit on processor time ends a program whose owner hangs.
    arguments = ["prlimit", "--core=0:0", f"--nproc={processes}", f"--cpu={int(limits.seconds) + 2}"]
    if not memory_is_counted:  # few files, because their buffers belong to no process
        arguments += [f"--as={max(4 * limits.memory_mb, 2048) * _MIB}", "--nofile=512:512"]
    return [*arguments, "--"]


def _file(data: bytes) -> int:
    """Return a descriptor of an unnamed file with `data`, at its start."""
    fd = os.memfd_create("sandbox")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
