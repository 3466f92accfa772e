"""A session that does everything through programs in the sandbox."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from sandbox.base import (
    MAX_FILE_BYTES,
    LeaveOut,
    Limits,
    OnText,
    Result,
    SandboxError,
    SessionChanges,
    SessionError,
)
from sandbox.program import Program
from sandbox.script import Stream
from sandbox.sessions.survey import Survey

RunProgram = Callable[[Program], Awaitable[Result]]
"""Runs a program in the session's place. Raises SandboxError when that is gone."""

_FOLDER, _NO_FILE, _MISSING = 45, 46, 47
_REASONS = {_FOLDER: "it is a folder", _NO_FILE: "it is no regular file"}

_READ = f"""
[ -e "$path" ] || exit {_MISSING}
[ ! -d "$path" ] || exit {_FOLDER}
[ -f "$path" ] || exit {_NO_FILE}
exec head -c {MAX_FILE_BYTES + 1} -- "$path"
"""

# The file is replaced in one step: a full disk leaves the old content. A link stays, its target is replaced.
_WRITE = f"""
[ ! -d "$path" ] || exit {_FOLDER}
[ ! -e "$path" ] || [ -f "$path" ] || exit {_NO_FILE}
if [ -L "$path" ]; then
  path=$(readlink -f -- "$path" && printf x) || exit
  path=${{path%?x}}
fi
folder=${{path%/*}}/
mkdir -p -- "$folder" || exit
mode=$(stat -c %a -- "$path" 2>/dev/null) || mode=644
new=$(mktemp -- "$folder.XXXXXXXXXX") || exit
cat >"$new" && chmod "$mode" "$new" && mv -fT -- "$new" "$path" && exit
rm -f -- "$new"
exit 1
"""
_SECONDS = 20.0


class WorkspaceSession:
    """Runs programs one after another in one place. Implements `Session`."""

    def __init__(
        self,
        run_program: RunProgram,
        survey: Survey,
        limits: Limits,
        raise_if_gone: Callable[[], None] = lambda: None,
    ) -> None:
        """Use a place. `raise_if_gone` raises SandboxError when the place was lost without a program."""
        self._run_program = run_program
        self._survey = survey
        self._limits = limits
        self._turn = asyncio.Lock()
        self._raise_if_gone = raise_if_gone
        self._is_open = True

    async def run(
        self, command: Sequence[str], limits: Limits | None = None, on_output: OnText | None = None
    ) -> Result:
        given = limits or self._limits
        merged = replace(self._limits, seconds=given.seconds, output_bytes=given.output_bytes)
        async with self._turn:
            return await self._run(Program({}, command, merged, on_output, has_report=False))

    async def read(self, path: str) -> bytes | None:
        program = self._own(path, _READ)
        async with self._turn:
            result = await self._run(program)
        if result.exit_code == _MISSING:
            return None
        _raise_for(result, "read", path)
        content = program.output.stdout
        if content is None or len(content) > MAX_FILE_BYTES:
            raise SessionError(f"cannot read {path}: it has more than {MAX_FILE_BYTES >> 20} MiB")
        return content

    async def write(self, path: str, content: bytes) -> None:
        if len(content) > MAX_FILE_BYTES:
            raise SessionError(f"cannot write {path}: the content has more than {MAX_FILE_BYTES >> 20} MiB")
        program = self._own(path, _WRITE, content)
        async with self._turn:
            result = await self._run(program)
        _raise_for(result, "write", path)

    async def changes(self, leave_out: LeaveOut | None = None) -> SessionChanges:
        async with self._turn:
            self._raise_if_ended()
            return await self._survey.changes(leave_out)

    def close(self) -> None:
        """Make every later call fail. Its place is about to be removed."""
        self._is_open = False

    def _own(self, path: str, script: str, content: bytes | None = None) -> Program:
        """Return a program of ours. The path is sent to it, because a command line holds no other bytes."""
        if not path or "\0" in path:
            raise SessionError(f"{path!r} is no path")
        place = path if path.startswith("/") else f"./{path}"
        streams: dict[Stream, list[bytes]] = {"path": [os.fsencode(place)], "input": [content or b""]}
        limits = replace(self._limits, seconds=_SECONDS, output_bytes=MAX_FILE_BYTES + 65_536)
        return Program(streams, ["sh", "-c", script], limits)

    async def _run(self, program: Program) -> Result:
        self._raise_if_ended()
        return await self._run_program(program)

    def _raise_if_ended(self) -> None:
        if not self._is_open:
            raise SandboxError("the session was closed")
        self._raise_if_gone()


def _raise_for(result: Result, deed: str, path: str) -> None:
    if result.exit_code == 0:
        return
    told = result.stderr.strip().splitlines()
    reason = _REASONS.get(result.exit_code) or (told[-1] if told else f"exit code {result.exit_code}")
    if result.timed_out:
        reason = "it took too long"
    raise SessionError(f"cannot {deed} {path}: {reason}")
