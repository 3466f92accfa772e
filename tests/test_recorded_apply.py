"""Applications with a record, and their undo: killed, beside each other, beside an editor, without room."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pygit2
import pytest
from gitrepo import GitRepo
from pygit2.enums import ConfigLevel
from test_interrupted_apply import copied, killed

from tools.workspace import Application, Outdated, Undone, Workspace, WorkspaceError

THREAD = "t"
NOBODY = 65534
EDITS = {"a.txt": "applied\n", "gone.txt": None, "new/n.txt": "new\n", "folder/x": None, "folder": "a file\n"}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    repo.commit({path: f"{path}\n" for path in ("a.txt", "gone.txt", "folder/x", "kept.txt")})
    return repo


def prepared(repo: GitRepo) -> Application:
    """Return the application of a result."""
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, EDITS, "m")
    workspace.hold(THREAD, "result", result)
    return Application(THREAD, None, base, result, result, base)


def apply(repo: GitRepo, application: Application) -> tuple[str, ...]:
    return Workspace.open(repo.path).apply(application.base, application.taken, application)


def undo(repo: GitRepo) -> Undone:
    workspace = Workspace.open(repo.path)
    return workspace.undo(next(workspace.records(THREAD)), "")


def records(repo: GitRepo) -> int:
    return len(list(Workspace.open(repo.path).records(THREAD)))


@pytest.mark.parametrize("undoing", [False, True], ids=["apply", "undo"])
def test_files_and_record_agree_wherever_it_is_killed(repo: GitRepo, tmp_path: Path, undoing: bool) -> None:
    application = prepared(repo)
    states = {0: repo.fingerprint()}
    applied = copied(repo, tmp_path / "applied")
    apply(applied, application)
    states[1] = applied.fingerprint()
    seen = set()
    for change in range(100):
        copy = copied(applied if undoing else repo, tmp_path / str(change))
        act: Callable[[], object] = partial(undo, copy) if undoing else partial(apply, copy, application)
        ended = not killed(act, change)
        Workspace.open(copy.path).recover()
        assert copy.fingerprint() == states[records(copy)], change
        seen.add(records(copy))
        if ended:
            break
    assert change > 15 and seen == {0, 1}
    assert records(copy) == (0 if undoing else 1)


def test_one_of_two_applies_and_undos_at_a_time_wins(repo: GitRepo) -> None:
    application = prepared(repo)
    before = repo.fingerprint()
    apply(repo, application)
    after = repo.fingerprint()
    with pytest.raises(Outdated, match="another process has applied"):
        apply(repo, application)
    newest = next(Workspace.open(repo.path).records(THREAD))
    undo(repo)
    with pytest.raises(Outdated):
        Workspace.open(repo.path).undo(newest, "")
    children = list[int]()
    for number in range(8):
        if not (child := os.fork()):
            try:
                apply(repo, application) if number % 2 else undo(repo)
            except (WorkspaceError, StopIteration):
                os._exit(1)
            finally:
                os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert 0 in codes
    assert repo.fingerprint() == (after if records(repo) else before)


def in_child(act: Callable[[], object]) -> str:
    """Run `act` in a child process. Return the message of its error."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            act()
        except Exception as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:
        message = told.read().decode()
    os.waitpid(child, 0)
    return message


@pytest.mark.parametrize("undoing", [False, True], ids=["apply", "undo"])
@pytest.mark.parametrize("path", ["a.txt", "gone.txt"])
@pytest.mark.parametrize("way", ["in place", "by a new file"])
def test_what_an_editor_writes_meanwhile_is_kept(repo: GitRepo, way: str, path: str, undoing: bool) -> None:
    application = prepared(repo)
    if undoing:
        apply(repo, application)
    was, before = records(repo), repo.fingerprint()
    target = repo.path / path

    def edit(event: str, _: tuple[object, ...], done: list[bool] = []) -> None:  # noqa: B006  # once
        if event == "os.link" and not done:  # the first file is about to be replaced, all have been read
            done.append(True)
            if way == "in place":
                target.write_text("mine\n")
            else:
                (target.parent / "swap").write_text("mine\n")
                (target.parent / "swap").rename(target)

    def act() -> None:
        sys.addaudithook(edit)
        undo(repo) if undoing else apply(repo, application)

    message = in_child(act)
    now = repo.fingerprint()
    assert target.read_text() == "mine\n"
    if message:
        assert records(repo) == was
        assert {name for name in before | now if before.get(name) != now.get(name)} <= {path}
    else:  # it came after the file was placed
        assert records(repo) == 1 - was


def limited(act: Callable[[], object]) -> None:
    """Run `act` so that no file grows beyond some bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    act()


def test_without_room_every_file_stays(repo: GitRepo) -> None:
    repo.commit({"large.txt": "large\n" * 2000})
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, {**EDITS, "large.txt": "larger\n" * 2000}, "m")
    application = Application(THREAD, None, base, result, result, base)
    for act in (partial(apply, repo, application), partial(undo, repo)):
        before, was = repo.fingerprint(), records(repo)
        message = in_child(partial(limited, act))
        assert "every file is as before" in message, message
        assert (repo.fingerprint(), records(repo)) == (before, was)
        act()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_in_folders_that_cannot_be_written_every_file_stays() -> None:
    with tempfile.TemporaryDirectory() as folder:  # nobody may not enter pytest's own
        Path(folder).chmod(0o755)
        repo = GitRepo(Path(folder) / "repo")
        repo.commit({path: f"{path}\n" for path in ("a.txt", "gone.txt", "folder/x")})
        application = prepared(repo)

        def as_nobody(act: Callable[[], object]) -> None:
            os.setgroups([])
            os.setuid(NOBODY)
            for level in (ConfigLevel.GLOBAL, ConfigLevel.XDG):  # root's, which nobody may not read
                pygit2.settings.search_path[level] = "/"
            act()

        for act in (partial(apply, repo, application), partial(undo, repo)):
            before, was = repo.fingerprint(), records(repo)
            subprocess.run(["chown", "-R", str(NOBODY), repo.path / ".git"], check=True)
            message = in_child(partial(as_nobody, act))
            assert "every file is as before" in message and "Permission denied" in message, message
            assert (repo.fingerprint(), records(repo)) == (before, was)
            act()
