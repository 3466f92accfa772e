"""What many tests share: a scripted model, real sandboxes, and what is made of them."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from desk import KEY, Desk
from filelock import FileLock
from gitrepo import GitRepo
from programs import REQUIRED
from projects import Files, Project, Recognise
from recordings import RecordedSandbox, Recordings, open_environment_recorded, open_recorded
from runs import CALC, PLAN, Bench, block, script
from served import ForkedServer, Served

from graph.resources import ownership
from memory.records.journal import Journal
from nodes.check import recognise
from nodes.events import EVENT, Event
from nodes.llm.model_settings import ModelSettings
from nodes.llm.models import Models, open_models
from sandbox.backends import open_sandbox
from sandbox.base import Sandbox, SandboxError
from sandbox.environment.bubblewrap_builder import BubblewrapEnvironments
from tools.workspace import Workspace

gc.freeze()  # else each full collection walks all libraries


def pytest_collection_finish() -> None:
    """Spare full collections of garbage the modules of all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A scripted model without rules, serving on a free port."""
    with Desk() as served:
        yield served


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal[Event]]:
    """An empty database in which run `r` of thread `t` has begun."""
    opened = await Journal.open(f"sqlite:///{tmp_path / 'autocode.db'}", EVENT.validate_python, secrets=[KEY])
    await opened.runs.start("r", "t", {"task": "x"})
    yield opened
    await opened.aclose()


@pytest.fixture
async def models(settings: ModelSettings, journal: Journal[Event]) -> AsyncIterator[Models]:
    """The models of a test module's `settings`."""
    async with open_models(settings, journal.completions) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session, which all workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session")
def sandbox_home(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AUTOCODE_HOME of this worker. The sandbox's Python environment is that of all workers."""
    home = tmp_path_factory.mktemp("home")
    (shared := shared_folder / "sandbox").mkdir(exist_ok=True)
    (home / "sandbox").symlink_to(shared)
    return home


def opened(backend: Literal["docker", "bubblewrap"], home: Path) -> Iterator[Sandbox]:
    """A backend for the session; where it is missing, a failure if it is required, else a skip."""
    try:
        with FileLock(f"{(home / 'sandbox').resolve()}.lock"):  # one worker makes what all use
            found = asyncio.run(open_sandbox(backend, home, ownership=ownership()))
    except SandboxError as error:
        if REQUIRED:
            raise
        pytest.skip(str(error))
    yield found
    asyncio.run(found.aclose())


@pytest.fixture(scope="session")
def bubblewrap(sandbox_home: Path) -> Iterator[Sandbox]:
    """The daemonless backend; any event loop may use it."""
    yield from opened("bubblewrap", sandbox_home)


@pytest.fixture(scope="session")
def docker(sandbox_home: Path) -> Iterator[Sandbox]:
    """The Docker backend; a test that prepares containers opens its own."""
    yield from opened("docker", sandbox_home)


@pytest.fixture(
    params=[
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
        pytest.param("docker", marks=pytest.mark.docker),
    ]
)
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Each backend in turn."""
    found: Sandbox = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def recordings_folder(shared_folder: Path) -> Path:
    """The folder of all recordings of this session."""
    folder = shared_folder / "recordings"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def recordings(recordings_folder: Path) -> Recordings:
    """The results of sandboxed programs that earlier tests of this session ran."""
    return Recordings(recordings_folder)


@pytest.fixture
def recorded(bubblewrap: Sandbox, recordings: Recordings) -> Sandbox:
    """The daemonless backend, which replays programs that earlier tests ran."""
    return RecordedSandbox(bubblewrap, recordings)


@pytest.fixture
def project(tmp_path: Path, recorded: Sandbox) -> Callable[[Files], Project]:
    """Makes a repository with these files, on which changes are proved."""
    return lambda files: Project(tmp_path / "repo", recorded, files)


@pytest.fixture
def home(tmp_path: Path, bubblewrap: Sandbox, sandbox_home: Path) -> Path:
    """A fresh AUTOCODE_HOME that shares the sandbox's Python environment."""
    fresh = tmp_path / "home"
    fresh.mkdir(mode=0o700)
    (fresh / "sandbox").symlink_to(sandbox_home / "sandbox")
    return fresh


@pytest.fixture
def replays(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the runs in this process replay."""
    monkeypatch.setattr("graph.resources.open_sandbox", open_recorded(recordings))
    monkeypatch.setattr(BubblewrapEnvironments, "sandbox_with", open_environment_recorded(recordings))


@pytest.fixture
def bench(tmp_path: Path, desk: Desk, home: Path, replays: None) -> Bench:
    """A small project, a scripted model and an installation of its own, whose runs in this process replay."""
    repo = GitRepo(tmp_path / "repo")
    repo.commit(dict(CALC))
    return Bench(desk, home, repo)


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, bubblewrap: Sandbox, sandbox_home: Path, recordings_folder: Path
) -> Iterator[Served]:
    """One server for many tests, over models that do as they are asked; each test has threads of its own."""
    home = tmp_path_factory.mktemp("served")
    (home / "sandbox").symlink_to(sandbox_home / "sandbox")
    with Desk() as models:
        plan = PLAN.replace("Add mul to calc.py", "Write half").replace("calc.py", "half.py")
        models.on("You are the planner.*half", plan)
        models.on("You are a coder.*Step: Write half", block("half.py", "def half(n):\n    return n / 2"))
        tests = "from half import half\n\n\ndef test_half():\n    assert half(4) == 2"
        models.on("You are the tester.*half", block("tests/test_half.py", tests))
        models.on("You are the planner.*What does add return", '{"answer": "The sum."}')
        # An earlier task of the thread is a heading.
        models.on("You are a coder.*(?<!### )Add mul slowly", "", delay=60)
        models.on("You are the critic.*grudge", '{"verdict": "FAIL", "reasons": ["I bear a grudge"]}')
        script(models)
        # Without memory, because a test's task would teach other tests.
        with ForkedServer(home, models, replay=recordings_folder, ENABLE_MEMORY="false") as server:
            yield server


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """A small project."""
    made = GitRepo(tmp_path / "repo")
    made.commit(dict(CALC))
    return made


@pytest.fixture
def suite_of(tmp_path: Path) -> Recognise:
    """Recognises the suite of a repository with these files."""
    workspace = Workspace.init(tmp_path)
    empty = workspace.begin().snapshot
    return lambda files: recognise(
        workspace, workspace.write(empty, dict(files), "files") if files else empty
    )
