"""Mutants of a change: each changed function, hunk, operator and constant broken in turn.

mutmut and cosmic-ray mutate whole projects, run their tests in place and keep state between sessions. A
change needs a few mutants of its own lines, made without running anything, for our own sandbox.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath

from nodes.check.mutation.essence import LONGEST_SOURCE, essence, parse
from nodes.check.mutation.python_edits import MutantKind, PythonSource, SourceEdit
from nodes.check.suites.suite import Suite
from nodes.proof import Unguarded
from tools.workspace import LineChange, Workspace, line_changes

MOST = 20
"""The most mutants of a change."""

KINDS: tuple[MutantKind, ...] = ("body", "hunk", "detail", "constant")

_MOST_DETAILS = 1_000  # of a file, which bounds the memory for a hostile one
_WHOLE = ("body", "hunk")
_MOST_PARSED = 3_000_000  # characters of all candidates, which bounds the time of a hostile change
_SOURCE = re.compile(
    r"\.(?:py|[jt]sx?|mjs|cjs|go|rs|java|kt|c|cc|cpp|h|hpp|rb|php|cs|swift|scala|ex|lua|sh)$"
)
_TEST_FOLDERS = {"test", "tests", "testing", "spec", "specs", "__tests__", "testdata", "fixtures"}
_OTHER_FOLDERS = {"doc", "docs", "example", "examples", "benchmark", "benchmarks", "bench"}
_TEST_NAME = re.compile(r"^(?:test_.*|conftest|.*_test|.*[.]test|.*[.]spec|.*_spec|.*Tests?)[.]\w+$")
_BUILD_NAMES = {"setup.py", "noxfile.py"}
_NO_CODE = re.compile(r"^\s*(?:$|//|#|/\*|\*|--|;|import\b|use\b|package\b)")
_DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+def|def|class)[ \t]+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """A changed file with one place broken: `start` to `end` of its text `head` become `replacement`.

    `unit` is the function or hunk that holds the place. `novel` counts the new lines that it concerns.
    """

    file: str
    first: int
    last: int
    description: str
    kind: MutantKind
    unit: str
    novel: int
    head: str
    start: int
    end: int
    replacement: str

    @property
    def text(self) -> str:
        """The broken file."""
        return self.head[: self.start] + self.replacement + self.head[self.end :]

    def __str__(self) -> str:
        lines = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.file}:{lines} {self.description}"


class ChangedSource:
    """A source file on base and change.

    `base` is None for a new file. `moved` holds lines that the change deletes elsewhere.
    """

    def __init__(self, path: str, base: str | None, head: str, moved: Collection[str] = ()) -> None:
        self.path = path
        self._head = head
        self._lines = head.split("\n")
        self._base = base
        self._hunks = line_changes((base or "").encode(), head.encode())
        added = (line for hunk in self._hunks for line in hunk.added)
        texts = ((line, self._lines[line - 1].strip()) for line in added)
        self._novel_lines = [line for line, text in texts if text and text not in moved]

    @property
    def novel(self) -> int:
        """The number of lines that are new and not moved."""
        return len(self._novel_lines)

    def mutants(self) -> Iterator[Mutant]:
        """Yield all candidates, which need not compile: functions, hunks, then details."""
        source = self._python
        yield from map(self._mutant, source.bodies() if source else ())
        if self._base is not None and (source or not self.path.endswith(".py")):
            for number, hunk in enumerate(self._hunks, start=1):
                yield from self._reverted(hunk, number, source)
        yield from self.details()

    def details(self) -> Iterator[Mutant]:
        """Yield the candidates of operators, statements and constants."""
        edits = islice(self._python.details(), _MOST_DETAILS) if self._python else ()
        yield from (self._mutant(edit) for edit in edits if edit.kind != "name")

    def hollow(self) -> str | None:
        """Return the file with every changed function and every new constant of it broken at once."""
        source = self._python
        if source is None:
            return None
        constants = [edit for edit in source.details() if not edit.unit and edit.kind in ("constant", "name")]
        pieces, end = [], 0
        for edit in sorted((*source.bodies(), *constants), key=lambda edit: (edit.start, -edit.end)):
            if edit.start >= end:  # a function inside another one is broken with it
                pieces += [self._head[end : edit.start], edit.text]
                end = edit.end
        text = "".join((*pieces, self._head[end:]))
        return text if pieces and parse(text) else None

    @cached_property
    def _python(self) -> PythonSource | None:
        if not self.path.endswith(".py"):
            return None
        changed = [line for hunk in self._hunks for line in hunk.added]
        try:
            return PythonSource(self._head, changed, self._base)
        except (SyntaxError, ValueError, RecursionError):  # a long number cannot be printed
            return None

    def _mutant(self, edit: SourceEdit) -> Mutant:
        return Mutant(
            file=self.path,
            first=edit.first,
            last=edit.last,
            description=edit.description,
            kind=edit.kind,
            unit=edit.unit or f"line {edit.first}",
            novel=self._novel_within(edit.first, edit.last),
            head=self._head,
            start=edit.start,
            end=edit.end,
            replacement=edit.text,
        )

    def _reverted(self, hunk: LineChange, number: int, source: PythonSource | None) -> Iterator[Mutant]:
        first, last = max(hunk.first, 1), max(hunk.first + hunk.count - 1, 1)
        if source and not hunk.old_count and not source.is_within_body(first, last):
            return  # whole functions and new names, whose absence every test notices
        base = (self._base or "").split("\n")
        old = base[hunk.old_first - 1 : hunk.old_first - 1 + hunk.old_count] if hunk.old_count else []
        at = hunk.first - 1 if hunk.count else hunk.first
        new = self._lines[at : at + hunk.count]
        if source:
            lost = bool({*_DEFINITION.findall("\n".join(new))} - {*_DEFINITION.findall("\n".join(old))})
        else:
            lost = all(_NO_CODE.match(line) for line in (*old, *new))
        if lost:
            return
        start = sum(len(line) + 1 for line in self._lines[:at])
        yield Mutant(
            file=self.path,
            first=first,
            last=max(first, last),
            description="the hunk is taken back" if hunk.count else "the deleted lines are back",
            kind="hunk",
            unit=(source.unit_of(first, max(first, last)) if source else "") or f"hunk {number}",
            novel=self._novel_within(first, last) or int(not hunk.count),
            head=self._head,
            start=start,
            end=start + sum(len(line) + 1 for line in new),
            replacement="".join(f"{line}\n" for line in old),
        )

    def _novel_within(self, first: int, last: int) -> int:
        return bisect_right(self._novel_lines, last) - bisect_left(self._novel_lines, first)


def changed_sources(workspace: Workspace, base: str, head: str, paths: Iterable[str]) -> list[ChangedSource]:
    """Return the changed files among `paths` that are there and not too long."""
    texts = {path: (workspace.text(base, path), workspace.text(head, path)) for path in paths}
    gone: set[str] = set()
    for before, after in texts.values():
        kept = set(map(str.strip, (after or "").split("\n")))
        gone |= {line for text in (before or "").split("\n") if (line := text.strip()) not in kept}
    return [
        ChangedSource(path, before, after, gone)
        for path, (before, after) in texts.items()
        if after is not None and max(len(after), len(before or "")) <= LONGEST_SOURCE
    ]


def details(
    workspace: Workspace, base: str, head: str, suites: Mapping[str, Suite], changed: Sequence[str], most: int
) -> list[Mutant]:
    """Return the first mutants of operators, statements and constants, some of which may not compile.

    `suites` are those of the packages that a change concerns, by their folders.
    """
    paths = dict[str, None]()
    for folder, suite in suites.items():
        below = f"{folder}/" if folder else ""
        if suite.mutants and suite.grade == "tests":
            own = (path for path in changed if path.startswith(below) and is_source(path))
            paths |= dict.fromkeys(path for path in own if not suite.is_test(path.removeprefix(below)))
    sources = changed_sources(workspace, base, head, paths)
    return list(islice(_in_turns(mutant for each in sources for mutant in each.details()), most))


def is_source(path: str) -> bool:
    """Return whether a file's name is that of source code, not of tests, examples or builds."""
    parts = PurePosixPath(path).parts
    apart = _TEST_FOLDERS | _OTHER_FOLDERS
    if not _SOURCE.search(path) or any(part in apart for part in parts[:-1]):
        return False
    return not _TEST_NAME.match(parts[-1]) and parts[-1] not in _BUILD_NAMES


def choose(
    sources: Iterable[ChangedSource], kinds: Sequence[MutantKind] = KINDS, most: int = MOST
) -> list[Mutant]:
    """Return at most `most` mutants that compile and differ in effect, the most telling first.

    Every changed function and hunk comes before the details of any. New lines come before moved ones, and
    large places before small ones.
    """
    candidates = [mutant for source in sources for mutant in source.mutants() if mutant.kind in kinds]
    whole = sorted((each for each in candidates if each.kind in _WHOLE), key=_rank)
    details = _in_turns(each for each in candidates if each.kind not in _WHOLE)
    chosen: dict[str, Mutant] = {}
    left = _MOST_PARSED
    for mutant in (*whole, *details):
        text = mutant.text
        left -= len(text)
        if len(chosen) == most or left < 0:
            break
        if text not in chosen and _differs(mutant, text):
            chosen[text] = mutant
    return list(chosen.values())


def _differs(mutant: Mutant, text: str) -> bool:
    """Return whether a mutant compiles, and does anything else than the change."""
    if not mutant.file.endswith(".py"):
        return text != mutant.head
    if mutant.kind != "hunk":  # made from the essence, and so never without effect
        return parse(text) is not None
    effect = essence(text)
    return effect is not None and effect != essence(mutant.head)


def merge(survivors: Iterable[Mutant]) -> list[Unguarded]:
    """Return the lines of the survivors, one entry for all that touch within one function or hunk."""
    by_unit: dict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for mutant in sorted(survivors, key=lambda each: (each.file, each.first, -each.last)):
        by_unit[mutant.file, mutant.unit].append(mutant)
    merged = []
    for (file, _), mutants in by_unit.items():
        group: list[Mutant] = []
        for mutant in mutants:
            if group and mutant.first > max(each.last for each in group) + 1:
                merged.append(_entry(file, group))
                group = []
            group.append(mutant)
        merged.append(_entry(file, group))
    return sorted(merged, key=lambda entry: (entry.file, entry.first, entry.last))


def _entry(file: str, group: Sequence[Mutant]) -> Unguarded:
    whole = [mutant for mutant in group if mutant.kind in _WHOLE]
    descriptions = list(dict.fromkeys(mutant.description for mutant in whole or group))
    more = f" and {len(descriptions) - 3} more" if len(descriptions) > 3 else ""
    last = max(mutant.last for mutant in group)
    return Unguarded(file=file, first=group[0].first, last=last, mutant=", ".join(descriptions[:3]) + more)


def _rank(mutant: Mutant) -> tuple[int, str, int, str]:
    return -mutant.novel, mutant.file, mutant.first, mutant.kind


def _in_turns(details: Iterable[Mutant]) -> Iterator[Mutant]:
    """Yield one detail of each function in turn, those of the largest functions first."""
    units: dict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for mutant in details:
        units[mutant.file, mutant.unit].append(mutant)
    queues = sorted(units.values(), key=lambda unit: (-sum(each.novel for each in unit), _rank(unit[0])))
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))
