"""Test output as prompts hold it: equal for equal failures, and cut in the middle."""

import re

from nodes.dialogue.excerpts import cut

CASE_CHARACTERS = 4_000
TOTAL_CHARACTERS = 16_000

_VARYING = (
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]"), ""),
    (re.compile(r"^-+ generated xml file: .*$\n?", re.MULTILINE), ""),
    (re.compile(r"/tmp/pytest-of-[^/\s'\"]+/pytest-\d+"), "/tmp/pytest"),  # noqa: S108  # text, not a file
    (re.compile(r"/tmp/tmp[a-z0-9_]{8}"), "/tmp/tmp"),  # noqa: S108  # text, not a file
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b"), "0x…"),
    (re.compile(r"\bin \d+(?:\.\d+)?s\b(?: \(\d+:\d\d:\d\d\))?"), "in …s"),
    (re.compile(r"^([ \t]*)\d+\.\d\ds (setup|call|teardown)\b", re.MULTILINE), r"\1…s \2"),
    (re.compile(r"-pid-?\d+|\bpid[ =:]\d+"), "pid …"),
)


def normalise(text: str) -> str:
    """Remove what differs between two runs: durations, addresses, temporary folders, colours."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text.strip("\n")


def cut_output(text: str, limit: int = CASE_CHARACTERS) -> str:
    """Return about `limit` characters in whole lines, a third from the start and the rest from the end."""
    return cut(text, limit, head=1 / 3)


def last_lines(text: str, limit: int = 400) -> str:
    """Return the normalised end of an output, in at most `limit` characters."""
    text = normalise(text)
    return text if len(text) <= limit else "…" + text[-limit:]
