"""The Python of bubblewrap's programs: our base interpreter, in an environment with nothing but pytest."""

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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sandbox.base import OnText, SandboxError

VENV = "/opt/venv"
"""The environment's path inside the sandbox."""

OPTIONAL = "ripgrep"
"""The package that programs can do without. Some machines have no wheel of it."""

# The machine's own pip would be found otherwise.
_INSTALL_SECONDS = 600
_PIP = """#!/bin/sh
echo "pip: nothing can be installed here, as there is no network" >&2
exit 1
"""
_SCRIPT = f"""#!{VENV}/bin/python
import sys
from pytest import console_main
sys.exit(console_main())
"""


@dataclass(frozen=True)
class Interpreter:
    """A virtual environment on disk, with the versions that it holds."""

    venv: Path
    version: str

    @classmethod
    def find(cls, home: Path) -> "Interpreter | None":
        """Return the environment under `home`, if there is one for this interpreter and these pins."""
        interpreter = cls(*_identify(home))
        return interpreter if interpreter.venv.is_dir() else None

    @classmethod
    def make(cls, home: Path, notify: OnText) -> "Interpreter":
        """Return the environment, or build it from the network. Raises SandboxError with the cure."""
        interpreter = cls(*_identify(home))
        if not interpreter.venv.is_dir():
            version = interpreter.version
            notify(f"Building the sandbox's Python environment ({version}), on first use only")
            _create(interpreter.venv)
        return interpreter

    def directories(self) -> list[str]:
        """Return the folders that must be readable at their own paths, so that the interpreter starts."""
        behind = Path(os.path.realpath(self.venv / "bin" / "python")).parent.parent
        prefixes = {sys.base_prefix, os.path.realpath(sys.base_prefix), str(behind)}
        outside = sorted(prefix for prefix in prefixes if not Path(prefix).is_relative_to("/usr"))
        return [
            path
            for prefix in outside
            for name in ("bin", "lib", "lib64")
            if Path(path := f"{prefix}/{name}").is_dir()
        ]


def pinned() -> list[str]:
    """Read the pins of pytest and its dependencies from the Dockerfile: one list for both backends."""
    text = (files("sandbox") / "Dockerfile").read_text()
    return re.findall(r"(?<![\w-])[\w-]+==[\w.]+", text)


def _identify(home: Path) -> tuple[Path, str]:
    pins = pinned()
    key = hashlib.sha256("\n".join([*pins, _PIP, sys.version, sys.base_prefix]).encode()).hexdigest()[:12]
    pytest = next(pin for pin in pins if pin.startswith("pytest=="))
    version = f"CPython {platform.python_version()}, {pytest.replace('==', ' ')}"
    return home / "sandbox" / f"python-{key}", version


def _create(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="building-") as scratch:
        made = Path(scratch) / "venv"
        venv.EnvBuilder(symlinks=True, with_pip=False).create(made)
        _resolve(made)
        needed = [pin for pin in pinned() if not pin.startswith(f"{OPTIONAL}==")]
        _install(made / "bin" / "python", needed)
        with suppress(SandboxError):
            _install(made / "bin" / "python", [pin for pin in pinned() if pin not in needed])
        scripts = {"pytest": _SCRIPT, "py.test": _SCRIPT, "pip": _PIP, "pip3": _PIP}
        for name, script in scripts.items():
            (made / "bin" / name).write_text(script)
            (made / "bin" / name).chmod(0o755)
        _open_to_all(made)
        try:
            made.rename(place)
        except OSError:
            if not place.is_dir():  # another process was not faster
                raise


def _resolve(environment: Path) -> None:
    """Link straight to the interpreter, because links in between may be invisible inside the sandbox."""
    python = environment / "bin" / "python"
    target = os.path.realpath(python)
    python.unlink()
    python.symlink_to(target)
    config = environment / "pyvenv.cfg"
    config.write_text(re.sub(r"(?m)^home = .*$", f"home = {os.path.dirname(target)}", config.read_text()))


def _install(python: Path, pins: list[str]) -> None:
    # The current folder could be hostile, and uv and Python read files from it. So they run in our own.
    if not (tools := list(_tools(python))):
        raise SandboxError(
            "the sandbox's Python environment needs uv or pip, and neither is there; "
            f"install one: {sys.executable} -m ensurepip"
        )
    for tool in tools:
        try:
            subprocess.run(  # noqa: S603  # a list of ours, no shell
                [*tool, *pins],
                cwd=python.parent,
                capture_output=True,
                text=True,
                check=True,
                timeout=_INSTALL_SECONDS,
            )
            return
        except subprocess.TimeoutExpired:
            problem = f"{tool[0]} did not end within {_INSTALL_SECONDS} s"
        except subprocess.CalledProcessError as error:
            problem = error.stderr.strip()[-2000:]
    raise SandboxError(
        "pytest could not be installed into the sandbox's Python environment; connect to the network "
        f"(or set PIP_INDEX_URL) and try again:\n{problem}"
    )


def _tools(python: Path) -> Iterator[list[str]]:
    """Yield the installers that are there, the fastest first."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH') or os.defpath}"
    if uv := shutil.which("uv", path=places):
        options = ["--quiet", "--only-binary", ":all:", "--compile-bytecode", "--link-mode", "copy"]
        yield [uv, "pip", "install", *options, "--python", str(python)]
    if importlib.util.find_spec("pip"):
        yield [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
        ]


def _open_to_all(directory: Path) -> None:
    """Make everything readable, whatever our umask is, because programs run as another user."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
