"""Test reports, which an untrusted program has written: JUnit XML, and what `json_report` reads."""

from collections.abc import Mapping, Sequence
from secrets import token_hex
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import DefusedXMLParser

from sandbox.base import REPORT, Case, ReportOutcome
from sandbox.collect import is_collection, split_files
from sandbox.json_report import SEVERITY, clean_id, clean_text, read_json, relative, seconds_of, worst

MAX_BYTES = 16 * 2**20
"""Size limit. A longer report is not read."""

_MAX_ELEMENTS = 500_000
_OUTCOMES: Mapping[str, ReportOutcome] = {"failure": "failed", "error": "error", "skipped": "skipped"}


def place_report(command: Sequence[str]) -> tuple[list[str], str]:
    """Replace REPORT by a path that the program cannot guess. The path is empty where REPORT is not used."""
    path = f"/tmp/{token_hex(16)}.xml"  # noqa: S108  # inside the sandbox
    placed = [argument.replace(REPORT, path) for argument in command]
    return placed, path if placed != list(command) else ""


def read_report(data: bytes) -> tuple[Case, ...] | None:
    """Return each case of a report once, with its worst outcome. None for any other document."""
    if not data or len(data) > MAX_BYTES:
        return None
    try:
        if is_collection(data):
            return worst(case for xml in split_files(data) for case in _read_junit(xml, _ForeignCases()))
        if data.lstrip()[:1] == b"<":
            return tuple(_read_junit(data, _Cases()))
        return read_json(data)
    except (ParseError, ValueError, LookupError):
        return None


def _read_junit(xml: bytes, cases: "_Cases") -> list[Case]:
    """Return the cases of a JUnit report.

    The parser builds no tree, so that memory stays within a few times the report's size. It rejects
    entities and document types.
    """
    parser = DefusedXMLParser(target=cases, forbid_dtd=True)
    parser.feed(xml)
    parser.close()
    if not cases.is_report:
        raise ValueError("no JUnit report")
    return [*cases.by_id.values()]


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
            self._outcome = max(self._outcome, _OUTCOMES[tag], key=SEVERITY.index)
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
            id = self._id(self._case)
            case = Case(id, self._outcome, self._message, seconds_of(self._case.get("time", "")))
            earlier = self.by_id.setdefault(id, case)
            if SEVERITY.index(case.outcome) > SEVERITY.index(earlier.outcome):
                self.by_id[id] = case
            self._case = None

    def close(self) -> None:
        """Do nothing. The parser requires the method."""

    def _id(self, attributes: Mapping[str, str]) -> str:
        return f"{attributes.get('classname', '')}::{attributes.get('name', '')}"


class _ForeignCases(_Cases):
    """The cases of any other tool's JUnit files.

    The id of a case starts with its file where the report tells it, else with its class or suite.
    """

    def __init__(self) -> None:
        super().__init__()
        self._suite = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        super().start(tag, attributes)
        if tag == "testsuite":
            self._suite = attributes.get("name", "")

    def _id(self, attributes: Mapping[str, str]) -> str:
        owner = attributes.get("classname") or self._suite or "tests"
        name = attributes.get("name", "")
        self._message = clean_text(self._message)
        try:
            file = relative(attributes["file"]) if attributes.get("file") else ""
        except ValueError:
            file = ""
        if not file:
            return clean_id(owner, name)
        dotted = {file, file.rpartition(".")[0]}
        spellings = dotted | {path.replace("/", ".") for path in dotted}
        return clean_id(file, name if owner in spellings else f"{owner} > {name}")
