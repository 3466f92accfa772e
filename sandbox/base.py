"""What every sandbox promises: a fresh place a run, limits that hold, a Result that says what happened."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["passed", "failed", "error", "skipped"]

REPORT = "{report}"
"""Stands in a command for the path, random for each run, of the JUnit file that the sandbox reads back."""

WORKSPACE = "/workspace"
"""Where the files lie and the command starts, in every backend."""


class SandboxError(Exception):
    """No sandbox could be had, or it broke; the message says what to install or start."""


@dataclass(frozen=True)
class Limits:
    """What one run may use; sizes in MiB, time in seconds of the program alone, output in bytes."""

    seconds: float = 30.0
    memory_mb: int = 512
    workspace_mb: int = 256
    tmp_mb: int = 64
    cpus: float = 0.5
    processes: int = 64
    output_bytes: int = 1_000_000


@dataclass(frozen=True)
class Case:
    """One test case of a JUnit report; `id` is `classname::name`, `message` holds assertion and traceback."""

    id: str
    outcome: Outcome
    message: str
    seconds: float


@dataclass(frozen=True)
class Result:
    """What one run left behind. `exit_code` is 128 + signal for a killed program; no JUnit, no `report`."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False
    out_of_memory: bool = False
    truncated: bool = False
    report: tuple[Case, ...] | None = None


class Sandbox(Protocol):
    """Runs other people's code. One run, one place; nothing survives it but the Result."""

    @property
    def name(self) -> str:
        """`docker` or `bubblewrap`."""

    async def identity(self) -> str:
        """What ran the program: the image's digest, or the interpreter's and pytest's versions.

        Raises SandboxError when the backend is not there.
        """

    def prepare(self, count: int = 1) -> None:
        """Begin, in the background, to make ready what the next `count` runs need; never fails."""

    async def run(
        self,
        files: Iterable[bytes],
        command: Sequence[str],
        limits: Limits,
        on_output: Callable[[str], None] | None = None,
    ) -> Result:
        """Unpack the tar stream `files` into /workspace, run `command` there, and take everything down.

        An argument that contains REPORT gets the report's path in its place. `on_output` hears decoded
        pieces of stdout and stderr as they come. Cancelling the task kills the program and removes its place.
        Raises SandboxError when the sandbox itself fails; what the program does is data.
        """

    async def aclose(self) -> None:
        """Remove everything that was prepared and not used."""
