"""Folders on disk whose content may be hostile: counted, taken over, removed."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def folder_bytes(folder: Path, limit: int = 2**62) -> int:
    """Return the bytes that a folder takes on disk. Counting ends when they exceed `limit`."""
    total, waiting = 0, [str(folder)]
    while waiting and total <= limit:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_blocks * 512 // max(1, status.st_nlink)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total


def remove_tree(folder: Path) -> None:
    """Remove a folder that may be hostile: closed folders are opened first, links are not followed."""
    if folder.is_symlink():
        with suppress(OSError):
            folder.unlink()
        return
    for directory, names, _ in os.walk(folder):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                with suppress(OSError):
                    os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def take_ownership(root: Path) -> None:
    """Make a tree ours, readable by everybody and writable by nobody else. Links are not followed."""
    owner = os.geteuid()
    for directory, names, files in os.walk(root):
        for name in ("", *names, *files):
            path = os.path.join(directory, name) if name else directory
            if owner == 0:
                os.chown(path, 0, 0, follow_symlinks=False)
            if not os.path.islink(path):
                os.chmod(
                    path,
                    _open_mode(path),
                )


def _open_mode(path: str) -> int:
    """Return the mode without special bits: a program with the set-user-id bit would now be root's."""
    mode = os.lstat(path).st_mode
    return (mode & 0o755) | (0o755 if os.path.isdir(path) else 0o555 if mode & 0o100 else 0o444)
