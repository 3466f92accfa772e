"""What agents are shown of a repository: contents, a map, AGENTS.md, the user's files; cut by lines."""

from collections.abc import Iterable, Sequence

from nodes.dialogue import fenced, section
from nodes.state import ContextFile, Plan
from tools.outline import repository_map
from tools.workspace import Workspace

FILE_TOKENS = 24_000
FILES_TOKENS = 48_000
MAP_TOKENS = 4_000
DIFF_TOKENS = 16_000
CHARS_A_TOKEN = 4


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


def file_section(path: str, text: str, tokens: int = FILE_TOKENS) -> str:
    """One file as agents see it: its path as a heading, its contents in a fence."""
    return f"### {path}\n{fenced(cut(text, tokens))}"


def files_section(title: str, workspace: Workspace, snapshot: str, paths: Iterable[str]) -> str:
    """The contents of files of a snapshot under one title, within FILES_TOKENS; what is not text is named."""
    parts: list[str] = []
    room = FILES_TOKENS
    for path in dict.fromkeys(paths):
        text = workspace.text(snapshot, path)
        if text is None:
            size = len(workspace.read(snapshot, path) or b"")
            parts.append(
                f"### {path}\n({f'not text, {size} bytes' if size else 'does not exist or is empty'})"
            )
            continue
        shown = file_section(path, text, min(FILE_TOKENS, max(room, 200)))
        room -= len(shown) // CHARS_A_TOKEN
        parts.append(shown)
    return section(title, "\n\n".join(parts))


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
