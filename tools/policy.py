"""The policy on tools: which calls are allowed, which ask a human, and which are denied."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from memory.validation import read_toml
from tools.catalogue import TOOLS, Effect, PlanTool
from tools.catalogue.mcp_call import PREFIX
from tools.catalogue.tool import faults_in_words

Permission = Literal["allow", "ask", "deny"]

DEFAULTS: dict[Effect, Permission] = {"read": "allow", "sandboxed": "allow", "outside": "ask"}

_REASONS: dict[Effect, str] = {
    "read": "it only reads",
    "sandboxed": "it stays in the sandbox",
    "outside": "tools that reach outside of the sandbox ask by default",
}
_STRICTNESS: dict[Permission, int] = {"allow": 0, "ask": 1, "deny": 2}
_MOST_RULES, _LONGEST_RULE = 1_000, 500
_SPECIAL = re.compile(r"[?\[]")
_Rules = Annotated[dict[Annotated[str, Field(max_length=300)], Permission], Field(max_length=200)]
_RULES: TypeAdapter[dict[str, Permission]] = TypeAdapter(_Rules)


class PolicyError(ValueError):
    """A policy cannot be read. The message says where, and what to write."""


@dataclass(frozen=True)
class Ruling:
    """The policy's answer to one call. `named` is true if rules name its very subjects, without a `*`."""

    permission: Permission
    reason: str
    named: bool = False


@dataclass(frozen=True)
class _Rule:
    """A rule under the name that its author gave it. One for a whole tool has no pattern."""

    name: str
    tool: str
    pattern: str
    permission: Permission

    def rank(self) -> int:
        return _STRICTNESS[self.permission]


@dataclass(frozen=True)
class Policy:
    """Rules by `tool` or `tool:pattern`, where `*` in a pattern stands for any text.

    `mcp__server__*` is a rule for all tools of an MCP server. A rule for one of them by name wins over it.

    A pattern is compared with each subject of a call, such as a package or `origin main`. Rules with a
    pattern win over those of the whole tool, and the strictest of them counts. Rules that ask or deny also
    cover a call on a folder above what they name. `source` names the file.
    """

    rules: Mapping[str, Permission] = field(default_factory=dict)
    source: str = "the policy"

    @classmethod
    def read(cls, value: Any, source: str) -> Self:
        """Read a table of rules. Raises PolicyError, also for a tool that does not exist."""
        try:
            rules = _RULES.validate_python(value)
        except ValidationError as error:
            problem = f"[policy] in {source}: {faults_in_words(error)}"
            raise PolicyError(f"{problem}; write allow, ask or deny") from error
        # A misspelt name would leave a tool without the rule that somebody relies on.
        if len(rules) > _MOST_RULES or any(len(rule) > _LONGEST_RULE for rule in rules):
            raise PolicyError(
                f"[policy] in {source}: it has more than {_MOST_RULES} rules, or one of over {_LONGEST_RULE} "
                "characters; write fewer and shorter ones, with `*` where they are alike"
            )
        for rule in rules:
            tool, _, pattern = rule.partition(":")
            if tool not in TOOLS and not tool.startswith(PREFIX):
                names = ", ".join(TOOLS)
                raise PolicyError(f"[policy] in {source}: {rule!r} names no tool; the tools are {names}")
            try:
                TOOLS.get(tool, PlanTool).as_subject(pattern)
            except ValueError as error:
                raise PolicyError(f"[policy] in {source}: {rule!r} matches no call; {error}") from error
        return cls(rules, source)

    @cached_property
    def _patterns(self) -> list[_Rule]:
        rules = ((name, *name.partition(":"), permission) for name, permission in self.rules.items())
        return [
            _Rule(name, tool, TOOLS.get(tool, PlanTool).as_subject(pattern), permission)
            for name, tool, colon, pattern, permission in rules
            if colon
        ]

    def _whole(self, name: str) -> _Rule | None:
        """Return the rule for a whole tool: its own, else the strictest that covers it."""
        names = [name] if name in self.rules else [tool for tool in self.rules if _covers(tool, name)]
        return max((_Rule(tool, tool, "", self.rules[tool]) for tool in names), key=_Rule.rank, default=None)

    def rule(self, call: PlanTool) -> Ruling | None:
        """Return what the rules say about a call, or None if no rule is about it."""
        whole = self._whole(call.name)
        patterns = [rule for rule in self._patterns if _covers(rule.tool, call.name)]
        matches = [_matches(patterns, subject) for subject in call.subjects() or [""]]
        if whole is None and not any(matches):
            return None
        rest = whole or _Rule(call.name, call.name, "", DEFAULTS[call.effect])
        strictest = max((max(match, key=_Rule.rank, default=rest) for match in matches), key=_Rule.rank)
        named = all(any("*" not in rule.pattern.split(" ")[-1] for rule in match) for match in matches)
        reason = f"{self.source}: {strictest.name} = {strictest.permission}"
        return Ruling(strictest.permission, reason, named)


def decide(call: PlanTool, user: Policy, *repository: Policy) -> Ruling:
    """Return the ruling on a call. The repository's rules can only make the user's stricter."""
    mine = user.rule(call) or Ruling(DEFAULTS[call.effect], _REASONS[call.effect])
    theirs = filter(None, (policy.rule(call) for policy in repository))
    # A hostile repository must not be able to allow itself a push. Of equals, the user's comes first.
    return max((mine, *theirs), key=lambda ruling: _STRICTNESS[ruling.permission])


def repository_policy(text: str | None, source: str) -> Policy:
    """Return the table `[policy]` of a repository's own file. Raises PolicyError."""
    try:
        table = read_toml(text or "").get("policy", {})
    except ValueError as error:
        raise PolicyError(f"{source} is not usable TOML: {str(error)[:200]}") from error
    return Policy.read(table, source)


def _covers(tool: str, name: str) -> bool:
    """Return whether a rule's tool is the one of a name. `mcp__server__*` stands for all of a server."""
    return tool == name or (tool.startswith(PREFIX) and _fits(name, tool))


def _matches(patterns: list[_Rule], subject: str) -> list[_Rule]:
    """Return the rules that are about a subject."""
    return [
        rule
        for rule in patterns
        if _fits(subject, rule.pattern) or (rule.permission != "allow" and _is_above(subject, rule.pattern))
    ]


def _fits(text: str, pattern: str) -> bool:
    # Only `*` is special in a pattern: paths may hold the others, as `[id].tsx` does.
    return fnmatchcase(text, _SPECIAL.sub(r"[\g<0>]", pattern))


def _is_above(subject: str, pattern: str) -> bool:
    """Return whether a call on `subject` includes what a pattern names. Without one, it is on everything."""
    return subject in ("", ".") or pattern.startswith(f"{subject}/")
