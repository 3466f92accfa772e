"""Mounts for several programs: one unpacked tree, and overlays on it for what programs write.

The mounts exist only in mount namespaces. The kernel removes them when the last process there ends, however
it ends.
"""

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sandbox.base import Limits, SandboxError
from sandbox.bubblewrap.jail import Stage, as_root
from sandbox.sessions.overlay_survey import OverlayFolders

_TRY_SECONDS = 10
_MIB = 2**20
_UNSHARE = ("unshare", "--mount", "--propagation", "slave")
# Processes that a holder has under the user of its programs: a shell and `sleep`. In the user namespaces of
# an ordinary user they count apart.
_OF_HOLDER = 2
_OF_BRANCHES = 4096

# No cgroup counts the names of files that several programs leave on a tmpfs, so their number is limited.
_OPTIONS = "options=nr_inodes=$4,nosuid,nodev\n"
# Relative paths, because a colon or comma in an absolute one would end an option of the mount. Sessions
# without an overlay need exact times of access.
_HOLD = f"""{_OPTIONS}
cd "$1" && mount -t tmpfs -o "size=$2,$options,mode=755,strictatime" layer . &&
cd "$1" && mkdir -m 1777 tree && mkdir run tmp && {{ [ -z "$5" ] || mount --bind "$5" tree; }} &&
mount -t tmpfs -o "size=$3,$options,mode=1777" tmp tmp && shift 5 && exec "$@"
"""
# redirect_dir lets programs rename folders of the tree, as on other file systems. Without metacopy, what was
# changed lies in the upper folder.
_BRANCH = f"""{_OPTIONS}
cd "$1" && mount -t tmpfs -o "size=$2,$options,mode=755" run run &&
mkdir -m 1777 run/written && mkdir run/internal run/workspace || exit
folders=lowerdir=tree,upperdir=run/written,workdir=run/internal
mount -t overlay -o "$folders,redirect_dir=on,metacopy=off" layer run/workspace && shift 5 && exec "$@"
"""


def holder(folder: Path, limits: Limits, uid: int, disk: Path | None, is_shared: bool = False) -> Stage:
    """Return the stage of the program that unpacks a tree and holds it. It mounts a tmpfs on `folder`.

    The tree lies in the folder `disk` if there is one. With `is_shared`, other programs have the same user.
    An ordinary user may mount in a user namespace only.
    """
    users = () if as_root() else ("--user", "--map-root-user")
    command = (*_UNSHARE, *users, *_script(_HOLD, folder, limits, disk))
    return Stage(command, f"{folder}/tree", uid, _OF_BRANCHES if is_shared else 0)


def branch(folder: Path, limits: Limits, uid: int, holder_pid: int) -> Stage:
    """Return the stage of a program that sees the tree of a running holder, and can write beside it."""
    command = (*_entering(holder_pid), *_UNSHARE, *_script(_BRANCH, folder, limits))
    return Stage(command, f"{folder}/run/workspace", uid, _OF_BRANCHES)


def branch_of_disk(folder: Path, limits: Limits, uid: int, tree: Path) -> Stage:
    """Return the stage of a program that sees a tree on disk, and can write beside it."""
    command = (*_UNSHARE, *_script(_HOLD, folder, limits, tree), *_script(_BRANCH, folder, limits))
    return Stage(command, f"{folder}/run/workspace", uid, _OF_BRANCHES)


def grow(folder: Path, limits: Limits, holder_pid: int) -> None:
    """Mount one branch for all programs of a holder. Raises SandboxError."""
    command = (*_entering(holder_pid), *_script(_BRANCH, folder, limits), "true")
    try:
        subprocess.run(  # noqa: S603  # a script of ours, the folder is an argument
            command, capture_output=True, text=True, check=True, timeout=_TRY_SECONDS
        )
    except subprocess.SubprocessError as error:
        reason = getattr(error, "stderr", None) or error
        raise SandboxError(f"the session's files could not be mounted: {reason}") from error


def visit(
    folder: Path, uid: int, holder_pid: int, has_branch: bool, disk: Path | None, is_shared: bool = False
) -> Stage:
    """Return the stage of a program that changes the files of a holder, those in its `/tmp` included."""
    workspace, tmp = f"{folder}/run/workspace" if has_branch else f"{folder}/tree", folder / "tmp"
    strangers = _OF_BRANCHES if is_shared else _OF_HOLDER if as_root() else 0
    watched = None if has_branch else disk
    return Stage(_entering(holder_pid), workspace, uid, strangers, tmp=str(tmp), disk=watched)


def open_branch(folder: Path, holder_pid: int) -> OverlayFolders:
    """Open the tree, the folder of what is written and the workspace, before any program has run there."""
    # A link in the path would lead from the holder's root to ours.
    root = f"/proc/{holder_pid}/root{os.path.realpath(folder)}"
    with ExitStack() as stack:
        fds = []
        for name in ("tree", "run/written", "run/workspace"):
            try:
                fds.append(os.open(f"{root}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            except OSError as error:
                raise SandboxError(f"the session's files could not be opened: {error}") from error
            stack.callback(os.close, fds[-1])
        stack.pop_all()
    return OverlayFolders(*fds)


def overlay_works(folder: Path, trees: Path) -> bool:
    """Create both folders and try all mounts, with `trees` as a tree on disk.

    An ordinary user, and root in some containers, may not mount. Some file systems cannot be below overlays.
    """
    # A user namespace would let ordinary users mount, but without redirect_dir.
    small = Limits(workspace_mb=1, tmp_mb=1)
    stages = (*_UNSHARE, *_script(_HOLD, folder, small, trees), *_script(_BRANCH, folder, small), "true")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trees.mkdir(mode=0o700, parents=True, exist_ok=True)
        done = subprocess.run(  # noqa: S603  # scripts of ours, the folder is an argument
            stages, capture_output=True, check=False, timeout=_TRY_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return not done.returncode


def _entering(holder_pid: int) -> tuple[str, ...]:
    spaces = f"/proc/{holder_pid}/ns"
    users = () if as_root() else (f"--user={spaces}/user", "--preserve-credentials")
    return ("nsenter", *users, f"--mount={spaces}/mnt")


def _script(script: str, folder: Path, limits: Limits, disk: Path | None = None) -> Sequence[str]:
    sizes = (str(mib * _MIB) for mib in (limits.in_memory_mb, limits.tmp_mb))
    return ("sh", "-c", script, "sh", str(folder), *sizes, str(limits.files), str(disk or ""))
