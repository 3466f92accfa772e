"""Parts of results on the command line: applied by file and hunk, taken back, forgotten."""

import os
from pathlib import Path

import pytest
from delivered import User

from tools.workspace import Workspace

LINES = [f"line {number}\n" for number in range(60)]
TEXT = "".join(LINES)
CHANGED = TEXT.replace("line 5\n", "five\n").replace("line 30\n", "thirty\n").replace("line 55\n", "")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """A user in a repository."""
    user = User(tmp_path)
    files: dict[str, str | bytes] = {
        "a.txt": TEXT,
        "src/b.txt": "b\n",
        "src/old.txt": TEXT + "old\n",
        "gone.txt": "gone\n",
    }
    user.repo.commit(files)
    monkeypatch.chdir(user.repo.path)
    return user


EDITS = {
    "a.txt": CHANGED,
    "src/b.txt": "c\n",
    "src/old.txt": None,
    "src/new.txt": TEXT + "new\n",
    "gone.txt": None,
    "n/e/w.txt": "n\n",
}


def test_files_are_applied_in_turn_and_taken_back(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = user.deliver(EDITS)
    first = user.autocode("apply", thread, "--file", "gone.txt", "--file", "n/", "--yes")
    assert first.exit_code == 0 and "Applied 2 files: gone.txt, n/e/w.txt" in first.stdout
    monkeypatch.chdir(user.repo.path / "src")
    second = user.autocode("apply", "last", "--file", "old.txt", "--yes")
    assert "Applied 2 files: src/new.txt, src/old.txt" in second.stdout  # both halves of the rename
    assert sorted(os.listdir(user.repo.path / "src")) == ["b.txt", "new.txt"]
    wrong = user.autocode("apply", thread, "--file", "gone.txt", "--yes")
    assert wrong.exit_code == 2 and "gone.txt has no change; changed are a.txt, src/b.txt" in wrong.stderr

    user.deliver({"a.txt": CHANGED + "more\n"}, thread)
    rest = user.autocode("diff", thread).stdout
    assert "+more" in rest and "+thirty" in rest and "gone.txt" not in rest and "old.txt" not in rest
    assert user.autocode("apply", thread, "--yes").exit_code == 0
    assert (user.repo.path / "a.txt").read_text() == CHANGED + "more\n"
    again = user.autocode("apply", thread)
    assert again.exit_code == 0 and "Nothing left to apply" in again.stderr

    for files in ("a.txt, src/b.txt", "src/new.txt, src/old.txt", "gone.txt, n/e/w.txt"):
        undone = user.autocode("undo")
        assert undone.exit_code == 0 and files in undone.stdout, undone.output
    assert user.repo.git("status", "--porcelain") == "" and not (user.repo.path / "n").exists()
    assert "+more" in user.autocode("diff", thread).stdout
    nothing = user.autocode("undo", thread)
    assert nothing.exit_code == 2 and "nothing to take back" in nothing.stderr
    assert user.autocode("undo").exit_code == 2


def test_an_undo_keeps_the_users_work_and_refuses_where_it_is_on_the_same_lines(user: User) -> None:
    user.repo.put("a.txt", "mine before\n" + TEXT)
    thread = user.deliver(EDITS)
    user.repo.put("a.txt", "mine before\n" + TEXT + "mine between\n")
    assert user.autocode("apply", thread, "--yes").exit_code == 0
    applied = (user.repo.path / "a.txt").read_text()
    user.repo.put("a.txt", applied.replace("thirty", "30"))
    user.repo.put("n/e/w.txt", "mine\n")
    user.repo.put("gone.txt", "again\n")
    before = user.repo.fingerprint()
    refused = user.autocode("undo", thread)
    assert refused.exit_code == 2 and user.repo.fingerprint() == before
    for told in ("a.txt: the same lines", "n/e/w.txt: it has changed", "gone.txt: there is another file"):
        assert told in refused.stderr
    (user.repo.path / "gone.txt").unlink()
    (user.repo.path / "n/e/w.txt").unlink()  # what the undo would delete may be gone
    user.repo.put("a.txt", applied.replace("line 40", "mine after"))
    assert user.autocode("undo", thread).exit_code == 0
    expected = "mine before\n" + TEXT.replace("line 40", "mine after") + "mine between\n"
    assert (user.repo.path / "a.txt").read_text() == expected
    assert (user.repo.path / "gone.txt").read_text() == "gone\n"


def test_the_same_edit_by_the_user_is_not_taken_back(user: User) -> None:
    thread = user.deliver(EDITS)
    user.repo.put("src/b.txt", "c\n")
    assert user.autocode("apply", thread, "--yes").exit_code == 0
    assert user.autocode("undo", thread).exit_code == 0
    assert (user.repo.path / "src/b.txt").read_text() == "c\n" and (
        user.repo.path / "a.txt"
    ).read_text() == TEXT


def test_what_was_committed_since_is_taken_back_as_a_change_and_what_was_merged_is_not(user: User) -> None:
    thread = user.deliver({"src/b.txt": "c\n", "new.txt": "n\n"})
    assert user.autocode("apply", thread, "--yes").exit_code == 0
    head = user.repo.commit()
    undone = user.autocode("undo", thread)
    assert undone.exit_code == 0 and "You had committed new.txt, src/b.txt." in undone.stderr
    assert user.repo.git("rev-parse", "HEAD") == head
    assert user.repo.git("status", "--porcelain").split() == ["D", "new.txt", "M", "src/b.txt"]
    user.repo.git("restore", ".")
    user.repo.git("reset", "-q", "--hard", "HEAD^")
    assert user.autocode("apply", thread, "--yes").exit_code == 0
    user.repo.git("reset", "-q", "--hard")
    user.repo.git("clean", "-qfd")
    user.repo.git("merge", "-q", f"autocode/{thread}")
    merged = user.autocode("undo", thread)
    assert merged.exit_code == 2 and "git revert" in merged.stderr
    assert "Nothing left to apply" in user.autocode("apply", thread).stderr


def test_an_apply_of_an_older_version_can_be_taken_back(user: User) -> None:
    thread = user.deliver(EDITS)
    assert user.autocode("apply", thread, "--yes").exit_code == 0
    workspace = Workspace.open(user.repo.path)
    workspace.hold(thread, "applied", workspace.resolve(f"autocode/{thread}"))  # all that it recorded
    assert "Nothing left to apply" in user.autocode("apply", thread).stderr
    user.deliver({"a.txt": CHANGED + "more\n"}, thread)
    assert user.autocode("apply", thread, "--yes").exit_code == 0
    assert user.autocode("undo", thread).exit_code == 0
    assert (user.repo.path / "a.txt").read_text() == CHANGED
    assert user.autocode("undo", thread).exit_code == 0
    assert user.repo.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("answers", "edits", "files"),
    [
        ("n\ny\nn\nn\nn\nn\nn\n", {"a.txt": TEXT.replace("line 30\n", "thirty\n")}, 1),
        ("?\nd\nn\ny\nn\nn\n", {"n/e/w.txt": "n\n"}, 1),
        ("n\na\nq\n", {"a.txt": CHANGED.replace("five\n", "line 5\n")}, 1),
        ("q\n", {}, 0),
        ("y\ny\n\x04", {}, 0),
    ],
)
def test_hunks_are_asked_about_on_a_terminal(
    user: User, answers: str, edits: dict[str, str], files: int
) -> None:
    thread = user.deliver(EDITS)
    shown = user.typed(["apply", thread, "-p"], answers)
    assert "(1/7) Apply this hunk to a.txt [y,n,q,a,d,?]?" in shown and "+five" in shown, shown
    assert ("a - apply this and the rest of the file" in shown) == ("?" in answers)
    assert (f"Applied {files} file" if files else "Nothing was applied.") in shown
    wanted = {"a.txt": TEXT} | edits
    assert all((user.repo.path / path).read_text() == text for path, text in wanted.items())
    assert len(user.repo.git("status", "--porcelain").splitlines()) == files
    if files:
        assert user.autocode("undo", thread).exit_code == 0
        assert user.repo.git("status", "--porcelain") == ""


def test_options_that_contradict_each_other_are_refused(user: User) -> None:
    thread = user.deliver(EDITS)
    for words in (["-p", "--yes"], ["-p", "--all"], ["--file", "a.txt", "--all"], ["-p"], []):
        assert user.autocode("apply", thread, *words).exit_code == 2, words
    assert user.repo.git("status", "--porcelain") == ""
