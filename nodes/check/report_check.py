"""Whether a test report may be believed: it must agree with the exit code and with a separate collection."""

import re

from nodes.check.outcomes import Outcomes, named
from nodes.check.output_text import last_lines
from sandbox.base import Result

_ILLEGAL = re.compile("[^\u0009\u000a\u000d\u0020-\u007e\u0080-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNT = re.compile(r"^=* ?(?:(?P<some>\d+)(?:/\d+)?|no) tests? collected\b")


class NotListed(Exception):
    """The separate collection gave no list that can be read; the message says why."""


def junit_id(node: str) -> str:
    """The id under which pytest's JUnit report, family xunit2, holds the case with this node id."""
    path, _, rest = node.partition("::")
    names, bracket, parameters = rest.partition("[")
    parts = [path.replace("/", ".").removesuffix(".py"), *(names.split("::") if rest else ())]
    parts[-1] += bracket + parameters
    return f"{'.'.join(parts[:-1])}::{_ILLEGAL.sub(_escaped, parts[-1])}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"#x{code:02X}" if code <= 0xFF else f"#x{code:04X}"


def listed(result: Result) -> dict[str, str]:
    """The cases that a collection's output names: node ids by JUnit id. Raises NotListed.

    pytest prints one node id a line, a blank line, and last their count, which must agree.
    """
    if result.timed_out:
        raise NotListed("listing the cases timed out")
    if result.exit_code not in (0, 1, 5) or result.truncated:
        output = last_lines(result.stderr or result.stdout)
        raise NotListed(f"listing the cases ended with exit code {result.exit_code}: {output}")
    lines = result.stdout.splitlines()
    counts = [(at, match) for at, line in enumerate(lines) if (match := _COUNT.match(line))]
    if not counts:
        raise NotListed("listing the cases ended early, without their count")
    end, match = counts[-1]
    count = int(match["some"] or 0)
    blanks = [at for at in range(count, end + 1) if at == end or not lines[at]]
    blocks = (lines[at - count : at] for at in blanks)
    nodes = next((block for block in blocks if all("::" in node for node in block)), None)
    if nodes is None:
        raise NotListed(f"the list of cases does not hold the {count} that it counts")
    return {junit_id(node): node for node in nodes}


def distrust(outcomes: Outcomes, collection: Result) -> str:
    """Why the report of a run that ended by itself cannot be believed; empty when it can."""
    if outcomes.cases is None:
        return f"pytest ended with exit code {outcomes.exit_code} and left no report"
    bad = [case for case, outcome in outcomes.cases.items() if outcome in ("failed", "error")]
    if outcomes.exit_code == 0 and bad:
        return f"exit code 0, but it holds failures: {named(bad)}"
    if outcomes.exit_code == 1 and not bad:
        return "exit code 1, but it holds no failure"
    try:
        cases = listed(collection).keys()
    except NotListed as error:
        return str(error)
    if missing := cases - outcomes.cases.keys():
        return f"it lacks cases that were collected: {named(missing)}"
    # A module that cannot be collected, or skips itself, is reported under a name that no case has.
    ran = {case for case, outcome in outcomes.cases.items() if outcome in ("passed", "failed")}
    if invented := ran - cases:
        return f"it holds cases that were not collected: {named(invented)}"
    return ""
