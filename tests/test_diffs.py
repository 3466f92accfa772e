"""Changes as agents read them: with the definitions around each hunk, and applicable all the same."""

import random
import subprocess
from pathlib import Path

import pytest
from gitrepo import GitRepo

from nodes.dialogue.diffs import failing_lines, lines_shown, shown_change
from tools.workspace import Workspace

FUNCTION = "def part_{n}(text):\n    lines = text.split()\n    lines.sort()\n    return lines[{n}:]\n"
LONG = "def long(text):\n" + "".join(f"    text += str({n})\n" for n in range(200)) + "    return text\n"


def shown(repo: GitRepo, before: dict[str, str], after: dict[str, str], tokens: int = 5_000) -> str:
    base, head = repo.commit({**before}), repo.commit({**after})
    repo.git("checkout", "-q", base)
    return shown_change(Workspace.open(repo.path), base, head, tokens)


def applied(repo: GitRepo, diff: str, path: str) -> str:
    subprocess.run(["git", "apply", "-"], cwd=repo.path, input=diff.encode(), check=True)
    return (repo.path / path).read_bytes().decode()


def test_a_hunk_shows_the_function_around_it_and_no_other(tmp_path: Path) -> None:
    text = "\n\n\n\n".join(FUNCTION.format(n=n) for n in range(9))
    diff = shown(GitRepo(tmp_path), {"a.py": text}, {"a.py": text.replace("lines[4:]", "lines[:4]")})
    assert " def part_4(text):\n" in diff and "+    return lines[:4]\n" in diff
    assert "part_3" not in diff and "part_5" not in diff


def test_of_a_long_function_the_lines_around_are_shown_under_its_name(tmp_path: Path) -> None:
    diff = shown(GitRepo(tmp_path), {"a.py": LONG}, {"a.py": LONG.replace("str(99)", "repr(99)")})
    assert "@@ long\n" in diff and len(diff.splitlines()) < 30


def test_without_room_the_hunks_stay_short(tmp_path: Path) -> None:
    after = LONG.replace("str(99)", "repr(99)")
    diff = shown(GitRepo(tmp_path), {"a.py": LONG}, {"a.py": after}, 110)
    assert "+    text += repr(99)\n" in diff and len(diff) < 400 and "left out" not in diff


@pytest.mark.parametrize("seed", range(25))
def test_a_widened_change_still_applies(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # the same texts in every run
    end = chance.choice(["", "\n"])
    parts = [FUNCTION.format(n=n) for n in range(12)] + [LONG, "class A:\n    def f(self): ...\n    x = 1\n"]
    lines = "\n".join(chance.sample(parts, len(parts))).split("\n")
    changed = list(lines)
    for _ in range(chance.randrange(1, 9)):
        place = chance.randrange(len(changed))
        changed[place : place + chance.randrange(4)] = [f"new_{n} = {n}" for n in range(chance.randrange(3))]
    before, after = "\n".join(lines) + end, "\n".join(changed) + chance.choice(["", "\n"])
    repo = GitRepo(tmp_path)
    diff = shown(repo, {"a.py": before}, {"a.py": after})
    assert applied(repo, diff, "a.py") == after if diff else before == after
    for number, line in enumerate(after.split("\n"), 1):
        if f"\n+{line}\n" in diff and after.split("\n").count(line) == 1:
            assert any(number in place for place in lines_shown(diff)["a.py"])


def test_failing_lines_are_those_that_the_change_does_not_show() -> None:
    output = (
        'tests/test_a.py:12: AssertionError\n  File "/workspace/src/a.py", line 3, in f\n'
        "/workspace/src/a.py:40: in g\nsrc/a.py:40: again\nelsewhere/b.py:7: in h\n/usr/src/a.py:9: in i\n"
    )
    change = "--- a/src/a.py\n+++ b/src/a.py\n@@ -1,4 +1,5 @@\n a\n"
    found = failing_lines(output, {"tests/test_a.py", "src/a.py"}, change)
    assert found == {"tests/test_a.py": [range(12, 13)], "src/a.py": [range(40, 41)]}
