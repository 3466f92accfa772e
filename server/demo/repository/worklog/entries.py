"""Entries of the log: a date, a duration, a project and what was done."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from worklog.durations import parse


@dataclass(frozen=True)
class Entry:
    """One line of the log."""

    day: date
    seconds: int
    project: str
    note: str


def read(lines: Iterable[str]) -> list[Entry]:
    """Read entries; empty lines and lines that begin with # are passed over."""
    return [_entry(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _entry(line: str) -> Entry:
    day, duration, project, *note = line.split(maxsplit=3)
    return Entry(date.fromisoformat(day), parse(duration), project, note[0].strip() if note else "")
