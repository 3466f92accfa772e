"""Real builds on both backends. Packages come from the machine's registries."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from venv import EnvBuilder

import pytest
from environment_tools import LIMITS, EnvironmentBench, commands, images_of, tar

from graph.resources import ownership
from sandbox.base import Delta, Result, Sandbox, SandboxError
from sandbox.environment.backend import BuildLimits, Built, Environment, EnvironmentFailure
from sandbox.environment.diagnosis import explain
from sandbox.environment.environment_sandbox import EnvironmentSandbox
from sandbox.environment.recipe import Recipe
from sandbox.environment.records import stored
from sandbox.environment.virtual_environment import venvs_at_hand

BACKENDS = [
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    pytest.param("docker", marks=pytest.mark.docker),
]
TEST_TINY = """
import sys, tiny, importlib.metadata

def test_tiny():
    assert tiny.two() == 2
    assert tiny.__file__ == "/workspace/src/tiny/__init__.py"
    assert importlib.metadata.version("tiny") == "1.5"
    assert sys.prefix == "/opt/environment/venv"
"""
TINY = {
    "pyproject.toml": '[project]\nname = "tiny"\nversion = "1.5"\ndescription = "Tiny"\n'
    'dependencies = ["iniconfig"]\n'
    '[project.scripts]\ntiny = "tiny:two"\n'
    '[build-system]\nrequires = ["flit-core"]\nbuild-backend = "flit_core.buildapi"\n',
    "src/tiny/__init__.py": '"""Tiny."""\nimport iniconfig\n\n\ndef two():\n    return 2\n',
    "tests/test_tiny.py": TEST_TINY,
}


@pytest.fixture(scope="module", params=BACKENDS)
def bench(
    request: pytest.FixtureRequest, sandbox_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EnvironmentBench]:
    """One AUTOCODE_HOME for each backend. Tests that need a fresh environment build their own commands."""
    request.getfixturevalue(request.param)  # skips where the backend is missing
    home = tmp_path_factory.mktemp("home")
    (home / "sandbox").symlink_to(sandbox_home / "sandbox")
    yield EnvironmentBench(request.param, home)
    if request.param == "docker":
        for image in images_of(home):
            subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)


@pytest.fixture
def making(bench: EnvironmentBench) -> EnvironmentBench:
    """The bench, without the output of earlier builds."""
    bench.heard.clear()
    return bench


def leftovers(bench: EnvironmentBench) -> list[str]:
    """Return the folders and the containers that this process' builds left behind."""
    containers: list[str] = []
    if bench.backend == "docker":
        mine = f"label=autocode.owner={ownership().label}"
        listed = ["docker", "ps", "-aq", "--filter", mine, "--filter", "label=autocode.environment"]
        containers = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    return [*containers, *(path.name for path in (bench.home / "environments").glob("making-*"))]


@pytest.fixture(scope="module")
def tiny(bench: EnvironmentBench) -> Environment:
    """A project that was built once."""
    return asyncio.run(bench.build(TINY))


async def test_a_project_is_built_once_and_its_tests_run_from_the_workspace(
    tiny: Environment, making: EnvironmentBench
) -> None:
    began = time.monotonic()
    assert await making.build({**TINY, "src/tiny/__init__.py": "broken"}) == tiny
    assert making.output == ""
    assert time.monotonic() - began < 3
    command = "python -m pytest -q && command -v tiny; touch /opt/environment/x /opt/environment/venv/bin/x"
    result = await making.run(tiny, TINY, command)
    assert "1 passed" in result.stdout, result.stdout + result.stderr
    assert result.stdout.endswith("/opt/environment/venv/bin/tiny\n")
    assert result.stderr.count("Read-only file system") == 2
    record = next(record for record in stored(making.home) if record.key == tiny.key)
    assert (record.backend, record.sources) == (making.backend, ("pyproject.toml",))
    assert "uv pip install -e ." in record.commands
    assert record.size_mb > 0 and record.seconds > 0 and time.time() - record.used < 60


async def test_layers_hold_the_environment_and_changes_show_without_a_build(
    tiny: Environment, making: EnvironmentBench
) -> None:
    environments = await making.environments()
    try:
        sandbox = await environments.open(tiny)
        assert await environments.open(tiny) is sandbox
        assert (sandbox.name, await sandbox.identity()) == (making.backend, await sandbox.identity())
        assert tiny.key in await sandbox.identity()
        sandbox.prepare(1)
        async with sandbox.layer(tar(TINY), LIMITS) as layer:
            command = ["python", "-m", "pytest", "-q"]
            assert (await layer.run(Delta(), command, LIMITS)).exit_code == 0
            changed = tar({"src/tiny/__init__.py": "def two():\n    return 3\n"})
            assert "assert 3 == 2" in (await layer.run(Delta((), changed), command, LIMITS)).stdout
    finally:
        await environments.aclose()


async def test_parallel_builds_build_once_and_old_environments_are_pruned(making: EnvironmentBench) -> None:
    steps = commands("echo a > /opt/environment/a")
    first, second = await asyncio.gather(making.make(steps, {"a": ""}), making.make(steps, {"a": ""}))
    assert first == second
    assert making.output.count("$ echo a") == 1
    assert "Another run is building this environment" in making.output
    environments = await making.environments()
    scratch = making.home / "environments" / f"making-{first.key}-x"
    scratch.mkdir()
    assert await environments.find(steps) == first
    assert await environments.prune(0) == ()
    old = time.time() - 3 * 86_400
    os.utime(making.home / "environments" / first.key / "record.json", (old, old))
    assert await environments.prune(4) == ()
    assert [record.key for record in await environments.prune(2)] == [first.key]
    assert await environments.find(steps) is None and not scratch.exists()
    await environments.aclose()


async def test_a_failing_build_names_the_missing_package_and_quotes_output(making: EnvironmentBench) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        await making.build({"requirements.txt": "no-such-package-for-autocode-tests==1\n"})
    message = str(caught.value)
    assert "no registry has the package no-such-package-for-autocode-tests" in message
    assert "The command that failed: uv pip install -r requirements.txt" in message
    assert "write in .autocode.toml: [environment] setup" in message
    assert "Last lines of the output:" in message
    assert leftovers(making) == []


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (
            "$ uv python install 3.15\nerror: Request failed after 3 retries\n  cause: dns error",
            "Python 3.15 is missing, and uv could not fetch it",
        ),
        (
            "$ uv pip install .\na.c:1:10: fatal error: nosuch/header.h: No such file or directory\nerror: x",
            "the header nosuch/header.h is missing",
        ),
        ("$ nosuchtool\nsh: 1: nosuchtool: not found", "the program nosuchtool is missing"),
    ],
)
def test_a_failure_names_the_missing_thing(output: str, cause: str) -> None:
    message = explain(Recipe(), Built(Result(2, "", "", 1.0)), output, 600, 4096)
    assert f"could not be built: {cause}" in message


async def test_a_recipes_files_and_variables_need_no_build(making: EnvironmentBench) -> None:
    files = {
        ".autocode.toml": '[environment]\nfiles = ["conf/local.yaml", "_v.py"]\nenv = { SHOP = "a b=c" }\n'
        "memory_mb = 4000\ncpus = 1\n",
        ".gitmodules": '[submodule "d"]\n\tpath = data/sets\n',
        "_v.py": "mine",
    }
    recipe = await making.recipe(files)
    assert (recipe.needs_approval, recipe.needs_build, recipe.fatal) == (False, True, ())
    assert recipe.files == ("conf/local.yaml", "_v.py", "data/sets")
    assert [fault.path for fault in recipe.faults] == ["data/sets"]
    assert recipe.with_files_content("h").faults == recipe.faults
    filled = recipe.with_files_content("hash", recipe.files)
    assert filled.faults == () and filled.digest != recipe.digest
    more = {"conf/local.yaml": "yes", "data/sets/a": "1", "_v.py": "theirs"}
    environment = await making.make(filled, files, more=more)
    assert making.output == ""
    result = await making.run(environment, files, 'cat conf/local.yaml _v.py data/sets/*; echo " $SHOP"')
    assert result.stdout == "yesmine1 a b=c\n"
    environments = await making.environments()
    sandbox = await environments.open(environment)
    assert isinstance(sandbox, EnvironmentSandbox)
    limits = sandbox.limits(LIMITS)  # the bench's own bounds are 1024 MB and 1.5 processors
    assert (limits.memory_mb, limits.cpus) == (1024, 1)
    await environments.aclose()


async def test_generated_files_never_replace_the_repositorys_own(making: EnvironmentBench) -> None:
    files = {"a.py": "mine", "pkg/b.py": "mine"}
    steps = commands(
        "echo evil > a.py; rm -r pkg; ln -s /tmp pkg; echo new > c.py; mkdir .git; echo x > .git/config"
    )
    environment = await making.make(steps, files)
    result = await making.run(environment, files, "cat a.py pkg/b.py c.py; ls -A")
    assert result.stdout.split() == ["mineminenew", "a.py", "c.py", "pkg"]


# Each line of its output is one attempt. The daemon outlives the command, and must not outlive the build.
HOSTILE = """
import glob, os, socket, subprocess, sys, time, urllib.request

def attempt(name, function):
    try:
        print(name, function(), flush=True)
    except BaseException as error:
        print(name, "failed", type(error).__name__, str(error)[:60], flush=True)

other, port, gateway = sys.argv[1:]
attempt("environ", lambda: sorted(os.environ))
attempt("user", os.getuid)
attempt("shadow", lambda: open("/etc/shadow").read())
hidden = [p for home in ("/r*t", "/home/*") for p in glob.glob(home + "/.*")]
attempt("home", lambda: [path for path in hidden if os.path.isfile(path)])
attempt("engine", lambda: os.path.exists("/var/run/docker.sock") or os.path.exists("/run/docker.sock"))
attempt("others", lambda: [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 20_000])
attempt("write", lambda: open(other, "w"))
attempt("usr", lambda: open("/usr/evil", "w"))
attempt("service", lambda: socket.create_connection(("127.0.0.1", int(port)), 3))
attempt("gateway", lambda: socket.create_connection((gateway, int(port)), 3))
attempt("metadata", lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=5))
began, pids = time.monotonic(), []
for _ in range(4):
    if not (pid := os.fork()):
        while time.monotonic() - began < 1:
            pass
        os._exit(0)
for _ in range(4):
    os.wait()
used = sum(os.times()[2:4]) / (time.monotonic() - began)
print("processors", round(used, 2), flush=True)
count = 0
try:
    while not (pid := os.fork()) == 0 and count < 500:
        count += 1
    if not pid:
        time.sleep(1)
        os._exit(0)
except OSError:
    pass
for _ in range(count):
    os.wait()
print("forks", count < 100, flush=True)
daemon = "while :; do date +%N > /opt/environment/late; sleep 0.2; done"
subprocess.run(["sh", "-c", 'setsid sh -c "$0" >&- 2>&- &', daemon])
"""


async def test_a_hostile_build_is_contained(
    making: EnvironmentBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-test")
    victim = await making.make(commands("echo a > /opt/environment/a"), {"a": ""})
    place = making.home / "environments" / victim.key
    listener = socket.create_server(("0.0.0.0", 0))
    gateway = _own_address()
    setup = f"python3 setup.py {place}/record.json {listener.getsockname()[1]} {gateway}"
    limits = BuildLimits(seconds=60, cpus=0.5, processes=80)
    bits = "cp /bin/true /opt/environment/tool && chmod 6777 /opt/environment/tool"
    link = f"ln -s {tmp_path} /opt/environment/out; ls /opt/environment"
    environment = await making.make(commands(setup, bits, link), {"setup.py": HOSTILE}, limits)
    found = dict(line.split(" ", 1) for line in making.output.splitlines() if " " in line and line[0] != "$")
    assert "sk-of-this-test" not in making.output
    assert "OPENAI" not in found["environ"] and "AUTOCODE" not in found["environ"]
    assert found["user"] != "0"
    for name in ("shadow", "write", "usr", "service", "gateway"):
        assert found[name].startswith("failed"), (name, found[name])
    assert "403" in found["metadata"]
    assert (found["home"], found["engine"], found["others"]) == ("[]", "False", "[]")
    assert float(found["processors"]) < 0.8
    assert found["forks"] == "True"
    assert (place / "record.json").read_text().startswith("{")
    command = "cat /opt/environment/a; cat /opt/environment/late; sleep 0.5; cat /opt/environment/late"
    seen = await making.run(
        environment, {}, f"{command}; stat -c %a /opt/environment/tool; ls /opt/environment/out/"
    )
    assert "755" in seen.stdout.split() and "/opt/environment/a" in seen.stderr
    assert len({line for line in seen.stdout.splitlines() if len(line) == 9}) == 1  # the daemon has ended
    assert leftovers(making) == []
    listener.close()


def _own_address() -> str:
    """Return an address of this machine that is not the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("command", "limits", "message"),
    [
        ("sleep 60", BuildLimits(seconds=2), "it took longer than 2 s"),
        (
            "dd if=/dev/zero of=/opt/environment/x bs=1M count=400; sleep 30",
            BuildLimits(disk_mb=50),
            r"more than 50 MB|too much to the disk",
        ),
        ("(sleep 300 &) ; exit 3", BuildLimits(seconds=60), "a command ended with exit code 3"),
    ],
)
async def test_limits_hold(making: EnvironmentBench, command: str, limits: BuildLimits, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(SandboxError, match=message):
        await making.make(commands(command), {"a": ""}, limits)
    assert time.monotonic() - began < 40
    assert leftovers(making) == []


async def test_a_cancelled_build_leaves_nothing_and_the_next_one_starts(making: EnvironmentBench) -> None:
    steps = commands("echo started; [ -e again ] || sleep 60")
    task = asyncio.ensure_future(making.make(steps, {"a": ""}))
    while "started\n" not in making.output.replace("echo started", ""):  # noqa: ASYNC110  # only the output tells
        await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(making) == []
    await making.make(steps, {"a": "", "again": ""})


async def test_fatal_faults_prevent_the_build(making: EnvironmentBench) -> None:
    with pytest.raises(EnvironmentFailure, match=r"pyproject\.toml, line 1"):
        await making.build({"pyproject.toml": "[project"})
    assert making.output == ""


@pytest.fixture
def bubblewrap_bench(bubblewrap: Sandbox, sandbox_home: Path) -> EnvironmentBench:
    """A bench on bubblewrap, for what Docker's plain image lacks the tools for."""
    return EnvironmentBench("bubblewrap", sandbox_home)


EXTENSION = {
    "setup.py": "from setuptools import Extension, setup\n"
    "extension = Extension('fast._fast', ['fast/_fast.c'])\n"
    "setup(name='fast', version='1', packages=['fast'], ext_modules=[extension])\n",
    "fast/__init__.py": "from fast import _fast\n",
    "fast/_fast.c": "#include <Python.h>\n"
    'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "_fast", "", -1};\n'
    "PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&d); }\n",
}


@pytest.mark.bubblewrap
async def test_compiled_extensions_are_there_in_later_runs(bubblewrap_bench: EnvironmentBench) -> None:
    environment = await bubblewrap_bench.build(EXTENSION)
    command = "cd / && python -c 'import fast; print(fast._fast.__file__)'"
    result = await bubblewrap_bench.run(environment, EXTENSION, command)
    assert result.stdout.startswith("/workspace/fast/_fast."), result.stderr


NODE = {
    "package.json": '{"name": "n", "dependencies": {"is-number": "7.0.0"}, '
    '"scripts": {"test": "node --test"}}',
    "n.test.js": "const n = require('is-number'), { test } = require('node:test')\n"
    "test('is', () => { if (!n(1)) throw 1 })\nrequire('fs').mkdirSync('node_modules/.cache')\n",
}


@pytest.mark.bubblewrap
async def test_node_packages_are_there_and_tools_can_write_caches(bubblewrap_bench: EnvironmentBench) -> None:
    recipe = await bubblewrap_bench.recipe(NODE)
    assert not recipe.fatal, recipe.fatal[0].message
    environment = await bubblewrap_bench.make(recipe, NODE)
    result = await bubblewrap_bench.run(environment, NODE, "node --test && readlink node_modules/is-number")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.endswith("/opt/environment/tree/node_modules/is-number\n")


VENV_TEST = """
import importlib.metadata, shop, sys

def test_shop():
    assert shop.name == "change"
    assert importlib.metadata.version("shop") == "7"
"""


@pytest.mark.bubblewrap
async def test_a_virtual_environment_at_hand_is_used_as_it_is(
    bubblewrap_bench: EnvironmentBench, tmp_path: Path
) -> None:
    repo = tmp_path / "repo"
    (repo / ".git").mkdir(parents=True)
    EnvBuilder(symlinks=True).create(repo / ".venv")
    assert venvs_at_hand(repo, {"VIRTUAL_ENV": sys.prefix}) == (repo / ".venv",)
    assert venvs_at_hand(tmp_path, {"VIRTUAL_ENV": str(repo / ".venv")}) == (repo / ".venv",)
    files = {".autocode.toml": '[environment]\nvenv = ".venv"\n', "src/shop.py": "name = 'change'\n"}
    files["test_shop.py"] = VENV_TEST
    stated = await bubblewrap_bench.recipe(files)
    recipe = stated.with_venv(repo / stated.venv)
    assert not recipe.needs_approval
    with pytest.raises(EnvironmentFailure, match="pytest cannot be imported in the virtual environment"):
        await bubblewrap_bench.make(recipe, files)
    (packages,) = (repo / ".venv/lib").glob("python3*/site-packages")
    (packages / "shop.pth").write_text(f"{repo}/src\n")
    (packages / "shop-7.dist-info").mkdir()
    (packages / "shop-7.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 7\n")
    (packages / "own.pth").write_text("/opt/venv/lib/python{}.{}/site-packages\n".format(*sys.version_info))
    environment = await bubblewrap_bench.make(recipe, files)
    result = await bubblewrap_bench.run(environment, files, f"python -m pytest -q; touch {repo}/.venv/x")
    assert "1 passed" in result.stdout, result.stdout
    assert "Read-only file system" in result.stderr
    (repo / ".venv/bin/python").unlink()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").touch(mode=0o755)
    (repo / ".venv/bin/python").symlink_to(tmp_path / "bin/python")
    environments = await bubblewrap_bench.environments()
    assert await environments.find(recipe) is None
    with pytest.raises(EnvironmentFailure, match="which is no Python installation"):
        await environments.build(recipe, tar(files), files)
    with pytest.raises(EnvironmentFailure, match="is no virtual environment"):
        await environments.build(Recipe().with_venv(Path("/etc")), tar(files), files)
    # A repository can bring an installation of its own, which leads elsewhere.
    (tmp_path / "lib/python3.1").mkdir(parents=True)
    (tmp_path / "lib/python3.1/os.py").touch()
    (tmp_path / "private").mkdir()
    (tmp_path / "private/secret").write_text("of the user")
    (tmp_path / "lib64").symlink_to(tmp_path / "private")
    (tmp_path / "bin/python").write_text(f"#!/bin/sh\ncat {tmp_path}/lib64/secret >&2; exit 1\n")
    os.mkfifo(packages / "pipe.pth")
    (packages / "gone.pth").symlink_to("nowhere")
    with pytest.raises(EnvironmentFailure, match="lib64/secret: No such file"):
        await environments.build(recipe, tar(files), files)
    (repo / "pyvenv.cfg").touch()
    (repo / "bin").symlink_to(repo / ".venv/bin")
    with pytest.raises(EnvironmentFailure, match="is no virtual environment"):  # all of the checkout
        await environments.build(Recipe().with_venv(repo), tar(files), files)
    await environments.aclose()
