"""Outcomes of nodes in a line, with details in further lines."""

from pathlib import Path

from nodes import events
from nodes.check.runners.test_names import shown_case
from nodes.event_parts import COMMAND
from server.cli.views.format import first_line, format_change, one_line, pluralize

OUTPUT_LINES = 10
"""Lines of a tool's output that a row shows."""

DECISIONS = {"approve": "approved", "edit": "approved with changes", "reject": "rejected"}

OutcomePayload = (
    events.FilesEdited
    | events.SandboxStarted
    | events.CheckFinished
    | events.VerdictGiven
    | events.ToolCalled
    | events.ToolResult
)
"""Events that set the outcome of their row."""


def describe_recall(data: events.MemoryRecalled) -> str:
    """Describe in one line the places and tasks that memory found, and an incomplete index."""
    places, files = pluralize(len(data.files), "place"), pluralize(len(set(data.files)), "file")
    parts = [f"{places} in {files}"] if data.files else []
    if data.episodes:
        whose = {"repository": " of this repository", "all": " of all repositories", None: ""}[data.scope]
        others = dict.fromkeys(one_line(Path(each.repo).name) for each in data.episodes if each.repo)
        whose = f" ({', '.join(others)})" if others else whose
        parts.append(pluralize(len(data.episodes), "earlier task") + whose)
    index = data.index
    if not index.ready:
        limit = " (index not ready)"
    elif index.engine == "text":
        limit = " (full text only)"
    else:
        limit = "" if index.embedded >= 1 else f" (index {index.embedded:.0%})"
    return f"{' and '.join(parts) or 'nothing'}{limit}"


def describe_environment(data: events.EnvironmentReported) -> str:
    """Describe the state of a build in one line."""
    folder = f" of {one_line(data.folder)}" if data.folder else ""
    if data.status == "ready":
        return f"environment{folder} ready, {data.seconds:.1f} s"
    return f"environment{folder} missing" if data.status == "failed" else f"building the environment{folder}"


def describe_answer(data: events.ApprovalResolved) -> str:
    """Describe the answer to a question in one line: who gave it, through which way, and its reason."""
    words = [DECISIONS.get(data.decision, one_line(data.decision))]
    if details := data.details:
        words += [f"by {one_line(details.by)}"] if details.by else []
        words += [f"over {one_line(details.through)}"] if details.through else []
        words += [f"for this {details.scope}"] if details.scope else []
    reason = f": {first_line(data.reason)}" if data.reason else ""
    return " ".join(words) + reason


def describe_tool_call(data: events.ToolCalled) -> str:
    """Describe a call and its result in one line, as `$ pytest -k json → 1 failed, 0.8 s`."""
    given = data.arguments
    if data.name == "execute" and given.get("command"):
        call = f"$ {first_line(str(given['command']), 72)}"
    else:
        about = given.get("file_path") or given.get("query") or ""
        call = f"{one_line(data.name)} {first_line(str(about), 60)}".rstrip()
    return f"{call} → {first_line(data.summary, 100)}, {data.seconds:.1f} s"


def output_lines(output: str) -> list[str]:
    """Return the first lines of a tool's output, and how many there are besides."""
    lines = [first_line(line, 200) for line in output.expandtabs(4).splitlines() if line.strip()]
    more = [f"… and {pluralize(len(lines) - OUTPUT_LINES, 'more line')}"] if len(lines) > OUTPUT_LINES else []
    return [*lines[:OUTPUT_LINES], *more]


def describe_outcome(data: OutcomePayload) -> tuple[str, list[str]]:
    """Return an outcome in one line, and its details in lines of their own."""
    match data:
        case events.FilesEdited():
            names = [one_line(file.path) for file in data.files]
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            details = [
                f"{one_line(file.path)}: {one_line(how)}" for file in data.files for how in file.placed
            ]
            return f"{format_change(data.added, data.removed)} {', '.join(names[:2])}{more}", details
        case events.SandboxStarted() if data.what == COMMAND:
            return f"$ {first_line(' '.join(data.command), 72)} …", []
        case events.SandboxStarted():
            return one_line(data.what), []
        case events.CheckFinished():
            if data.grade == "exit code" or not (data.cases or data.passed or data.failed):
                counts = one_line(data.counts)
            else:
                counts = f"{data.passed} passed" + (f", {data.failed} failed" if data.failed else "")
            return counts, [one_line(gap) for gap in data.gaps] if data.green else _problems(data)
        case events.VerdictGiven():
            return data.verdict, [first_line(reason, 300) for reason in data.reasons]
        case events.ToolCalled():
            return describe_tool_call(data), []
        case events.ToolResult():
            state = f"exit code {data.returncode}" if data.returncode else "done"
            # Logs of older versions have calls without their details, but no refusals.
            if data.call is None and data.stderr and not data.stdout and data.returncode:
                state = "not run"
            return f"{one_line(data.tool)}: {state}", output_lines(data.stdout + data.stderr)


def _problems(data: events.CheckFinished) -> list[str]:
    """Return the problems of a check, and the failed cases that they do not mention."""
    problems = [first_line(problem, 200) for problem in data.problems]
    failed = [case for case in data.cases if case.get("head") in ("failed", "error")]
    ids = [one_line(shown_case(str(case.get("id", "?")))) for case in failed]
    return problems + [f"failed: {id}" for id in ids if not any(id in problem for problem in problems)]
