"""Recipes: the commands that turn a repository's own declarations into an environment for its tests."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

ENVIRONMENT = "/opt/environment"
"""The folder of an environment in every sandbox, during the build and afterwards."""

VENV = f"{ENVIRONMENT}/venv"
"""The Python virtual environment inside ENVIRONMENT."""

FaultName = Literal[
    "file",
    "image",
    "memory",
    "package",
    "python",
    "submodule",
    "syntax",
    "too large",
    "tool",
    "value",
    "venv",
]

_INSTALLATION_FAULTS = ("image", "package", "python", "tool")
_FORMAT = 2  # raise to rebuild every cached environment


@dataclass(frozen=True)
class Fault:
    """A problem that the user can fix. A fatal fault prevents the build. `path` is the empty submodule."""

    name: FaultName
    message: str
    fatal: bool = True
    path: str = ""


@dataclass(frozen=True)
class Python:
    """An interpreter on the machine: its full version, such as `3.12.1`, and its path."""

    version: str
    path: str

    @property
    def minor(self) -> str:
        """Return the version without its patch number, such as `3.12`."""
        return ".".join(self.version.split(".")[:2])


_LINKER = ("gcc", "libc6-dev")
_PACKAGES = {
    "Python.h": ("python3-dev",),
    "cargo": ("cargo", *_LINKER),
    "gcc": ("gcc", "g++", "libc6-dev"),
    "go": ("golang-go", *_LINKER),
    "node": ("nodejs",),
    "npm": ("npm",),
}
"""The packages that bring a tool, by their names in Debian. Only images install packages."""


@dataclass(frozen=True)
class Toolset:
    """Interpreters and tools that a backend offers. The preferred interpreter comes first."""

    pythons: tuple[Python, ...] = ()
    tools: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    installs_packages: bool = False
    chooses_image: bool = False
    shows_venv: bool = False

    def packages_for(self, tools: Iterable[str]) -> tuple[str, ...]:
        """Return the system packages that bring the tools which are lacking, if any can be installed."""
        lacking = [tool for tool in tools if tool not in self.tools] if self.installs_packages else ()
        return tuple(dict.fromkeys(name for tool in lacking for name in _PACKAGES.get(tool, ())))

    def lacks(self, tools: Iterable[str]) -> tuple[str, ...]:
        """Return the tools that are neither there nor can be installed."""
        brought = _PACKAGES if self.installs_packages else {}
        return tuple(tool for tool in tools if tool not in self.tools and tool not in brought)


@dataclass(frozen=True)
class Recipe:
    """Commands that build an environment, and the settings of the checks that run in it.

    `commands` are shell lines that run in `/workspace/<folder>`. `sources` are the files that the recipe was
    made from and `inputs` is the hash of what they say. `python` is the interpreter's version, or the version
    that uv must fetch when `interpreter` is empty. `variables` apply to checks and builds alike. `files` are
    files and folders that the snapshot lacks, and `venv` is a virtual environment that is used as it is.
    `repository` is the git folder whose code the commands may run.
    """

    folder: str = ""
    commands: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    inputs: str = ""
    python: str = ""
    interpreter: str = ""
    tools: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    image: str = ""
    files: tuple[str, ...] = ()
    files_content: str = ""
    venv: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    build_variables: tuple[tuple[str, str], ...] = ()
    memory_mb: int | None = None
    cpus: float | None = None
    reasons: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    repository: str = ""

    @property
    def digest(self) -> str:
        """Return the hash of everything that the built environment depends on, as 64 hexadecimal digits."""
        parts = [
            _FORMAT,
            self.folder,
            self.commands,
            self.inputs,
            self.python,
            self.interpreter,
            self.packages,
            self.image,
            self.files,
            self.files_content,
            self.venv,
            self.variables,
            self.build_variables,
            self.repository if self.commands else "",
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def needs_approval(self) -> bool:
        """Return whether the build uses the network, for commands, system packages or an image."""
        return bool(self.commands or self.packages or self.image) and not self.venv

    @property
    def needs_build(self) -> bool:
        """Return whether checks need more than the bare sandbox. Without approval it is made at once."""
        extras = (self.venv, self.files, self.variables, self.memory_mb, self.cpus)
        return self.needs_approval or any(extras)

    @property
    def shown_commands(self) -> tuple[str, ...]:
        """Return the lines to approve: the commands, and what fetches the image and the packages."""
        image = (f"docker pull {self.image}",) if self.image else ()
        packages = (f"apt-get install {' '.join(self.packages)}",) if self.packages else ()
        return (*image, *packages, *self.commands) if self.needs_approval else ()

    @property
    def fatal(self) -> tuple[Fault, ...]:
        """Return the faults that prevent the build."""
        return tuple(fault for fault in self.faults if fault.fatal)

    def describe(self) -> str:
        """Return the text that an approval shows: reasons, commands and faults."""
        place = f" of {self.folder}" if self.folder else ""
        lines = [f"The environment{place} is made from {', '.join(self.sources) or 'nothing'}."]
        lines += [f"- {reason}" for reason in self.reasons]
        if self.shown_commands:
            lines += ["These commands run once, in the sandbox, with network:"]
            lines += [f"    {command}" for command in self.shown_commands]
        lines += [f"! {fault.message}" for fault in self.faults]
        return "\n".join(lines)

    def with_files_content(self, content: str, filled: Iterable[str] = ()) -> "Recipe":
        """Return a copy whose digest covers `content`, a hash of the `files` in the user's checkout.

        Submodules that are among `filled`, the files and folders that were found there, are no fault.
        """
        found = set(filled)
        faults = tuple(fault for fault in self.faults if fault.path not in found or not fault.path)
        return replace(self, files_content=content, faults=faults)

    def with_venv(self, path: Path) -> "Recipe":
        """Return a copy that uses the virtual environment at an absolute path and installs nothing."""
        reason = f"The virtual environment {path} is used as it is"
        faults = tuple(fault for fault in self.faults if fault.name not in _INSTALLATION_FAULTS)
        return replace(
            Recipe(folder=self.folder, sources=self.sources, files=self.files),
            files_content=self.files_content,
            venv=str(path),
            variables=self.variables,
            memory_mb=self.memory_mb,
            cpus=self.cpus,
            reasons=(reason,),
            faults=faults,
        )


@dataclass(frozen=True)
class Ingredients:
    """The part of a recipe that one ecosystem adds."""

    commands: tuple[str, ...] = ()
    inputs: Mapping[str, str] | None = None
    tools: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    build_variables: tuple[tuple[str, str], ...] = ()
    python: str = ""
    interpreter: str = ""
    reasons: tuple[str, ...] = ()
