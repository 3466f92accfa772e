"""The definition of a test command: the files that say what it runs."""

import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from memory.validation import read_toml
from nodes.check.base_tests.test_side import TestSide
from nodes.check.runners.package_json import Package, split_env
from nodes.check.suites.build_files import BUILD_FILES, MAKE_FILES
from nodes.check.suites.config import CONFIG
from nodes.check.suites.suite import Suite
from tools.workspace import Workspace

_FILES: Mapping[str, tuple[str, ...]] = {
    **BUILD_FILES,
    **dict.fromkeys(("jest", "vitest", "mocha", "tsx"), ("package.json",)),
    "deno": ("deno.json", "deno.jsonc"),
    **dict.fromkeys(("rake", "bundle", "rspec"), ("Rakefile", ".rspec")),
    "phpunit": ("phpunit.xml", "phpunit.xml.dist"),
    "tox": ("tox.ini",),
    "just": ("justfile", "Justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
}
_DESCRIPTIONS = frozenset(path for paths in _FILES.values() for path in paths)
_RUNNERS = re.compile(
    r"(?:^|/)(?:jest|vitest|karma|playwright|ava|cypress)\.config\.\w+$|(?:^|/)\.mocharc\.\w+$"
)
_KEYS: Mapping[str, tuple[str, ...]] = {
    "package.json": ("scripts", "jest", "mocha", "ava", "vitest"),
    "composer.json": ("scripts",),
    "Cargo.toml": ("lib", "test", "bin", "workspace"),
}
"""By file, the keys that say what a test command runs. The others describe the package."""

_SCRIPT = re.compile(r"(?:\.(?:sh|bash|zsh|mk|bat|ps1)|(?:^|/)[\w-]+)$")
_INTERPRETER = re.compile(r"^(?:python[\d.]*|node|deno|bun|ruby|perl|php|(?:ba|z|da|k)?sh|tsx|ts-node)$")
_CHECKS = re.compile(r"test|spec|check|verify|smoke|validate|suite", re.IGNORECASE)
_READERS = {".", "source", "cat", "include", "xargs"}
_TARGET = re.compile(r"^([\w./-]+(?:[ \t]+[\w./-]+)*)[ \t]*::?(?!=)([^\n]*)", re.MULTILINE)
_WORD = re.compile(r"[\w./-]+")
_MOST = 50


def changed_definition(
    workspace: Workspace, suite: Suite, base: str, head: str, changed: Collection[str]
) -> list[str]:
    """Return the changed files that say what the test command runs."""
    names = {path for path in changed if path == CONFIG and _table_differs(workspace, base, head)}
    if not suite.is_pytest:
        scope = _definition(workspace, suite, (base, head), set(changed))
        names |= {path for path in scope if _differs(workspace, suite, base, head, path)}
    return sorted(names)


def base_definition(
    workspace: Workspace, base: str, head: str, definition: Collection[str]
) -> dict[str, str | bytes | None]:
    """Return the base's version of a changed definition. Other parts of a package's description stay."""
    contents: dict[str, str | bytes | None] = {}
    for path in definition:
        old, new = workspace.read(base, path), workspace.read(head, path)
        if path != CONFIG and (old is not None or new is not None):
            contents[path] = _mixed(path, old, new)
    return contents


def _definition(
    workspace: Workspace, suite: Suite, snapshots: tuple[str, str], changed: set[str]
) -> Iterator[str]:
    """Yield the changed files of the definition: those that the command names, and scripts named by them."""
    words = [word for part in suite.command for word in _WORD.findall(part)]
    descriptions = {name for word in words for name in _FILES.get(PurePosixPath(word).name, ())}
    ahead = {_path(word) for word in words} | descriptions
    ahead |= {path for path in changed if PurePosixPath(path).name in descriptions}
    ahead |= _modules(words, changed) | _stale_targets(workspace, snapshots, changed, descriptions)
    if "package.json" in descriptions:
        ahead |= {path for path in changed if _RUNNERS.search(path)}
    if suite.runner:
        ahead |= set(filter(suite.runner.defines, changed))
    side, seen = TestSide(suite, ahead), set[str]()
    while ahead and len(seen) < _MOST:
        path = min(ahead)
        ahead.discard(path)
        seen.add(path)
        before, after = (workspace.text(snapshot, path) or "" for snapshot in snapshots)
        # A test file is no definition as long as both versions hold tests. The base's version runs as well.
        test = side.is_test(path) and not _SCRIPT.search(path) and before.strip() and after.strip()
        if path in changed and not test:
            yield path
        if PurePosixPath(path).name in _DESCRIPTIONS or _SCRIPT.search(path):
            ahead |= {*_scripts(before), *_scripts(after)} - seen


def _modules(words: list[str], changed: set[str]) -> set[str]:
    """Return the changed files of test programs that the command runs as modules, with `-m`."""
    names = {
        word.replace(".", "/")
        for before, word in pairwise(words)
        if before == "-m" and _CHECKS.search(word) and word not in sys.stdlib_module_names
    }
    return {path for path in changed for name in names if path == f"{name}.py" or path.startswith(f"{name}/")}


def _stale_targets(
    workspace: Workspace, snapshots: tuple[str, str], changed: set[str], descriptions: set[str]
) -> set[str]:
    """Return the changed files by which make takes a target of the base for done already."""
    texts = [workspace.text(snapshots[0], path) or "" for path in MAKE_FILES if path in descriptions]
    rules = [match.groups() for text in texts for match in _TARGET.finditer(text[:200_000])]
    phony = {name for target, names in rules if target == ".PHONY" for name in names.split()}
    targets = {name for target, _ in rules for name in target.split()} - phony
    old = {path.partition("/")[0] for path in workspace.files(snapshots[0])} if targets else set()
    return {path for path in changed for top in [path.partition("/")[0]] if top in targets - old}


def _scripts(text: str) -> Iterator[str]:
    """Yield the scripts that a text names, and test programs that it hands to an interpreter."""
    words = _WORD.findall(text[:200_000])
    for before, word in zip(["", *words], words, strict=False):
        if before in _READERS and word != before:
            yield _path(word)
        if not ("/" in word or "." in word):
            continue
        named = _INTERPRETER.match(PurePosixPath(before).name) and _CHECKS.search(word)
        if named or _SCRIPT.search(word):
            yield _path(word)


def _path(word: str) -> str:
    return str(PurePosixPath(word))


def _differs(workspace: Workspace, suite: Suite, base: str, head: str, path: str) -> bool:
    """Return whether the parts of a file that say what a command runs differ."""
    old, new = workspace.read(base, path), workspace.read(head, path)
    keys = _KEYS.get(PurePosixPath(path).name)
    if keys and old is not None and new is not None:
        before, after = _parsed(path, old), _parsed(path, new)
        if before is not None and after is not None:
            if suite.runner and path == "package.json":
                before, after = (table | {"scripts": _ran(table, suite)} for table in (before, after))
            return any(before.get(key) != after.get(key) for key in keys)
    return old != new


def _ran(table: dict[str, Any], suite: Suite) -> dict[str, str]:
    """Return the scripts of package.json that the suite's command runs."""
    package = Package(table)
    reached = package.chain(split_env(suite.command)[1]).reached
    return {name: text for name, text in package.scripts.items() if name in reached}


def _mixed(path: str, old: bytes | None, new: bytes | None) -> bytes | None:
    """Return the new text with the old commands, where the format allows it."""
    before, after = _parsed(path, old or b""), _parsed(path, new or b"")
    if before is None or after is None or not path.endswith(".json"):
        return old
    keys = _KEYS.get(PurePosixPath(path).name, ())
    kept = {key: value for key, value in after.items() if key not in keys}
    return json.dumps(kept | {key: before[key] for key in keys if key in before}, indent=2).encode()


def _parsed(path: str, data: bytes) -> dict[str, Any] | None:
    try:
        text = data.decode()
        value = json.loads(text) if path.endswith(".json") else read_toml(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _table_differs(workspace: Workspace, base: str, head: str) -> bool:
    old, new = (workspace.read(snapshot, CONFIG) or b"" for snapshot in (base, head))
    before, after = _parsed(CONFIG, old), _parsed(CONFIG, new)
    if before is None or after is None:
        return old != new
    return bool(before.get("test", {}) != after.get("test", {}))
