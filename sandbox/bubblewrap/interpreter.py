"""The Python that bubblewrap's programs run: our base interpreter, and an environment with pytest alone."""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sandbox.base import SandboxError

VENV = "/opt/venv"
"""Where programs see the environment, wherever it lies outside."""

_SCRIPT = f"""#!{VENV}/bin/python
import sys
from pytest import console_main
sys.exit(console_main())
"""


@dataclass(frozen=True)
class Interpreter:
    """An environment on disk, and the directories of the base interpreter that it needs."""

    venv: Path
    version: str

    @classmethod
    def find(cls, home: Path) -> "Interpreter | None":
        """The environment under `home`, if it has been made for this interpreter and these pins."""
        found = cls(*_identified(home))
        return found if found.venv.is_dir() else None

    @classmethod
    def make(cls, home: Path, notify: Callable[[str], None]) -> "Interpreter":
        """Find the environment, or make it, which takes the network. Raises SandboxError with the cure."""
        if found := cls.find(home):
            return found
        place, version = _identified(home)
        notify(f"Making the sandbox's Python environment ({version}), on first use only")
        _create(place)
        return cls(place, version)

    def directories(self) -> list[str]:
        """What must be readable inside at its own path, for the base interpreter to start."""
        prefixes = {sys.base_prefix, os.path.realpath(sys.base_prefix), _prefix_of(self.venv)}
        outside = sorted(prefix for prefix in prefixes if not Path(prefix).is_relative_to("/usr"))
        return [
            path
            for prefix in outside
            for name in ("bin", "lib", "lib64")
            if Path(path := f"{prefix}/{name}").is_dir()
        ]


def pinned() -> list[str]:
    """Pytest and what it needs, at the versions that the Dockerfile names: one list for every backend."""
    text = (files("sandbox") / "Dockerfile").read_text()
    return re.findall(r"\b[\w-]+==[\w.]+", text)


def _identified(home: Path) -> tuple[Path, str]:
    pins = pinned()
    key = hashlib.sha256("\n".join([*pins, sys.version, sys.base_prefix]).encode()).hexdigest()[:12]
    pytest = next(pin for pin in pins if pin.startswith("pytest=="))
    version = f"CPython {platform.python_version()}, {pytest.replace('==', ' ')}"
    return home / "sandbox" / f"python-{key}", version


def _prefix_of(environment: Path) -> str:
    """The prefix of the interpreter that an environment's link leads to."""
    return str(Path(os.path.realpath(environment / "bin" / "python")).parent.parent)


def _create(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="making-") as scratch:
        made = Path(scratch) / "venv"
        venv.EnvBuilder(symlinks=True, with_pip=False).create(made)
        _resolve(made)
        _install(made / "bin" / "python", pinned())
        for name in ("pytest", "py.test"):
            (made / "bin" / name).write_text(_SCRIPT)
            (made / "bin" / name).chmod(0o755)
        _open_to_all(made)
        try:
            made.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise


def _resolve(environment: Path) -> None:
    """Lead straight to the interpreter: links on the way to it may lie where programs cannot see them."""
    python = environment / "bin" / "python"
    target = os.path.realpath(python)
    python.unlink()
    python.symlink_to(target)
    config = environment / "pyvenv.cfg"
    config.write_text(re.sub(r"(?m)^home = .*$", f"home = {os.path.dirname(target)}", config.read_text()))


def _install(python: Path, pins: list[str]) -> None:
    """Run in a folder of ours: uv and Python heed what lies in the current one, which may be hostile."""
    if not (tools := list(_tools(python))):
        raise SandboxError(
            "the sandbox's Python environment needs uv or pip, and neither is there; "
            f"install one: {sys.executable} -m ensurepip"
        )
    for tool in tools:
        done = subprocess.run(  # noqa: S603  # a list of ours, no shell
            [*tool, *pins], cwd=python.parent, capture_output=True, text=True, check=False
        )
        if not done.returncode:
            return
    raise SandboxError(
        "pytest could not be installed into the sandbox's Python environment; connect to the network "
        f"(or set PIP_INDEX_URL) and try again:\n{done.stderr.strip()[-2000:]}"
    )


def _tools(python: Path) -> Iterator[list[str]]:
    """What can install packages, the fastest first."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if uv := shutil.which("uv", path=places):
        options = ["--quiet", "--compile-bytecode", "--link-mode", "copy"]
        yield [uv, "pip", "install", *options, "--python", str(python)]
    if importlib.util.find_spec("pip"):
        yield [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]


def _open_to_all(directory: Path) -> None:
    """Programs run as another user, who must be able to read whatever our umask is."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
