"""JUnit reports, which an untrusted program has written."""

import math
from collections.abc import Mapping, Sequence
from secrets import token_hex
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import DefusedXMLParser

from sandbox.base import REPORT, Case, ReportOutcome

MAX_BYTES = 16 * 2**20
"""Size limit. A longer report is not read."""

_MAX_ELEMENTS = 500_000
_OUTCOMES: Mapping[str, ReportOutcome] = {"failure": "failed", "error": "error", "skipped": "skipped"}
_SEVERITY: Sequence[ReportOutcome] = ("passed", "skipped", "failed", "error")


def place_report(command: Sequence[str]) -> tuple[list[str], str]:
    """Replace REPORT by a path that the program cannot guess. The path is empty where REPORT is not used."""
    path = f"/tmp/{token_hex(16)}.xml"  # noqa: S108  # inside the sandbox
    placed = [argument.replace(REPORT, path) for argument in command]
    return placed, path if placed != list(command) else ""


def read_report(xml: bytes) -> tuple[Case, ...] | None:
    """Return each case of a JUnit report once, with its worst outcome. None for any other document.

    The parser builds no tree, so that memory stays within a few times the report's size. It rejects
    entities and document types.
    """
    if not xml or len(xml) > MAX_BYTES:
        return None
    cases = _Cases()
    parser = DefusedXMLParser(target=cases, forbid_dtd=True)
    try:
        parser.feed(xml)
        parser.close()
    except (ParseError, ValueError, LookupError):
        return None
    return tuple(cases.by_id.values()) if cases.is_report else None


class _Cases:
    """The target of the parser, which collects the cases."""

    def __init__(self) -> None:
        self.by_id: dict[str, Case] = {}
        self.is_report = False
        self._elements = 0
        self._case: dict[str, str] | None = None
        self._outcome: ReportOutcome = "passed"
        self._message = ""
        self._text: list[str] | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise ValueError("too many elements")
        if self._elements == 1:
            self.is_report = tag in ("testsuites", "testsuite")
        if tag == "testcase":
            self._case, self._outcome, self._message, self._text = attributes, "passed", "", None
        elif self._case is not None and tag in _OUTCOMES:
            self._outcome = max(self._outcome, _OUTCOMES[tag], key=_SEVERITY.index)
            self._message = self._message or attributes.get("message", "")
            self._text = []

    def data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        if tag in _OUTCOMES and self._text is not None:
            self._message = "".join(self._text).strip() or self._message
            self._text = None
        elif tag == "testcase" and self._case is not None:
            id = f"{self._case.get('classname', '')}::{self._case.get('name', '')}"
            case = Case(id, self._outcome, self._message, _seconds(self._case.get("time", "")))
            earlier = self.by_id.setdefault(id, case)
            if _SEVERITY.index(case.outcome) > _SEVERITY.index(earlier.outcome):
                self.by_id[id] = case
            self._case = None

    def close(self) -> None:
        """Do nothing. The parser requires the method."""


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return max(0.0, value) if math.isfinite(value) else 0.0
