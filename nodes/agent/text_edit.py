"""One text of a file put in the place of another, with tolerance for white space."""

from nodes.agent.tool_error import ToolError
from tools.patch import LineSearch, PatchError, place_patch
from tools.workspace import hunks_of

_SHOWN = 60  # lines of a change
_PLACES = 8  # that are named if a text occurs more often than once
_LONGEST = 100_000  # characters of a text for which something like it is looked for


def replaced(path: str, text: str, old: str, new: str, every: bool) -> str:
    """Return `text` with `new` in the place of `old`. Raises ToolError if it is not clear where."""
    if old == new:
        raise ToolError("old_string and new_string are the same, so nothing would change")
    times = text.count(old)
    if times == 1 or (every and times):
        return text.replace(old, new)
    if times:
        raise ToolError(
            f"old_string occurs {times} times in {path} (lines {_lines(text, old)}). Copy more of the lines "
            "around the one you mean, or set replace_all"
        )
    if (span := _ignoring_blanks(text, old)) is not None:
        lines = text.splitlines(keepends=True)
        end = "\n" if new and not new.endswith("\n") else ""
        return "".join([*lines[: span.start], new, end, *lines[span.stop :]])
    if len(old) > _LONGEST:
        raise ToolError(f"old_string is not in {path}. Copy it exactly, or replace shorter pieces")
    try:
        return place_patch({path: text}, _diff(path, old, new)).files[path]
    except PatchError as error:
        raise ToolError(f"old_string is not in {path}. {error}") from error


def _ignoring_blanks(text: str, old: str) -> range | None:
    """Return the lines of the only place that differs from `old` in blank lines and ends of lines alone."""
    wanted = [line.rstrip() for line in old.splitlines() if line.strip()]
    if not wanted:
        return None
    filled = [(number, line.rstrip()) for number, line in enumerate(text.splitlines()) if line.strip()]
    numbers = [number for number, _ in filled]
    found = LineSearch([line for _, line in filled]).find(wanted, 2)
    return range(numbers[found[0]], numbers[found[0] + len(wanted) - 1] + 1) if len(found) == 1 else None


def shown_change(path: str, before: str, after: str) -> str:
    """Return the lines that an edit changed, with two lines around them."""
    diff = hunks_of(before, after, 2)
    added, removed = (sum(line.startswith(sign) for line in diff) for sign in "+-")
    more = [f"[{len(diff) - _SHOWN} more lines]"] if len(diff) > _SHOWN else []
    return "\n".join([f"{path}: +{added} -{removed}", *diff[:_SHOWN], *more])


def _lines(text: str, old: str) -> str:
    lines, at = list[str](), -1
    while (at := text.find(old, at + 1)) >= 0:
        if len(lines) == _PLACES:
            return ", ".join([*lines, "…"])
        lines.append(str(text.count("\n", 0, at) + 1))
    return ", ".join(lines)


def _diff(path: str, old: str, new: str) -> str:
    """Return the replacement as a diff of whole lines, without their numbers, which nobody knows."""
    body = hunks_of(old, new, len(old))[1:]
    return "\n".join([f"--- a/{path}", f"+++ b/{path}", "@@ @@", *body, ""])
