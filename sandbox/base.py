"""The interface of a sandbox: its limits, its results and the protocol that every backend implements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

ReportOutcome = Literal["passed", "failed", "error", "skipped"]

REPORT = "{report}"
"""Placeholder in a command for the path of the JUnit report. Each run gets a random path."""

WORKSPACE = "/workspace"
"""The folder of the files, in which every command starts."""


MOST_IN_MEMORY = 768
"""MiB of the largest workspace that is kept in memory."""

OnText = Callable[[str], None]
"""Receives lines about progress, or pieces of a program's output."""


class SandboxError(Exception):
    """No sandbox is available, or it failed. The message says what to install or start."""


class SessionError(SandboxError):
    """A path of a session, or its changes as a whole, cannot be read or written. The session goes on.

    The message names the path and the reason, for the agent that works there.
    """


class NoEngine(SandboxError):
    """No Docker Engine answers."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"no Docker Engine answers ({reason}); start one (systemctl start docker, or Docker Desktop), "
            "make sure you may use it (usermod -aG docker $USER), or name one in DOCKER_HOST"
        )


@dataclass(frozen=True)
class Ownership:
    """The label of everything that this process creates, and a test for labels of other processes.

    `has_died` returns True only for the label of a process that is known to be gone.
    """

    label: str
    has_died: Callable[[str], bool]


UNKNOWN = Ownership("unknown", lambda label: False)
"""The owner of a sandbox that removes nothing that other processes left behind."""


@dataclass(frozen=True)
class Limits:
    """Limits of one run. Sizes are in MiB, output in bytes, time in seconds of the program alone."""

    seconds: float = 30.0
    memory_mb: int = 512
    workspace_mb: int = 256
    tmp_mb: int = 64
    cpus: float = 0.5
    processes: int = 64
    output_bytes: int = 1_000_000
    files: int = 500_000
    """Files and folders of the workspace. A tmpfs takes memory for them beside its size."""

    @property
    def on_disk(self) -> bool:
        """True if the workspace is too large for memory, and lies in a folder on disk."""
        return self.workspace_mb > MOST_IN_MEMORY

    @property
    def in_memory_mb(self) -> int:
        """MiB that a tmpfs of the workspace may take, which a large one has only for what programs write."""
        return min(self.workspace_mb, MOST_IN_MEMORY)

    @property
    def total_memory(self) -> int:
        """Bytes for program and files together, because the kernel counts a tmpfs as memory."""
        return (self.memory_mb + self.in_memory_mb + self.tmp_mb) * 2**20

    def with_room_for(self, size: int, files: int) -> "Limits":
        """Return the limits with a workspace for files, and for what programs add to them.

        `size` are the bytes of their blocks.
        """
        megabytes = (size >> 20) * 3 // 2 + 128
        return replace(
            self,
            workspace_mb=max(self.workspace_mb, megabytes),
            files=max(self.files, 2 * files + 100_000),
        )


@dataclass(frozen=True)
class Case:
    """One test case of a JUnit report. `id` is `classname::name`, `message` has assertion and traceback."""

    id: str
    outcome: ReportOutcome
    message: str
    seconds: float


@dataclass(frozen=True)
class Result:
    """The result of one run. `exit_code` is 128 + signal for a killed program. No JUnit, no `report`.

    `left_running` counts the processes that the command left behind and that were killed at its end. It is 0
    for a program that was killed itself, because all of its processes were.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False
    out_of_memory: bool = False
    truncated: bool = False
    report: tuple[Case, ...] | None = None
    left_running: int = 0


@dataclass(frozen=True)
class Delta:
    """The difference of a run's files from its layer: paths to remove, then a tar stream to unpack."""

    removed: tuple[str, ...] = ()
    files: Iterable[bytes] | None = None


class Layer(Protocol):
    """A tree of files that many runs start from. No run can change it."""

    async def run(
        self, delta: Delta, command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        """Run `command` as `Sandbox.run` does, on the layer's files with `delta` applied to them."""


@dataclass(frozen=True)
class SessionFile:
    """A regular file. `executable` says whether its owner may execute it."""

    content: bytes
    executable: bool


@dataclass(frozen=True)
class SessionChanges:
    """The difference of a session's workspace from the files that it began with.

    Paths are relative to the workspace. Names that are not UTF-8 hold surrogates, as from `os.fsdecode`.
    Folders, pipes, sockets and devices are left out, and so is the folder `.git` at the top. `links` maps
    symlinks to their targets, which may lead anywhere and must not be followed. `removed` holds the paths of
    files and links that are neither any more. It is applied first: a new file may lie where a folder was.
    """

    files: Mapping[str, SessionFile] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()


LeaveOut = Callable[[str], bool]
"""Decides on a path that the session did not begin with. That of a folder ends with a slash."""


class Session(Protocol):
    """A place in which an agent works. Its files stay from one command to the next. Its processes do not.

    /workspace and /tmp are kept until the session ends. Calls wait for each other. Every method raises
    SandboxError when the session has ended, for example because the process that holds its files was killed.
    """

    async def run(
        self, command: Sequence[str], limits: Limits | None = None, on_output: OnText | None = None
    ) -> Result:
        """Run `command` in /workspace as `Sandbox.run` does. Whatever it leaves running is killed.

        Of `limits`, only time and output replace those of the session. REPORT has no meaning here.
        """

    async def read(self, path: str) -> bytes | None:
        """Return a file's content, or None where there is none. A relative path begins at /workspace.

        Links are followed inside the sandbox. Raises SessionError for a folder, a device, a file that the
        program's user may not read, and one of more than MAX_FILE_BYTES.
        """

    async def write(self, path: str, content: bytes) -> None:
        """Write a file and make its folders. An existing file keeps its mode. Raises SessionError."""

    async def changes(self, leave_out: LeaveOut | None = None) -> SessionChanges:
        """Compare the workspace with the files that the session began with.

        The comparison trusts no time stamp that a program can set. A file without a change since the last
        call is the same object. `leave_out` may be called in another thread. Raises SessionError for more
        than MAX_CHANGED_FILES or MAX_CHANGED_BYTES.
        """


MAX_FILE_BYTES = 16 * 2**20
"""The size of the largest file that a session reads or writes for its holder."""

MAX_CHANGED_FILES = 20_000
MAX_CHANGED_BYTES = 64 * 2**20
"""The most that the changes of a session may hold. They are in memory as a whole."""


class Sandbox(Protocol):
    """Runs programs that nobody has reviewed. Each run gets a fresh place, and only its Result stays."""

    @property
    def name(self) -> str:
        """`docker` or `bubblewrap`."""

    async def identity(self) -> str:
        """Return the image's digest, or the versions of interpreter and pytest.

        Raises SandboxError when the backend is not there.
        """

    def prepare(self, count: int = 1) -> None:
        """Start to prepare the next `count` runs in the background. Never fails."""

    async def run(
        self, files: Iterable[bytes], command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        """Unpack the tar stream `files` into /workspace, run `command` there, and remove everything.

        REPORT in an argument is replaced by the report's path. `on_output` receives decoded pieces of stdout
        and stderr as they arrive. Cancelling the task kills the program and removes its files. Raises
        SandboxError when the sandbox itself fails. A program's own failure is part of the Result.
        """

    async def kept_layers(self) -> Sequence[str]:
        """Return the keys of the layers that open without reading their files, the latest used first."""

    def layer(
        self, files: Iterable[bytes], limits: Limits, key: str = ""
    ) -> AbstractAsyncContextManager[Layer]:
        """Keep the tree in the tar stream `files` for several runs, until the context ends.

        The files must be readable by every user. A sandbox may keep the tree longer under a `key`, which must
        name its content. Raises SandboxError, also when the files exceed `limits.workspace_mb`.
        """

    def session(
        self, files: Iterable[bytes], limits: Limits, key: str = ""
    ) -> AbstractAsyncContextManager[Session]:
        """Unpack the tar stream `files` into /workspace and keep the place open until the context ends.

        The files of a layer that the sandbox keeps under `key` are not unpacked again.

        `limits` hold for each command, and their sizes for everything that the session writes. A session
        holds a slot for a program only while a command runs. Raises SandboxError, also when the files exceed
        `limits.workspace_mb`.
        """

    async def aclose(self) -> None:
        """Remove everything that was prepared and not used."""
