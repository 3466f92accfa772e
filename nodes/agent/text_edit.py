"""One text of a file put in the place of another, with tolerance for white space."""

from difflib import unified_diff

from nodes.agent.tool_error import ToolError
from tools.patch import PatchError, place_patch

_SHOWN = 60  # lines of a change
_PLACES = 8  # that are named if a text occurs more often than once


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
    lines, numbers = [line for _, line in filled], [number for number, _ in filled]
    length = len(wanted)
    starts = (at for at, line in enumerate(lines) if line == wanted[0])
    found = [at for at in starts if lines[at : at + length] == wanted]
    return range(numbers[found[0]], numbers[found[0] + length - 1] + 1) if len(found) == 1 else None


def shown_change(path: str, before: str, after: str) -> str:
    """Return the lines that an edit changed, with two lines around them."""
    diff = list(unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm=""))[2:]
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
    before, after = (text.splitlines() for text in (old, new))
    body = list(unified_diff(before, after, n=len(before), lineterm=""))[3:]
    return "\n".join([f"--- a/{path}", f"+++ b/{path}", "@@ @@", *body, ""])
