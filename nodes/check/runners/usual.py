"""The usual test command of a repository that names none, and the runners of commands that it names."""

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from nodes.check.runners.golang import GoRunner
from nodes.check.runners.javascript import JsRunner
from nodes.check.runners.junit import JUnitRunner
from nodes.check.runners.package_json import Package, Words, split_env
from nodes.check.runners.runner import Read, TestCommand

SUREFIRE = ("**/target/surefire-reports/*.xml", "**/target/failsafe-reports/*.xml")
GRADLE = ("**/build/test-results/**/*.xml",)

_LOCKS = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun run", "bun.lockb": "bun run"}
_OTHER_TOOLS = ("ava", "tap", "tape", "uvu", "jasmine", "karma", "cypress", "@playwright/test", "typescript")
_CONFIG = re.compile(r"(?:vite(?:st)?|jest)\.(?:config|workspace)\.\w+$|\.mocharc(?:\.\w+)?$")
_TEXT = r"""(?:'[^'\n]{1,200}'|"[^"\n]{1,200}"|`[^`\n]{1,200}`)"""
_GLOBS = re.compile(
    rf"""\b(?:testMatch|include|spec)["']?\s*[:=]\s*(\[[^\[\]]{{0,2000}}\]|{_TEXT})""",
)
_LOADED = re.compile(
    rf"""(?:^|[\s"'])(?:-r|--?require|--?import|--?file|setupFiles\w{{0,20}}|globalSetup|globalTeardown)["']?(?:\s{{0,20}}[:=]|\s)\s{{0,20}}"""
    rf"""(\[[^\[\]]{{0,2000}}\]|{_TEXT}|[\w./-]{{1,200}})""",
    re.MULTILINE,
)
_STRING = re.compile(r"[^\s'\"`,\[\]]+")
_EXTENSIONS = ("", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx")
_LONGEST_CONFIG = 100_000


def usual_command(files: Collection[str], read: Read) -> TestCommand | None:
    """Return the usual test command of a project that is not Python's, None if there is none."""
    for path, find in _PROJECTS.items():
        if path in files and (found := find(files, read)):
            return found
    return None


def named_command(
    words: Sequence[str], files: Collection[str], read: Read, reports: Sequence[str] = ()
) -> TestCommand:
    """Return the command that the user wrote, with its runner if its cases can be told apart."""
    command = tuple(words)
    if reports:
        return TestCommand(command, JUnitRunner(command, tuple(reports)))
    env, rest = split_env(command)
    if rest[:2] == ("go", "test"):
        return TestCommand(command, GoRunner.of(rest, env, read("go.mod")))
    assigned = ("=".join((name, shlex.quote(value))) for name, _, value in (w.partition("=") for w in env))
    return TestCommand(command, _javascript((*assigned, *map(shlex.quote, rest)), files, read))


def _javascript(words: Words, files: Collection[str], read: Read) -> JsRunner | None:
    """Return the runner of a command line, with what package.json and its configuration say."""
    package = Package.read(read("package.json")) or Package({})
    runner = JsRunner.of(package.chain(words))
    if runner is None:
        return None
    settings = package.table.get(runner.tool.name)
    texts = [str(settings) if isinstance(settings, dict) else "", " ".join(runner.arguments)]
    texts += [read(path) or "" for path in files if "/" not in path and _CONFIG.match(path)]
    texts = [text[:_LONGEST_CONFIG] for text in texts]
    globs = [glob for text in texts for list in _GLOBS.findall(text) for glob in _STRING.findall(list)]
    named = [path for text in texts for list in _LOADED.findall(text) for path in _STRING.findall(list)]
    paths = {
        f"{path.removeprefix('<rootDir>/').removeprefix('./')}{end}" for path in named for end in _EXTENSIONS
    }
    # A product's files must not be taken for tests, whatever else a configuration includes.
    tests = tuple(dict.fromkeys(glob for glob in globs if re.search(r"test|spec", glob, re.IGNORECASE)))
    return replace(runner, patterns=tests, loaded=frozenset(paths & {*files}))


def _npm(files: Collection[str], read: Read) -> TestCommand | None:
    package = Package.read(read("package.json"))
    if package is None:
        return None
    if package.tests:
        manager = next((name for lock, name in _LOCKS.items() if lock in files), "npm")
        command = (*manager.split(), "test")
        return TestCommand(command, _javascript(command, files, read))
    tool = next((name for name in ("vitest", "jest", "mocha") if package.needs(name)), "")
    if not tool and ("tsconfig.json" in files or any(map(package.needs, _OTHER_TOOLS))):
        return None  # node itself cannot run these
    command = ("npx", "--no-install", tool) if tool else ("node", "--test")
    return TestCommand(command, _javascript(command, files, read))


def _go(files: Collection[str], read: Read) -> TestCommand | None:
    command = ("go", "test", "./...")
    return TestCommand(command, GoRunner.of(command, (), read("go.mod")))


def _maven(files: Collection[str], read: Read) -> TestCommand | None:
    command = ("sh", "./mvnw", "--batch-mode", "test") if "mvnw" in files else ("mvn", "--batch-mode", "test")
    return TestCommand(command, JUnitRunner(command, SUREFIRE))


def _gradle(files: Collection[str], read: Read) -> TestCommand | None:
    command = ("sh", "./gradlew", "test") if "gradlew" in files else ("gradle", "test")
    return TestCommand(command, JUnitRunner(command, GRADLE))


def _ruby(files: Collection[str], read: Read) -> TestCommand | None:
    if any(path.startswith("spec/") for path in files):
        return TestCommand(("bundle", "exec", "rspec"))
    return TestCommand(("bundle", "exec", "rake", "test"))


def _php(files: Collection[str], read: Read) -> TestCommand | None:
    package = Package.read(read("composer.json"))
    if package and isinstance(package.table.get("scripts"), dict) and "test" in package.table["scripts"]:
        return TestCommand(("composer", "test"))
    return TestCommand(("vendor/bin/phpunit",))


def _make(files: Collection[str], read: Read) -> TestCommand | None:
    text = read("Makefile") or ""
    return TestCommand(("make", "test")) if re.search(r"^test[ \t]*:", text, re.MULTILINE) else None


_PROJECTS: Mapping[str, Callable[[Collection[str], Read], TestCommand | None]] = {
    "package.json": _npm,
    "go.mod": _go,
    "Cargo.toml": lambda files, read: TestCommand(("cargo", "test")),
    "pom.xml": _maven,
    "build.gradle": _gradle,
    "build.gradle.kts": _gradle,
    "Gemfile": _ruby,
    "composer.json": _php,
    "Makefile": _make,
}
"""By the file that marks a project, its usual command. Without a runner, its exit code is what it tells."""
