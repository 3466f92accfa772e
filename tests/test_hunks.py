"""Hunks of a change: what is chosen is exactly what git would apply, and the rest is exactly the rest."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from gitrepo import GitRepo

from tools.workspace import ChangedFile, Outdated, Selection, Workspace, WorkspaceError


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


def changed(repo: GitRepo, base: str, head: str) -> dict[str, ChangedFile]:
    return {file.path: file for file in Workspace.open(repo.path).changed_files(base, head)}


def select(repo: GitRepo, base: str, head: str, files: set[str], **hunks: set[str]) -> str:
    """Return the snapshot with the selected part."""
    workspace = Workspace.open(repo.path)
    chosen = {path: frozenset(ids) for path, ids in hunks.items()}
    all_files = workspace.changed_files(base, head)
    return workspace.select(base, all_files, Selection(frozenset(files), chosen))


def names(repo: GitRepo, base: str, head: str) -> list[str]:
    return repo.git("diff", "--no-renames", "--name-only", base, head).split("\n")


def mutated(lines: list[bytes], dice: random.Random) -> bytes:
    """Return a text with some lines added, deleted and changed."""
    new = []
    for line in lines:
        kind = dice.random()
        new += [] if kind < 0.06 else [b"new", line] if kind < 0.1 else [line]
        if 0.1 < kind < 0.15:
            new[-1] += dice.choice([b"!", b"\r", b"\f", b"@@ -1 +1 @@", b"\\ No newline at end of file"])
    return b"\n".join(new).rstrip(b"\n") + dice.choice([b"", b"\n", b"\n\n"])


@pytest.mark.parametrize("seed", range(20))
def test_chosen_hunks_are_what_git_applies_and_leave_the_rest(repo: GitRepo, seed: int) -> None:
    dice = random.Random(seed)  # no secret
    end = dice.choice([b"", b"\r"])
    old = [b"line %d" % dice.randrange(9) + end for _ in range(dice.choice([1, 30, 300]))]
    base = repo.commit({"f": b"\n".join(old) + dice.choice([b"", b"\n"])})
    head = repo.commit({"f": mutated(old, dice)})
    repo.git("reset", "-q", "--hard", base)
    if not (files := changed(repo, base, head)):
        return
    hunks = files["f"].hunks
    ids = {hunk.id for hunk in hunks if dice.random() < 0.5} or {hunks[0].id}
    part = select(repo, base, head, set(), f=ids)
    patch = "--- a/f\n+++ b/f\n" + "".join(hunk.text for hunk in hunks if hunk.id in ids)
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    subprocess.run(command, cwd=repo.path, input=patch.encode(), check=True)
    assert Workspace.open(repo.path).read(part, "f") == (repo.path / "f").read_bytes()
    if rest := changed(repo, part, head):
        assert [hunk.added for hunk in rest["f"].hunks] == [
            hunk.added for hunk in hunks if hunk.id not in ids
        ]
        whole = select(repo, part, head, set(), f={hunk.id for hunk in rest["f"].hunks})
        assert repo.git("rev-parse", f"{whole}^{{tree}}") == repo.git("rev-parse", f"{head}^{{tree}}")


def test_what_has_no_lines_is_taken_as_a_whole(repo: GitRepo) -> None:
    repo.put("bin", b"\0one")
    repo.put("script", "echo\n" * 20)
    repo.put("mode", "same\n")
    repo.put("linked", "text\n")
    repo.put("from.py", "x = 1\n" * 30)
    base = repo.commit({"deleted": "d\n", "emptied": "e\n"})
    repo.put("bin", b"\0two")
    repo.put("script", "echo\n" * 20 + "exit\n", executable=True)
    repo.put("mode", "same\n", executable=True)
    (repo.path / "linked").unlink()
    (repo.path / "linked").symlink_to("mode")
    (repo.path / "from.py").rename(repo.path / "to.py")
    (repo.path / "deleted").unlink()
    head = repo.commit({"emptied": "", "empty": ""})
    files = changed(repo, base, head)
    counts = {path: len(file.hunks) for path, file in files.items()}
    units = dict.fromkeys(("bin", "deleted", "empty", "from.py", "linked", "mode", "to.py"), 0)
    assert counts == units | {"emptied": 1, "script": 2}
    assert (files["from.py"].other, files["to.py"].other) == ("to.py", "from.py")
    mode, lines = files["script"].hunks
    assert (mode.header, mode.added, lines.added) == ("old mode 100644", 0, 1)

    only_mode = select(repo, base, head, set(), script={mode.id})
    assert repo.git("diff", base, only_mode).splitlines()[1:] == ["old mode 100644", "new mode 100755"]
    only_lines = select(repo, base, head, set(), script={lines.id})
    assert "mode" not in repo.git("diff", base, only_lines)
    for path in units:
        part = select(repo, base, head, {path})
        both = {"from.py", "to.py"} if path in ("from.py", "to.py") else {path}
        assert set(names(repo, base, part)) == both
        assert set(changed(repo, part, head)) == set(files) - both
        assert Workspace.open(repo.path).apply(base, part) == ()  # the checkout is at the head


def test_a_file_that_takes_the_place_of_another_needs_it(repo: GitRepo) -> None:
    base = repo.commit({"a": "1\n", "b": "1\n"})
    (repo.path / "a").unlink()
    head = repo.commit({"a/x": "quite different\n"})
    with pytest.raises(WorkspaceError, match=r"a: a selected file lies where this one is.*select both"):
        select(repo, base, head, {"a/x"})
    assert select(repo, base, head, {"a/x", "a"})


def test_hunks_belong_to_the_versions_of_a_file(repo: GitRepo) -> None:
    lines = [f"{number}\n" for number in range(40)]
    base = repo.commit({"f": "".join(lines)})
    head = repo.commit({"f": "".join(lines).replace("5\n", "five\n", 1).replace("35\n", "later\n")})
    newer = repo.commit({"f": "".join(lines).replace("5\n", "five\n", 1).replace("35\n", "else\n")})
    ids = {hunk.id for hunk in changed(repo, base, head)["f"].hunks}
    assert ids == {hunk.id for hunk in changed(repo, base, head)["f"].hunks}
    assert not ids & {hunk.id for hunk in changed(repo, base, newer)["f"].hunks}
    for wrong in ({"f": ids | {"x"}}, {"g": {"x"}}, {"../f": {"x"}}):
        with pytest.raises(Outdated, match="read it again"):
            select(repo, base, head, set(), **wrong)
    with pytest.raises(Outdated):
        select(repo, base, newer, set(), f=ids)


def test_a_name_that_is_not_utf_8_is_refused_and_can_be_left_out(repo: GitRepo) -> None:
    base = repo.commit({"a": "1\n"})
    raw = os.fsdecode(b"caf\xe9")
    (repo.path / raw).write_text("1\n")
    head = repo.commit({"a": "2\n"})
    repo.git("reset", "-q", "--hard", base)
    assert [file.shown for file in changed(repo, base, head).values()] == ["a", "caf\\xe9"]
    with pytest.raises(WorkspaceError, match="its name is not UTF-8"):
        Workspace.open(repo.path).apply(base, head)
    assert Workspace.open(repo.path).apply(base, select(repo, base, head, {"a"})) == ("a",)


def test_many_hunks_are_chosen_in_a_moment(repo: GitRepo) -> None:
    old = [f"line {number}\n" for number in range(200_000)]
    base = repo.commit({"f": "".join(old)})
    new = [line if number % 10 else "changed\n" for number, line in enumerate(old)]
    head = repo.commit({"f": "".join(new)})
    hunks = changed(repo, base, head)["f"].hunks
    assert len(hunks) == 20_000
    part = select(repo, base, head, set(), f={hunk.id for hunk in hunks[::2]})
    rest = changed(repo, part, head)["f"].hunks
    assert [hunk.text.split("@@")[2] for hunk in rest] == [hunk.text.split("@@")[2] for hunk in hunks[1::2]]
