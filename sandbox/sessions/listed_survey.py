"""Changes found by hashing files inside the sandbox, for places without an overlay."""

import asyncio
import io
import os
import tarfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from sandbox.base import (
    MAX_CHANGED_BYTES,
    WORKSPACE,
    LeaveOut,
    Limits,
    Result,
    SandboxError,
    SessionChanges,
    SessionError,
    SessionFile,
)
from sandbox.program import Program
from sandbox.sessions.survey import HIDDEN, Allowance
from sandbox.sessions.workspace_session import RunProgram

_SECONDS = 30.0
_LIST_BYTES = 64 * 2**20
_TICK = Decimal("0.000001")
_CLOCK_STEP = 0.001

# A program cannot set the time of a file's change, and to set the time of access changes that one. Both are
# needed: on a tmpfs, a shared mapping that is read before it is written changes only the time of access, when
# it is made. Where that time is not exact, every file is hashed. What its owner cannot read becomes readable,
# which git does not notice. The time of a new pipe is the kernel's time of that moment.
_ALL = f"find . -path ./{HIDDEN} -prune -o"
_LIST = f"""
most=$1 touched=${{2:+"( -newerct @$2 -o -newerat @$2 )"}}
while read -r _ place _ options _; do
  case "$place $options" in "{WORKSPACE} "*noatime*|"{WORKSPACE} "*relatime*) touched=;; esac
done </proc/mounts
{_ALL} -type d ! -perm -500 -exec chmod u+rwx -- {{}} \\; -o \\
  -type f ! -perm -400 -exec chmod u+r -- {{}} +
{{
  {_ALL} \\( -type f -o -type l \\) -printf '%y%m %i %s %p\\0%l\\0' && printf '=\\0' &&
  {_ALL} -type f -size -"$most"c $touched -print0 | xargs -0 -r sha1sum -z -- &&
  : | stat -c '%.9Z end' -
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


@dataclass(frozen=True)
class Listing:
    """One list: its entries, the hashes of files by inode, and the time at its end, in seconds."""

    entries: Mapping[str, Listed]
    hashes: Mapping[bytes, str]
    ended: Decimal
    clock: float


class ListedSurvey:
    """Lists the workspace with hashes, and fetches what has changed. Implements `Survey`.

    Only files that were used since the last list are hashed again. A program can hide one kind of write: to a
    file that it opened with O_NOATIME, through a shared mapping that it had read before.
    """

    def __init__(self, run_program: RunProgram, limits: Limits) -> None:
        self._run_program = run_program
        # A larger file is sparse and has no hash, because the workspace could not hold it.
        self._largest = max(limits.workspace_mb * 2**20, MAX_CHANGED_BYTES) + 1
        self._limits = replace(limits, seconds=_SECONDS)
        self._base: Mapping[str, Listed] = {}
        self._last: Listing | None = None
        self._contents: dict[str, bytes] = {}
        self._files: Mapping[str, SessionFile] = {}

    async def begin(self) -> None:
        """Remember the workspace as it is. Raises SandboxError when the tools for it are missing."""
        self._base = await self._list()

    async def changes(self, leave_out: LeaveOut | None) -> SessionChanges:
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
        return SessionChanges(self._files, links, frozenset(self._base.keys() - now.keys()))

    def _file(self, path: str, entry: Listed) -> SessionFile:
        file = SessionFile(self._contents[entry.value], entry.executable)
        before = self._files.get(path)
        same = before and before.content is file.content and before.executable == file.executable
        return before if before and same else file

    async def _list(self) -> Mapping[str, Listed]:
        """List the workspace. Files that were not used since the last list keep their hashes."""
        before, clock = self._last, _clock()
        listing = None
        if before and abs(before.clock - clock) < _CLOCK_STEP:
            output = await self._output(f"{before.ended - _TICK}")
            listing = await asyncio.to_thread(_parse, output, before.hashes, self._largest, clock)
        self._last = listing or await asyncio.to_thread(
            _parse, await self._output(""), {}, self._largest, clock
        )
        if self._last is None:
            raise SandboxError("the session's files could not be listed: some have no hash")
        return self._last.entries

    async def _output(self, since: str) -> bytes:
        """Return the output of the list, with hashes of the files that were used since then."""
        command = ["sh", "-c", _LIST, "sh", str(self._largest), since]
        program = Program({}, command, replace(self._limits, output_bytes=_LIST_BYTES))
        result = await self._run_program(program)
        output = program.output.stdout
        if result.timed_out or output is None or len(output) >= _LIST_BYTES:
            raise SessionError(f"{_TOO_MUCH}; remove what was generated")
        if not output.endswith(b" end\n"):
            raise SandboxError(_explain(result))
        return output

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


def _clock() -> float:
    """Return a number that changes only when the time of day is set."""
    return time.time() - time.monotonic()


def _parse(output: bytes, known: Mapping[bytes, str], largest: int, clock: float) -> Listing | None:
    """Read a list. Returns None when a file has no hash, because it was hidden from the last list.

    A program names its files as it likes, but no name holds a zero byte.
    """
    fields = output.split(b"\0")
    end = fields.index(b"=")
    digests = {line[42:]: line[:40].decode() for line in fields[end + 1 : -1]}
    entries: dict[str, Listed] = {}
    hashes: dict[bytes, str] = {}
    for about, target in zip(fields[0:end:2], fields[1:end:2], strict=True):
        kind, inode, length, name = about.split(b" ", 3)
        path, size = os.fsdecode(name[2:]), int(length)
        if kind.startswith(b"l"):
            entries[path] = Listed(True, False, 0, os.fsdecode(target))
            continue
        digest = digests.get(name) or known.get(inode, "")
        if not digest and size < largest:
            return None
        hashes[inode] = digest
        entries[path] = Listed(False, bool(int(kind[1:], 8) & 0o100), size, digest)
    return Listing(entries, hashes, Decimal(fields[-1].split()[0].decode()), clock)


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
