"""Files of the user's checkout that a snapshot lacks, because git ignores them: read without any link."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pygit2.enums import FileMode

from memory.secrets import is_secret
from tools.workspace.errors import PathError, WorkspaceError
from tools.workspace.packing.archive import file_member
from tools.workspace.paths import check_path

MOST_BYTES = 64 * 2**20
"""Bytes of all files together. Every run of a check copies them."""

_MOST_FILES = 5000
_MOST_FOLDERS = 3000
_MOST_MODULES = 50
_PRIVATE = re.compile(r"secret|passw|credential|token|key|local|private", re.IGNORECASE)
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t][^\n]*", re.MULTILINE)
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not stop us


@dataclass(frozen=True)
class CheckoutFile:
    """One file with its content."""

    path: str
    data: bytes
    executable: bool = False

    @property
    def member(self) -> bytes:
        """The file as a member of a tar archive."""
        return file_member(
            self.path, self.data, FileMode.BLOB_EXECUTABLE if self.executable else FileMode.BLOB
        )


def read_checkout(root: Path, names: Iterable[str]) -> list[CheckoutFile]:
    """Read files, and all files in folders. What is missing, a link, or looks like a secret is left out.

    Raises WorkspaceError when they are too large.
    """
    found: list[CheckoutFile] = []
    size = 0
    for name in names:
        for file in _below(root, name):
            found.append(file)
            size += len(file.data)
            if size > MOST_BYTES or len(found) > _MOST_FILES:
                raise WorkspaceError(
                    f"{name}: these files of the checkout are too large for every run to copy"
                )
    return found


def ignored_modules(root: Path, texts: Mapping[str, str]) -> list[str]:
    """Return Python modules in the checkout that a snapshot lacks, but imports, such as `_version.py`.

    `texts` are the snapshot's files. Names that sound like settings of one machine or like secrets are left
    out: `files` under `[environment]` in `.autocode.toml` can name them.
    """
    sources = [path for path in texts if path.endswith(".py")]
    found: dict[str, str] = {}
    for folder in sorted({path.rpartition("/")[0] for path in sources})[:_MOST_FOLDERS]:
        with suppress(OSError), os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                stem, dot, suffix = entry.name.partition(".")
                if dot and suffix == "py" and path not in texts and not _PRIVATE.search(stem):
                    found[path] = stem
    # Many ignored modules are a build's output, not what one forgot to track.
    if not 0 < len(found) <= _MOST_MODULES:
        return []
    imports = "\n".join(line for path in sources for line in _IMPORT.findall(texts[path]))
    return [path for path, stem in found.items() if re.search(rf"\b{re.escape(stem)}\b", imports)]


def _below(root: Path, name: str) -> Iterator[CheckoutFile]:
    with suppress(PathError):
        check_path(name)
        if not is_secret(name):
            with suppress(OSError):
                yield from _read(os.open(root, os.O_RDONLY | os.O_DIRECTORY), name.split("/"), name)


def _read(folder: int, parts: list[str], path: str) -> Iterator[CheckoutFile]:
    """Open the way to a file step by step, so that no link on it is followed. Closes `folder`."""
    try:
        for part in parts:
            inner = os.open(part, _PLAIN, dir_fd=folder)
            os.close(folder)
            folder = inner
        status = os.fstat(folder)
        if stat.S_ISDIR(status.st_mode):
            for name in sorted(os.listdir(folder)):
                yield from _inside(folder, name, f"{path}/{name}")
        elif stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES:
            # `open` closes what it reads, and the descriptor is closed below in any case.
            with open(os.dup(folder), "rb") as file:
                yield CheckoutFile(path, file.read(), bool(status.st_mode & 0o100))
    finally:
        os.close(folder)


def _inside(folder: int, name: str, path: str) -> Iterator[CheckoutFile]:
    with suppress(PathError, OSError):
        check_path(path)
        if not is_secret(path):
            yield from _read(os.dup(folder), [name], path)
