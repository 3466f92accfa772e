"""Each pattern and each reader of foreign text, fed with text that makes others take minutes."""

import ast
import gc
import importlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from memory.chunks import Chunker
from memory.chunks.words import words
from memory.embeddings.hashed import HashEmbedder
from memory.repo_index.ignore import Ignore
from memory.repo_index.search.query import Query
from memory.secrets import mask
from memory.validation import read_ini
from nodes.agent.shown import of_command
from nodes.agent.text_edit import replaced, shown_change
from nodes.agent.tool_error import ToolError
from nodes.agent.toolbox import definitions
from nodes.check.base_tests.doctests import with_base_examples
from nodes.check.mutation.missing_names import lacks_name, misses_name
from nodes.check.mutation.mutants import ChangedSource
from nodes.check.outcomes import Outcomes
from nodes.check.output_text import cut_output, normalise
from nodes.check.runners.globs import matches
from nodes.check.runners.package_json import split
from nodes.check.runners.usual import named_command, usual_command
from nodes.check.suites.config import NoSuite, read_config
from nodes.check.suites.pytest_config import PytestOptions, options_table
from nodes.check.suites.refused_options import refusal_of, without_refused
from nodes.check.suspicion.doctests import edited_examples
from nodes.check.suspicion.installation import builds_otherwise, registers_plugin
from nodes.check.suspicion.other_languages import line_sights
from nodes.check.suspicion.special_cases import data_literals
from nodes.check.suspicion.versions import FileVersions
from nodes.check.unrun.causes import cause_of
from nodes.dialogue.answers import spoken_answer
from nodes.dialogue.diffs import failing_lines, lines_shown, widened
from nodes.dialogue.edits import check_whole
from nodes.dialogue.episodes import abridge
from nodes.dialogue.excerpts import cut, named_places
from nodes.dialogue.last_words import as_markdown
from nodes.dialogue.nearby import changed_symbols
from nodes.dialogue.prompts import fenced, indent_steps
from nodes.dialogue.replies import Unusable, explanation, parse_edits, parse_json
from nodes.dialogue.verdicts import parse_verdict
from nodes.llm.provider_errors import StreamedError, classify
from nodes.llm.reasoning import without_reasoning
from nodes.llm.tool_calls import read_call
from nodes.llm.written_calls import written_calls
from sandbox.base import Limits, Result
from sandbox.environment.detection.detect import detect
from sandbox.environment.detection.sources import Sources
from sandbox.environment.recipe import Python, Toolset
from sandbox.json_report import read_json as read_json_report
from sandbox.report import read_report
from server.cli.views.format import first_fault, sanitize
from tools.catalogue import read_call as read_tool_call
from tools.declaration.declared import DeclarationError
from tools.declaration.requirements import in_requirements
from tools.declaration.setup_cfg import in_setup_cfg
from tools.declaration.toml_list import in_project
from tools.hosting.quoting import inert
from tools.patch import PatchError, apply_patch
from tools.patch.fences import unfence
from tools.patch.parse import MOST_LINES
from tools.policy import Policy, PolicyError, repository_policy

ROOT = Path(__file__).parent.parent
FOLDERS = ("graph", "nodes", "tools", "sandbox", "memory", "server")
PROGRAMS = ("sandbox.__main__", "memory.chunks.worker")
"""Modules that run when they are imported."""

PROJECT = '[project]\nname = "a"\ndependencies = ["x"]\n'
TOOLSET = Toolset(
    pythons=(Python("3.11", "/usr/bin/python3"),), tools=frozenset({"node", "npm", "go", "cargo"})
)
DECLARATIONS = {
    "pyproject.toml": PROJECT,
    "setup.cfg": "[options]\ninstall_requires =\n    x\n",
    "setup.py": "",
    "requirements.txt": "",
    "requirements-dev.txt": "",
    "tox.ini": "[testenv]\ndeps =\n    x\n",
    "package.json": "",
    "go.mod": "module a\n",
    "Cargo.toml": "",
    ".gitmodules": '[submodule "a"]\npath = ',
    ".python-version": "",
    ".autocode.toml": "",
    "Makefile": "",
    "conftest.py": "",
}
"""Files that tell how a project is built and tested, with the start of each."""


def result(text: str) -> Result:
    """The result of a command that has written a text."""
    return Result(4, text, text, 1.0)


def sights(path: str, text: str) -> None:
    """Look for what is suspicious in a new version of a file, by its lines."""
    file = FileVersions(path, b"x\n", text.encode())
    list(line_sights(file, test=True, products={"a"}))
    registers_plugin(file)
    builds_otherwise(file)


def environment(path: str, text: str) -> None:
    """Detect the environment of a project with one long declaration. Longer ones are not read."""
    detect({"a.py": "", path: f"{DECLARATIONS[path]}{text[:500_000]}"}, TOOLSET)


READERS: dict[str, Callable[[str], object]] = {
    "edits": parse_edits,
    "JSON": parse_json,
    "verdict": parse_verdict,
    "prose": explanation,
    "spoken answer": spoken_answer,
    "reasoning": without_reasoning,
    "written calls": lambda text: written_calls(text, definitions(Limits(), search=True)),
    "arguments": lambda text: read_call("a", text),
    "elision": lambda text: check_whole("a.py", text, "a\n"),
    "Markdown": as_markdown,
    "diff": lambda text: apply_patch({"a.py": "a\nb\n"}, text),
    "file of a diff": lambda text: apply_patch({"a.py": text}, DIFF),
    "fences of a diff": lambda text: unfence(text.split("\n")[:MOST_LINES]),
    "unified diff": lines_shown,
    "episode": lambda text: abridge({"a.py": text}),
    "symbols": changed_symbols,
    "cut": lambda text: cut(text, 4_000),
    "places": lambda text: named_places(text, "name of_a_thing a"),
    "output": lambda text: cut_output(normalise(text)),
    "cause": cause_of,
    "literals": data_literals,
    "script": split,
    "configuration": read_config,
    "policy": lambda text: repository_policy(text, "file"),
    "INI": read_ini,
    "masking": mask,
    "words": words,
    "ignored paths": lambda text: Ignore({".gitignore": text.encode()}.get).ignores("aaaa.py"),
    "query": lambda text: (Query.of(text).paths, Query.of(text).names, Query.of(text).capitalised),
    "JUnit": lambda text: read_report(text.encode()),
    "JSON report": lambda text: read_json_report(text.encode()),
    "markup of a site": inert,
    "terminal": sanitize,
    "fault": first_fault,
    "failing lines": lambda text: failing_lines(text, ["a.py"], text),
    "context of a diff": lambda text: widened("@@ -1,2 +1,2 @@\n a\n-b\n+c\n", text, []),
    "fence": lambda text: (fenced(text), indent_steps(text)),
    "result of a command": lambda text: of_command(result(text), Limits()),
    "edit": lambda text: replaced("a.py", text, "a\nb", "c", every=False),
    "long edit": lambda text: replaced("a.py", text, f"{text[: len(text) // 9]}\nx", "c", every=False),
    "edit as it is shown": lambda text: shown_change("a.py", text, f"a\n{text}"),
    "outcomes": lambda text: Outcomes.of(result(text), "jest"),
    "missing names": lambda text: (lacks_name(text), misses_name(text)),
    "refused options": lambda text: without_refused(["-p", "x"], refusal_of(result(text))),
    "mutants": lambda text: list(islice(ChangedSource("a.js", "x\n", text).mutants(), 500)),
    "doctests": lambda text: with_base_examples(f'""">>> 1"""\n{text}', text),
    "edited doctests": lambda text: list(edited_examples(">>> 1\n", text, 1)),
    "JavaScript": lambda text: sights("tests/a.test.js", text),
    "shell": lambda text: sights("a.sh", text),
    "requirements": lambda text: sights("requirements.txt", text),
    "setup.py": lambda text: sights("setup.py", text),
    "setup.cfg": lambda text: sights("setup.cfg", text),
    "pytest.ini": lambda text: options_table("pytest.ini", f"[pytest]\naddopts = {text}".encode()),
    "usual command": lambda text: usual_command(DECLARATIONS, lambda path: text),
    "jest's configuration": lambda text: named_command(
        ["npx", "jest"],
        ["package.json", "jest.config.js"],
        {"package.json": "{}", "jest.config.js": text}.get,
    ),
    "added requirement": lambda text: in_requirements(Sources({"requirements.txt": text}), "", ["x"], ["y"]),
    "added to setup.cfg": lambda text: in_setup_cfg(
        Sources({"setup.cfg": f"[options]\ninstall_requires =\n    x\n{text}"}), "setup.cfg", ["x"], ["y"]
    ),
    "added to pyproject.toml": lambda text: in_project("a", f"{PROJECT}{text}", ["x"], ["y"]),
    "chunks": lambda text: Chunker().chunks("a.md", text),
    "embedding": lambda text: HashEmbedder().embed([text]),
    "refusal of a provider": lambda text: classify(
        StreamedError({"message": text, "code": 400}, None), "a", "m", ["secret"], 1.0
    ),
    **{f"environment of {path}": partial(environment, path) for path in DECLARATIONS},
}
DIFF = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
REFUSALS = (Unusable, PatchError, NoSuite, PolicyError, ToolError, DeclarationError, ValueError)

READER_SECONDS = 0.5
"""CPU seconds for a megabyte on a quiet machine. `slowness` says how much more another one needs."""

UNIT_SECONDS = 0.08

CPU_SECONDS = 0.1
"""Linear work on a run takes a hundredth of it, and quadratic work several times as long."""

RUN = 12_000
"""Characters of one kind in a row."""

MEGABYTE = 1_000_000

SIZES = (31_250, 125_000, MEGABYTE)
"""A text grows until it is certain that a megabyte of it takes less than the limit."""

STEADY = 2.0
"""Linear work may seem to grow by this factor more than its text, as other programs run beside it."""

UNITS = (
    *"\n\t\r \"'`([{}<>+-#*/\\|.:=@~0aA_",
    *(
        "a\n",
        "a ",
        "0\n",
        "0.1s ",
        "NO NO ",
        "a.",
        "a/",
        "a-",
        "a=",
        "```\n",
        "...",
        "\n ",
        "\u2028",
        "\x1b[",
    ),
)
MARKUP = (
    "~~~\n",
    "```a\n",
    "<think>",
    "[{",
    '{"a":',
    "@@ ",
    "--- a\n+++ b\n",
    "### a.py\n```\n",
    "<tool_call>",
    "a.",
)
CALLS = ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
ANCHORED = ("match", "fullmatch")


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after some seconds of this process's own time, not of the clock."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took over {seconds} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, stop)
    gc.disable()  # it takes as long as other tests have left objects, and swallows what is raised in it
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()
        signal.signal(signal.SIGVTALRM, before)


def patterns(value: Any, depth: int = 0) -> Iterator[re.Pattern[Any]]:
    """Yield the patterns in a global, which may be a table of them."""
    if isinstance(value, re.Pattern):
        yield value
    elif depth < 3 and isinstance(value, (tuple, list, set, frozenset)):
        for item in value:
            yield from patterns(item, depth + 1)
    elif depth < 3 and isinstance(value, dict):
        yield from patterns(list(value.values()), depth + 1)


def written_in_calls(path: Path) -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Yield the function and the pattern of each `re.function("pattern")`, `abc` for what is put into it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
            module, function = node.func.value, node.func.attr
            if not (isinstance(module, ast.Name) and module.id == "re" and node.args):
                continue
            match node.args[0]:
                case ast.Constant(value=str() | bytes() as text):
                    pass
                case ast.JoinedStr(values=values):
                    parts = (part.value if isinstance(part, ast.Constant) else "abc" for part in values)
                    text = "".join(map(str, parts))
                case _:
                    continue
            yield function, re.compile(text, re.MULTILINE if "re.M" in ast.unparse(node) else 0)


@cache
def all_patterns(folder: str) -> dict[tuple[Any, int, bool], str]:
    """Return the patterns of a folder with the place of each. The last key is true for those of a start."""
    places: dict[tuple[Any, int, bool], str] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if "demo" in path.parts or name in PROGRAMS:
            continue
        for key, value in vars(importlib.import_module(name)).items():
            for pattern in patterns(value):
                places.setdefault((pattern.pattern, pattern.flags, False), f"{name}.{key}")
        for function, pattern in written_in_calls(path):
            if function != "compile":
                places.setdefault((pattern.pattern, pattern.flags, function in ANCHORED), name)
    return places


def attacks(pattern: str) -> Iterator[str]:
    """Yield runs of single characters, and of the words of a pattern with what may be repeated after them."""
    for unit in UNITS:
        run = unit * (RUN // len(unit) // 2)
        yield f"{run}\x01\n{run}`"
    plain = re.sub(r"\\([^\w])|\\.|\(\?[^:)]*[:)]?|[?*+^$]", r"\1", pattern)
    words = dict.fromkeys(re.findall(r"[\w@<>./:#-]{2,}[ (]?", plain))
    for word in list(words)[:8]:
        yield from (f"{word}{fill}" * (RUN // (len(word) + len(fill))) for fill in ("", " a"))
        yield "".join(f"{word}{fill * (RUN // 3)}\x01\n" for fill in ("a", " ", "0"))


def count(pattern: re.Pattern[Any], text: Any) -> int:
    return sum(1 for _ in pattern.finditer(text))


@cache
def slowness() -> float:
    """Return how many times longer a fixed piece of work takes here than it took where limits were set."""

    def seconds() -> float:
        began = time.process_time()
        for _ in range(5):
            re.sub(r"(a+)b|[^ab]", r"\1", "aaaa b\n" * 20_000)
            "".join(reversed(("ab " * 100_000).split()))
        return time.process_time() - began

    return max(1.0, min(seconds() for _ in range(3)) / UNIT_SECONDS)


def seconds_of(work: Callable[[], object], limit: float) -> float | None:
    """Return the CPU seconds of some work on a quiet machine, None if it took too long three times."""
    for attempt in range(3):
        if attempt:
            slowness.cache_clear()  # other work may have begun on this machine
        began = time.process_time()
        with suppress(TimeoutError), cpu_limit(limit * slowness()):
            with suppress(*REFUSALS):
                work()
            return (time.process_time() - began) / slowness()
    return None


def is_slow(work: Callable[[], object], seconds: float) -> bool:
    """Return whether some work takes too long three times, because anything may happen once."""
    return seconds_of(work, seconds) is None


def is_slow_on(read: Callable[[str], object], unit: str) -> bool:
    """Return whether a megabyte of one unit takes too long. Smaller texts often tell already."""
    before = None
    for size in SIZES:
        seconds = seconds_of(partial(read, unit * (size // len(unit))), READER_SECONDS)
        if seconds is None:
            return True
        rest = MEGABYTE / size
        linear = before is not None and seconds < STEADY * before * 4
        if seconds * rest * (STEADY if linear else rest) < READER_SECONDS:
            return False
        before = seconds
    return False


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_pattern_takes_linear_time(folder: str) -> None:
    slow = []
    for (source, flags, anchored), place in all_patterns(folder).items():
        compiled = re.compile(source, flags)
        binary = isinstance(source, bytes)
        texts = attacks(source.decode("latin-1") if binary else source)
        for text in texts:
            data: Any = text.encode("latin-1", "replace") if binary else text
            if is_slow(
                partial(compiled.fullmatch if anchored else partial(count, compiled), data), CPU_SECONDS
            ):
                slow.append(f"{place}: {source!r} on {text[:20]!r}…")
                break
    assert slow == []


@pytest.mark.parametrize("name", READERS)
def test_every_reader_takes_linear_time(name: str) -> None:
    units = [*UNITS, *MARKUP]
    runs = [unit * (MEGABYTE // len(units) // len(unit)) for unit in units]
    texts = ["\n".join(runs), "\n".join(reversed(runs))]
    slow = [text[:20] for text in texts if is_slow(partial(READERS[name], text), READER_SECONDS)]
    slow += [repr(unit) for unit in units if is_slow_on(READERS[name], unit)]
    assert slow == []


@pytest.mark.parametrize(
    "glob",
    [
        "*a" * 90 + "b",
        "a*" * 4 + "b",
        "**/a/" * 39 + "b",
        "**/*a*a*b/" * 18,
        "{a,b}*" * 6 + "c",
        "a*?*" * 40 + "/b",
    ],
)
@pytest.mark.parametrize("path", ["a" * 4_000, "a/" * 2_000, "ab" * 2_000, "aaaaaaaab/" * 400])
def test_patterns_of_repositories_match_in_linear_time(glob: str, path: str) -> None:
    options = PytestOptions(files=(glob,), norecursedirs=(glob,))
    policy = Policy.read({f"git_push:{glob}": "deny"}, "a file")
    call = read_tool_call("git_push", {"branch": path[:200].strip("/")})

    def match() -> None:
        matches(path, glob)
        Ignore({".gitignore": glob.encode()}.get).ignores(path[:250])
        options.is_test(f"{path}.py")
        options.skips(path)
        policy.rule(call)

    assert not is_slow(match, READER_SECONDS)


@pytest.mark.parametrize("lines", ["\n", "x\n", "--- a\n+++ b\n", " ...\n", "-\n\n", "```\n", "+a\n\n"])
def test_a_hunk_whose_lines_are_in_doubt_takes_linear_time(lines: str) -> None:
    diff = f"--- a/a.py\n+++ b/a.py\n@@ -1,9 +1,9 @@\n a\n-b\n+c\n{lines * 20_000}x\n"
    assert not is_slow(partial(apply_patch, {"a.py": "a\nb\n"}, diff), READER_SECONDS)
