"""Real builds with bubblewrap. Packages come from the machine's registries."""

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest
from environment_tools import EnvironmentBench, commands

from sandbox.base import Sandbox, SandboxError
from sandbox.environment.backend import BuildLimits, EnvironmentFailure
from sandbox.environment.bubblewrap_builder import BubblewrapEnvironments
from sandbox.environment.environments import stored
from sandbox.environment.registries import Registries

pytestmark = pytest.mark.bubblewrap

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


@pytest.fixture
async def bench(bubblewrap: Sandbox, sandbox_home: Path, tmp_path: Path) -> EnvironmentBench:
    home = tmp_path / "home"
    home.mkdir()
    (home / "sandbox").symlink_to(sandbox_home / "sandbox")
    user_home = Path.home()
    backend = await BubblewrapEnvironments.open(home, os.environ, user_home)
    return EnvironmentBench(home, backend, Registries.read(os.environ, user_home))


async def test_a_project_is_built_once_and_its_tests_run_from_the_workspace(bench: EnvironmentBench) -> None:
    environment = await bench.build(TINY)
    assert "$ uv pip install -e ." in bench.output
    result = await bench.run(environment, TINY, "python -m pytest -q && command -v tiny")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert result.stdout.endswith("/opt/environment/venv/bin/tiny\n")
    bench.heard.clear()
    began = time.monotonic()
    again = await bench.build({**TINY, "src/tiny/__init__.py": "broken"})
    assert (again, bench.output) == (environment, "")
    assert time.monotonic() - began < 1
    (record,) = stored(bench.home)
    assert (record.key, record.backend, record.sources) == (
        environment.key,
        "bubblewrap",
        ("pyproject.toml",),
    )
    assert record.size_mb > 0 and record.seconds > 0 and time.time() - record.used < 60


async def test_a_change_of_the_project_shows_without_a_build(bench: EnvironmentBench) -> None:
    environment = await bench.build(TINY)
    changed = {**TINY, "src/tiny/__init__.py": "def two():\n    return 3\n"}
    assert "assert 3 == 2" in (await bench.run(environment, changed, "python -m pytest -q")).stdout


async def test_an_environment_cannot_be_written_by_runs(bench: EnvironmentBench) -> None:
    environment = await bench.build(TINY)
    result = await bench.run(environment, TINY, "cd /opt/environment; touch x venv/bin/x")
    assert result.stderr.count("Read-only file system") == 2


async def test_parallel_builds_build_once(bench: EnvironmentBench) -> None:
    first, second = await asyncio.gather(bench.build(TINY), bench.build(TINY))
    assert first == second
    assert bench.output.count("$ uv pip install -e .") == 1
    assert "Another run is building this environment" in bench.output
    assert len(list((bench.home / "environments").glob("*/record.json"))) == 1


async def test_a_failing_build_names_the_missing_package_and_quotes_output(
    bench: EnvironmentBench,
) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        await bench.build({"requirements.txt": "no-such-package-for-autocode-tests==1\n"})
    message = str(caught.value)
    assert "no registry has the package no-such-package-for-autocode-tests" in message
    assert "The command that failed: uv pip install -r requirements.txt" in message
    assert "write in .autocode.toml: [environment] setup" in message
    assert "Last lines of the output:" in message
    assert list((bench.home / "environments").glob("making-*")) == []


EXTENSION = {
    "setup.py": "from setuptools import Extension, setup\n"
    "extension = Extension('fast._fast', ['fast/_fast.c'])\n"
    "setup(name='fast', version='1', packages=['fast'], ext_modules=[extension])\n",
    "fast/__init__.py": "from fast import _fast\n",
    "fast/_fast.c": "#include <Python.h>\n"
    'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "_fast", "", -1};\n'
    "PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&d); }\n",
}


async def test_compiled_extensions_are_there_in_later_runs(bench: EnvironmentBench) -> None:
    environment = await bench.build(EXTENSION)
    result = await bench.run(
        environment, EXTENSION, "cd / && python -c 'import fast; print(fast._fast.__file__)'"
    )
    assert result.stdout.startswith("/workspace/fast/_fast."), result.stderr
    broken = {**EXTENSION, "fast/_fast.c": "#include <nosuch/header.h>\n"}
    with pytest.raises(EnvironmentFailure, match=r"the header nosuch/header\.h is missing"):
        await bench.build(broken)


NODE = {
    "package.json": '{"name": "n", "dependencies": {"is-number": "7.0.0"}, '
    '"scripts": {"test": "node --test"}}',
    "n.test.js": "const n = require('is-number'), { test } = require('node:test')\n"
    "test('is', () => { if (!n(1)) throw 1 })\nrequire('fs').mkdirSync('node_modules/.cache')\n",
}


async def test_node_packages_are_there_and_tools_can_write_caches(bench: EnvironmentBench) -> None:
    recipe = await bench.recipe(NODE)
    if recipe.fatal:
        pytest.skip(recipe.fatal[0].message)
    environment = await bench.make(recipe, NODE)
    result = await bench.run(environment, NODE, "node --test && readlink node_modules/is-number")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.endswith("/opt/environment/tree/node_modules/is-number\n")


async def test_a_build_sees_neither_home_nor_keys_nor_local_services(
    bench: EnvironmentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-test")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    steps = commands(
        "env; id; ls -a / /root /home $HOME 2>&1 || true; cat /etc/shadow 2>&1 || true",
        f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 3)' 2>&1 | tail -1",
        "python3 -c 'import urllib.request as r; r.urlopen(\"http://169.254.169.254/\")' 2>&1 | tail -1",
    )
    await bench.make(steps, {"a": ""})
    assert "sk-of-this-test" not in bench.output and "AUTOCODE" not in bench.output
    assert "ConnectionRefusedError" in bench.output
    assert "HTTP Error 403: Forbidden" in bench.output
    assert "cat: /etc/shadow" in bench.output
    assert "uid=0" not in bench.output
    listener.close()


async def test_a_build_cannot_write_into_another_environment(bench: EnvironmentBench) -> None:
    environment = await bench.make(commands("echo a > /opt/environment/a"), {"a": ""})
    places = bench.home / "environments"
    steps = commands(f"echo bad > {places}/{environment.key}/root/a || true", "ls /opt/environment")
    other = await bench.make(steps, {"a": ""})
    assert environment.root and (environment.root / "a").read_text() == "a\n"
    assert other.root and not (other.root / "a").exists()


async def test_links_and_special_bits_do_not_leave_the_environment(
    bench: EnvironmentBench, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    steps = commands(
        f"ln -s {victim} /opt/environment/link; ln -s {tmp_path} /opt/environment/dir; ln -s {victim} here",
        "cp /bin/true /opt/environment/tool; chmod 6777 /opt/environment/tool",
        "mkdir /opt/environment/closed; touch /opt/environment/closed/x; chmod 0 /opt/environment/closed",
    )
    environment = await bench.make(steps, {"a": ""})
    assert victim.stat().st_mode & 0o777 == 0o600
    assert environment.root
    assert (environment.root / "tool").stat().st_mode & 0o7777 == 0o755
    assert (environment.root / "tool").stat().st_uid == os.geteuid()
    assert "No such file" in (await bench.run(environment, {}, "cat here")).stderr


async def test_generated_files_never_replace_the_repositorys_own(bench: EnvironmentBench) -> None:
    files = {"a.py": "mine", "pkg/b.py": "mine"}
    steps = commands(
        "echo evil > a.py; rm -r pkg; ln -s /tmp pkg; echo new > c.py; mkdir .git; echo x > .git/config"
    )
    environment = await bench.make(steps, files)
    result = await bench.run(environment, files, "cat a.py pkg/b.py c.py; ls -A")
    assert result.stdout.split() == ["mineminenew", "a.py", "c.py", "pkg"]


FILL = "dd if=/dev/zero bs=1M count=400"


@pytest.mark.parametrize(
    ("command", "limits", "message"),
    [
        ("sleep 60", BuildLimits(seconds=2), "it took longer than 2 s"),
        (
            "dd if=/dev/zero of=/opt/environment/x bs=1M count=400; sleep 30",
            BuildLimits(disk_mb=50),
            "more than 50 MB",
        ),
        ("dd if=/dev/zero of=x bs=1M count=400; sleep 30", BuildLimits(disk_mb=50), "more than 50 MB"),
        ("(sleep 300 &) ; exit 3", BuildLimits(seconds=60), "a command ended with exit code 3"),
        ("nosuchtool --version", BuildLimits(seconds=60), "the program nosuchtool is missing"),
    ],
)
async def test_limits_hold(bench: EnvironmentBench, command: str, limits: BuildLimits, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(SandboxError) as caught:
        await bench.make(commands(command), {"a": ""}, limits)
    assert message in str(caught.value)
    assert time.monotonic() - began < 40
    assert list((bench.home / "environments").glob("making-*")) == []


async def test_a_cancelled_build_leaves_nothing_and_the_next_one_starts(bench: EnvironmentBench) -> None:
    steps = commands("echo started; [ -e again ] || sleep 60")
    task = asyncio.ensure_future(bench.make(steps, {"a": ""}))
    while "started" not in bench.output:  # noqa: ASYNC110  # the output is all there is to wait for
        await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path.suffix for path in (bench.home / "environments").iterdir()] == [".lock"]
    await bench.make(steps, {"a": "", "again": ""})


async def test_old_environments_are_pruned(bench: EnvironmentBench) -> None:
    environment = await bench.make(commands("echo a > /opt/environment/a"), {"a": ""})
    scratch = bench.home / "environments" / f"making-{environment.key}-x"
    scratch.mkdir()
    assert await bench.store().prune(0) == ()
    old = time.time() - 3 * 86_400
    os.utime(bench.home / "environments" / environment.key / "record.json", (old, old))
    assert await bench.store().prune(4) == ()
    assert [record.key for record in await bench.store().prune(2)] == [environment.key]
    assert stored(bench.home) == [] and not scratch.exists()


async def test_fatal_faults_prevent_the_build(bench: EnvironmentBench) -> None:
    with pytest.raises(EnvironmentFailure, match=r"pyproject\.toml, line 1"):
        await bench.build({"pyproject.toml": "[project"})
    assert bench.output == ""
