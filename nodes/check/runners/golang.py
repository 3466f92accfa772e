"""Go's own test runner."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from nodes.check.runners.runner import Command
from sandbox.base import REPORT

# Each event's text is shown afterwards, as people know it.
_SCRIPT = r"""report=$1; shift
"$@" >"$report"
code=$?
sed -n 's/\\t/  /g; s/\\"/"/g; s/^.*"Output":"\(.*\)\\n"}$/\1/p' "$report" | head -c 200000
exit $code"""

_VALUES = re.compile(
    r"--?(?:run|skip|tags|timeout|count|bench|benchtime|cpu|p|parallel|ldflags|gcflags|asmflags|exec|mod|modfile"
    r"|overlay|o|vet|shuffle|list|fuzz|fuzztime|cover(?:profile|mode|pkg)|\w+profile|outputdir|C)$"
)
_DROPPED = re.compile(r"--?(?:json|v|failfast)(?:=\w+)?$")
_MODULE = re.compile(r"^module\s+\"?([^\s\"]+)", re.MULTILINE)


@dataclass(frozen=True)
class GoRunner:
    """`go test -json`. `module` is the path that go.mod names, `options` come before the packages."""

    module: str
    env: Command = ()
    options: Command = ()
    packages: Command = ("./...",)
    name: str = "go test"
    names_files: bool = False
    chooses_files: bool = True
    place: str = "a file *_test.go beside the code"

    @classmethod
    def of(cls, words: Sequence[str], env: Sequence[str], go_mod: str | None) -> "GoRunner | None":
        """Return the runner of a command line, None if it is no `go test` in a module."""
        module = _MODULE.search(go_mod or "")
        if tuple(words[:2]) != ("go", "test") or module is None or "-args" in words:
            return None
        options, packages = list[str](), list[str]()
        for before, word in zip(("", *words[2:]), words[2:], strict=False):
            if word.startswith("-") or _VALUES.match(before):
                options += [word] if not _DROPPED.match(word) else []
            else:
                packages.append(word)
        return cls(module[1], tuple(env), tuple(options), tuple(packages) or (".",))

    def is_test(self, path: str) -> bool:
        """Return whether Go compiles the file for tests alone."""
        return path.endswith("_test.go")

    def is_case_of(self, case: str, path: str) -> bool:
        """Return whether a case's package is the file's."""
        package = case.removeprefix("::").partition("::")[0]
        folder = str(PurePosixPath(path).parent)
        return package == (self.module if folder == "." else f"{self.module}/{folder}")

    def whole(self, tests: Iterable[str]) -> Command:
        """Return the command for all packages, and those of `tests` if packages are chosen."""
        every = any("..." in package for package in self.packages)
        return self._command(self.packages if every else (*self.packages, *_folders(tests)))

    def only(self, tests: Iterable[str]) -> Command:
        """Return the command for the packages of these files."""
        return self._command(_folders(tests))

    def steers(self, path: str) -> bool:
        """Return False, as Go loads nothing but the package."""
        return False

    def defines(self, path: str) -> bool:
        """Return whether the file chooses which code is compiled, and from where."""
        return PurePosixPath(path).name == "go.work" or path.startswith("vendor/")

    def _command(self, packages: Iterable[str]) -> Command:
        go = ("go", "test", "-json", *self.options, *dict.fromkeys(packages))
        return ("sh", "-c", _SCRIPT, "sh", REPORT, *(("env", *self.env) if self.env else ()), *go)


def _folders(tests: Iterable[str]) -> list[str]:
    """Return the packages of test files, as Go wants to be told."""
    folders = sorted({str(PurePosixPath(path).parent) for path in tests})
    return ["." if folder == "." else f"./{folder}" for folder in folders]
