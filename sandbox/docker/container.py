"""One container, for a run or a session. Its methods block, so `Docker` calls them in threads."""

import time
from collections.abc import Sequence
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.types import LogConfig, Ulimit
from docker.utils.socket import frames_iter
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from sandbox.base import WORKSPACE, Limits, Ownership, SandboxError
from sandbox.cgroup import CPU_SHARES
from sandbox.docker.seccomp import security_options
from sandbox.report import MAX_BYTES
from sandbox.script import ENVIRONMENT, UID, collect_script, stop_script

_IDLER = 65534
_STOPPED = ("exited", "dead")
_FORGOTTEN_SECONDS = 3600.0

# Docker fails when a container ends by itself at the moment it is to be killed.
_RETRY = Retrying(
    retry=retry_if_exception(lambda error: "is not running" in str(error)),
    stop=stop_after_attempt(20),
    wait=wait_fixed(0.1),
    reraise=True,
)

LABEL = "autocode.owner"
"""The label of a container that names the process which created it."""


class Container:
    """A running container. Its first process belongs to another user than programs, and ends with its stdin.

    So the container stops when this process dies, because the kernel then closes the connection.
    """

    def __init__(self, client: DockerClient, id: str, stdin: Any) -> None:
        self.id = id
        self._api = client.api
        self._stdin = stdin
        self._executions: list[Execution] = []
        self._removed = False
        self.outgrown = False

    @classmethod
    def create(cls, client: DockerClient, image: str, ownership: Ownership, limits: Limits) -> "Container":
        """Create and start a container. The defaults of `limits` are in sandbox/base.py."""
        api = client.api
        id = api.create_container(
            image,
            entrypoint=["cat"],
            command=[],
            user=f"{_IDLER}:{_IDLER}",
            working_dir="/",
            hostname="sandbox",
            stdin_open=True,
            healthcheck={"test": ["NONE"]},
            labels={LABEL: ownership.label},
            use_config_proxy=False,  # a proxy's address may hold a password
            host_config=_host_config(client, limits),
        )["Id"]
        stdin = None
        try:
            stdin = api.attach_socket(id, params={"stdin": 1, "stream": 1})
            api.start(id)
            if limits.on_disk:  # the image's own folder belongs to root
                command = ["sh", "-c", f"mkdir -p {WORKSPACE} && chmod 1777 {WORKSPACE}"]
                api.exec_start(api.exec_create(id, command, user="0:0")["Id"])
        except BaseException:
            _close(stdin)
            api.remove_container(id, force=True, v=True)
            raise
        return cls(client, id, stdin)

    def written(self) -> int:
        """Return the bytes that programs have written to the container's disk. 0 once it is gone."""
        listed = self._api.containers(all=True, size=True, filters={"id": self.id})
        return int(listed[0].get("SizeRw", 0)) if listed else 0

    def execute(self, command: Sequence[str]) -> "Execution":
        """Start a command as the user of programs. Its connection stays open until `finish` or `remove`."""
        id = self._api.exec_create(
            self.id,
            list(command),
            stdin=True,
            user=f"{UID}:{UID}",
            workdir=WORKSPACE,
            environment=dict(ENVIRONMENT),
        )["Id"]
        execution = Execution(self._api, id)
        self._executions.append(execution)
        if self._removed:  # by another thread, before it could know this execution
            execution.close()
        return execution

    def finish(self, execution: "Execution") -> None:
        """Close the connection of a command that has ended."""
        execution.close()
        if execution in self._executions:
            self._executions.remove(execution)

    def collect(self, report: str) -> tuple[bytes, bytes]:
        """Kill every program. Return the report and the counters that `collect_script` reads."""
        return self._ask(collect_script(report))

    def stop_programs(self) -> int:
        """Kill every program, and return how many processes in total ran out of memory.

        Raises SandboxError when some may go on, as when a program leaves no room for another process.
        """
        told, problem = self._ask(stop_script())
        word, _, ooms = told.partition(b" ")
        if word != b"stopped":
            output = (told + problem).decode("utf-8", "replace").strip()
            raise SandboxError(f"Docker could not stop the programs: {output or 'no output'}")
        return int(ooms)

    def _ask(self, command: Sequence[str]) -> tuple[bytes, bytes]:
        """Run a command of ours that waits for a line, and return its output."""
        execution = self.execute(command)
        streams = {1: bytearray(), 2: bytearray()}
        try:
            execution.send(b"\n")
            while frame := execution.read():
                if len(streams[frame[0]]) <= MAX_BYTES:
                    streams[frame[0]] += frame[1]
        finally:
            self.finish(execution)
        return bytes(streams[1]), bytes(streams[2])

    def state(self, name: str) -> bool:
        """Return whether the engine says `Running` or `OOMKilled`. False for a container that is gone.

        The engine can miss that a process other than the first ran out of memory.
        """
        with suppress(NotFound):
            return bool(self._api.inspect_container(self.id)["State"][name])
        return False

    def kill(self) -> None:
        """Kill every process. Does nothing to a container that has stopped."""
        with suppress(APIError):
            self._api.kill(self.id)

    def remove(self) -> None:
        """Kill and remove the container. Does nothing if it is already gone."""
        self._removed = True
        _close(self._stdin)
        try:
            _RETRY(self._api.remove_container, self.id, force=True, v=True)
        except NotFound:
            pass
        except APIError as error:
            if "already in progress" not in str(error):
                raise
        finally:
            for execution in tuple(self._executions):  # another thread may finish one
                execution.close()


class Execution:
    """One command in a container."""

    def __init__(self, api: Any, id: str) -> None:
        self._api = api
        self._id = id
        try:
            self.socket = api.exec_start(id, socket=True)
        except APIError as error:  # docker-py leaves the response of a refusal open
            if error.response is not None:
                error.response.close()
            raise
        self._frames = frames_iter(self.socket, tty=False)  # type: ignore[no-untyped-call]

    def send(self, data: bytes) -> None:
        """Write to the command's stdin."""
        getattr(self.socket, "_sock", self.socket).sendall(data)

    def read(self) -> tuple[int, bytes] | None:
        """Return the next piece of stdout (1) or stderr (2), or None at the end."""
        try:
            return next(self._frames, None)
        except OSError:  # the container was killed
            return None

    def exit_code(self) -> int:
        """Return the exit code. It is 137 when the container died first."""
        for _ in range(50):
            state = self._api.exec_inspect(self._id)
            if not state["Running"] and state["ExitCode"] is not None:
                return int(state["ExitCode"])
            time.sleep(0.02)
        return 137

    def close(self) -> None:
        """Close the connection. The command may go on."""
        _close(self.socket)


def sweep(client: DockerClient, ownership: Ownership) -> None:
    """Remove the containers of owners that have died, and stopped ones that are an hour old.

    An owner on another machine, or before a reboot of this one, cannot be examined from here.
    """
    for found in client.api.containers(all=True, filters={"label": LABEL}):
        is_old = found["Created"] < time.time() - _FORGOTTEN_SECONDS
        if ownership.has_died(found["Labels"][LABEL]) or (found["State"] in _STOPPED and is_old):
            Container(client, found["Id"], None).remove()


def _host_config(client: DockerClient, limits: Limits) -> Any:
    owned = f"uid={UID},gid={UID},mode=700"
    tmpfs = {"/tmp": f"mode=1777,exec,size={limits.tmp_mb}m"}  # noqa: S108  # of the container
    if not limits.on_disk:
        # The survey of a session needs exact times of access.
        size = f"size={limits.workspace_mb}m,nr_inodes={limits.files}"
        tmpfs[WORKSPACE] = f"{owned},exec,strictatime,{size}"
    return client.api.create_host_config(
        init=True,
        network_mode="none",
        ipc_mode="private",
        read_only=not limits.on_disk,
        cap_drop=["ALL"],
        security_opt=security_options(client),
        mem_limit=limits.total_memory,
        memswap_limit=limits.total_memory,
        nano_cpus=int(limits.cpus * 1e9),
        cpu_shares=CPU_SHARES,
        pids_limit=limits.processes,
        shm_size=limits.tmp_mb * 2**20,
        ulimits=[Ulimit(name="core", soft=0, hard=0)],
        log_config=LogConfig(type="none"),
        tmpfs=tmpfs,
    )


def _close(socket: Any) -> None:
    # A thread may wait for the next frame, and `close` alone does not wake it.
    with suppress(OSError, AttributeError):
        socket._sock.shutdown(SHUT_RDWR)
    # docker-py returns a reader. The socket under it and the HTTP response stay open unless closed as well.
    for part in (getattr(socket, "_sock", None), getattr(socket, "_response", None), socket):
        with suppress(OSError):
            if part is not None:
                part.close()
