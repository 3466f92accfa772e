"""The choice of hunks on a terminal, with the answers of `git add -p`."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from server.cli.views.format import one_line
from server.cli.views.summary import render_diff
from tools.workspace import ChangedFile, FileHunk, Selection

HELP = """\
y - apply this
n - leave this
a - apply this and the rest of the file
d - leave this and the rest of the file
q - leave this and all that follows, and apply what was chosen so far
? - show this help"""
"""Explanation of the answers. The end of the input (Ctrl-D) applies nothing."""


def choose_hunks(out: Console, files: Sequence[ChangedFile]) -> Selection:
    """Show each hunk and ask whether to apply it. At the end of the input nothing is chosen."""
    wholes, hunks = set[str](), dict[str, set[str]]()
    try:
        for file, hunk in _answers(out, files):
            if hunk:
                hunks.setdefault(file.path, set()).add(hunk.id)
            else:
                wholes.add(file.path)
    except EOFError:
        return Selection()
    return Selection(frozenset(wholes), {path: frozenset(ids) for path, ids in hunks.items()})


def _answers(out: Console, files: Sequence[ChangedFile]) -> Iterator[tuple[ChangedFile, FileHunk | None]]:
    """Yield what is wanted: a file and one of its hunks, or None for a file without hunks."""
    by_path = {file.path: file for file in files}
    # Both halves of a rename are one question, at the first of them.
    asked = [file for file in files if not (file.other and file.other in by_path and file.other < file.path)]
    total, number = sum(len(file.hunks) or 1 for file in asked), 0
    for file in asked:
        other = by_path.get(file.other or "")
        out.print(render_diff(file.header if file.hunks else file.text + (other.text if other else "")))
        rest = ""
        for hunk in file.hunks or (None,):
            number += 1
            answer = rest or _ask(out, f"({number}/{total}) {_question(file, hunk)}", hunk)
            if answer == "q":
                return
            if answer in ("a", "d"):
                rest = answer
            if answer in ("y", "a"):
                yield file, hunk


def _question(file: ChangedFile, hunk: FileHunk | None) -> str:
    name = one_line(file.shown)
    if hunk:
        return f"Apply this {'hunk' if hunk.is_lines else 'change of the mode'} to {name}"
    if file.other:
        old, new = (file.shown, file.other) if file.new is None else (file.other, file.shown)
        return f"Rename {one_line(old)} to {one_line(new)}"
    return f"{'Add' if file.old is None else 'Delete' if file.new is None else 'Apply the change of'} {name}"


def _ask(out: Console, question: str, hunk: FileHunk | None) -> str:
    """Show a hunk and ask until the answer is one of the letters."""
    while True:
        if hunk:
            out.print(render_diff(hunk.text))
        answer = out.input(Text(f"{question} [y,n,q,a,d,?]? ", style="bold cyan")).strip().lower()
        if answer in ("y", "n", "q", "a", "d"):
            return answer
        out.print(HELP, style="dim")
