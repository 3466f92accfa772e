"""The scripts of package.json: what `npm test` comes to."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

Words = tuple[str, ...]
"""The words of a simple command, as the shell reads them, quotes included."""

_TOKEN = re.compile(r"""\s{0,9}(&&|[&|;<>()`]|(?:[^\s'"\\&|;<>()`]|\\.|'[^']*'|"(?:[^"\\`]|\\.)*")+)""")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_NO_TEST = re.compile(r"no tests? (?:specified|yet)", re.IGNORECASE)
_MANAGERS = ("npm", "yarn", "pnpm", "bun")
_DEEPEST = 5
_LONGEST = 10_000
_MOST_PARTS = 50


@dataclass
class Chain:
    """The commands that a script comes to, in their order: words, or text that only a shell understands.

    `reached` names the scripts that were looked up.
    """

    parts: list[Words | str] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Package:
    """A package.json that can be read."""

    table: dict[str, Any]

    @classmethod
    def read(cls, text: str | None) -> "Package | None":
        """Return the package, None if there is none or it is broken."""
        try:
            table = json.loads(text) if text is not None else None
        except (ValueError, RecursionError):
            return None
        return cls(table) if isinstance(table, dict) else None

    @property
    def scripts(self) -> dict[str, str]:
        """The scripts that are text."""
        scripts = self.table.get("scripts")
        pairs = scripts.items() if isinstance(scripts, dict) else ()
        return {name: text for name, text in pairs if isinstance(text, str)}

    @property
    def tests(self) -> bool:
        """True if there is a script `test` that is more than npm's placeholder."""
        text = self.scripts.get("test", "")
        return bool(text.strip()) and not _NO_TEST.search(text)

    def needs(self, name: str) -> bool:
        """Return whether a package is among the dependencies."""
        tables = (self.table.get(key) for key in ("devDependencies", "dependencies", "peerDependencies"))
        return any(isinstance(table, dict) and name in table for table in tables)

    def chain(self, words: Sequence[str]) -> Chain:
        """Return what a command line comes to, with the scripts that it runs by name."""
        chain = Chain()
        self._follow(tuple(words), chain, 0)
        return chain

    def _follow(self, words: Words, chain: Chain, depth: int) -> None:
        env, rest = split_env(words)
        called = script_name(rest)
        if called is None or called[0] not in self.scripts or depth > _DEEPEST:
            chain.parts.append(words)
            return
        if env:
            inner = Chain(reached=chain.reached)
            self._follow(rest, inner, depth)
            chain.parts += [words if isinstance(part, str) else (*env, *part) for part in inner.parts]
            return
        name, more = called
        if len(chain.parts) > _MOST_PARTS:
            return
        for each, extra in ((f"pre{name}", ()), (name, more), (f"post{name}", ())):
            text = self.scripts.get(each, "")
            if not text.strip():
                continue
            chain.reached.add(each)
            commands = split(text)
            if commands is None:
                chain.parts.append(f"( {text} )")
                continue
            commands[-1] += extra
            for command in commands:
                self._follow(command, chain, depth + 1)


def split(text: str) -> list[Words] | None:
    """Return the commands that `&&` joins in a script, None if it needs more of a shell."""
    commands: list[Words] = [()]
    at = 0
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or token[1] in "&|;<>()`" or "$(" in token[1]:
            return None
        at = token.end()
        if token[1] == "&&":
            commands.append(())
        else:
            commands[-1] += (token[1],)
    return commands if all(commands) else None


def bare(word: str) -> str:
    """Return a word without its quotes."""
    try:
        return "".join(shlex.split(word))
    except ValueError:
        return word


def program(word: str) -> str:
    """Return the name of a program without its folder."""
    return PurePosixPath(bare(word)).name


def is_assignment(word: str) -> bool:
    """Return whether a word sets a variable of the environment."""
    return bool(_ASSIGNMENT.match(word))


def split_env(words: Words) -> tuple[Words, Words]:
    """Return the variables that a command sets, also through `cross-env`, and the rest of its words."""
    env: Words = ()
    while words and (is_assignment(words[0]) or program(words[0]) in ("env", "cross-env", "cross-env-shell")):
        env += words[:1] if is_assignment(words[0]) else ()
        words = words[1:]
    return env, words


def script_name(words: Words) -> tuple[str, Words] | None:
    """Return the script that a package manager is told to run, with the words handed to it."""
    if not words or program(words[0]) not in _MANAGERS:
        return None
    manager, rest = program(words[0]), [*words[1:]]
    rest = _without_flags(rest)
    ran = rest[:1] in (["run"], ["run-script"])
    if ran:
        rest = _without_flags(rest[1:])
    elif rest[:1] in (["t"], ["tst"]):
        rest = ["test", *rest[1:]]
    elif manager in ("npm", "bun") and rest[:1] != ["test"]:
        return None
    if manager == "bun" and not ran:
        return None  # `bun test` is a runner of its own
    if not rest:
        return None
    more = rest[1:]
    if manager != "yarn":
        more = more[more.index("--") + 1 :] if "--" in more else more if manager == "pnpm" else []
    return bare(rest[0]), tuple(word for word in more if word != "--" or manager == "yarn")


def _without_flags(words: Iterable[str]) -> list[str]:
    """Return words without the manager's own flags at their start."""
    left = [*words]
    while left and left[0].startswith("-") and left[0] != "--":
        left.pop(0)
    return left
