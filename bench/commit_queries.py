"""Queries for `bench/retrieval.py`, made of the history of public repositories, and plain BM25 beside ours.

Commit subjects: the subject is the query, and the source files that the commit changed are what a search must
find in the tree before it. Plans: a step that names a function of such a file. The search must show its
definition first, and then the files that use it. Trees hold sources without tests, documents and history.
"""

import json
import math
import os
import random
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pygit2

from tools.workspace.history import past_changes

DEVELOPED_ON = {
    "Textualize/rich", "Textualize/textual", "aio-libs/aiohttp", "expressjs/express", "fastapi/typer",
    "hynek/structlog", "langchain-ai/langgraph", "marshmallow-code/marshmallow", "mkdocs/mkdocs",
    "pallets/click", "pallets/jinja", "pallets/werkzeug", "pytest-dev/pytest", "simonw/sqlite-utils",
}  # fmt: skip
HELD_OUT = {
    "encode/starlette", "fastify/fastify", "gin-gonic/gin", "lark-parser/lark", "pypa/packaging",
    "python-attrs/attrs", "python-poetry/poetry-core", "python-trio/trio", "scrapy/scrapy",
    "sdispater/pendulum", "urllib3/urllib3",
}  # fmt: skip
FOREIGN = (
    "quantum blockchain", "bake sourdough bread with rye flour", "translate the poem into Swedish",
    "kubernetes ingress certificate rotation", "stripe payment refund webhook",
    "patient blood pressure records",
)  # fmt: skip
"""Queries about something that none of these repositories has."""

_SUFFIXES = {"expressjs/express": ".js", "fastify/fastify": ".js", "gin-gonic/gin": ".go"}
_ASIDE = re.compile(
    r"(^|/)(tests?|testing|benchmarks?|examples?|docs?|docs_src|evals?|scripts?|types|\.github)/"
    r"|(^|/)(test_[^/]*|[^/]*_test|conftest|setup|_version|__version__|version)\.\w+$|\.test\.\w+$",
    re.IGNORECASE,
)
_CHORE = re.compile(
    r"\b(bump|releas\w*|merge|revert|typos?|changelog|lint\w*|format\w*|black|ruff|mypy|pyupgrade|copyright"
    r"|flake8|isort|pre-commit|version|deps|dependenc\w+|spelling|coverage|pylint|cleanup|whitespace|docs?)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^(\[[^]]*\]\s*)+|^\w+(\([^)]*\))?!?:\s+|\s*\(?(#|gh-)\d+\)?\.?$", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_COMMITS = 2_500


@dataclass(frozen=True)
class Sought:
    """A query, the tree to search, and the files to find."""

    repo: str
    parent: str
    text: str
    gold: frozenset[str]


def load(path: Path) -> list[Sought]:
    """Read queries from JSON Lines of repo, parent, query and gold."""
    rows = map(json.loads, path.read_text().splitlines())
    return [Sought(row["repo"], row["parent"], row["query"], frozenset(row["gold"])) for row in rows]


def subjects(clones: Path, repo: str, count: int) -> list[Sought]:
    """Return some commit subjects of a repository, none if it is not there. The choice is always the same."""
    if not (clone := _clone(clones, repo)):
        return []
    form = "--format=%x00%P%x01%s"
    log = _git(clone, "log", "--no-merges", f"-n{_COMMITS}", "--name-status", "--no-renames", form)
    chosen = dict[str, Sought]()
    for block in log.split("\0")[1:]:
        head, _, rest = block.partition("\n")
        parents, _, subject = head.partition("\1")
        files = [line.split("\t", 1) for line in rest.splitlines() if "\t" in line]
        sources = [(status, path) for status, path in files if _is_source(repo, path)]
        text = _LABEL.sub("", subject).strip(" `.")
        edits = 1 <= len(sources) <= 3 and all(status == "M" for status, _ in sources)
        tells = 4 <= len(text.split()) <= 16 and not _CHORE.search(subject)
        if edits and tells and parents:
            gold = frozenset(path for _, path in sources)
            chosen.setdefault(text.lower(), Sought(repo, parents, text, gold))
    return random.Random(repo).sample(list(chosen.values()), min(count, len(chosen)))


def tree_of(sought: Sought, clones: Path, trees: Path) -> Path:
    """Write the sources of the tree before a commit, unless they are there."""
    target = trees / f"{sought.repo.replace('/', '+')}@{sought.parent[:10]}"
    if target.is_dir():
        return target
    clone, partial = _clone(clones, sought.repo), target.with_suffix(".tmp")
    if clone is None:
        raise SystemExit(f"{clones} has no clone of {sought.repo}")
    partial.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GIT_INDEX_FILE": str(partial.with_suffix(".index").absolute())}
    git = ["git", f"--git-dir={clone.absolute()}", f"--work-tree={partial.absolute()}"]
    subprocess.run([*git, "read-tree", sought.parent], env=env, check=True)
    listed = subprocess.run([*git, "ls-files", "-z"], env=env, check=True, capture_output=True, text=True)
    wanted = "\0".join(path for path in listed.stdout.split("\0") if path and _is_source(sought.repo, path))
    subprocess.run(
        [*git, "checkout-index", "-z", "--stdin", "-f"], input=wanted, text=True, env=env, check=True
    )
    os.unlink(env["GIT_INDEX_FILE"])
    partial.rename(target)
    return target


def history_of(sought: Sought, clones: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return subjects and changed paths of the commits before a commit, as runs read them."""
    return past_changes(pygit2.Repository(str(_clone(clones, sought.repo))), sought.parent)


def plan(sought: Sought, texts: Mapping[str, str]) -> tuple[str, str, frozenset[str]] | None:
    """Return a plan's step for a commit, the file that defines the function it names, and those that use it.

    None if no function of the changed files is defined once and used elsewhere.
    """
    for path in sorted(sought.gold & texts.keys()):
        for name in re.findall(r"^\s*(?:async )?(?:def|function|func) (\w{4,})", texts[path], re.MULTILINE):
            word = re.compile(rf"(?<![\w$]){name}(?![\w$])")
            defined = re.compile(rf"(def|function|func|class) {name}\b")
            users = frozenset(other for other, text in texts.items() if name in text and word.search(text))
            if len(users) > 1 and sum(bool(defined.search(texts[user])) for user in users) == 1:
                return f"Change `{name}` as the task asks: {sought.text}", path, users - {path}
    return None


def texts_of(tree: Path) -> dict[str, str]:
    """Return the text of each file of a tree."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    return {path.relative_to(tree).as_posix(): path.read_text(errors="replace") for path in files}


def bm25(texts: Mapping[str, str], query: str, k1: float = 1.5, b: float = 0.75) -> list[str]:
    """Rank whole files by BM25 over their words in lower case, as they are written."""
    counts = {path: Counter(_WORD.findall(text.lower())) for path, text in texts.items()}
    lengths = {path: sum(count.values()) for path, count in counts.items()}
    mean = sum(lengths.values()) / max(len(lengths), 1) or 1.0
    scores = defaultdict[str, float](float)
    for word in _WORD.findall(query.lower()):
        holding = [path for path, count in counts.items() if word in count]
        rarity = math.log(1 + (len(counts) - len(holding) + 0.5) / (len(holding) + 0.5))
        for path in holding:
            times, norm = counts[path][word], k1 * (1 - b + b * lengths[path] / mean)
            scores[path] += rarity * times * (k1 + 1) / (times + norm)
    return sorted(scores, key=lambda path: (-scores[path], path))


def figures(ranked: list[str], gold: frozenset[str]) -> Iterator[float]:
    """Yield recall at 1, 5 and 10, and the reciprocal rank of the first file to find."""
    yield from (len(gold.intersection(ranked[:k])) / len(gold) for k in (1, 5, 10))
    yield next((1 / rank for rank, path in enumerate(ranked[:10], 1) if path in gold), 0.0)


def _is_source(repo: str, path: str) -> bool:
    return path.endswith(_SUFFIXES.get(repo, ".py")) and not _ASIDE.search(path)


def _clone(clones: Path, repo: str) -> Path | None:
    name = repo.replace("/", "+")
    places = (clones / name / "repo", clones / name / ".git", clones / name)
    return next((place for place in places if place.is_dir()), None)


def _git(clone: Path, *arguments: str) -> str:
    command = ["git", f"--git-dir={clone}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout
