"""The causes that a program's output names when a suite or a test module does not run."""

import re
from dataclasses import dataclass

from nodes.check.output_text import last_lines, normalise
from sandbox.base import Result

_LONGEST = 300
_READ = 64_000  # the end of an output, which names the cause
_ROOT = "/workspace/"
_CONFTEST = re.compile(r"^ImportError while loading conftest '([^'\n]+)'", re.MULTILINE)
_FRAME = re.compile(r"^(\S[^:\n]*\.py):\d+: ", re.MULTILINE)
_MISSING = re.compile(r"(?:No module named|cannot import name .{1,200}? from) '?([A-Za-z_]\w*)")
_PREFIX = re.compile(r"^(?:ModuleNotFoundError|ImportError): (?=No module named)")
_IMPORT_SKIP = re.compile(r"Skipped: (could not import .*?)[\"']?\)?$", re.DOTALL)
_NOT_THERE = re.compile(
    r"not found|No such file or directory|No module named|[Cc]annot find (?:module|package)|ENOENT"
    r"|Missing script|Permission denied"
)


@dataclass(frozen=True)
class Cause:
    """The last error line of an output, and the file whose line raised it, empty if unknown."""

    reason: str
    file: str = ""

    @property
    def missing(self) -> str:
        """The top-level name of the module that is missing or too old, empty for other causes."""
        match = _MISSING.search(self.reason)
        return match[1] if match else ""


def cause_of(text: str) -> Cause:
    """Return the cause that a case's message or a program's output names."""
    text = normalise(text[-_READ:])
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E  ")]
    frames = _FRAME.findall(text)
    reason = errors[-1] if errors else (lines[-1].strip() if lines else "")
    return Cause(reason[:_LONGEST], frames[-1].removeprefix(_ROOT) if frames else "")


def skipped_import(message: str) -> str:
    """Return why a module skipped itself at import, empty if no import failed."""
    match = _IMPORT_SKIP.search(message[-_READ:])
    return match[1][:_LONGEST] if match else ""


def start_cause(result: Result) -> Cause:
    """Return why a program did not come to run tests. `file` is the conftest.py that failed, if one did."""
    output = f"{result.stdout[-_READ:]}\n{result.stderr[-_READ:]}"
    if match := _CONFTEST.search(output):
        path = match[1].removeprefix(_ROOT)
        return Cause(cause_of(output[match.start() :]).reason, path)
    usage = [line for line in output.splitlines() if re.match(r"(?:.*: error: |ERROR: |E  )", line)]
    reason = usage[-1].removeprefix("ERROR: ").strip() if usage else last_lines(output.strip(), _LONGEST)
    return Cause(normalise(reason)[:_LONGEST])


def is_missing_program(output: str, exit_code: int) -> bool:
    """Return whether a command failed because a program or a file that it needs is not there."""
    return exit_code in (126, 127) or bool(_NOT_THERE.search(output[-_READ:]))


def shorten(reason: str) -> str:
    """Return a reason without the exception's name if the rest says it as well."""
    return _PREFIX.sub("", reason)
