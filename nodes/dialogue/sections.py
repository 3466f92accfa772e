"""What agents are shown of a repository: contents, a map, AGENTS.md, the user's files; cut by lines."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from nodes.dialogue.ask import fenced, section
from nodes.state import ContextFile, Lesson, Place, Plan
from tools.outline import repository_map
from tools.workspace import Workspace

FILE_TOKENS = 24_000
FILES_TOKENS = 48_000
CHANGED_TOKENS = 6_000
EXAMPLE_TOKENS = 2_000
MAP_TOKENS = 4_000
DIFF_TOKENS = 16_000
CHARS_A_TOKEN = 4
_NAME = re.compile(r"[\w.:$~<>-]{1,80}")
"""What a symbol may look like outside a fence: a heading of a document may be a sentence, and anybody's."""

MARGIN = 60
"""Lines shown on either side of a change in a file that is too long to be shown whole."""


def cut(text: str, tokens: int) -> str:
    """`text` within `tokens` of four characters, cut in the middle at line ends, saying what is left out."""
    limit = tokens * CHARS_A_TOKEN
    if len(text) <= limit:
        return text
    lines = text.splitlines(keepends=True)
    head: list[str] = []
    tail: list[str] = []
    room = limit
    first, last = 0, len(lines)
    while first < last:
        take_head = sum(map(len, head)) <= 2 * sum(map(len, tail))
        line = lines[first] if take_head else lines[last - 1]
        room -= len(line)
        if room < 0:
            break
        if take_head:
            head.append(line)
            first += 1
        else:
            tail.insert(0, line)
            last -= 1
    return "".join([*head, f"[… {last - first} lines left out …]\n", *tail])


def around(text: str, places: Sequence[range], tokens: int, margin: int = MARGIN) -> str:
    """`text` whole where it fits, else the lines within `margin` of `places` (line numbers from 1)."""
    if len(text) <= tokens * CHARS_A_TOKEN or not places:
        return cut(text, tokens)
    lines = text.splitlines(keepends=True)
    near = {n for place in places for n in range(place.start - margin, place.stop + margin)}
    shown = [n for n in range(1, len(lines) + 1) if n in near]
    parts: list[str] = []
    for before, number in pairwise([0, *shown, len(lines) + 1]):
        if number > before + 1:
            parts.append(f"[… lines {before + 1} to {number - 1} left out …]\n")
        if number <= len(lines):
            parts.append(lines[number - 1])
    return cut("".join(parts), tokens)


def file_section(path: str, text: str, tokens: int = FILE_TOKENS, places: Sequence[range] = ()) -> str:
    """One file as agents see it: its path as a heading, its contents in a fence."""
    return f"### {path}\n{fenced(around(text, places, tokens))}"


def files_section(
    title: str,
    workspace: Workspace,
    snapshot: str,
    paths: Iterable[str],
    tokens: int = FILE_TOKENS,
    places: Mapping[str, Sequence[range]] | None = None,
) -> str:
    """The contents of files of a snapshot under one title, each within `tokens`, all within FILES_TOKENS.

    A longer file is shown around its `places`. What is not text is named.
    """
    parts: list[str] = []
    room = FILES_TOKENS
    for path in dict.fromkeys(paths):
        text = workspace.text(snapshot, path)
        if text is None:
            size = len(workspace.read(snapshot, path) or b"")
            what = f"not text, {size} bytes" if size else "does not exist or is empty"
            parts.append(f"### {path}\n({what})")
            continue
        shown = file_section(path, text, min(tokens, max(room, 200)), (places or {}).get(path, ()))
        room -= len(shown) // CHARS_A_TOKEN
        parts.append(shown)
    return section(title, "\n\n".join(parts))


def changed_section(title: str, workspace: Workspace, base: str, head: str) -> str:
    """The changed files as they are now; a long one only around its changes."""
    changed = [change.path for change in workspace.changes(base, head) if change.status != "deleted"]
    places = _places(workspace.diff(base, head, changed)) if changed else {}
    return files_section(title, workspace, head, changed, CHANGED_TOKENS, places)


def _places(diff: str) -> dict[str, list[range]]:
    """The lines of each file that a diff writes."""
    try:
        files = PatchSet(diff)
    except UnidiffParseError:
        return {}
    return {
        file.path: [range(hunk.target_start, hunk.target_start + hunk.target_length) for hunk in file]
        for file in files
    }


def map_section(workspace: Workspace, snapshot: str, query: str, tokens: int = MAP_TOKENS) -> str:
    """A map of the repository, most relevant to `query` first."""
    files = workspace.files(snapshot)
    text = repository_map(files, lambda path: workspace.text(snapshot, path), query, tokens)
    return section("Map of the repository", text or "(the repository is empty)")


def agents_section(workspace: Workspace, snapshot: str) -> str:
    """The repository's own AGENTS.md, whose instructions agents honour."""
    return section(
        "AGENTS.md of this repository (follow it)", cut(workspace.text(snapshot, "AGENTS.md") or "", 6_000)
    )


def given_section(workspace: Workspace, snapshot: str, given: Sequence[str | ContextFile]) -> str:
    """The contents of the context files that the user gave, by path in the repository or by value."""
    paths = [item for item in given if isinstance(item, str)]
    values = [file_section(item["path"], item["content"]) for item in given if not isinstance(item, str)]
    inside = files_section("Context files given by the user", workspace, snapshot, paths)
    return "\n\n".join(
        part for part in (inside, section("Context given by the user", "\n\n".join(values))) if part
    )


def places_section(places: Sequence[Place]) -> str:
    """What a search of the repository found for the work at hand."""
    parts = []
    for place in places:
        symbol = f", {place['symbol']}" if _NAME.fullmatch(place["symbol"]) else ""
        where = f"### {place['path']}, lines {place['first']} to {place['last']}{symbol}"
        parts.append(f"{where}\n{fenced(place['text'])}")
    return section("Places in the repository that a search found for this", "\n\n".join(parts))


def lessons_section(lessons: Sequence[Lesson]) -> str:
    """What earlier tasks taught: data like the repository's own, and for an agent to judge."""
    title = (
        "Earlier tasks like this one, done and verified: use what still fits, avoid what failed then; "
        "the files may have changed since"
    )
    return section(title, "\n\n".join(fenced(lesson["text"]) for lesson in lessons))


def plan_section(plan: Plan | None) -> str:
    """The whole plan, so that an agent knows what others do."""
    if plan is None:
        return ""
    lines = [
        f"- {step['id']}{' on ' + step['file'] if 'file' in step else ''}: {step['description']}"
        for step in plan["steps"]
    ]
    return section("The plan", "\n".join([plan["explanation"], *lines]))


def diff_section(workspace: Workspace, base: str, head: str, title: str = "The change so far") -> str:
    """The change as a unified diff, cut in the middle when it is long."""
    diff = workspace.diff(base, head)
    return section(title, fenced(cut(diff, DIFF_TOKENS), "diff") if diff else "(nothing has changed)")
