"""Changes found by hashing every file inside the sandbox, for places without an overlay."""

import asyncio
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sandbox.base import (
    MAX_CHANGED_BYTES,
    Changes,
    LeaveOut,
    Limits,
    Result,
    SandboxError,
    SessionError,
    SessionFile,
)
from sandbox.program import Program
from sandbox.sessions.survey import HIDDEN, Allowance
from sandbox.sessions.workspace_session import RunProgram

_SECONDS = 30.0
_LIST_BYTES = 64 * 2**20

# No time stamp is enough: the kernel changes none when a file on a tmpfs is read and then written through a
# shared mapping. Folders and files that their owner cannot read become readable, which git does not notice.
_ALL = f"find . -path ./{HIDDEN} -prune -o"
_LIST = f"""
most=$1
{_ALL} -type d ! -perm -500 -exec chmod u+rwx -- {{}} \\; -o \\
  -type f ! -perm -400 -exec chmod u+r -- {{}} +
{{
  {_ALL} \\( -type f -o -type l \\) -printf '%y%m %s %p\\0%l\\0' && printf '=\\0' &&
  {_ALL} -type f -size -"$most"c -print0 | xargs -0 -r sha1sum -z -- && printf end
}} | head -c {_LIST_BYTES}
"""
_FETCH = f"xargs -0 -r tar -cf - --no-recursion --hard-dereference -- | head -c {2 * MAX_CHANGED_BYTES}"

_TOO_MUCH = f"the workspace has too many files, or they took longer than {_SECONDS:.0f} s to read"


@dataclass(frozen=True)
class Listed:
    """A file or a link: the hash of its content or its target, and whether a file is executable."""

    is_link: bool
    executable: bool
    size: int
    value: str


class ListedSurvey:
    """Lists the workspace with hashes, and fetches what has changed. Implements `Survey`."""

    def __init__(self, run_program: RunProgram, limits: Limits) -> None:
        self._run_program = run_program
        # A larger file is sparse and has no hash, because the workspace could not hold it.
        self._largest = max(limits.workspace_mb * 2**20, MAX_CHANGED_BYTES) + 1
        self._limits = replace(limits, seconds=_SECONDS)
        self._base: Mapping[str, Listed] = {}
        self._contents: dict[str, bytes] = {}
        self._files: Mapping[str, SessionFile] = {}

    async def begin(self) -> None:
        """Remember the workspace as it is. Raises SandboxError when the tools for it are missing."""
        self._base = await self._list()

    async def changes(self, leave_out: LeaveOut | None) -> Changes:
        now = await self._list()
        changed = {path: entry for path, entry in now.items() if self._base.get(path) != entry}
        if leave_out:
            changed = _kept(changed, self._base, leave_out)
        allowance = Allowance()
        for path, entry in changed.items():
            allowance.take(path, entry.size)
        await self._fetch({path: entry for path, entry in changed.items() if not entry.is_link})
        self._files = {
            path: self._file(path, entry) for path, entry in sorted(changed.items()) if not entry.is_link
        }
        links = {path: entry.value for path, entry in sorted(changed.items()) if entry.is_link}
        return Changes(self._files, links, frozenset(self._base.keys() - now.keys()))

    def _file(self, path: str, entry: Listed) -> SessionFile:
        file = SessionFile(self._contents[entry.value], entry.executable)
        before = self._files.get(path)
        same = before and before.content is file.content and before.executable == file.executable
        return before if before and same else file

    async def _list(self) -> dict[str, Listed]:
        program = Program(
            {}, ["sh", "-c", _LIST, "sh", str(self._largest)], replace(self._limits, output_bytes=_LIST_BYTES)
        )
        result = await self._run_program(program)
        output = program.output.stdout
        if result.timed_out or output is None or len(output) >= _LIST_BYTES:
            raise SessionError(f"{_TOO_MUCH}; remove what was generated")
        if not output.endswith(b"end"):
            raise SandboxError(_explain(result))
        return await asyncio.to_thread(_parse, output)

    async def _fetch(self, files: Mapping[str, Listed]) -> None:
        """Get the contents that are not known yet, and forget those that no path has any more."""
        needed = {entry.value for entry in files.values()}
        self._contents = {value: content for value, content in self._contents.items() if value in needed}
        missing = {entry.value: path for path, entry in files.items() if entry.value not in self._contents}
        if not missing:
            return
        names = b"\0".join(os.fsencode(f"./{path}") for path in missing.values())
        limits = replace(self._limits, output_bytes=2 * MAX_CHANGED_BYTES + 65_536)
        program = Program({"input": [names]}, ["sh", "-c", _FETCH], limits)
        result = await self._run_program(program)
        if result.timed_out:
            raise SessionError(f"{_TOO_MUCH}; remove what was generated")
        contents = await asyncio.to_thread(_unpack, program.output.stdout or b"")
        for value, path in missing.items():
            if path not in contents:
                raise SandboxError(_explain(result))
            self._contents[value] = contents[path]


def _folders(paths: Iterable[str]) -> frozenset[str]:
    """Return every folder above the paths, the workspace itself included."""
    found = {""}
    for path in paths:
        while (path := path.rpartition("/")[0]) not in found:
            found.add(path)
    return frozenset(found)


def _kept(
    changed: Mapping[str, Listed], base: Mapping[str, Listed], leave_out: LeaveOut
) -> dict[str, Listed]:
    """Return the changed paths that are not left out. Each new folder is asked about once."""
    verdicts = dict.fromkeys(_folders(base), True)

    def keeps(folder: str) -> bool:
        if folder not in verdicts:
            verdicts[folder] = keeps(folder.rpartition("/")[0]) and not leave_out(f"{folder}/")
        return verdicts[folder]

    return {
        path: entry
        for path, entry in changed.items()
        if path in base or (keeps(path.rpartition("/")[0]) and not leave_out(path))
    }


def _parse(output: bytes) -> dict[str, Listed]:
    """Read the list. A program names its files as it likes, but no name holds a zero byte."""
    fields = output.split(b"\0")
    end = fields.index(b"=")
    digests = {line[42:]: line[:40].decode() for line in fields[end + 1 : -1]}
    entries: dict[str, Listed] = {}
    for about, target in zip(fields[0:end:2], fields[1:end:2], strict=True):
        mode, size, path = about.split(b" ", 2)
        is_link = mode.startswith(b"l")
        value = os.fsdecode(target) if is_link else digests.get(path, "")
        executable = not is_link and bool(int(mode[1:], 8) & 0o100)
        entries[os.fsdecode(path[2:])] = Listed(is_link, executable, 0 if is_link else int(size), value)
    return entries


def _unpack(archive: bytes) -> dict[str, bytes]:
    """Read the archives, of which there is one for each command line of tar."""
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", ignore_zeros=True) as members:
        for member in members:
            if content := members.extractfile(member):
                contents[member.name.removeprefix("./")] = content.read()
    return contents


def _explain(result: Result) -> str:
    told = result.stderr.strip().splitlines()
    return (
        f"the session's files could not be listed ({told[-1] if told else f'exit code {result.exit_code}'}); "
        "sessions need GNU find, xargs, tar and sha1sum inside the sandbox"
    )
