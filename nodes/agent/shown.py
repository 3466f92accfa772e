"""Results as a model sees them: raw text, cut in the middle where it is long."""

import re
from collections.abc import Mapping
from typing import Any

from nodes.dialogue.excerpts import cut
from sandbox.base import Limits, Result

CHARACTERS = 10_000
"""The most characters of one result."""

CALL_LENGTH = 100
"""The most characters of a call in a line."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_COUNTS = re.compile(r"\b\d+ (?:failed|passed|errors?|skipped|xfailed|xpassed|deselected)\b")
"""The counts in the last line of pytest, and of runners that imitate it."""


def numbered(text: str, offset: int, limit: int) -> str:
    """Return the lines of a file from `offset` on, each behind its number, and say what is left out."""
    lines = text.splitlines(keepends=True)
    if not lines:
        return "(the file is empty)"
    shown = lines[offset : offset + limit]
    if not shown:
        return f"(the file has {len(lines)} lines)"
    body = "".join(f"{number:>6}\t{line}" for number, line in enumerate(shown, offset + 1))
    rest = len(lines) - offset - len(shown)
    end = "" if body.endswith("\n") else "\n"
    return f"{body}{end}[{rest} more lines; go on with offset {offset + len(shown)}]" if rest else body


def of_command(result: Result, limits: Limits) -> str:
    """Return the output of a command, and how it ended unless it ended well."""
    notes = []
    if result.timed_out:
        notes.append(f"[ended after {limits.seconds:g} s, the most that a command may take]")
    elif result.out_of_memory:
        notes.append(f"[ended for want of memory: {limits.memory_mb} MB is the most]")
    elif result.exit_code:
        notes.append(f"[exit code {result.exit_code}]")
    if result.truncated:
        notes.append("[the output was too long, and its rest was dropped]")
    if result.left_running:
        many = "1 process" if result.left_running == 1 else f"{result.left_running} processes"
        notes.append(f"[{many} that it left running, now ended]")
    output = result.stdout + result.stderr
    if len(_CONTROL.findall(output)) > len(output) // 20:
        output = f"({len(output):,} characters of binary output)"
    output = cut(output, CHARACTERS)
    if output and not output.endswith("\n"):
        output += "\n"
    return (output + "\n".join(notes)).rstrip("\n") or "(no output)"


def ending(result: Result, limits: Limits) -> str:
    """Return why a command was ended, empty if it ended by itself."""
    if result.timed_out:
        return f"timed out after {limits.seconds:g} s"
    return f"out of memory ({limits.memory_mb} MB)" if result.out_of_memory else ""


def brief(text: str, exit_code: int | None, ending: str = "") -> str:
    """Return a result in some words, for people who watch: the counts of tests, the error, or its length."""
    if ending:
        return ending
    if text.startswith("Error: "):
        return text.removeprefix("Error: ").partition("\n")[0][:100]
    lines = text.splitlines()
    for line in reversed(lines[-5:]):
        if counts := _COUNTS.findall(line):
            return ", ".join(counts)
    if exit_code:
        return f"exit code {exit_code}"
    return f"{len(lines)} lines" if len(lines) != 1 else lines[0][:80]


def call_line(name: str, arguments: Mapping[str, Any], summary: str) -> str:
    """Return a call and its short result in one line, as `$ pytest -k json → 1 failed`."""
    about = str(arguments.get("command") or arguments.get("file_path") or arguments.get("query") or "")
    first = about.strip().partition("\n")[0][:CALL_LENGTH]
    return f"{'$' if name == 'execute' else name} {first} → {summary}"
