"""Reads a JUnit report that a program wrote which nobody has to trust."""

import math
from collections.abc import Mapping, Sequence
from secrets import token_hex
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import DefusedXMLParser

from sandbox.base import REPORT, Case, Outcome

MAX_BYTES = 16 * 2**20
"""A longer report is not read."""

_MAX_ELEMENTS = 500_000
_OUTCOMES: Mapping[str, Outcome] = {"failure": "failed", "error": "error", "skipped": "skipped"}
_WORSE: Sequence[Outcome] = ("passed", "skipped", "failed", "error")


def place_report(command: Sequence[str]) -> tuple[list[str], str]:
    """Put a path that none can guess in REPORT's place; the path is empty when REPORT is not named."""
    path = f"/tmp/{token_hex(16)}.xml"  # noqa: S108  # of the sandbox, which nobody shares
    placed = [argument.replace(REPORT, path) for argument in command]
    return placed, path if placed != list(command) else ""


def read_report(xml: bytes) -> tuple[Case, ...] | None:
    """Every case of a JUnit report, once each and at its worst; None for what is no such report.

    Builds no tree, so that memory stays within a few times the report's size; declares no entities.
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
    return tuple(cases.found.values()) if cases.is_report else None


class _Cases:
    """Hears the parser's events and keeps the cases."""

    def __init__(self) -> None:
        self.found: dict[str, Case] = {}
        self.is_report = False
        self._elements = 0
        self._case: dict[str, str] | None = None
        self._outcome: Outcome = "passed"
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
            self._outcome = max(self._outcome, _OUTCOMES[tag], key=_WORSE.index)
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
            self._keep(self._case)
            self._case = None

    def close(self) -> None:
        """Nothing is pending; the parser wants the method."""

    def _keep(self, attributes: Mapping[str, str]) -> None:
        name = f"{attributes.get('classname', '')}::{attributes.get('name', '')}"
        case = Case(name, self._outcome, self._message, _seconds(attributes.get("time", "")))
        earlier = self.found.get(name)
        if earlier is None or _WORSE.index(case.outcome) > _WORSE.index(earlier.outcome):
            self.found[name] = case


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return max(0.0, value) if math.isfinite(value) else 0.0
