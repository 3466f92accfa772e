"""Episodes: a verified run as memory stores it, and as agents read it later."""

import re
from collections.abc import Mapping
from itertools import islice

from memory.records.episodes import Episode, EpisodeRepair, FileChange
from nodes.dialogue.excerpts import cut_end
from nodes.state import State, steps_of
from tools.workspace import Workspace

TASK_TOKENS = 400
PLAN_TOKENS = 500
CHANGE_TOKENS = 600
LESSON_TOKENS = 700
SHORT_PLAN_TOKENS = 250
HUNKS, HUNK_LINES, LINE_LENGTH = 4, 8, 120
"""Limits on the stored change: hunks of a file, changed lines of a hunk, and characters of a line."""

_HUNK = re.compile(r"^@@ -\S+ \+(\d+)\S* @@ ?(.*)$", re.MULTILINE)
_CHANGED = re.compile(r"^[-+\\].*$", re.MULTILINE)


def episode_of(state: State, thread: str, workspace: Workspace, commit: str) -> Episode:
    """Summarise a run that was delivered as `commit`."""
    base, head, plan = state["base"], state["head"], state["plan"]
    steps = [f"- {step['description']}" for step in steps_of(plan)]
    return Episode(
        run=state["run"],
        thread=thread,
        repo=str(workspace.path),
        root=workspace.root(base),
        task=cut_end(state["task"].strip(), TASK_TOKENS),
        plan=cut_end("\n".join([plan["explanation"] if plan else "", *steps]).strip(), PLAN_TOKENS),
        files=[
            FileChange(path=c.path, added=c.added, removed=c.removed) for c in workspace.changes(base, head)
        ],
        change=cut_end(abridge(workspace.diffs(base, head)), CHANGE_TOKENS),
        mends=[EpisodeRepair(**mend) for mend in state.get("mends", [])],
        commit=commit,
        tree=workspace.tree(commit),
    )


def abridge(diffs: Mapping[str, str]) -> str:
    """Return the beginning of every hunk of the diffs of files, under the file's path."""
    lines: list[str] = []
    for path, diff in diffs.items():
        lines.append(path)
        hunks = list(_HUNK.finditer(diff))
        for hunk in hunks[:HUNKS]:
            lines.append(f"@@ line {hunk[1]} @@ {hunk[2]}".rstrip()[:LINE_LENGTH])
            end = diff.find("\n@@ ", hunk.end())
            changed = _CHANGED.finditer(diff, hunk.end(), end if end >= 0 else len(diff))
            first = [line[0][:LINE_LENGTH] for line in islice(changed, HUNK_LINES + 1)]
            lines += first[:HUNK_LINES] + (["…"] if len(first) > HUNK_LINES else [])
        if len(hunks) > HUNKS:
            lines.append(f"… and {len(hunks) - HUNKS} more places")
    return "\n".join(lines)


def lesson_text(episode: Episode, here: bool) -> str:
    """Return an episode as agents read it. `here` is true if it belongs to the repository they work on."""
    files = ", ".join(f"{file.path} (+{file.added} -{file.removed})" for file in episode.files)
    repository = "this repository" if here else episode.repo.rpartition("/")[2]
    repairs = [
        f"Failed on the way: {'; '.join(mend.found)}\nMended in {', '.join(mend.files)}: {mend.how}"
        for mend in episode.mends
    ]
    parts = [
        f"Task: {episode.task}",
        f"Where: {repository}, commit {episode.commit[:12]}",
        f"Plan: {cut_end(episode.plan, SHORT_PLAN_TOKENS)}",
        *repairs,
        f"Files: {files}",
        f"Change:\n{episode.change}",
    ]
    return cut_end("\n".join(parts), LESSON_TOKENS)
