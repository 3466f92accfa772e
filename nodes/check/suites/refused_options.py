"""The options that pytest refuses because their plugin is not installed."""

import re
from collections.abc import Iterator, Sequence

from sandbox.base import Result

_LONGEST = 8_000
_READ = 64_000  # characters of an output's end
_REFUSED = re.compile(
    r"unrecognized arguments|Unknown config option|Missing required plugins|Error importing plugin"
    r"|invalid choice|PytestConfigWarning|while parsing the following warning configuration"
)
_UNRECOGNIZED = re.compile(r"unrecognized arguments: (.*)")
_PLUGIN = re.compile(r"Error importing plugin \"([^\"\n]+)\"")
_FILTER = re.compile(r"while parsing the following warning configuration:\n\s*(\S.*)")
_WITH_VALUE = {"-p": "plugin", "-W": "filter", "--pythonwarnings": "filter"}


def refusal_of(result: Result) -> str:
    """Return the lines with which pytest refused options and did not start, empty if it started."""
    # Before pytest 9, a plugin that cannot be imported ends it with exit code 1 and without a report.
    if result.exit_code not in (3, 4) and (result.exit_code != 1 or result.report is not None):
        return ""
    lines = f"{result.stderr[-_READ:]}\n{result.stdout[-_READ:]}".splitlines()
    told = [at for at, line in enumerate(lines) if _REFUSED.search(line)]
    if result.exit_code == 1 and not any(_PLUGIN.search(lines[at]) for at in told):
        return ""
    kept = {near for at in told for near in range(at, min(at + 3, len(lines)))}
    return "\n".join(lines[at] for at in sorted(kept))[:_LONGEST]


def without_refused(words: Sequence[str], refusal: str) -> tuple[str, ...]:
    """Return the options `words` without those that a refusal names, and without their separate values."""
    refused = {
        "plugin": set(_PLUGIN.findall(refusal)),
        "filter": {text.strip() for text in _FILTER.findall(refusal)},
    }
    named = f" {' '.join(_UNRECOGNIZED.findall(refusal))} "
    return tuple(_kept(words, named, refused, strict="Unknown config option" in refusal))


def _kept(words: Sequence[str], named: str, refused: dict[str, set[str]], strict: bool) -> Iterator[str]:
    at = 0
    while at < len(words):
        word, following = words[at], words[at + 1] if at + 1 < len(words) else ""
        flag, joined, value = word.partition("=")
        pairs = ((flag, value), (word[:2], word[2:]))
        at += 1
        if word.startswith("-") and f" {word} " in named:
            # pytest takes the first separate value for a path, and does not name it.
            at += bool(following) and not joined and not following.startswith("-")
        elif strict and word == "--strict-config":
            continue  # it refuses the options of every plugin that is not there
        elif (kind := _WITH_VALUE.get(word)) and following in refused[kind]:
            at += 1
        elif any(value in refused[_WITH_VALUE[key]] for key, value in pairs if key in _WITH_VALUE):
            continue
        else:
            yield word
