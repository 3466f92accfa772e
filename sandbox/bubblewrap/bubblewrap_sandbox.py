"""The bubblewrap backend: namespaces for each program, and cgroups if this process may create them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sandbox.base import UNKNOWN, Delta, Layer, Limits, OnText, Ownership, Result, SandboxError, Session
from sandbox.bubblewrap.bwrap import working_bwrap
from sandbox.bubblewrap.disk_place import DiskPlaces
from sandbox.bubblewrap.interpreter import Interpreter
from sandbox.bubblewrap.jail import Jail, Stage, as_root, new_uid
from sandbox.bubblewrap.jail_process import JailProcess
from sandbox.bubblewrap.kept_trees import KeptTree, KeptTrees
from sandbox.bubblewrap.overlay import branch, branch_of_disk, grow, holder, open_branch, overlay_works, visit
from sandbox.cgroup import Cgroups
from sandbox.environment.disk import folder_bytes
from sandbox.packed_layer import PackedLayer, StoredArchive
from sandbox.program import KILLED, Cleanup, Program, does_not_fit, program_slot, retrieve
from sandbox.script import delta_streams
from sandbox.sessions.listed_survey import ListedSurvey
from sandbox.sessions.overlay_survey import OverlayFolders, OverlaySurvey
from sandbox.sessions.survey import Survey
from sandbox.sessions.workspace_session import WorkspaceSession

_EMPTY_TAR = bytes(10_240)
_WITHOUT_END = 10 * 365 * 86_400.0
_UNPACK_CPUS = 2.0


_OWN_WORKSPACE = Stage()


class Bubblewrap:
    """Runs each program in its own namespaces. Implements `Sandbox`."""

    name = "bubblewrap"

    def __init__(self, jail: Jail, cgroups: Cgroups, version: str, ownership: Ownership) -> None:
        self._jail = jail
        self._cgroups = cgroups
        self._version = version
        self._ownership = ownership
        self._cleanup = Cleanup()
        self._ends: set[asyncio.Event] = set()
        self._has_overlay: bool | None = None
        self._places = DiskPlaces(jail.interpreter.venv.parent / "workspaces", ownership)
        self._trees = KeptTrees(jail.interpreter.venv.parent / "trees")

    @classmethod
    async def open(
        cls,
        home: Path,
        notify: OnText = lambda _: None,
        cgroups: Cgroups | None = None,
        ownership: Ownership = UNKNOWN,
    ) -> "Bubblewrap":
        """Build the Python environment under `home` if it is missing, and run a first program.

        Pass `Cgroups()` to run without any cgroup. Raises SandboxError with the cure.
        """
        bwrap, version = await asyncio.to_thread(working_bwrap)
        interpreter = await asyncio.to_thread(Interpreter.make, home, notify)
        cgroups = await asyncio.to_thread(Cgroups.find) if cgroups is None else cgroups
        await asyncio.to_thread(cgroups.sweep, ownership)
        opened = cls(Jail(bwrap, interpreter), cgroups, version, ownership)
        await asyncio.to_thread(opened._places.sweep)
        result = await opened.run([_EMPTY_TAR], ["python", "-c", "pass"], Limits(seconds=20))
        if result.exit_code:
            raise SandboxError(
                "Python does not start in bubblewrap; it must lie where every user may read it: "
                + (result.stderr.strip() or f"exit code {result.exit_code}")
            )
        opened._cleanup.start(asyncio.to_thread(opened._trees.prune))
        return opened

    async def identity(self) -> str:
        return f"bubblewrap {self._version}, {self._jail.interpreter.version}"

    def prepare(self, count: int = 1) -> None:
        """Do nothing, because a start takes some tens of milliseconds."""

    async def aclose(self) -> None:
        """Kill the programs that still run, and wait until all are removed."""
        for end in self._ends:
            end.set()
        await self._cleanup.wait()

    async def run(
        self, files: Iterable[bytes], command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        return await self._run_alone(Program({"tree": files}, command, limits, on_output))

    async def _run_alone(self, program: Program) -> Result:
        """Run a program in a workspace of its own."""
        if not program.limits.on_disk:
            return await self.run_program(program)
        async with self._places.place() as disk:
            return await self.run_program(program, Stage(folder=str(disk), disk=disk))

    async def run_program(self, program: Program, stage: Stage = _OWN_WORKSPACE) -> Result:
        """Run a program whose streams are set, once there is a free slot."""
        async with program_slot(), self._started(program, stage) as process:
            await process.run(program, disk=stage.disk)
            out_of_memory = process.outgrown or await asyncio.to_thread(process.cgroup.ooms) > 0
        killed = program.timed_out or process.outgrown
        return await program.result(KILLED if killed else process.exit_code, out_of_memory, process.report)

    async def kept_layers(self) -> Sequence[str]:
        return await asyncio.to_thread(self._trees.keys) if await self._can_overlay() else ()

    @asynccontextmanager
    async def layer(self, files: Iterable[bytes], limits: Limits, key: str = "") -> AsyncIterator[Layer]:
        """Unpack the tree once if this process may mount it for each run. Otherwise keep its archive.

        A tree with a key stays on disk. Without space there, it is unpacked for this layer alone.
        """
        can_overlay = await self._can_overlay()
        if can_overlay and key and await asyncio.to_thread(self._trees.has_room, limits.workspace_mb):
            async with self._trees.tree(key, new_uid(), partial(self._unpack, files, limits)) as tree:
                yield _MountedLayer(self, partial(branch_of_disk, uid=tree.uid, tree=tree.folder))
            self._cleanup.start(asyncio.to_thread(self._trees.prune))
        elif can_overlay:
            async with self._held(files, limits) as held:
                yield _MountedLayer(self, partial(branch, uid=held.uid, holder_pid=held.pid))
        else:
            archive = await asyncio.to_thread(StoredArchive, files)
            yield PackedLayer(archive, self._run_alone)

    async def _unpack(self, files: Iterable[bytes], limits: Limits, tree: KeptTree) -> int:
        """Unpack a tar stream into a folder on disk. Return the bytes there. Raises SandboxError."""
        program = Program({"tree": files}, ["true"], _for_unpacking(limits, on_disk=True))
        stage = Stage(folder=str(tree.folder), uid=tree.uid, disk=tree.folder)
        result = await self.run_program(program, stage)
        size = await asyncio.to_thread(folder_bytes, tree.folder)
        if result.out_of_memory or size > limits.workspace_mb << 20:
            raise does_not_fit(limits.workspace_mb)
        if result.exit_code:
            raise SandboxError(f"the files could not be unpacked: {result.stderr.strip()}")
        return size

    @asynccontextmanager
    async def session(self, files: Iterable[bytes], limits: Limits, key: str = "") -> AsyncIterator[Session]:
        """Keep the files in a mount namespace that every command enters.

        An overlay tells what has changed. Without one, the session hashes its files.
        """
        folder, has_overlay = self.mount_point, await self._can_overlay()
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            kept = None
            if has_overlay and key:
                kept = await stack.enter_async_context(self._trees.kept(key))
            held = await stack.enter_async_context(self._held(files, limits, kept))
            stage = visit(folder, held.uid, held.pid, has_overlay, held.disk, is_shared=kept is not None)
            survey: Survey

            async def run(program: Program) -> Result:
                return await self.run_program(program, stage)

            if has_overlay:
                await asyncio.to_thread(grow, folder, limits, held.pid)
                opening = asyncio.ensure_future(asyncio.to_thread(open_branch, folder, held.pid))
                stack.push_async_callback(_close, opening)
                survey = OverlaySurvey(await asyncio.shield(opening))
            else:
                survey = listed = ListedSurvey(run, limits)
                await listed.begin()
            session = WorkspaceSession(run, survey, limits, held.raise_if_gone)
            stack.callback(session.close)
            yield session

    async def _can_overlay(self) -> bool:
        """Return whether trees can be mounted. Programs then share a user, so a cgroup has to count them."""
        if self._has_overlay is None:
            counted = as_root() and "pids" in self._cgroups.parents
            self._has_overlay = counted and await asyncio.to_thread(
                overlay_works, self.mount_point, self._trees.root
            )
        return self._has_overlay

    @asynccontextmanager
    async def _held(
        self, files: Iterable[bytes], limits: Limits, kept: KeptTree | None = None
    ) -> AsyncIterator["_HeldTree"]:
        """Hold a tree in the mount namespace of a jail until the context ends. It is unpacked or `kept`."""
        uid = kept.uid if kept else new_uid()
        own = replace(_for_unpacking(limits, limits.on_disk), seconds=_WITHOUT_END)
        program = Program({} if kept else {"tree": files}, ["sleep", "infinity"], own)
        async with AsyncExitStack() as stack:
            disk = kept.folder if kept else None
            if limits.on_disk and not kept:
                disk = await stack.enter_async_context(self._places.place())
            stage = holder(self.mount_point, limits, uid, disk, is_shared=kept is not None)
            process = await stack.enter_async_context(self._started(program, stage))
            holding = asyncio.ensure_future(process.run(program, is_trusted=True))
            unpacked = asyncio.ensure_future(program.output.started.wait())
            holding.add_done_callback(retrieve)
            try:
                await asyncio.wait({holding, unpacked}, return_when=asyncio.FIRST_COMPLETED)
                if holding.done():
                    await holding
                    raise SandboxError("the program that holds the unpacked files ended early; try again")
                yield _HeldTree(uid, process.pid, holding, disk)
            finally:
                unpacked.cancel()
                holding.cancel()
                await asyncio.wait({holding})

    @property
    def mount_point(self) -> Path:
        """The folder on which trees are mounted, in mount namespaces alone."""
        return self._jail.interpreter.venv.parent / "layer"

    @asynccontextmanager
    async def _started(self, program: Program, stage: Stage) -> AsyncIterator[JailProcess]:
        """Start a program, and remove everything of it at the end."""
        starting, end = asyncio.ensure_future(self._start(program, stage)), asyncio.Event()
        # It waits from the start on, so that `aclose` finds it even if this task is cancelled twice.
        removal = self._cleanup.start(_remove_after(end, starting))
        self._ends.add(end)
        removal.add_done_callback(lambda _: self._ends.discard(end))
        try:
            # A start must not be interrupted: bubblewrap would leave its child behind.
            yield await asyncio.shield(starting)
        finally:
            end.set()
            await asyncio.shield(removal)

    async def _start(self, program: Program, stage: Stage) -> JailProcess:
        cgroup = await asyncio.to_thread(self._cgroups.create, program.limits, self._ownership)
        try:
            return await JailProcess.start(self._jail, cgroup, program, stage)
        except BaseException:
            await asyncio.to_thread(cgroup.remove)
            raise


@dataclass(frozen=True)
class _HeldTree:
    """An unpacked tree: the user that owns it, and the process whose mount namespace holds it.

    `disk` is its folder if it is too large for memory.
    """

    uid: int
    pid: int
    holding: "asyncio.Future[None]"
    disk: Path | None

    def raise_if_gone(self) -> None:
        """Raise SandboxError when the process has ended, and the files with it."""
        if self.holding.done():
            raise SandboxError(
                "the session has ended, because the process that held its files was killed; start a new one"
            )


@dataclass(frozen=True)
class _MountedLayer:
    """A tree that each run mounts, by a stage of its own. Implements `Layer`."""

    sandbox: Bubblewrap
    stage: Callable[[Path, Limits], Stage]

    async def run(
        self, delta: Delta, command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        program = Program(delta_streams(delta), command, limits, on_output)
        return await self.sandbox.run_program(program, self.stage(self.sandbox.mount_point, limits))


def _for_unpacking(limits: Limits, on_disk: bool) -> Limits:
    """Return the limits of tar, which somebody waits for."""
    # A cgroup counts the buffers that wait to be written to disk.
    buffers = limits.workspace_mb if on_disk else 0
    return replace(limits, cpus=max(limits.cpus, _UNPACK_CPUS), memory_mb=limits.memory_mb + buffers)


async def _close(opening: "asyncio.Future[OverlayFolders]") -> None:
    await asyncio.wait({opening})
    if not opening.exception():
        opening.result().close()


async def _remove_after(end: asyncio.Event, starting: "asyncio.Future[JailProcess]") -> None:
    """Wait for the end, or for that of the event loop. Then kill the program and remove its groups.

    A start that is still under way comes first.
    """
    try:
        await end.wait()
    finally:
        await asyncio.wait({starting})
        if not starting.cancelled() and not starting.exception():
            process = starting.result()
            await process.close()
            await asyncio.to_thread(process.cgroup.remove)
