"""Sections of prompts that show the repository, the plan and what memory recalled, each within its limit."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from nodes.check.runners.test_names import is_test_name
from nodes.dialogue.diffs import lines_shown, shown_change
from nodes.dialogue.excerpts import CHARS_A_TOKEN, around, cut_tokens
from nodes.dialogue.prompts import fenced, section
from nodes.dialogue.results import line
from nodes.state import (
    ContextFile,
    Lesson,
    Place,
    Plan,
    RefusedPlan,
    Repair,
    StepResult,
    files_of,
    latest,
    steps_of,
)
from tools.outline import definitions, outlines, repository_map
from tools.workspace import Workspace

FILE_TOKENS = 24_000
FILES_TOKENS = 48_000
CHANGED_TOKENS = 6_000
TOOL_TOKENS = 1_500
DIFF_TOKENS = 16_000
MAP_TOKENS = 4_000
AGENTS_TOKENS = 3_000
LONG_EXAMPLE_TOKENS = 2_000
"""Limits for agents without tools, which cannot look at the rest themselves."""

FIRST_TOKENS = 2_400
FIRST_MAP_TOKENS = 800
EXAMPLE_TOKENS = 900
CHANGE_TOKENS = 5_000
"""Limits of a file, a map, an example and a change in the first prompt of an agent with tools."""

OUTLINED = 4
"""Files whose outlines are shown."""

STEP_LENGTH, PLAN_LENGTH = 200, 1_200
"""Characters of the steps of others as a plan shows them: of each at least, and of all together."""

_SYMBOL = re.compile(r"[\w.:$~<>-]{1,80}")


def file(path: str, text: str) -> str:
    """Return one file: its path as a heading, its contents in a fence."""
    return f"### {path}\n{fenced(text)}"


def files(
    title: str,
    workspace: Workspace,
    snapshot: str,
    paths: Iterable[str],
    tokens: int = FILE_TOKENS,
    places: Mapping[str, Sequence[range]] | None = None,
) -> str:
    """Return the contents of files, each within `tokens` and all within FILES_TOKENS.

    A longer file is shown around its `places`. A file that is not text is only named.
    """
    texts = {path: workspace.text(snapshot, path) for path in dict.fromkeys(paths)}
    long = {path: text for path, text in texts.items() if text and len(text) > tokens * CHARS_A_TOKEN}
    known = definitions({path: text for path, text in long.items() if (places or {}).get(path)})
    parts: list[str] = []
    room = FILES_TOKENS
    for path, text in texts.items():
        if text is None:
            size = workspace.size(snapshot, path) or 0
            state = f"not text, {size} bytes" if size else "does not exist or is empty"
            parts.append(f"### {path}\n({state})")
            continue
        near = (places or {}).get(path, ())
        shown = file(path, around(text, near, min(tokens, max(room, 200)), known.get(path, ())))
        room -= len(shown) // CHARS_A_TOKEN  # later files are shown shorter
        parts.append(shown)
    return section(title, "\n\n".join(parts))


def change(workspace: Workspace, base: str, head: str, title: str, offers_tools: bool) -> str:
    """Return the change. An agent without tools also gets the changed files as they are now."""
    if offers_tools:
        text = shown_change(workspace, base, head, CHANGE_TOKENS)
        return section(title, fenced(text, "diff") if text else "(nothing has changed)")
    changed = [change.path for change in workspace.changes(base, head) if change.status != "deleted"]
    places = lines_shown(workspace.diff(base, head, changed)) if changed else {}
    now = files("The changed files as they are now", workspace, head, changed, CHANGED_TOKENS, places)
    return "\n\n".join(filter(None, (now, diff(workspace, base, head, title))))


def outlined(workspace: Workspace, snapshot: str, paths: Iterable[str]) -> str:
    """Return the definitions of files, within FIRST_MAP_TOKENS."""
    texts = {path: workspace.text(snapshot, path) or "" for path in list(dict.fromkeys(paths))[:OUTLINED]}
    lines = [
        "\n".join([f"- {path}", *(f"    {line}" for line in defined)])
        for path, defined in outlines(texts).items()
        if defined
    ]
    return section("Outline of files that matter", cut_tokens("\n".join(lines), FIRST_MAP_TOKENS))


def outline(workspace: Workspace, snapshot: str, query: str, tokens: int = MAP_TOKENS) -> str:
    """Return a map of the repository's definitions, most relevant to `query` first, and tests last."""
    files = workspace.files(snapshot)
    text = repository_map(files, lambda path: workspace.text(snapshot, path), query, tokens, is_test_name)
    return section("Map of the repository", text or "(the repository is empty)")


def agents_md(workspace: Workspace, snapshot: str, paths: Iterable[str] = ()) -> str:
    """Return the AGENTS.md of the root and of the folders above `paths`. Agents follow their instructions.

    Where a folder has none, its CLAUDE.md stands in.
    """
    above = {str(folder) for path in paths for folder in PurePosixPath(path).parents}
    parts = []
    for folder in sorted({".", *above}):
        for name in ("AGENTS.md", "CLAUDE.md"):
            path = name if folder == "." else f"{folder}/{name}"
            if text := workspace.text(snapshot, path):
                where = "this repository" if folder == "." else folder
                parts.append(section(f"{name} of {where} (follow it)", cut_tokens(text, AGENTS_TOKENS)))
                break
    return "\n\n".join(parts)


def context(workspace: Workspace, snapshot: str, given: Sequence[str | ContextFile]) -> str:
    """Return the user's context files, given by path in the repository or by value."""
    paths = [item for item in given if isinstance(item, str)]
    values = [
        file(item["path"], cut_tokens(item["content"], FILE_TOKENS))
        for item in given
        if not isinstance(item, str)
    ]
    inside = files("Context files given by the user", workspace, snapshot, paths)
    outside = section("Context given by the user", "\n\n".join(values))
    return "\n\n".join(filter(None, (inside, outside)))


def places(places: Sequence[Place]) -> str:
    """Return the places that a search of the repository found."""
    parts = []
    for place in places:
        # Outside a fence only a name may stand: a heading of a document may be a sentence, from anybody.
        symbol = f", {place['symbol']}" if _SYMBOL.fullmatch(place["symbol"]) else ""
        heading = f"### {place['path']}, lines {place['first']} to {place['last']}{symbol}"
        parts.append(f"{heading}\n{fenced(place['text'])}")
    return section("Places in the repository that a search found for this", "\n\n".join(parts))


def lessons(lessons: Sequence[Lesson]) -> str:
    """Return earlier tasks, fenced as data: they may come from other repositories."""
    title = (
        "Earlier tasks like this one, done and verified: use what still fits, avoid what failed then; "
        "the files may have changed since"
    )
    return section(title, "\n\n".join(fenced(lesson["text"]) for lesson in lessons))


def plan(plan: Plan | None, own: str = "", task: str = "") -> str:
    """Return the plan, so that an agent knows what the others do. Its own step has a place of its own.

    A step that says no more than the task is left out.
    """
    if plan is None:
        return ""
    length = max(STEP_LENGTH, PLAN_LENGTH // max(len(plan["steps"]), 1))
    lines = [
        f"- {step['id']}{' on ' + ', '.join(files_of(step)) if 'file' in step else ''}: "
        + ("yours" if step["id"] == own else line(step["description"], length))
        for step in plan["steps"]
        if " ".join(step["description"].split()) not in " ".join(task.split())
    ]
    if own and len(plan["steps"]) == 1:
        return ""
    return section("The plan", "\n".join([plan["explanation"], *lines]))


def refusals(refused: Sequence[RefusedPlan]) -> str:
    """Return the user's reasons against earlier plans of this task. They bind all agents."""
    return section(
        "Why the user refused an earlier plan", "\n".join(f"- {each['reason']}" for each in refused)
    )


def tool_outputs(plan: Plan | None, results: Sequence[StepResult]) -> str:
    """Return what the plan's tools put out, for the steps after them."""
    last, texts = latest(results), list[str]()
    for step in steps_of(plan):
        if output := last.get(step["id"], StepResult(step_id="", base="")).get("output"):
            text = cut_tokens(f"{output['stdout']}{output['stderr']}".strip(), TOOL_TOKENS)
            title = f"{step['id']}: {step['description']} (exit code {output['returncode']})"
            texts.append(f"{title}\n{fenced(text)}" if text else title)
    return section("Output of tools", "\n\n".join(texts))


def diff(workspace: Workspace, base: str, head: str, title: str = "The change so far") -> str:
    """Return the change as a unified diff, cut in the middle if it is long."""
    diff = workspace.diff(base, head)
    return section(title, fenced(cut_tokens(diff, DIFF_TOKENS), "diff") if diff else "(nothing has changed)")


def remarks(results: Sequence[StepResult], tester: str = "") -> str:
    """Return what the coders said beside their edits, and the tester beside its tests."""
    last = latest(results).values()
    said = [f"{result['step_id']}: {result['remark']}" for result in last if result.get("remark")]
    said += [f"tester: {tester}"] if tester else []
    title = "Remarks of the coders and the tester" if tester else "Remarks of the coders"
    return section(title, fenced("\n".join(said)) if said else "")


def earlier_repairs(repairs: Sequence[Repair]) -> str:
    """Return what was tried before and did not mend the change."""
    tried = [
        f"{number}. {repair['how']} ({', '.join(repair['files'])})"
        for number, repair in enumerate(repairs, 1)
    ]
    return section("What you tried before, and it was not enough", fenced("\n".join(tried)) if tried else "")


def failed_steps(results: Sequence[StepResult]) -> str:
    """Return the steps that failed, with their errors."""
    failed = [f"{result['step_id']}: {result['error']}" for result in results if "error" in result]
    return section("Steps that failed", "\n".join(failed))
