"""Processes of our application without their seconds of imports: a parent has imported it and forks them."""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from recordings import Recordings, open_recorded

from graph import resources

ROOT = Path(__file__).parent.parent
MAIN = ROOT / "server" / "main.py"

IMPORTED = (
    "server.cli.app", "server.serve", "graph.supervisor", "openai.resources.chat", "langchain_openai",
    "chromadb.api.rust", "rich.console", "httpcore", "anyio._backends._asyncio",
    "uvicorn.protocols.http.h11_impl", "watchdog.observers",
)  # fmt: skip
"""Modules of the application and of its libraries. None of them starts a thread."""

MESSAGE_BYTES = 1 << 18


class Forked:
    """A Python program in a process of its own, with the part of `subprocess.Popen` that our tests use.

    The process has its own arguments, environment, folder and streams, and ends as any other does. With the
    folder `replay`, its sandboxes replay recordings. It shares the hash seed and the imported modules of all
    that are forked here, so a test of imports, or of the environment that an import reads, starts a real
    process.
    """

    def __init__(
        self, arguments: Sequence[object], *, env: Mapping[str, str], cwd: Path | None = None,
        stdin: int | None = None, stdout: int | None = None, stderr: int | None = None,
        start_new_session: bool = False, replay: Path | None = None,
    ) -> None:  # fmt: skip
        self.args = list(map(str, arguments))
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self._status, told = os.pipe()
        passed = [self._stream(*each) for each in ((0, stdin), (1, stdout), (2, stderr))]
        state = {"env": dict(env), "cwd": str(cwd or Path.cwd()), "session": start_new_session}
        request = {"arguments": self.args, "replay": str(replay or ""), **state}
        socket.send_fds(_parent(), [json.dumps(request).encode()], [*passed, told])
        for descriptor, given in zip((*passed, told), (stdin, stdout, stderr, subprocess.PIPE), strict=True):
            if given in (subprocess.PIPE, subprocess.DEVNULL):
                os.close(descriptor)
        self.pid = self._read_number()

    def poll(self) -> int | None:
        """Return the exit code of a process that has ended."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, or the negative number of the signal that ended the process."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._read_number()
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return the rest of both outputs once the process has ended."""
        texts = {}

        def read(stream: IO[str]) -> None:
            texts[stream] = stream.read()

        streams = [stream for stream in (self.stdout, self.stderr) if stream]
        readers = [threading.Thread(target=read, args=(stream,), daemon=True) for stream in streams]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(timeout)
        for stream in streams:
            stream.close()
        out, err = (texts.get(stream, "") if stream else "" for stream in (self.stdout, self.stderr))
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()

    def _stream(self, number: int, given: int | IO[str] | None) -> int:
        """Return the descriptor that the process gets as this stream."""
        if given is None:
            return number
        if given == subprocess.DEVNULL:
            return os.open(os.devnull, os.O_RDWR)
        if given != subprocess.PIPE:
            return given if isinstance(given, int) else given.fileno()
        reader, writer = os.pipe()
        ours, theirs = (writer, reader) if number == 0 else (reader, writer)
        setattr(self, ("stdin", "stdout", "stderr")[number], open(ours, "r" if number else "w"))  # noqa: SIM115
        return theirs

    def _read_number(self) -> int:
        """Read the process id, or the exit code after it, that the parent tells in four bytes."""
        told = os.read(self._status, 4)
        assert told, "the parent of forked processes has ended"
        return int.from_bytes(told, signed=True)


@functools.cache
def _parent() -> socket.socket:
    """Start the parent of this worker's forked processes. It ends with the worker."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # OpenBLAS would start threads, and no thread outlives a fork.
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(theirs.fileno())]
    process = subprocess.Popen(command, env=env, cwd="/", pass_fds=[theirs.fileno()], start_new_session=True)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _next_child(control: socket.socket) -> dict[str, Any]:
    """Fork a child for each request, and tell how it ended. Return the request in the child."""
    running: dict[int, tuple[int, int]] = {}  # by pidfd: the process id, and the pipe to tell
    while True:
        for ready in select.select([control.fileno(), *running], [], [])[0]:
            if ready != control.fileno():
                pid, told = running.pop(ready)
                os.close(ready)
                _tell(told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(told)
                continue
            data, passed, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
            if not data:
                raise SystemExit
            *streams, told = passed
            if not (pid := os.fork()):
                control.close()
                for descriptor in (told, *running, *(pipe for _, pipe in running.values())):
                    os.close(descriptor)
                return {**json.loads(data), "streams": streams}
            running[os.pidfd_open(pid)] = (pid, told)
            _tell(told, pid)
            for descriptor in streams:
                os.close(descriptor)


def _tell(pipe: int, number: int) -> None:
    with suppress(BrokenPipeError):  # the test did not wait for its process
        os.write(pipe, number.to_bytes(4, signed=True))


def _become(request: dict[str, Any]) -> None:
    """Give this process the state in which a new interpreter begins."""
    if request["session"]:
        os.setsid()
    for number, descriptor in enumerate(request["streams"]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    more = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in more if path]


def _replay(folder: Path) -> None:
    """Let the sandboxes of this process replay what other tests have run."""
    recordings = Recordings(folder, shared=True)
    setattr(resources, "open_sandbox", open_recorded(recordings))  # noqa: B010  # it only imports this name


def _run(arguments: list[str]) -> None:
    """Run a program as `python ARGUMENTS` does."""
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(arguments[1], {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    request = _next_child(socket.socket(fileno=int(sys.argv[1])))
    _become(request)
    if request["replay"]:
        _replay(Path(request["replay"]))
    _run(request["arguments"])
