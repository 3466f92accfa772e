"""The examples of doctests, as text, so that an edited expectation can be shown."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from nodes.check.suspicion.sight import Sight


@dataclass(frozen=True)
class Example:
    """One example: its line, its statement, and the output that it expects."""

    line: int
    statement: str
    output: str


def edited_examples(base: str, head: str, line: int) -> Iterator[Sight]:
    """Yield a sight for each example of `base` that is gone or expects something else in `head`.

    `line` stands for examples that are gone.
    """
    after = list(_examples(head))
    left = Counter((each.statement, each.output) for each in after)
    lines: dict[str, list[int]] = defaultdict(list)
    for each in after:
        lines[each.statement].append(each.line)
    for each in _examples(base):
        if left[each.statement, each.output]:
            left[each.statement, each.output] -= 1
            continue
        places = lines[each.statement]
        fate = "expects another output" if places else "is gone or was rewritten"
        text = (
            f"The doctest `{each.statement[:80]}` of the base {fate}, so the base's own test no longer runs."
        )
        yield Sight(f"doctest:{each.statement}:{each.output}", next(iter(places), line), text)


def _examples(text: str) -> Iterator[Example]:
    start, statement, output = 0, list[str](), list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        words = line.strip()
        if words.startswith(">>>"):
            if statement:
                yield Example(start, "\n".join(statement), "\n".join(output))
            start, statement, output = number, [words[3:].strip()], []
        elif statement and words.startswith("...") and not output:
            statement.append(words[3:].strip())
        elif statement and words and words not in ('"""', "'''"):
            output.append(words)
        elif statement:
            yield Example(start, "\n".join(statement), "\n".join(output))
            statement, output = [], []
