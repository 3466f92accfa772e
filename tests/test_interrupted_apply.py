"""An application that is killed: the next command undoes it, says so, and leaves nothing behind."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from gitrepo import GitRepo

from tools.workspace import Workspace, WorkspaceError
from tools.workspace.applying import journal

CHANGES = ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR
EDITS = {
    "a.py": "applied\n",
    "gone.py": None,
    "new/deep/n.py": "new\n",
    "file": None,
    "file/now/a/folder.py": "x\n",
    "folder/x.py": None,
    "folder/sub/y.py": None,
    "folder": "now a file\n",
}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    texts = ("a.py", "gone.py", "file", "folder/x.py", "folder/sub/y.py", "kept.py")
    repo.commit({path: f"{path}\n" for path in texts})
    (repo.path / "folder/sub").chmod(0o711)
    return repo


def prepared(repo: GitRepo) -> tuple[str, str]:
    """Return base and result of the application."""
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    return base, workspace.write(base, EDITS, "m")


def apply(repo: GitRepo, base: str, result: str) -> tuple[str, ...]:
    """Apply the result to the checkout."""
    return Workspace.open(repo.path).apply(base, result)


def killed(act: Callable[[], object], before: int) -> bool:
    """Run `act` in a child that is killed before a change of a file. Return False if it came to its end."""
    if not (child := os.fork()):
        left = before

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            flags = arguments[2] if event == "open" else 0
            if event in CHANGES or (isinstance(flags, int) and flags & WRITES):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def copied(repo: GitRepo, path: Path) -> GitRepo:
    """Return a copy of a repository."""
    copy = GitRepo.__new__(GitRepo)  # the copy needs no `git init`
    copy.path = shutil.copytree(repo.path, path, symlinks=True)
    return copy


def test_an_application_killed_anywhere_is_undone_by_the_next_command(repo: GitRepo, tmp_path: Path) -> None:
    base, result = prepared(repo)
    before = repo.fingerprint()
    applied = copied(repo, tmp_path / "applied")
    Workspace.open(applied.path).apply(base, result)
    after = applied.fingerprint()
    said = set()
    for change in range(200):
        copy = copied(repo, tmp_path / str(change))
        ended = not killed(partial(apply, copy, base, result), change)
        message = Workspace.open(copy.path).recover()
        said.add(message.partition("interrupted ")[2])
        complete = ended or copy.fingerprint() == after
        assert not complete or "undone" not in message
        assert copy.fingerprint() == (after if complete else before), (change, message)
        Workspace.open(copy.path).apply(base, result)  # also what is applied already
        assert copy.fingerprint() == after
        if ended:
            break
    assert change > 30
    assert {"was undone, and every file is as before.", "had left nothing half done."} <= said


def test_an_undo_that_is_killed_is_finished_by_the_next_command(repo: GitRepo, tmp_path: Path) -> None:
    base, result = prepared(repo)
    before = repo.fingerprint()
    late = 0
    for late in range(200):  # kill it when it is about to place the last files
        assert killed(partial(apply, repo, base, result), late)
        if (repo.path / "file/now").is_dir():
            break
        Workspace.open(repo.path).recover()
    Workspace.open(repo.path).recover()
    assert repo.fingerprint() == before
    for change in range(200):
        copy = copied(repo, tmp_path / str(change))
        assert killed(partial(apply, copy, base, result), late)
        ended = not killed(Workspace.open(copy.path).recover, change)
        Workspace.open(copy.path).recover()
        assert copy.fingerprint() == before, change
        if ended:
            break
    assert change > 10


@pytest.fixture
def halved(repo: GitRepo) -> GitRepo:
    """A repository with an application that was killed when its first files were placed."""
    base, result = prepared(repo)
    for change in range(200):
        assert killed(partial(apply, repo, base, result), change)
        if (repo.path / "a.py").read_text() == "applied\n":
            return repo
        Workspace.open(repo.path).recover()
    raise AssertionError


def test_files_that_the_user_changed_after_the_kill_stay(halved: GitRepo) -> None:
    halved.put("a.py", "mine\n")
    halved.put("gone.py", "mine too\n")
    message = Workspace.open(halved.path).recover()
    assert message.endswith("was undone, but for files that have changed since: a.py, gone.py.")
    assert [(halved.path / name).read_text() for name in ("a.py", "gone.py")] == ["mine\n", "mine too\n"]
    assert (halved.path / "folder/sub/y.py").read_text() == "folder/sub/y.py\n"
    assert (halved.path / "folder/sub").stat().st_mode & 0o777 == 0o711
    assert not (halved.path / ".git/autocode-apply").exists()


def test_no_run_begins_in_a_checkout_that_holds_half_a_result(halved: GitRepo) -> None:
    with pytest.raises(WorkspaceError, match=r"was interrupted.*`autocode diff THREAD` undoes it"):
        Workspace.open(halved.path).begin()
    Workspace.open(halved.path).recover()
    assert Workspace.open(halved.path).begin().dirty is False


HOSTILE = ("../outside", "/etc/x", ".git/config", "a//b", "link/x", "nul\0", "")


@pytest.mark.parametrize("path", HOSTILE)
def test_a_journal_of_somebody_else_leads_nowhere(halved: GitRepo, tmp_path: Path, path: str) -> None:
    (halved.path / "link").symlink_to(tmp_path)
    place = halved.path / ".git/autocode-apply/journal.json"
    data = json.loads(place.read_text())
    data["placements"].append({"path": path, "new": None})
    (place.parent / f"{len(data['placements']) - 1}.old").write_text("evil\n")
    place.write_text(json.dumps(data))
    before = halved.fingerprint()
    with pytest.raises(WorkspaceError, match=r"journal\.json is damaged"):
        Workspace.open(halved.path).recover()
    assert halved.fingerprint() == before
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "text", ["", "[", "[" * 100_000, "{}", '{"placements": 1e400}', '{"placements": [1]}']
)
def test_a_damaged_journal_is_said(repo: GitRepo, text: str) -> None:
    repo.put(".git/autocode-apply/journal.json", text)
    with pytest.raises(WorkspaceError, match=r"journal\.json is damaged.*remove"):
        Workspace.open(repo.path).recover()


def test_a_second_application_waits_for_the_first(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LOCK_SECONDS", 0.1)
    base, result = prepared(repo)
    with journal.applying(repo.path / ".git"), pytest.raises(WorkspaceError, match="another process"):
        Workspace.open(repo.path).apply(base, result)
    assert Workspace.open(repo.path).apply(base, result)
