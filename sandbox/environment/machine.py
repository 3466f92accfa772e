"""The interpreters and tools of this machine that a bubblewrap environment can use."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.base import SandboxError
from sandbox.environment.recipe import Python, Toolset

_TOOLS = ("node", "npm", "pnpm", "yarn", "bun", "go", "cargo", "rustc", "gcc", "make")
_MINORS = tuple(f"python3.{minor}" for minor in range(20, 7, -1))
_STORES = ((".pyenv", "versions"), (".local/share/uv", "python"))
_VERSION = "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])"
_PROBE_SECONDS = 10


@dataclass(frozen=True)
class Machine:
    """Interpreters by path, tools by real path, and installed system packages."""

    pythons: tuple[Python, ...] = ()
    tools: Mapping[str, str] | None = None

    @classmethod
    def find(cls, environ: Mapping[str, str], home: Path) -> "Machine":
        """Look at PATH and at the usual places below `home`. Interpreters are asked for their version."""
        path = absolute_entries(environ.get("PATH", os.defpath))
        found: dict[str, Python] = {}
        for candidate in _interpreters(path, home):
            real = os.path.realpath(candidate)
            if real not in found and (version := _version(real)):
                found[real] = Python(version, real)
        tools = {name: os.path.realpath(place) for name in _TOOLS if (place := shutil.which(name, path=path))}
        for name in ("cargo", "rustc"):
            if toolchain := _rust_toolchain(environ, home):
                tools |= {name: str(toolchain / "bin" / name)}
        pythons = list(found.values())
        return cls(tuple(sorted(pythons, key=lambda python: _distance(python, pythons[0]))), tools)

    def toolset(self) -> Toolset:
        """Return what recipes can be made for."""
        return Toolset(
            pythons=self.pythons,
            tools=frozenset(self.tools or ()),
            packages=frozenset(_installed_packages()),
            shows_venv=True,
        )

    def prefixes(self, interpreter: str, tools: tuple[str, ...]) -> tuple[str, ...]:
        """Return the directories outside `/usr` that the interpreter and the tools need."""
        places = [interpreter, *((self.tools or {}).get(tool, "") for tool in tools)]
        found = dict.fromkeys(prefix for place in places if place and (prefix := _prefix(place)))
        return tuple(found)


def absolute_entries(path: str) -> str:
    """Return a PATH without the entries that mean a different folder wherever we are started."""
    return os.pathsep.join(filter(os.path.isabs, path.split(os.pathsep)))


def find_uv(environ: Mapping[str, str]) -> str:
    """Return the path of uv. Raises SandboxError when it is missing."""
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return find_uv_bin()
    if found := shutil.which("uv", path=absolute_entries(environ.get("PATH", os.defpath))):
        return found
    raise SandboxError("environments are built with uv, which is missing. Install it: pip install uv")


def _interpreters(path: str, home: Path) -> Iterator[str]:
    """Yield candidates, the preferred one first: the one that runs us is known to work here."""
    yield os.path.join(sys.base_prefix, "bin", "python3")
    for name in ("python3", *_MINORS):
        place = shutil.which(name, path=path)
        if place and ".pyenv/shims" not in place:  # a shell script, which leads to one of the versions below
            yield place
    for tool, store in _STORES:
        for version in sorted((home / tool / store).glob("*/bin/python3"), reverse=True):
            yield str(version)


def _distance(python: Python, default: Python) -> tuple[bool, int, int]:
    """Order interpreters by their distance from the default one: old pins rarely work on a newer Python."""
    (_, minor, patch), (_, preferred, _) = (map(int, each.version.split(".")) for each in (python, default))
    return python != default, abs(minor - preferred) * 2 - (minor < preferred), -patch


def _version(path: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # an interpreter of this machine, without any file of a repository
            [path, "-I", "-S", "-c", _VERSION],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PROBE_SECONDS,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if re.fullmatch(r"3\.\d+\.\d+", done.stdout) else ""


def _prefix(place: str) -> str:
    """Return the installation that a program belongs to, or nothing where bubblewrap shows it anyway."""
    real = Path(place)
    if real.is_relative_to("/usr") or real.is_relative_to("/bin"):
        return ""
    prefix = real.parent.parent
    # A program straight in the home's own bin folder would bring the whole home into view.
    shared = {Path("/"), Path.home(), Path.home() / ".local", Path.home() / ".cargo"}
    return "" if real.parent.name != "bin" or prefix in shared else str(prefix)


def _rust_toolchain(environ: Mapping[str, str], home: Path) -> Path | None:
    """Return rustup's default toolchain. Its proxies in `~/.cargo` lie beside the user's credentials."""
    rustup = Path(environ.get("RUSTUP_HOME") or home / ".rustup")
    try:
        name = tomllib.loads((rustup / "settings.toml").read_text()).get("default_toolchain", "")
    except (OSError, ValueError):
        return None
    toolchain = rustup / "toolchains" / str(name)
    return toolchain if name and (toolchain / "bin" / "cargo").exists() else None


def _installed_packages() -> Iterator[str]:
    for listing in Path("/var/lib/dpkg/info").glob("*.list"):
        yield listing.stem.partition(":")[0]
