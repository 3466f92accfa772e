"""Literal values out of setup.py, setup.cfg, tox.ini and noxfile.py. None of these files is executed."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sandbox.environment.detection.sources import Sources, join

_TESTING = re.compile(r"(unit[-_]?)?(py)?tests?([-_].*)?|testing|coverage", re.IGNORECASE)
_FACTORS = re.compile(r"^[!\w.,{}-]+:\s+")
_EXTENSIONS = {"Extension", "cythonize", "RustExtension", "Pybind11Extension"}
_EXTRAS = re.compile(r"\.?\[([\w,\s-]+)\]")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,\s-]*\])?\s*([<>=!~@;].*)?")


@dataclass(frozen=True)
class SetupMetadata:
    """The literal metadata of setup.py and setup.cfg together."""

    extras: tuple[str, ...] = ()
    tests_require: tuple[str, ...] = ()
    python_requires: str = ""
    has_extensions: bool = False


def setup_metadata(sources: Sources, folder: str) -> SetupMetadata:
    """Read setup.cfg and the literals of setup.py."""
    extras: dict[str, None] = {}
    tests: list[str] = []
    requires = ""
    config = join(folder, "setup.cfg")
    if config in sources:
        sections = sources.ini(config)
        extras |= dict.fromkeys(sections.get("options.extras_require", {}))
        options = sections.get("options", {})
        tests += _requirements(options.get("tests_require", "").splitlines())
        requires = options.get("python_requires", "").strip()
    script = join(folder, "setup.py")
    tree = sources.python(script) if script in sources else None
    if tree is None:
        return SetupMetadata(tuple(extras), tuple(tests), requires)
    names = _assignments(tree)
    for keyword in setup_keywords(tree):
        value = names.get(keyword.value.id) if isinstance(keyword.value, ast.Name) else keyword.value
        if keyword.arg == "extras_require" and isinstance(value, ast.Dict):
            extras |= dict.fromkeys(filter(None, map(_string, value.keys)))
        elif keyword.arg == "tests_require" and isinstance(value, ast.List | ast.Tuple):
            tests += _requirements(filter(None, map(_string, value.elts)))
        elif keyword.arg == "python_requires":
            requires = requires or _string(value) or ""
    extensions = any(keyword.arg in ("ext_modules", "cffi_modules") for keyword in setup_keywords(tree))
    names_used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    extensions = extensions or bool(names_used & _EXTENSIONS)
    return SetupMetadata(tuple(extras), tuple(tests), requires, extensions)


@dataclass(frozen=True)
class RunnerDependencies:
    """Packages, requirement files, extras and groups that tox or nox installs for the tests."""

    path: str = ""
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.packages or self.files or self.extras or self.groups)


def runner_dependencies(sources: Sources, folder: str) -> RunnerDependencies:
    """Return what tox, or else nox, installs for its test environments, as far as it is literal."""
    return _tox(sources, folder) or _nox(sources, folder)


def _tox(sources: Sources, folder: str) -> RunnerDependencies:
    path, section = join(folder, "tox.ini"), "testenv"
    if path not in sources:
        path, section = join(folder, "setup.cfg"), "tox:testenv"
    if path not in sources:
        return RunnerDependencies()
    values = sources.ini(path).get(section, {})
    words: list[str] = []
    for line in values.get("deps", "").splitlines():
        line = line.partition(" #")[0].strip().replace("{toxinidir}/", "").replace("{tox_root}/", "")
        # A line that holds for some environments only, or that refers to another section, is left out.
        if line and not line.startswith("#") and not _FACTORS.match(line) and "{" not in line:
            words += [line] if not line.startswith("-") else _option(line)
    extras, groups = (_plain(values.get(key, "")) for key in ("extras", "dependency_groups"))
    return _sorted_out(path, folder, sources, words, extras, groups)


def _nox(sources: Sources, folder: str) -> RunnerDependencies:
    path = join(folder, "noxfile.py")
    tree = sources.python(path) if path in sources else None
    words: list[str] = []
    extras: dict[str, None] = {}
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef):
            if not _TESTING.fullmatch(node.name):
                continue
            words += _installed(node)
        extras |= dict.fromkeys(_named_extras(node))
    return _sorted_out(path, folder, sources, words, tuple(extras), ())


def _named_extras(statement: ast.stmt) -> Iterator[str]:
    """Yield the extras in texts such as ".[format]", also where the rest of the text is computed."""
    for node in ast.walk(statement):
        if match := _EXTRAS.fullmatch(_string(node) or "" if isinstance(node, ast.expr) else ""):
            yield from _plain(match[1])


def _installed(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the literal arguments of `session.install(…)`, leaving out computed ones with their options."""
    for node in ast.walk(function):
        if (
            not isinstance(node, ast.Call)
            or not isinstance(node.func, ast.Attribute)
            or node.func.attr != "install"
        ):
            continue
        words = [_string(argument) for argument in node.args]
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word and not (following is None and word.startswith("-")):
                yield word


def _sorted_out(
    path: str,
    folder: str,
    sources: Sources,
    words: list[str],
    extras: tuple[str, ...],
    groups: tuple[str, ...],
) -> RunnerDependencies:
    packages, files, more_extras, more_groups = [], [], list(extras), list(groups)
    waiting = iter(words)
    for word in waiting:
        if word in ("-r", "--requirement"):
            name = next(waiting, "")
            if join(folder, name) in sources:
                files.append(name)
        elif word in ("--group", "--extra"):
            (more_groups if word == "--group" else more_extras).append(next(waiting, ""))
        elif word in ("-e", "--editable", "."):
            word = next(waiting, "") if word != "." else word
        elif word.startswith("-"):
            if word in ("-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links"):
                next(waiting, "")
        elif _REQUIREMENT.fullmatch(word):
            packages.append(word)
        if match := _EXTRAS.fullmatch(word):
            more_extras += _plain(match[1])
    return RunnerDependencies(path, tuple(packages), tuple(files), tuple(more_extras), tuple(more_groups))


def _option(line: str) -> list[str]:
    match = re.fullmatch(r"(-r|--requirement|-c|--constraint|-e|--editable)[ =]*+(.+)", line)
    return [match[1], match[2].strip()] if match else line.split()


def _plain(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[\w.-]+", text))


def _requirements(lines: Iterable[str]) -> list[str]:
    return [line.strip() for line in lines if _REQUIREMENT.fullmatch(line.strip())]


def _assignments(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def setup_keywords(tree: ast.Module) -> Iterator[ast.keyword]:
    """Yield the keywords of each call of `setup`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "setup":
                yield from node.keywords


def _string(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
