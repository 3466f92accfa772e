"""Count what keeps the code readable: sizes, names, docstrings and comments.

`--check` exits 1 and names each limit that is exceeded. `--list` shows the places behind the figures.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("graph", "nodes", "tools", "sandbox", "memory", "server")
RIDDLES = re.compile(r"(What|Where|How|When)\b")

FILE_LINES, FOLDER_FILES, TOTAL_LINES = 300, 16, 59_900
RIDDLE_SHARE, SEMICOLONS, COMMENTS = 0.02, 2.0, (0.02, 0.035)


@dataclass
class Figures:
    """Counts over all source files, and the places that they come from."""

    lines: int = 0
    comments: list[str] = field(default_factory=list)
    docstrings: int = 0
    words: int = 0
    riddles: list[str] = field(default_factory=list)
    semicolons: list[str] = field(default_factory=list)
    long_files: list[str] = field(default_factory=list)
    full_folders: list[str] = field(default_factory=list)
    types: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def twins(self) -> list[str]:
        """Type names that are defined more than once, with their places."""
        return [f"{name}: {', '.join(places)}" for name, places in self.types.items() if len(places) > 1]


def sources(folders: Sequence[str]) -> Iterator[Path]:
    """Yield the Python files of the application, without those of the demo's repository."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "demo" not in path.parts:
                yield path


def measure(only: Sequence[str] = FOLDERS) -> Figures:
    """Read every source file once."""
    figures, folders = Figures(), defaultdict[Path, int](int)
    for path in sources(only):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        lines = text.count("\n")
        figures.lines += lines
        if lines > FILE_LINES:
            figures.long_files.append(f"{name}: {lines} lines")
        if path.name != "__init__.py":
            folders[path.parent] += 1
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
                figures.comments.append(f"{name}:{token.start[0]}")
        _read(ast.parse(text), name, figures)
    for folder, count in folders.items():
        if count > FOLDER_FILES:
            figures.full_folders.append(f"{folder.relative_to(ROOT)}: {count} files")
    return figures


def _read(tree: ast.Module, name: str, figures: Figures) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            figures.types[node.name].append(f"{name}:{node.lineno}")
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                _count(text, f"{name}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}", figures)
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            for before, after in (
                zip(body or [], (body or [])[1:], strict=False) if isinstance(body, list) else ()
            ):
                if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
                    value = after.value
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        _count(value.value, f"{name}:{after.lineno}: {value.value.splitlines()[0]}", figures)
    for node in tree.body:  # aliases of types are type names too
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and re.fullmatch(r"[A-Z][a-z]\w*", target.id):
                figures.types[target.id].append(f"{name}:{node.lineno}")


def _count(text: str, place: str, figures: Figures) -> None:
    figures.docstrings += 1
    figures.words += len(text.split())
    figures.semicolons += [place] * text.count(";")
    if RIDDLES.match(text):
        figures.riddles.append(place)


def faults(figures: Figures) -> list[str]:
    """Name every limit that the figures exceed."""
    found = [*figures.long_files, *figures.full_folders]
    found += [f"type name twice: {twin}" for twin in figures.twins]
    if figures.lines > TOTAL_LINES:
        found.append(f"{figures.lines} lines, at most {TOTAL_LINES}")
    if len(figures.riddles) > RIDDLE_SHARE * figures.docstrings:
        found.append(
            f"{len(figures.riddles)} of {figures.docstrings} docstrings open with What/Where/How/When"
        )
    if len(figures.semicolons) * 1000 > SEMICOLONS * figures.words:
        found.append(f"{len(figures.semicolons)} semicolons in {figures.words} words of docstrings")
    commented = len(figures.comments) / figures.lines
    if not COMMENTS[0] <= commented <= COMMENTS[1]:
        found.append(f"comments on {commented:.1%} of the lines, not {COMMENTS[0]:.0%} to {COMMENTS[1]:.1%}")
    return found


def report(figures: Figures) -> str:
    """Return the figures as a short table."""
    rows = {
        "lines": f"{figures.lines:,}",
        "files over the limit": str(len(figures.long_files)),
        "folders over the limit": str(len(figures.full_folders)),
        "type names defined twice": str(len(figures.twins)),
        "docstrings": f"{figures.docstrings:,} ({figures.words:,} words)",
        "opening with What/Where/How/When": f"{len(figures.riddles) / figures.docstrings:.1%}",
        "semicolons per 1,000 words": f"{len(figures.semicolons) * 1000 / figures.words:.1f}",
        "lines with a comment": f"{len(figures.comments) / figures.lines:.1%}",
    }
    return "\n".join(f"{name:<34}{value:>24}" for name, value in rows.items())


def main() -> None:
    """Print the figures, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is exceeded")
    parser.add_argument("--list", action="store_true", help="show the places behind the figures")
    parser.add_argument("folders", nargs="*", help="measure these folders alone")
    given = parser.parse_args()
    figures = measure(given.folders or FOLDERS)
    print(report(figures))
    if given.list:
        print("\n".join([*figures.twins, *figures.riddles, *figures.semicolons]))
    found = faults(figures)
    if given.check and found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
