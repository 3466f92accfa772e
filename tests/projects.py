"""A repository with a base on which changes are proved, for the tests of the check."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nodes.check import PackageSandboxes, Suite, prove
from nodes.proof import Proof
from sandbox.base import Limits, OnText, Result, Sandbox
from tools.workspace import Workspace

Files = Mapping[str, str | bytes | None]

Recognise = Callable[[Mapping[str, str | bytes]], Suite]

LIMITS = Limits(seconds=60, cpus=2)  # cpus as the settings have it: on half a processor all waits


class SandboxAround:
    """A sandbox whose runs a subclass may alter. All else is the real one's. Implements `Sandbox`."""

    def __init__(self, real: Sandbox) -> None:
        self.real = real
        self.name, self.identity, self.prepare = real.name, real.identity, real.prepare
        self.aclose, self.layer, self.session = real.aclose, real.layer, real.session
        self.kept_layers = real.kept_layers

    async def run(
        self, files: Iterable[bytes], command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        result = await self.real.run(files, command, limits, on_output)
        return self.altered(result, limits, on_output is not None)

    def altered(self, result: Result, limits: Limits, told: bool) -> Result:
        """The result of a run. `told` says whether its output was shown, as that of the change is."""
        return result


NO_MUTANTS = {".autocode.toml": '[test]\nmutants = "off"\n'}
"""Configuration that keeps checks quick. Every base has it, unless it has a configuration of its own."""

MATHS = {
    "maths.py": "def add(a, b):\n    return a + b\n",
    "tests/test_maths.py": "from maths import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
}
ADD = "tests.test_maths::test_add"

DOUBLE = {
    "maths.py": MATHS["maths.py"] + "\n\ndef double(a):\n    return 2 * a\n",
    "tests/test_double.py": "from maths import double\n\n\ndef test_double():\n    assert double(4) == 8\n",
}
"""A good change of MATHS, with its test."""

SUBTRACT = {"maths.py": "def add(a, b):\n    return a - b\n"}
"""A change of MATHS that its test fails."""


class Remembered(dict[str, str]):
    """A cache of checks that lives as long as a test."""

    async def check(self, key: str) -> str | None:
        return self.get(key)

    async def store_check(self, key: str, value: str) -> None:
        self[key] = value


class Project:
    """A repository with a base; what its checks tell is in `events`."""

    def __init__(self, path: Path, sandbox: Sandbox, files: Files) -> None:
        path.mkdir()
        self.workspace = Workspace.init(path)
        empty = self.workspace.begin().snapshot
        self.base = self.workspace.write(empty, NO_MUTANTS | dict(files), "base") if files else empty
        self.sandbox = sandbox
        self.cache = Remembered()
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    async def prove(self, change: Files, limits: Limits = LIMITS, untestable: str = "") -> Proof:
        return await prove(
            self.workspace,
            [PackageSandboxes.bare(self.sandbox)],
            self.base,
            self.workspace.write(self.base, change, "change"),
            limits=limits,
            seconds=limits.seconds,
            cache=self.cache,
            notify=lambda type, data: self.events.append((type, data)),
            untestable=untestable,
        )

    @property
    def started(self) -> list[str]:
        """The names of the executions, sorted, without the mutants."""
        runs = [data["what"] for type, data in self.events if type == "sandbox.started"]
        return sorted(what for what in runs if "mutant" not in what)


def fates(proof: Proof) -> dict[str, tuple[str, str]]:
    """What every case did on base and change."""
    return {case.id: (case.base, case.head) for case in proof.cases}


def suspects(proof: Proof) -> set[str]:
    """The files with suspicions."""
    return {suspicion.file for suspicion in proof.suspicious}


def npm(test: str, **scripts: str) -> dict[str, str]:
    """A JavaScript project whose `npm test` runs this script."""
    return {"package.json": json.dumps({"scripts": {"test": test, **scripts}}), "index.js": ""}
