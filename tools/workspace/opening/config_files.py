"""A repository's configuration: its files, what they include, and the paths that they name."""

import os
import re
import tempfile
from dataclasses import dataclass

import pygit2

from tools.workspace.errors import WorkspaceError
from tools.workspace.opening.bounds import check_inside
from tools.workspace.opening.regular import check_file, read_file
from tools.workspace.recent import Recent

CONFIG_BYTES = 1 << 20
LIST_BYTES = 1 << 20
"""The most bytes of a file of ignored paths or attributes."""

_MOST_FILES = 100
_MOST_KNOWN = 1000

_INCLUDE = re.compile(rb"(\[[ \t]*)i(nclude)", re.IGNORECASE)
_INCLUDED = re.compile(r"xnclude(if\..*)?\.path", re.IGNORECASE | re.DOTALL)
_LISTS = ("core.excludesfile", "core.attributesfile")


@dataclass(frozen=True)
class _NamedPaths:
    includes: tuple[str, ...]
    lists: tuple[str, ...]


class ConfigFiles:
    """Look at configuration files, and remember those that have not changed since."""

    def __init__(self) -> None:
        self._known = Recent[tuple[object, ...], _NamedPaths](_MOST_KNOWN)

    def check(self, path: str, root: str) -> None:
        """Raise WorkspaceError if `path`, or a file that it includes or names, cannot be read safely."""
        waiting, seen = [path], set[str]()
        while waiting:
            file = waiting.pop()
            if file in seen:
                continue
            seen.add(file)
            check_inside(file)
            if len(seen) > _MOST_FILES:
                raise WorkspaceError(f"{path} includes more than {_MOST_FILES} files; include fewer")
            config = self._read(file)
            for name in config.includes:
                waiting.append(os.path.join(os.path.dirname(file), os.path.expanduser(name)))
            for name in config.lists:
                place = os.path.expanduser(name)
                # libgit2 takes a relative name from the folder that the process was started in.
                for folder in (root, os.getcwd()):
                    if check_file(os.path.join(folder, place), LIST_BYTES, folder=True):
                        check_inside(os.path.join(folder, place))

    def _read(self, path: str) -> _NamedPaths:
        status = check_file(path, CONFIG_BYTES)
        if status is None:
            return _NamedPaths((), ())
        key = (path, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        known = self._known.get(key)
        if known is None:
            known = _parse(path, read_file(path, CONFIG_BYTES) or b"")
            self._known.put(key, known)
        return known


def _parse(path: str, data: bytes) -> _NamedPaths:
    """Let libgit2 parse a copy that includes nothing."""
    with tempfile.NamedTemporaryFile(prefix="autocode-config-") as copy:
        copy.write(_INCLUDE.sub(rb"\1x\2", data))
        copy.flush()
        includes, lists = [], []
        try:
            for entry in pygit2.Config(copy.name):
                name, value = entry.raw_name.decode(errors="replace"), os.fsdecode(entry.raw_value or b"")
                if value and _INCLUDED.fullmatch(name):
                    includes.append(value)
                elif value and name.lower() in _LISTS:
                    lists.append(value)
        except (pygit2.GitError, ValueError, OSError) as error:
            reason = str(error).replace(copy.name, path)
            raise WorkspaceError(f"{path} cannot be parsed: {reason}; correct this file") from error
    return _NamedPaths(tuple(includes), tuple(lists))
