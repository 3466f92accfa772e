"""Reports in JSON: those of jest, vitest and mocha, of `go test -json`, and lines with one case each."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sandbox.base import WORKSPACE, Case, ReportOutcome

SEVERITY: Sequence[ReportOutcome] = ("passed", "skipped", "failed", "error")

_MOST_BRACKETS = 2_000_000  # which bounds the memory: an empty list takes 56 bytes
_LONGEST_ID = 2_000
_LONGEST_MESSAGE = 100_000
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BUILD_FAILED = re.compile(r"^FAIL\s+(\S+) \[(?:build|setup) failed\]")
_GO_OUTCOMES: Mapping[str, ReportOutcome] = {"pass": "passed", "fail": "failed", "skip": "skipped"}

Cases = Iterator[Case]


class UnreadableReport(ValueError):
    """The document is not the report that it should be."""


def read_json(data: bytes) -> tuple[Case, ...]:
    """Return each case of a report once, with its worst outcome. Raises ValueError for other documents."""
    if data.count(b"[") + data.count(b"{") > _MOST_BRACKETS:
        raise UnreadableReport("too many values")
    text = data.decode("utf-8", "replace")
    first = text[: text.find("\n")] if "\n" in text else text
    try:
        kind = _is_line(first)
        read = {"go": _go_cases, "case": _line_cases}.get(kind) if kind else None
        return worst(read(text.split("\n")) if read else _document_cases(json.loads(text)))
    except (RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableReport(str(error)) from error


def worst(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Return each case once, with its worst outcome."""
    by_id: dict[str, Case] = {}
    for case in cases:
        earlier = by_id.setdefault(case.id, case)
        if SEVERITY.index(case.outcome) > SEVERITY.index(earlier.outcome):
            by_id[case.id] = case
    return tuple(by_id.values())


def clean_id(owner: str, name: str) -> str:
    """Return a case's id in one line of valid text, at most `_LONGEST_ID` characters long."""
    id = _CONTROL.sub(" ", f"{owner}::{name}").replace(f"{WORKSPACE}/", "")
    id = id.encode("utf-8", "replace").decode()
    if len(id) > _LONGEST_ID:
        id = f"{id[:_LONGEST_ID]}… {hashlib.sha256(id.encode()).hexdigest()[:12]}"
    return id


def clean_text(text: object) -> str:
    """Return a message as valid text without colours, cut to `_LONGEST_MESSAGE`."""
    plain = _COLOUR.sub("", text[:_LONGEST_MESSAGE]) if isinstance(text, str) else ""
    return plain.replace("\x00", "").encode("utf-8", "replace").decode().strip()


def relative(path: object) -> str:
    """Return a file's path below the workspace. Raises ValueError for a path elsewhere."""
    if not isinstance(path, str):
        raise UnreadableReport("a file has no path")
    plain = PurePosixPath(path.removeprefix("file://"))
    if plain.is_absolute():
        plain = plain.relative_to(WORKSPACE)
    if ".." in plain.parts:
        raise UnreadableReport(f"{path} lies outside the workspace")
    return str(plain)


def seconds_of(value: object) -> float:
    """Return a duration, 0 for anything that is no positive number."""
    try:
        seconds = float(value)  # type: ignore[arg-type]  # anything else raises
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _is_line(text: str) -> str:
    """Return `go` or `case` if the first line of a report is of this kind, empty for one document."""
    try:
        value = json.loads(text)
    except ValueError:
        return "go" if _BUILD_FAILED.match(text) else ""
    if not isinstance(value, dict):
        return ""
    return "go" if "Action" in value else "case" if "names" in value else ""


def _document_cases(value: Any) -> Cases:
    if isinstance(value, dict) and isinstance(value.get("testResults"), list):
        return _jest_cases(value["testResults"])
    if isinstance(value, dict) and isinstance(value.get("tests"), list) and "stats" in value:
        return _mocha_cases(value)
    raise UnreadableReport("no report of a known runner")


def _jest_cases(files: list[Any]) -> Cases:
    """Yield the cases of jest's JSON, which vitest writes too. A file that does not load is a case."""
    outcomes: Mapping[str, ReportOutcome] = {"passed": "passed", "failed": "failed"}
    for file in files:
        path, tests = relative(file["name"]), file["assertionResults"]
        for test in tests:
            name = " > ".join(map(str, [*test["ancestorTitles"], test["title"]]))
            outcome = outcomes.get(test["status"], "skipped")
            message = clean_text("\n\n".join(map(str, test.get("failureMessages") or [])))
            yield Case(clean_id(path, name), outcome, message, seconds_of(test.get("duration")) / 1000)
        if file["status"] == "failed" and not any(test["status"] == "failed" for test in tests):
            yield Case(clean_id("", path), "error", clean_text(file.get("message")), 0.0)


def _mocha_cases(report: Mapping[str, Any]) -> Cases:
    """Yield the cases of mocha's JSON. Hooks that fail stand among the failures alone."""
    failed = {(test.get("file"), test["fullTitle"]) for test in report["failures"]}
    pending = {(test.get("file"), test["fullTitle"]) for test in report["pending"]}
    for test in [*report["tests"], *report["failures"]]:
        full, title = str(test["fullTitle"]), str(test["title"])
        above = full.removesuffix(title).strip()
        path = relative(test["file"]) if test.get("file") else "mocha"
        key = (test.get("file"), test["fullTitle"])
        outcome: ReportOutcome = "failed" if key in failed else "skipped" if key in pending else "passed"
        error = test.get("err") or {}
        message = clean_text(error.get("stack") or error.get("message"))
        name = f"{above} > {title}" if above else title
        yield Case(clean_id(path, name), outcome, message, seconds_of(test.get("duration")) / 1000)


def _line_cases(lines: Sequence[str]) -> Cases:
    """Yield the case of each line. Without names, it is the file itself."""
    for line in filter(None, lines):
        case = json.loads(line)
        if case == {"names": []}:
            continue
        if case["outcome"] not in SEVERITY or not isinstance(case["names"], list):
            raise UnreadableReport("a case has no outcome")
        path, name = relative(case["file"]), " > ".join(map(str, case["names"]))
        id = clean_id(path, name) if name else clean_id("", path)
        yield Case(id, case["outcome"], clean_text(case["message"]), seconds_of(case["seconds"]))


def _go_cases(lines: Sequence[str]) -> Cases:
    """Yield the cases of `go test -json`. A package that fails without a failing test is a case."""
    texts: dict[tuple[str, str], list[str]] = {}
    failing: set[str] = set()
    packages: dict[str, Case] = {}
    for line in filter(None, lines):
        if match := _BUILD_FAILED.match(line):  # older versions write this as plain text
            packages[match[1]] = Case(clean_id("", match[1]), "error", "build failed", 0.0)
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        package, test = _package(event), str(event.get("Test") or "")
        action = event["Action"]
        if action in ("output", "build-output"):
            texts.setdefault((package, test), []).append(str(event.get("Output")))
        elif action in _GO_OUTCOMES and test:
            outcome = _GO_OUTCOMES[action]
            failing |= {package} if outcome == "failed" else set()
            message = clean_text("".join(texts.pop((package, test), [])))
            id = clean_id(package, test)
            yield Case(id, outcome, message if outcome != "passed" else "", seconds_of(event.get("Elapsed")))
        elif action == "fail" and package not in failing:
            built = texts.get((str(event.get("FailedBuild") or "").partition(" ")[0], ""), [])
            message = clean_text("".join([*built, *texts.get((package, ""), [])]))
            packages[package] = Case(clean_id("", package), "error", message, 0.0)
    yield from packages.values()


def _package(event: Mapping[str, Any]) -> str:
    """Return the package of an event. That of a build has its test's name behind it."""
    return str(event.get("Package") or str(event.get("ImportPath") or "").partition(" ")[0])
