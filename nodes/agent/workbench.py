"""The workbench of an agent: one sandbox session, and the tools that act in it."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from memory.validation import faults_of
from nodes.agent.kept_changes import keep_changes, leaves_out
from nodes.agent.shown import CHARACTERS, ending, numbered, of_command
from nodes.agent.text_edit import replaced, shown_change
from nodes.agent.tool_error import ToolError
from nodes.agent.toolbox import TOOLS, EditFile, Parameters, ReadFile, Search, ShellCommand, WriteFile
from nodes.dialogue.edits import check_whole
from nodes.dialogue.excerpts import cut
from nodes.dialogue.replies import Unusable
from sandbox.base import MAX_FILE_BYTES, WORKSPACE, Limits, Sandbox, Session, SessionError
from tools.catalogue.mcp_call import is_mcp
from tools.workspace import PathError, Workspace, WorkspaceError, archive
from tools.workspace.paths import check_path

OpenPlace = Callable[[], Awaitable[tuple[Sandbox, Limits]]]
"""Returns the sandbox of a package, with its environment, and the limits of a command in it."""

CallServer = Callable[[str, Mapping[str, Any]], Awaitable[str]]
"""Calls a tool of an MCP server, and returns its text. Raises ToolError."""

SearchCode = Callable[[str], Awaitable[str]]
"""Returns what the repository's index finds, as text."""

# The folder is another user's than the files in it, which git takes for a trap.
_TRUST = ("env", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
_GIT = re.compile(r"\bgit\b")
_UNPACK = ("sh", "-c", "cd .git && tar -xf history.tar && rm history.tar")
# Models write bash, and an image may have only sh. Output and errors come in their own order.
_SHELL = 'exec 2>&1; if command -v bash >/dev/null; then exec bash -c "$0"; else exec sh -c "$0"; fi'
_ANEW = (
    "[The work was interrupted before this command. Your edit is there, but what commands wrote to /tmp, "
    "outside of the repository or to files that git ignores is gone]"
)
_MOST = 8  # files that a note names


@dataclass(frozen=True)
class ToolOutcome:
    """The result of a call. `exit_code` is that of a command, `ending` says why it was ended, if it was."""

    text: str
    exit_code: int | None = None
    ending: str = ""


@dataclass
class Workbench:
    """The place of one agent. `snapshot` has its files as they are after the last call.

    git has the files that the agent began with as HEAD, and those of the run's start as the tag `base`.

    The session opens with the first call, or with `warm`. It begins with the snapshot of that moment, so that
    a resumed run goes on with the files that the stored calls had led to. Without `keeps_edit`, what the
    tools change is thrown away in the end.
    """

    workspace: Workspace
    base: str
    snapshot: str
    author: str
    place: OpenPlace
    search: SearchCode | None = None
    keeps_edit: bool = True
    call_server: CallServer | None = None
    backend: str = field(default="", init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)
    _opening: "asyncio.Task[Session] | None" = field(default=None, init=False)
    _first: str = field(default="", init=False)
    _is_resumed: bool = field(default=False, init=False)
    _known: set[str] = field(default_factory=set, init=False)
    _begun: str = field(default="", init=False)
    _limits: Limits = field(default_factory=Limits, init=False)
    _leave_out: Callable[[str], bool] | None = field(default=None, init=False)

    @property
    def has_changed(self) -> bool:
        """True if the tools have changed a file."""
        return self.snapshot != self._first

    def __post_init__(self) -> None:
        self._first = self.snapshot

    async def aclose(self) -> None:
        """End the session, also one that is about to open."""
        if self._opening:
            await asyncio.wait((self._opening,))
        await self._stack.aclose()

    async def reset(self) -> None:
        """Go back to the files that the agent began with."""
        await self.aclose()
        self._opening, self.snapshot = None, self._first

    async def resume(self, snapshot: str) -> None:
        """Take over the files that a stored call has led to. A session that lacks them is ended."""
        if self._opening and self.snapshot != snapshot:  # `warm` may come before the stored calls are read
            await self.aclose()
            self._opening = None
        self._is_resumed, self.snapshot = True, snapshot

    def warm(self) -> "asyncio.Task[Session]":
        """Start to open the session in the background, and return its task."""
        if self._opening is None:
            self._begun = self.snapshot
            self._opening = asyncio.create_task(self._open())
        return self._opening

    async def _open(self) -> Session:
        sandbox, self._limits = await self.place()
        self.backend = sandbox.name
        self._leave_out = await asyncio.to_thread(leaves_out, self.workspace, self._begun)
        files, tree = archive(self.workspace.path, self._begun), self.workspace.tree(self._begun)
        return await self._stack.enter_async_context(sandbox.session(files, self._limits, tree))

    async def _session(self) -> Session:
        return await asyncio.shield(self.warm())

    async def call(self, name: str, arguments: Any) -> ToolOutcome:
        """Carry out a call. What is wrong with it is its result. Raises SandboxError without a session."""
        try:
            if self.call_server and is_mcp(name):
                return ToolOutcome(await self.call_server(name, dict(arguments)))
            parameters = _parsed(name, arguments)
            if isinstance(parameters, Search):
                return ToolOutcome(await self._find(parameters))
            outcome = await self._act(parameters)
            notes = [] if isinstance(parameters, ReadFile) else await self._keep(parameters)
        except (ToolError, SessionError) as error:
            return ToolOutcome(f"Error: {error}")
        return replace(outcome, text="\n".join([outcome.text, *notes]))

    async def _act(self, parameters: Parameters) -> ToolOutcome:
        match parameters:
            case ShellCommand():
                return await self._execute(parameters)
            case ReadFile():
                text = await self._text(parameters.file_path)
                return ToolOutcome(cut(numbered(text, parameters.offset, parameters.limit), CHARACTERS))
            case EditFile():
                return await self._edit(parameters)
            case WriteFile():
                return await self._write(parameters)
        raise ToolError(f"{type(parameters).__name__} is no tool of this place")

    async def _execute(self, asked: ShellCommand) -> ToolOutcome:
        session, notes = await self._session(), list[str]()
        if _GIT.search(asked.command) and await session.read(".git/HEAD") is None:
            notes = await self._add_history(session)
        if self._is_resumed:
            self._is_resumed = False
            notes.append(_ANEW)
        result = await session.run([*_TRUST, "sh", "-c", _SHELL, asked.command])
        text = "\n".join([of_command(result, self._limits), *notes])
        return ToolOutcome(text, result.exit_code, ending(result, self._limits))

    async def _add_history(self, session: Session) -> list[str]:
        """Give git the last commits before the run, once a command asks for it. Return what is missing."""

        def pack() -> bytes | None:  # libgit2's repositories are not for several threads
            # After a resume, HEAD stays what the agent began with, so that the stored files are changes.
            with suppress(WorkspaceError):  # a partial clone, or a damaged one
                return Workspace.open(self.workspace.path).history(self.base, self._first, MAX_FILE_BYTES)
            return None

        history = await asyncio.to_thread(pack)
        if history is None:
            return ["[git knows no commits here: they are too large for this place, or not all there]"]
        await session.write(".git/history.tar", history)
        await session.run(_UNPACK)
        return []

    async def _edit(self, asked: EditFile) -> ToolOutcome:
        before = await self._text(asked.file_path)
        path = below_root(asked.file_path)
        after = replaced(path, before, asked.old_string, asked.new_string, asked.replace_all)
        await self._put(path, after, before)
        return ToolOutcome(shown_change(path, before, after))

    async def _write(self, asked: WriteFile) -> ToolOutcome:
        path = below_root(asked.file_path)
        old = await (await self._session()).read(path)
        await self._put(path, asked.content, None if old is None else old.decode(errors="replace"))
        lines = len(asked.content.splitlines())
        return ToolOutcome(f"{path} has {lines} line{'' if lines == 1 else 's'} now")

    async def _put(self, path: str, content: str, old: str | None) -> None:
        """Write a file whose text was `old`, None for a new one. Raises ToolError if it is not whole."""
        try:
            check_whole(path, content, old)
        except Unusable as problem:
            raise ToolError(str(problem)) from problem
        await (await self._session()).write(path, content.encode())

    async def _text(self, file_path: str) -> str:
        content = await (await self._session()).read(file_path)
        if content is None:
            raise ToolError(f"there is no file {file_path}; `execute` with `rg --files` lists the files")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ToolError(f"{file_path} is no text in UTF-8 ({len(content):,} bytes)") from None

    async def _find(self, asked: Search) -> str:
        if self.search is None:
            raise ToolError("the repository has no index; use `execute` with rg")
        return cut(await self.search(asked.query), CHARACTERS) or "(nothing was found)"

    async def _keep(self, parameters: Parameters) -> list[str]:
        """Store the files as they are now. Return what the model may not expect of them."""
        try:
            changes = await (await self._session()).changes(self._leave_out)
        except SessionError as error:
            return [f"[nothing of this call is kept so far: {error}]"]
        keep = partial(keep_changes, self.workspace, self._begun, changes, f"{self.author}: tools")
        kept = await asyncio.to_thread(keep)
        self.snapshot = kept.snapshot
        new = sorted(kept.added - self._known)
        self._known |= kept.added
        notes = [f"[not kept: {reason}]" for reason in _some(kept.left_out)]
        if new and self.keeps_edit and isinstance(parameters, ShellCommand):
            files = f"new file{'' if len(new) == 1 else 's'}: {', '.join(_some(new))}"
            notes.append(f"[{files}. Delete what is not meant to be part of your edit]")
        return notes


def _parsed(name: str, arguments: Any) -> Parameters:
    """Return the parameters of a call. Raises ToolError."""
    if name not in TOOLS:
        raise ToolError(f"there is no tool {name}. The tools are {', '.join(TOOLS)}")
    try:
        return TOOLS[name].model_validate(arguments)
    except ValidationError as error:
        faults = "; ".join(faults_of(error))
        fields = TOOLS[name].model_fields.items()
        takes = ", ".join(field if info.is_required() else f"{field} (optional)" for field, info in fields)
        raise ToolError(f"{name} was called wrongly: {faults}. It takes {takes}. Call it again") from error


def _some(texts: Sequence[str]) -> list[str]:
    """Return the first of some texts, and how many there are beyond them."""
    more = len(texts) - _MOST
    return [*texts[:_MOST], *([f"{more} more"] if more > 0 else [])]


def below_root(path: str) -> str:
    """Return a path as it is below the root of the repository. Raises ToolError for one outside."""
    relative = path.removeprefix(f"{WORKSPACE}/").removeprefix("./")
    if relative.startswith("/") or ".." in relative.split("/"):
        raise ToolError(f"{path} lies outside of the repository; only files below {WORKSPACE} can be edited")
    try:
        check_path(relative)
    except PathError as problem:
        raise ToolError(str(problem)) from problem
    return relative


def arguments_json(arguments: Any) -> str:
    """Return the arguments of a call as they are stored."""
    return json.dumps(arguments, ensure_ascii=False, sort_keys=True)
