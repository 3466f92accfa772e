"""The check of a test report, which must agree with the exit code and with a separate collection."""

import re

from nodes.check.outcomes import Outcomes, list_cases
from nodes.check.output_text import last_lines
from nodes.check.parameters import paired_ids
from nodes.proof import FAILED
from sandbox.base import Result

# pytest writes these characters of a parameter in JUnit reports as #x and their code.
_ILLEGAL = re.compile("[^\u0009\u000a\u000d\u0020-\u007e\u0080-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNT = re.compile(r"^=* ?(?:(?P<some>\d+)(?:/\d+)?|no) tests? collected\b")


class ListingError(Exception):
    """The separate collection gave no readable list. The message says why."""


def junit_id(node: str) -> str:
    """Return the id that pytest's JUnit report, family xunit2, gives the case with this node id."""
    path, _, rest = node.partition("::")
    names, bracket, parameters = rest.partition("[")
    parts = [path.replace("/", ".").removesuffix(".py"), *(names.split("::") if rest else ())]
    parts[-1] += bracket + parameters
    return f"{'.'.join(parts[:-1])}::{_ILLEGAL.sub(_escaped, parts[-1])}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"#x{code:02X}" if code <= 0xFF else f"#x{code:04X}"


def parse_listing(result: Result) -> dict[str, str]:
    """Return the node ids in a collection's output, by JUnit id. Raises ListingError.

    pytest prints one node id per line, a blank line, and last their count, which must agree.
    """
    if result.timed_out:
        raise ListingError("listing the cases timed out")
    if result.exit_code not in (0, 1, 5) or result.truncated:
        output = last_lines(result.stderr or result.stdout)
        raise ListingError(f"listing the cases ended with exit code {result.exit_code}: {output}")
    lines = result.stdout.splitlines()
    counts = [(at, match) for at, line in enumerate(lines) if (match := _COUNT.match(line))]
    if not counts:
        raise ListingError("listing the cases ended early, without their count")
    end, match = counts[-1]  # modules print too while they are collected, but earlier
    count = int(match["some"] or 0)
    blanks = [at for at in range(count, end + 1) if at == end or not lines[at]]
    blocks = (lines[at - count : at] for at in blanks)
    nodes = next((block for block in blocks if all("::" in node for node in block)), None)
    if nodes is None:
        raise ListingError(f"the list of cases does not hold the {count} that it counts")
    return {junit_id(node): node for node in nodes}


def foreign_report_fault(outcomes: Outcomes, runner: str) -> str:
    """Return why the run of another runner cannot be believed. It must agree with its exit code."""
    code, cases = outcomes.exit_code, outcomes.cases
    if cases is None:
        return f"{runner} ended with exit code {code} and left no report that can be read"
    failed = [case for case, outcome in cases.items() if outcome in FAILED]
    if code == 0 and failed:
        return f"report not trusted: exit code 0, but it holds failures: {list_cases(failed)}"
    if code != 0 and cases and not failed:
        return f"report not trusted: {runner} ended with exit code {code}, but it holds no failure"
    if not cases:
        return "no test was collected" + (f": {runner} ended with exit code {code}" if code else "")
    return ""


def report_fault(outcomes: Outcomes, collection: Result) -> str:
    """Return why the report of a run that ended by itself cannot be believed, empty if it can."""
    if outcomes.cases is None:
        return f"pytest ended with exit code {outcomes.exit_code} and left no report"
    failed = [case for case, outcome in outcomes.cases.items() if outcome in FAILED]
    if outcomes.exit_code == 0 and failed:
        return f"exit code 0, but it holds failures: {list_cases(failed)}"
    if outcomes.exit_code == 1 and not failed:
        return "exit code 1, but it holds no failure"
    try:
        cases = parse_listing(collection).keys()
    except ListingError as error:
        return str(error)
    varying = paired_ids(cases - outcomes.cases.keys(), outcomes.cases.keys() - cases)
    if missing := cases - outcomes.cases.keys() - varying.keys():
        return f"it lacks cases that were collected: {list_cases(missing)}"
    # A module that cannot be collected, or skips itself, is reported under a name that no case has.
    ran = {case for case, outcome in outcomes.cases.items() if outcome in ("passed", "failed")}
    if invented := ran - cases - {*varying.values()}:
        return f"it holds cases that were not collected: {list_cases(invented)}"
    return ""
