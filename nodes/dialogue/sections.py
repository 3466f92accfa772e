"""Sections of prompts that show the repository, the plan and what memory recalled, each within its limit."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from nodes.dialogue.prompts import fenced, section
from nodes.state import ContextFile, Lesson, Place, Plan, Repair, StepResult, files_of, latest, steps_of
from tools.outline import repository_map
from tools.workspace import Workspace

FILE_TOKENS = 24_000
FIRST_TOKENS = 4_000
"""A file in the first prompt of an agent that can look at the rest itself."""

FIRST_MAP_TOKENS = 1_200
AGENTS_TOKENS = 6_000
FILES_TOKENS = 48_000
CHANGED_TOKENS = 6_000
EXAMPLE_TOKENS = 2_000
MAP_TOKENS = 4_000
TOOL_TOKENS = 1_500
DIFF_TOKENS = 16_000
CHARS_A_TOKEN = 4
_SYMBOL = re.compile(r"[\w.:$~<>-]{1,80}")

_NAME = re.compile(r"(?<![\w/.])[A-Za-z_][\w.]{2,60}\b")
_QUOTED = re.compile(r"`([A-Za-z_][\w.]{1,60})(?:\(\))?`")
_DEFINES = "def|class|func|function|fn|type|interface|struct|enum|trait|const|let|var"
_LONG_LINE = 300
_MOST_USES = 4  # of a name that a file does not define

MARGINS = (60, 30, 12)
"""Lines shown on either side of a place in a file that is too long to be shown whole, the most that fit."""


def cut(text: str, tokens: int) -> str:
    """Return `text` within `tokens`, cut in the middle at line ends, with the number of lines left out."""
    limit = tokens * CHARS_A_TOKEN
    if len(text) <= limit:
        return text
    lines = text.splitlines(keepends=True)
    head = tail = first = 0
    last = len(lines)
    while first < last:
        take_head = head <= 2 * tail
        size = len(lines[first] if take_head else lines[last - 1])
        if head + tail + size > limit:
            break
        if take_head:
            head, first = head + size, first + 1
        else:
            tail, last = tail + size, last - 1
    return "".join([*lines[:first], f"[… {last - first} lines left out …]\n", *lines[last:]])


def around(text: str, places: Sequence[range], tokens: int) -> str:
    """Return `text` whole if it fits, else the lines near `places` (line numbers from 1)."""
    if len(text) <= tokens * CHARS_A_TOKEN or not places:
        return cut(text, tokens)
    lines = text.splitlines(keepends=True)
    near = _near(lines, places, tokens * CHARS_A_TOKEN)
    shown = [n for n in range(1, len(lines) + 1) if n in near]
    parts: list[str] = []
    for before, number in pairwise([0, *shown, len(lines) + 1]):
        if number > before + 1:
            parts.append(f"[… lines {before + 1} to {number - 1} left out …]\n")
        if number <= len(lines):
            parts.append(lines[number - 1])
    return cut("".join(parts), tokens + 100)


def _near(lines: Sequence[str], places: Sequence[range], room: int) -> set[int]:
    """Return the numbers of lines around the places: around all of them if they fit, else the first ones."""
    near: set[int] = set()
    for margin in MARGINS:
        near = {n for place in places for n in range(place.start - margin, place.stop + margin)}
        if _size(lines, near) <= room:
            return near
    near = set()
    for place in places:
        more = near | {*range(place.start - MARGINS[-1], place.stop + MARGINS[-1])}
        if near and _size(lines, more) > room:
            break
        near = more
    return near


def _size(lines: Sequence[str], numbers: Iterable[int]) -> int:
    return sum(len(lines[number - 1]) for number in numbers if 1 <= number <= len(lines))


def parse_diff(diff: str) -> Sequence[PatchedFile]:
    """Return the files of a unified diff, none if it cannot be parsed."""
    try:
        return PatchSet(diff)
    except UnidiffParseError:
        return ()


def file(path: str, text: str, tokens: int = FILE_TOKENS, places: Sequence[range] = ()) -> str:
    """Return one file: its path as a heading, its contents in a fence."""
    return f"### {path}\n{fenced(around(text, places, tokens))}"


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
    parts: list[str] = []
    room = FILES_TOKENS
    for path in dict.fromkeys(paths):
        text = workspace.text(snapshot, path)
        if text is None:
            size = len(workspace.read(snapshot, path) or b"")
            state = f"not text, {size} bytes" if size else "does not exist or is empty"
            parts.append(f"### {path}\n({state})")
            continue
        shown = file(path, text, min(tokens, max(room, 200)), (places or {}).get(path, ()))
        room -= len(shown) // CHARS_A_TOKEN  # later files are shown shorter
        parts.append(shown)
    return section(title, "\n\n".join(parts))


def changed(title: str, workspace: Workspace, base: str, head: str) -> str:
    """Return the changed files as they are now. A long file is shown around its changes."""
    changed = [change.path for change in workspace.changes(base, head) if change.status != "deleted"]
    places = {
        file.path: [range(hunk.target_start, hunk.target_start + hunk.target_length) for hunk in file]
        for file in (parse_diff(workspace.diff(base, head, changed)) if changed else ())
    }
    return files(title, workspace, head, changed, CHANGED_TOKENS, places)


def named_places(text: str, query: str) -> list[range]:
    """Return the lines of a file that define what `query` names, or use it. What is named first comes first.

    `Class.method` names the class. Names such as `__call__` are in every class, and name nothing.
    """
    quoted = set(_QUOTED.findall(query))
    named = [name for name in _NAME.findall(query) if _is_symbol(name) or name in quoted]
    parts = [part for name in named for part in name.split(".") if not part.startswith("__")]
    lines = list(enumerate(text.splitlines(), 1))
    places: list[range] = []
    for name in dict.fromkeys(part for part in parts if len(part) > 2):
        near = [(number, line[:_LONG_LINE]) for number, line in lines if name in line]
        word = rf"(?<![\w.]){re.escape(name)}\b"
        assigned = rf"^\s*{word}\s*(?::[^=]*)?=(?!=)"
        defines = re.compile(rf"^\s*(?:[\w@]+\s+){{0,4}}(?:{_DEFINES})\s+{word}|{assigned}")
        found = [number for number, line in near if defines.search(line)]
        found = found or [number for number, line in near if re.search(word, line)][:_MOST_USES]
        places += [range(number, number + 1) for number in found]
    return places


def _is_symbol(name: str) -> bool:
    """Return whether a word looks like a name in code rather than one of a language."""
    return "_" in name.strip("_") or "." in name or any(map(str.isupper, name[1:])) or name.isupper()


def outline(workspace: Workspace, snapshot: str, query: str, tokens: int = MAP_TOKENS) -> str:
    """Return a map of the repository's definitions, most relevant to `query` first."""
    files = workspace.files(snapshot)
    text = repository_map(files, lambda path: workspace.text(snapshot, path), query, tokens)
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
                parts.append(section(f"{name} of {where} (follow it)", cut(text, AGENTS_TOKENS)))
                break
    return "\n\n".join(parts)


def context(workspace: Workspace, snapshot: str, given: Sequence[str | ContextFile]) -> str:
    """Return the user's context files, given by path in the repository or by value."""
    paths = [item for item in given if isinstance(item, str)]
    values = [file(item["path"], item["content"]) for item in given if not isinstance(item, str)]
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


def plan(plan: Plan | None, own: str = "") -> str:
    """Return the plan, so that an agent knows what the others do. Its own step has a place of its own."""
    if plan is None:
        return ""
    lines = [
        f"- {step['id']}{' on ' + ', '.join(files_of(step)) if 'file' in step else ''}: "
        + ("yours" if step["id"] == own else step["description"])
        for step in plan["steps"]
    ]
    if own and len(lines) == 1:
        return ""
    return section("The plan", "\n".join([plan["explanation"], *lines]))


def tool_outputs(plan: Plan | None, results: Sequence[StepResult]) -> str:
    """Return what the plan's tools put out, for the steps after them."""
    last, texts = latest(results), list[str]()
    for step in steps_of(plan):
        if output := last.get(step["id"], StepResult(step_id="", base="")).get("output"):
            text = cut(f"{output['stdout']}{output['stderr']}".strip(), TOOL_TOKENS)
            title = f"{step['id']}: {step['description']} (exit code {output['returncode']})"
            texts.append(f"{title}\n{fenced(text)}" if text else title)
    return section("Output of tools", "\n\n".join(texts))


def diff(workspace: Workspace, base: str, head: str, title: str = "The change so far") -> str:
    """Return the change as a unified diff, cut in the middle if it is long."""
    diff = workspace.diff(base, head)
    return section(title, fenced(cut(diff, DIFF_TOKENS), "diff") if diff else "(nothing has changed)")


def remarks(results: Sequence[StepResult]) -> str:
    """Return what the coders said beside their edits."""
    last = latest(results).values()
    said = [f"{result['step_id']}: {result['remark']}" for result in last if result.get("remark")]
    return section("Remarks of the coders", fenced("\n".join(said)) if said else "")


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
