"""Compare ways to apply imperfect diffs: ours, git apply, GNU patch, and unidiff at the exact place.

usage: python bench/patches.py CORPUS [--every N] [--tools ours,git,patch,unidiff]

A corpus is JSON Lines, gzipped or not, with one case a line: files_before, diff, and either files_after (with
further correct results in alt) or refuse: true. refuse_ok permits a refusal. Each case has a group (single,
combo, ambiguous or unapplicable) and a tier (core or extra). A refusal is an exception or a non-zero exit
code. `wrong` is silent damage: the output is neither correct nor the input. `noop` is the unchanged input
where a change was due.
"""

import argparse
import gzip
import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from tools.patch import PatchError, apply_patch

Files = dict[str, str]
Case = dict[str, Any]
Tool = Callable[[Files, str], Files]
GROUPS = ("single", "combo", "ambiguous", "unapplicable", "extra tier", "applicable", "all core")


class Refused(Exception):
    """A tool did not apply a diff and said so."""


@dataclass(frozen=True)
class CaseResult:
    """The result of one case: correct, wrong, noop or refused, and its seconds."""

    group: str
    verdict: str
    seconds: float


def ours(files: Files, diff: str) -> Files:
    """Apply with tools.patch."""
    try:
        return apply_patch(files, diff)
    except PatchError as error:
        raise Refused from error


def git(files: Files, diff: str) -> Files:
    """Apply with `git apply` at its most tolerant."""
    return in_folder(files, diff, ["git", "apply", "--recount", "--ignore-whitespace", "-C1", "-"])


def patch(files: Files, diff: str) -> Files:
    """Apply with GNU patch and a fuzz of three lines."""
    command = ["patch", "-p1", "-F3", "-f", "-s", "--no-backup-if-mismatch", "-r", "-"]
    return in_folder(files, diff, command)


def unidiff(files: Files, diff: str) -> Files:
    """Apply what unidiff parses, at the stated lines only."""
    try:
        parsed = PatchSet(diff)
    except UnidiffParseError as error:
        raise Refused from error
    if not parsed:
        raise Refused
    result = dict(files)
    for part in parsed:
        if part.is_added_file and part.path not in files:
            result[part.path] = "".join(line.value for hunk in part for line in hunk.target_lines())
            continue
        if part.path not in files or part.is_added_file:
            raise Refused
        text = at_stated_lines(files[part.path].splitlines(keepends=True), part)
        if part.is_removed_file:
            del result[part.path]
        else:
            result[part.path] = text
    if result == files:
        raise Refused
    return result


def at_stated_lines(lines: list[str], part: Any) -> str:
    """Return one file's text after hunks that must fit exactly at the stated lines."""
    new: list[str] = []
    at = 0
    for hunk in part:
        start = hunk.source_start - (hunk.source_length > 0)
        old = [line.value for line in hunk.source_lines()]
        if start < at or lines[start : start + len(old)] != old:
            raise Refused
        new += lines[at:start] + [line.value for line in hunk.target_lines()]
        at = start + len(old)
    return "".join(new + lines[at:])


def in_folder(files: Files, diff: str, command: list[str]) -> Files:
    """Run a tool on files in a new folder, with its default configuration."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tree"
        folder.mkdir()
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8", "surrogatepass"))
        quiet = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CEILING_DIRECTORIES": name}
        environment = {"PATH": os.environ["PATH"], "HOME": name, "LC_ALL": "C.UTF-8", **quiet}
        stdin = diff.encode("utf-8", "surrogatepass")
        run = subprocess.run(
            command, input=stdin, cwd=folder, env=environment, capture_output=True, check=False
        )
        if run.returncode:
            raise Refused
        found = (file for file in folder.rglob("*") if file.is_file())
        return {
            file.relative_to(folder).as_posix(): file.read_bytes().decode("utf-8", "surrogateescape")
            for file in found
        }


TOOLS: dict[str, tuple[str, Tool]] = {
    "ours": ("tools.patch", ours),
    "git": ("git apply --recount --ignore-whitespace -C1", git),
    "patch": ("GNU patch -F3", patch),
    "unidiff": ("unidiff, exact position", unidiff),
}


def judge(tool: Tool, case: Case) -> CaseResult:
    """Run one case and compare its result with those that are right."""
    refuse = case.get("refuse", False)
    right = [] if refuse else [case["files_after"], *case.get("alt", [])]
    started = time.perf_counter()
    try:
        result = tool(dict(case["files_before"]), case["diff"])
    except Refused:
        verdict = "correct" if refuse or case.get("refuse_ok") else "refused"
    else:
        same = result == case["files_before"]
        verdict = "correct" if result in right else "noop" if same else "wrong"
    group = case["group"] if case.get("tier", "core") == "core" else "extra tier"
    return CaseResult(group, verdict, time.perf_counter() - started)


def read(corpus: Path) -> Iterator[Case]:
    """The cases of a corpus."""
    with gzip.open(corpus) if corpus.suffix == ".gz" else corpus.open("rb") as lines:
        for line in lines:
            yield json.loads(line)


def table(name: str, outcomes: list[CaseResult]) -> None:
    """Print one tool's share of verdicts by group, and its speed."""
    groups: dict[str, list[CaseResult]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.group].append(outcome)
        if outcome.group != "extra tier":
            groups["all core"].append(outcome)
        if outcome.group in ("single", "combo"):
            groups["applicable"].append(outcome)
    print(f"\n{name}")
    heads = (
        ("cases", 7),
        ("correct", 9),
        ("wrong", 8),
        ("refused", 9),
        ("noop", 7),
        ("p95 ms", 9),
        ("max ms", 9),
    )
    print(" " * 14 + "".join(head.rjust(width) for head, width in heads))
    for group in filter(groups.get, GROUPS):
        found = groups[group]
        shares = [
            100 * sum(outcome.verdict == verdict for outcome in found) / len(found)
            for verdict in ("correct", "wrong", "refused", "noop")
        ]
        times = sorted(1000 * outcome.seconds for outcome in found)
        late, last = times[int(0.95 * (len(times) - 1))], times[-1]
        figures = "{:8.1f}%{:7.1f}%{:8.1f}%{:6.1f}%".format(*shares)
        print(f"{group:14}{len(found):7}{figures}{late:9.2f}{last:9.1f}")
    print(f"{len(outcomes) / sum(outcome.seconds for outcome in outcomes):.0f} cases/s on one core")


def main() -> None:
    """Read the command line, run the tools one after another, print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--every", type=int, default=1, help="run one case in N")
    parser.add_argument("--tools", default=",".join(TOOLS))
    arguments = parser.parse_args()
    cases = [case for i, case in enumerate(read(arguments.corpus)) if i % arguments.every == 0]
    for key in arguments.tools.split(","):
        name, tool = TOOLS[key]
        table(name, [judge(tool, case) for case in cases])


if __name__ == "__main__":
    main()
