"""One build in one container. All calls block, so they run in a thread."""

import io
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError
from docker.types import Mount

from sandbox.base import WORKSPACE, Result, SandboxError
from sandbox.docker.container import LABEL as OWNER_LABEL
from sandbox.docker.container import Execution
from sandbox.docker.seccomp import security_options
from sandbox.environment.backend import Build, Built
from sandbox.environment.build_script import SCRATCH, UV, build_script, tracked_list
from sandbox.environment.generated import MAX_MB, TooMuchGenerated, store_generated
from sandbox.environment.proxy import FORWARDER, PORT, VARIABLES
from sandbox.environment.recipe import ENVIRONMENT
from sandbox.script import UID

if TYPE_CHECKING:
    from docker import DockerClient

REPOSITORY = "autocode-environment"
"""The name of the images. The tag is the environment's key."""

LABEL = "autocode.environment"
"""The label of images and build containers. Its value is the environment's key."""

_POLL_SECONDS = 2.0
_READY_SECONDS = 15.0
_SOCKET = "/run/registry.sock"
# Only root's own steps use these. Programs of the repository run as another user and can gain nothing.
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID"]
_CLEAN = (
    f"rm -rf {SCRATCH} {UV}; find {WORKSPACE} -mindepth 1 -delete; chown -R 0:0 {ENVIRONMENT}; "
    f"chmod -R u+rwX,go+rX,go-w,u-s,g-s {ENVIRONMENT}"
)


@dataclass
class ContainerBuild:
    """One build in one container. All methods block."""

    client: "DockerClient"
    build: Build
    uv: str
    owner: str
    notify: Callable[[str], object]
    socket: Path
    helper: str
    id: str = ""
    forwarder: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)
    stopped: str = ""

    def run(self, image: str) -> Built:
        try:
            self._start(image)
            self._fill()
            if self.cancelled.is_set():
                raise SandboxError("the build was cancelled")
            result = self._execute()
            if result.exit_code or result.timed_out:
                return Built(result=result, over_disk=self.stopped == "disk")
            self._keep_generated()
            self._root(_CLEAN)
            image = self._commit()
            (layer, *_) = self.client.api.history(image)  # type: ignore[no-untyped-call]  # docker-py has no types
            return Built(result=result, image=image, image_mb=int(layer["Size"]) >> 20)
        finally:
            self.kill()
            for id in filter(None, (self.forwarder, self.id)):
                with suppress(APIError):
                    self.client.api.remove_container(id, force=True, v=True)

    def _start(self, image: str) -> None:
        """Start the container without network, and the forwarder that leads to the registries."""
        self.id = self._container(image, network="none")
        try:
            self.forwarder = self._create_forwarder()
        except APIError as error:
            self._use_bridge(image, str(error.explanation or error))
            return
        deadline = time.monotonic() + _READY_SECONDS
        while b"ready" not in self.client.api.logs(self.forwarder, stderr=False):
            running = self.client.api.inspect_container(self.forwarder)["State"]["Running"]
            if not running or time.monotonic() > deadline:
                self._use_bridge(image, "the proxy's socket cannot be shown to a container")
                return
            time.sleep(0.05)

    def _use_bridge(self, image: str, reason: str) -> None:
        """Start over with Docker's own network, where the engine runs on another machine than we do."""
        self.notify(f"This engine cannot use the registries' proxy ({reason}). Using Docker's network.\n")
        for id in filter(None, (self.forwarder, self.id)):
            self.client.api.remove_container(id, force=True, v=True)
        self.forwarder, self.id = "", self._container(image, network="bridge")

    def _container(self, image: str, network: str) -> str:
        limits, api = self.build.limits, self.client.api
        paths = self.build.registries.paths if "local" in str(api.base_url) else ()
        config = api.create_host_config(
            network_mode=network,
            cap_drop=["ALL"],
            cap_add=_CAPABILITIES,
            security_opt=security_options(self.client),
            mem_limit=limits.memory_mb * 2**20,
            memswap_limit=limits.memory_mb * 2**20,
            nano_cpus=int(limits.cpus * 1e9),
            pids_limit=limits.processes,
            binds=[f"{path}:{path}:ro" for path in paths if not path.startswith("/etc/")],
        )
        # Its first process ends by itself, so that a dead owner leaves no container running.
        seconds = str(int(limits.seconds) + 120)
        return self._started(image, ["sleep", seconds], "0:0", config)

    def _create_forwarder(self) -> str:
        """Start the forwarder in the network of the build, which has no other way out."""
        config = self.client.api.create_host_config(
            network_mode=f"container:{self.id}",
            cap_drop=["ALL"],
            security_opt=security_options(self.client),
            read_only=True,
            mem_limit=128 * 2**20,
            pids_limit=512,
            mounts=[Mount(_SOCKET, str(self.socket), type="bind", read_only=True)],
        )
        command = ["python3", "-c", FORWARDER, str(PORT), _SOCKET]
        return self._started(self.helper, command, f"{UID}:{UID}", config)

    def _started(self, image: str, command: list[str], user: str, config: Any) -> str:
        api = self.client.api
        id = api.create_container(
            image,
            entrypoint=command,
            command=[],
            user=user,
            healthcheck={"test": ["NONE"]},
            labels={LABEL: self.build.place.name, OWNER_LABEL: self.owner},
            use_config_proxy=False,
            host_config=config,
        )["Id"]
        try:
            api.start(id)
        except APIError:
            api.remove_container(id, force=True, v=True)
            raise
        return str(id)

    def _fill(self) -> None:
        build, api = self.build, self.client.api
        self._root(f"mkdir -p {SCRATCH}/home {UV} {WORKSPACE}")
        with Path(self.uv).open("rb") as uv:
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w") as tar:
                member = tar.gettarinfo(fileobj=uv, arcname="uv")
                member.mode = 0o755
                tar.addfile(member, uv)
        api.put_archive(self.id, UV, archive.getvalue())
        api.put_archive(self.id, SCRATCH, _archive(self._settings()))
        with tempfile.TemporaryFile(dir=build.place) as snapshot:  # the engine wants the length first
            for chunk in build.files:
                snapshot.write(chunk)
            snapshot.seek(0)
            api.put_archive(self.id, WORKSPACE, snapshot)
        packages = " ".join(build.recipe.packages)
        if packages:
            install = "apt-get install -y -qq --no-install-recommends"
            proxy = "".join(f"export {name}={value}; " for name, value in self._proxies().items())
            self._root(f"{proxy}apt-get update -qq && DEBIAN_FRONTEND=noninteractive {install} {packages}")
        self._root(f"chown -R {UID}:{UID} {ENVIRONMENT} {WORKSPACE}")

    def _settings(self) -> dict[str, bytes]:
        """Return the files of the build's own folder. Certificates are copied: the image has other ones."""
        build = self.build
        variables, certificates = build.registries.with_certificates_in(SCRATCH)
        variables |= self._proxies()
        script = build_script(build.recipe, variables, (), WORKSPACE)
        files = {"build.sh": script.encode(), "tracked": tracked_list(build.paths), **certificates}
        return files | {f"home/{name}": text.encode() for name, text in build.registries.home_files.items()}

    def _proxies(self) -> dict[str, str]:
        if self.forwarder:
            return VARIABLES
        return {name: value for name, value in self.build.registries.proxies.items() if value}

    def _root(self, command: str) -> None:
        """Run a shell command as root. Raises SandboxError when it fails."""
        code, text = self._inside(command, "0:0")
        if code:
            raise SandboxError(f"the environment's container failed at: {command}\n{text[-2000:]}")

    def _inside(self, command: str, user: str) -> tuple[int, str]:
        """Run a shell command. Return its exit code and its output."""
        api = self.client.api
        running = Execution(api, api.exec_create(self.id, ["sh", "-c", command], user=user)["Id"])
        try:
            output = b"".join(data for _, data in iter(running.read, None))
            return running.exit_code(), output.decode("utf-8", "replace")
        finally:
            running.close()

    def _execute(self) -> Result:
        """Run the build's script as the programs' user, watched for time and disk."""
        api, limits = self.client.api, self.build.limits
        command = ["sh", f"{SCRATCH}/build.sh"]
        execution = api.exec_create(self.id, command, user=f"{UID}:{UID}", workdir=WORKSPACE)["Id"]
        began = time.monotonic()
        watching = threading.Thread(target=self._watch, args=(began + limits.seconds,), daemon=True)
        watching.start()
        pieces: list[str] = []
        running = Execution(api, execution)
        for _, piece in iter(running.read, None):
            text = piece.decode("utf-8", "replace")
            pieces.append(text)
            self.notify(text)
        running.close()
        finished = self.stopped or "finished"
        self.cancelled.set()
        watching.join()
        code = api.exec_inspect(execution)["ExitCode"]
        return Result(
            exit_code=137 if code is None else code,
            stdout="".join(pieces)[-limits.output_bytes :],
            stderr="",
            seconds=time.monotonic() - began,
            timed_out=finished == "time",
            out_of_memory=bool(api.inspect_container(self.id)["State"]["OOMKilled"]),
        )

    def _watch(self, deadline: float) -> None:
        while not self.cancelled.wait(_POLL_SECONDS):
            if time.monotonic() > deadline:
                self.stopped = "time"
            elif self._used_mb() > self.build.limits.disk_mb:
                self.stopped = "disk"
            if self.stopped:
                self.kill()
                return

    def _used_mb(self) -> int:
        with suppress(Exception):  # the container may just have ended
            places = f"{ENVIRONMENT} {WORKSPACE} /tmp /var/tmp"
            _, output = self._inside(f"du -sxk {places} 2>/dev/null", "0:0")
            return sum(int(line.split()[0]) for line in output.splitlines()) >> 10
        return 0

    def _keep_generated(self) -> None:
        self._inside("kill -9 -1", f"{UID}:{UID}")  # what a command left running
        stream, _ = self.client.api.get_archive(self.id, f"{SCRATCH}/generated.tar")
        outer = self.build.place / "outer.tar"
        with outer.open("wb") as file:
            for chunk in stream:
                if file.write(chunk) and file.tell() > (MAX_MB + 1) * 2**20:
                    raise TooMuchGenerated(f"the commands left over {MAX_MB} MB in the workspace")
        inner = self.build.place / "inner.tar"
        with tarfile.open(outer) as archive:
            member = archive.next()
            content = archive.extractfile(member) if member and member.isreg() else None
            inner.write_bytes(content.read() if content else b"")
        store_generated(inner, self.build.place / "generated.tar", self.build.paths)
        outer.unlink()
        inner.unlink()

    def _commit(self) -> str:
        self.kill()
        key = self.build.place.name.removeprefix("making-").partition("-")[0]
        labels: dict[str, Any] = {"Labels": {LABEL: key}}
        return str(self.client.api.commit(self.id, repository=REPOSITORY, tag=key, conf=labels)["Id"])

    def kill(self) -> None:
        """Kill the container. One that has ended already is fine."""
        with suppress(Exception):
            self.client.api.kill(self.id)


def _archive(files: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()
