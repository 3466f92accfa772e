"""Overlay mounts: programs see one unpacked tree, and each writes into a tmpfs of its own.

The mounts exist only in mount namespaces. The kernel removes them when the last process there ends, however
it ends.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from sandbox.bubblewrap.jail import Stage

_TRY_SECONDS = 10
_MIB = 2**20
_UNSHARE = ("unshare", "--mount", "--propagation", "slave")

# Relative paths, because a colon or comma in an absolute one would end an option of the mount.
_HOLD = """
cd "$1" && mount -t tmpfs -o "size=$2,mode=755,nosuid,nodev" layer . && cd "$1" &&
mkdir -m 1777 tree && mkdir run && shift 2 && exec "$@"
"""
# redirect_dir lets programs rename folders of the tree, as on other file systems.
_BRANCH = """
cd "$1" && mount -t tmpfs -o "size=$2,mode=755,nosuid,nodev" run run &&
mkdir -m 1777 run/written && mkdir run/internal run/workspace || exit
folders=lowerdir=tree,upperdir=run/written,workdir=run/internal
mount -t overlay -o "$folders,redirect_dir=on" layer run/workspace && shift 2 && exec "$@"
"""


def holder(folder: Path, workspace_mb: int, uid: int) -> Stage:
    """Return the stage of the program that unpacks a tree and holds it. It mounts a tmpfs on `folder`."""
    command = (*_UNSHARE, *_script(_HOLD, folder, workspace_mb))
    return Stage(command, f"{folder}/tree", uid)


def branch(folder: Path, workspace_mb: int, uid: int, holder_pid: int) -> Stage:
    """Return the stage of a program that sees the tree of a running holder, and can write beside it."""
    enter = ("nsenter", f"--mount=/proc/{holder_pid}/ns/mnt")
    command = (*enter, *_UNSHARE, *_script(_BRANCH, folder, workspace_mb))
    return Stage(command, f"{folder}/run/workspace", uid)


def overlay_works(folder: Path) -> bool:
    """Create `folder` and try both mounts. An ordinary user, and root in some containers, may not."""
    # A user namespace would let ordinary users mount, but without redirect_dir.
    stages = (*_UNSHARE, *_script(_HOLD, folder, 1), *_script(_BRANCH, folder, 1), "true")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(  # noqa: S603  # scripts of ours, the folder is an argument
            stages, capture_output=True, check=False, timeout=_TRY_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return not done.returncode


def _script(script: str, folder: Path, mib: int) -> Sequence[str]:
    return ("sh", "-c", script, "sh", str(folder), str(mib * _MIB))
