"""The policy on tools: rules for tools and for patterns, and the stricter rules of a repository."""

from typing import Any

import pytest

from tools.catalogue import read_call
from tools.policy import Policy, PolicyError, decide, repository_policy

INSTALL = ("pip_install", {"packages": ["requests>=2"]})
BOTH = ("pip_install", {"packages": ["requests", "evil"]})
PUSH: Any = ("git_push", {"branch": "main"})


@pytest.mark.parametrize(
    ("call", "user", "repository", "permission"),
    [
        (("ls", {}), {}, {}, "allow"),
        (("rm", {"paths": ["a"]}), {}, {}, "allow"),
        (PUSH, {}, {}, "ask"),
        (PUSH, {"git_push": "allow"}, {}, "allow"),
        (PUSH, {"git_push": "allow", "git_push:* main": "deny"}, {}, "deny"),
        (PUSH, {"git_push": "deny", "git_push:origin *": "allow"}, {}, "allow"),
        (INSTALL, {"pip_install:requests": "allow"}, {}, "allow"),
        (BOTH, {"pip_install:requests": "allow"}, {}, "ask"),
        (BOTH, {"pip_install:requests": "allow", "pip_install:ev*": "deny"}, {}, "deny"),
        (BOTH, {"pip_install": "deny", "pip_install:requests": "allow"}, {}, "deny"),
        (("rm", {"paths": ["docs/a", "b"]}), {"rm:docs/*": "ask"}, {}, "ask"),
        (("pwd", {}), {"pwd": "deny"}, {}, "deny"),
        # Names are compared as they are meant
        (INSTALL, {"pip_install:Requests": "deny"}, {}, "deny"),
        (("pip_install", {"packages": ["my_pkg"]}), {"pip_install:My.Pkg": "deny"}, {}, "deny"),
        (
            ("pip_install", {"packages": ["a-b"]}),
            {"pip_install:a_b": "deny", "pip_install:A-B": "allow"},
            {},
            "deny",
        ),
        (("rm", {"paths": ["app/[id].tsx"]}), {"rm:app/[id].tsx": "deny"}, {}, "deny"),
        (("rm", {"paths": ["app/i.tsx"]}), {"rm:app/[id].tsx": "deny"}, {}, "allow"),
        (("rm", {"paths": ["ab"]}), {"rm:a?": "deny"}, {}, "allow"),
        # A call on a folder is one on what is in it, also for want of a parameter
        (("rm_rf", {"paths": ["docs"]}), {"rm_rf:docs/*": "deny"}, {}, "deny"),
        (("rm_rf", {"paths": ["a"]}), {"rm_rf:a/b/secret.txt": "ask"}, {}, "ask"),
        (("mv", {"source": "a", "target": "docs"}), {}, {"mv:docs/*": "deny"}, "deny"),
        (("rm_rf", {"paths": ["doc"]}), {"rm_rf:docs/*": "deny"}, {}, "allow"),
        (("rm_rf", {"paths": ["docs"]}), {"rm_rf": "ask", "rm_rf:docs/*": "allow"}, {}, "ask"),
        (("git_diff", {}), {"git_diff:keys/*": "deny"}, {}, "deny"),
        (("git_diff", {"paths": ["."]}), {"git_diff:keys/*": "deny"}, {}, "deny"),
        (("git_push", {}), {"git_push": "allow", "git_push:origin *": "deny"}, {}, "deny"),
        (("git_push", {}), {"git_push:origin autocode/*": "allow"}, {}, "allow"),
        # A repository
        (PUSH, {}, {"git_push": "allow"}, "ask"),
        (PUSH, {"git_push": "allow"}, {"git_push": "ask"}, "ask"),
        (PUSH, {"git_push": "deny"}, {"git_push": "allow", "git_push:*": "allow"}, "deny"),
        (("ls", {}), {}, {"ls": "deny"}, "deny"),
    ],
)
def test_the_strictest_rule_counts(
    call: tuple[str, Any], user: Any, repository: Any, permission: str
) -> None:
    ruling = decide(read_call(*call), Policy.read(user, "mine"), Policy.read(repository, "theirs"))
    assert ruling.permission == permission, ruling.reason


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[policy]\ngit_psh = 'deny'", "'git_psh' names no tool"),
        ("[policy]\ngit_push = 'never'", "write allow, ask or deny"),
        (
            "[policy]\n'pip_install:requests>=2' = 'deny'",
            "matches no call; write the name of a package alone",
        ),
        ("policy = 3", "write allow, ask or deny"),
        ("[policy", "not usable TOML"),
        ("a = " + "[" * 10_000, "not usable TOML"),
        ("[policy]\n" + "\n".join(f"'ls:{n}' = 'deny'" for n in range(1000)), "at most 200"),
        ("[policy]\n'ls:" + "*" * 1000 + "' = 'deny'", "at most 300"),
    ],
)
def test_a_policy_that_cannot_be_read_is_an_error(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        repository_policy(text, ".autocode.toml")


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ("git_push", False),
        ("git_push:*", False),
        ("git_push:origin m*", False),
        ("git_push:origin main", True),
        ("git_push:* main", True),
    ],
)
def test_a_rule_with_any_branch_names_none(rule: str, named: bool) -> None:
    ruling = decide(read_call(*PUSH), Policy.read({rule: "allow"}, "mine"), Policy())
    assert (ruling.permission, ruling.named) == ("allow", named)


def test_a_repository_without_a_policy_has_no_rules() -> None:
    assert repository_policy(None, "x").rule(read_call("git_push", {})) is None
    assert repository_policy("[test]\ncommand = 'x'", "x").rule(read_call("git_push", {})) is None
