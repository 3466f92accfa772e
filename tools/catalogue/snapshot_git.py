"""git tools on the snapshots of a run. Only libgit2 reads them, so no hook, filter or alias can run."""

from datetime import UTC, datetime

from tools.catalogue.git_tools import GitAdd, GitCommit, GitDiff, GitLog, GitStatus
from tools.catalogue.tool import PlanTool, ToolOutput
from tools.workspace import Workspace

SNAPSHOT_TOOLS = (GitStatus, GitDiff, GitLog, GitAdd, GitCommit)
"""The tools that need no sandbox, because nothing of the repository runs."""

_LETTERS = {"added": "A", "modified": "M", "deleted": "D"}


def run_on_snapshots(call: PlanTool, workspace: Workspace, base: str, head: str) -> ToolOutput:
    """Carry out one of SNAPSHOT_TOOLS between the snapshots of the run's start and of now. Blocks."""
    match call:
        case GitStatus():
            return ToolOutput(stdout=_status(workspace, base, head))
        case GitDiff():
            return ToolOutput(stdout=workspace.diff(base, head, [] if "." in call.paths else call.paths))
        case GitLog():
            return ToolOutput(stdout=_log(workspace, base, call.count))
        case GitAdd():
            return _add(call, workspace, base, head)
        case GitCommit():
            return _commit(call, workspace, base, head)
    raise TypeError(f"{call.name} is no tool on snapshots")


def _status(workspace: Workspace, base: str, head: str) -> str:
    changes = workspace.changes(base, head)
    return "".join(f"{_LETTERS[change.status]} {change.path}\n" for change in changes)


def _log(workspace: Workspace, base: str, count: int) -> str:
    return "".join(
        f"{commit.id[:7]} {_day(commit.time)} {commit.author}: {commit.subject}\n"
        for commit in Workspace.open(workspace.path).log(base, count)
    )


def _day(time: int) -> str:
    # A hostile commit may be from any year.
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return "????-??-??"


def _add(call: GitAdd, workspace: Workspace, base: str, head: str) -> ToolOutput:
    # A deleted file is added by its old name.
    known = {*workspace.files(head), *(change.path for change in workspace.changes(base, head))}
    for path in call.paths:
        if path != "." and path not in known and not any(file.startswith(f"{path}/") for file in known):
            return ToolOutput(stderr=f"{path} matches no file, so nothing was added\n", returncode=1)
    return ToolOutput()


def _commit(call: GitCommit, workspace: Workspace, base: str, head: str) -> ToolOutput:
    changes = workspace.changes(base, head)
    files = "1 file" if len(changes) == 1 else f"{len(changes)} files"
    added, removed = sum(each.added for each in changes), sum(each.removed for each in changes)
    first = call.message.strip().partition("\n")[0]
    return ToolOutput(stdout=f"[{head[:7]}] {first}\n{files} changed so far, +{added} -{removed}\n")
