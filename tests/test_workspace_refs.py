"""Holding, delivering and noting: nothing is lost, and a killed process blocks no one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gitrepo import GitRepo

from tools.workspace import Workspace, WorkspaceError


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    repo.commit({"a.py": "1\n"})
    return repo


@pytest.fixture
def workspace(repo: GitRepo) -> Workspace:
    return Workspace.open(repo.path)


@pytest.fixture
def head(workspace: Workspace) -> str:
    return workspace.begin().snapshot


def test_held_snapshots_survive_pruning_until_released(
    repo: GitRepo, workspace: Workspace, head: str
) -> None:
    one = workspace.write(head, {"b.py": "1\n"}, "m")
    two = workspace.write(head, {"b.py": "2\n"}, "m")
    workspace.hold("t1", "base", one)
    workspace.hold("t1", "base", two)
    workspace.hold("t1", "step-1", one)
    workspace.hold("t10", "base", head)
    repo.git("gc", "-q", "--prune=now")
    fresh = Workspace.open(repo.path)
    assert fresh.held("t1") == {"base": two, "step-1": one}
    assert fresh.text(one, "b.py") == "1\n"
    fresh.hold("t1", "base", one)
    fresh.release("t1")
    assert (fresh.held("t1"), fresh.held("t10")) == ({}, {"base": head})
    fresh.release("t1")


@pytest.mark.parametrize(
    ("thread", "name"), [("a/b", "x"), ("", "x"), ("..", "x"), ("t", "x.lock"), ("t", "a\0b")]
)
def test_names_that_are_no_refs_are_refused(workspace: Workspace, head: str, thread: str, name: str) -> None:
    with pytest.raises(WorkspaceError):
        workspace.hold(thread, name, head)


def test_a_delivered_commit_is_the_users_and_follow_ups_build_on_it(
    repo: GitRepo, workspace: Workspace, head: str
) -> None:
    first = workspace.deliver(
        "autocode/t", workspace.write(head, {"b.py": "1\n"}, "m"), head, "Add b\n\nBody\0é"
    )
    assert repo.git("log", "-1", "--format=%an <%ae>|%cn|%P|%B", "autocode/t") == (
        f"Ursula <ursula@example.org>|AutoCodeAI|{head}|Add b\n\nBodyé\n"
    )
    later = workspace.write(workspace.write(first, {"b.py": "2\n"}, "m"), {"c.py": "3\n"}, "m")
    second = workspace.deliver("autocode/t", later, first, "Add c")
    assert repo.git("rev-list", "--count", f"{head}..autocode/t") == "2"
    assert workspace.resolve("autocode/t") == second
    assert workspace.tree(second) == workspace.tree(later)


def test_delivering_the_same_again_gives_the_same_commit(workspace: Workspace, head: str) -> None:
    snapshot = workspace.write(head, {"b.py": "1\n"}, "m")
    first = workspace.deliver("autocode/t", snapshot, head, "Add b")
    time.sleep(1.1)
    assert workspace.deliver("autocode/t", snapshot, head, "Add b") == first


def test_a_branch_with_other_commits_is_not_moved(repo: GitRepo, workspace: Workspace, head: str) -> None:
    first = workspace.deliver("autocode/t", workspace.write(head, {"b.py": "1\n"}, "m"), head, "Add b")
    other = workspace.write(head, {"c.py": "1\n"}, "m")
    for parent in (head, None):
        with pytest.raises(WorkspaceError, match="git branch -m autocode/t"):
            workspace.deliver("autocode/t", other, parent, "Add c")
    repo.git(
        "branch", "-f", "autocode/t", repo.git("commit-tree", "-p", first, "-m", "mine", f"{first}^{{tree}}")
    )
    with pytest.raises(WorkspaceError, match="does not contain"):
        workspace.deliver("autocode/t", workspace.write(first, {"c.py": "1\n"}, "m"), first, "Add c")
    assert repo.git("log", "-1", "--format=%s", "autocode/t") == "mine"


def test_a_branch_that_is_checked_out_is_not_moved(
    repo: GitRepo, workspace: Workspace, head: str, tmp_path: Path
) -> None:
    first = workspace.deliver("autocode/t", workspace.write(head, {"b.py": "1\n"}, "m"), head, "Add b")
    second = workspace.write(first, {"c.py": "1\n"}, "m")
    repo.git("switch", "-q", "autocode/t")
    with pytest.raises(WorkspaceError, match="checked out"):
        workspace.deliver("autocode/t", second, first, "Add c")
    repo.git("switch", "-q", "main")
    repo.git("worktree", "add", "-q", str(tmp_path / "side"), "autocode/t")
    with pytest.raises(WorkspaceError, match="checked out"):
        workspace.deliver("autocode/t", second, first, "Add c")
    repo.git("worktree", "remove", str(tmp_path / "side"))
    workspace.deliver("autocode/t", second, first, "Add c")
    repo.git("switch", "-q", "--orphan", "autocode/unborn")
    with pytest.raises(WorkspaceError, match="checked out"):
        Workspace.open(repo.path).deliver("autocode/unborn", second, first, "Add c")


@pytest.mark.parametrize(
    "branch", ["main", "refs/heads/x", "autocode", "autocode/", "autocode/a..b", "autocode/../main"]
)
def test_only_branches_of_our_own_are_written(workspace: Workspace, head: str, branch: str) -> None:
    with pytest.raises(WorkspaceError):
        workspace.deliver(branch, head, head, "m")


def test_a_note_can_be_replaced_and_read_by_git(repo: GitRepo, workspace: Workspace, head: str) -> None:
    assert workspace.read_note(head) is None
    workspace.note(head, "first")
    workspace.note(head, '{"proof": "é"}')
    assert workspace.read_note(head) == '{"proof": "é"}\n'
    assert repo.git("notes", "--ref=autocode", "show", head) == '{"proof": "é"}'


def test_without_a_git_identity_the_author_is_autocodeai(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.git("config", "user.name", "  ")
    workspace = Workspace.open(repo.path)
    head = workspace.begin().snapshot
    delivered = workspace.deliver("autocode/t", workspace.write(head, {"b": "1"}, "m"), head, "m")
    assert repo.git("log", "-1", "--format=%an|%cn", delivered) == "AutoCodeAI|AutoCodeAI"


def test_names_resolve_to_commits(repo: GitRepo, workspace: Workspace, head: str) -> None:
    repo.git("tag", "-am", "annotated", "v1")
    for name in ("HEAD", "main", "v1", head, head[:8]):
        assert workspace.resolve(name) == head
    for name in ("", "nope", "HEAD:a.py", "1" * 40, "--help", "a\0b", "\udcff"):
        with pytest.raises(WorkspaceError):
            workspace.resolve(name)


def test_locks_that_a_killed_process_left_block_no_one(
    repo: GitRepo, workspace: Workspace, head: str
) -> None:
    old = time.time() - 60
    refs = ["refs/autocode/t/base", "refs/heads/autocode/t", "refs/notes/autocode"]
    elsewhere = ["packed-refs", "index", "HEAD", "config"]
    for name in (*refs, *elsewhere):
        lock = repo.put(f".git/{name}.lock", "half-writ")
        os.utime(lock, (old, old))
    before = repo.fingerprint()
    workspace.hold("t", "base", workspace.begin().snapshot)
    delivered = workspace.deliver("autocode/t", workspace.write(head, {"b": "1"}, "m"), head, "m")
    workspace.note(delivered, "n")
    assert repo.fingerprint() == before
    assert not any((repo.path / f".git/{ref}.lock").exists() for ref in refs)


def test_a_lock_of_a_living_process_is_waited_for(repo: GitRepo, workspace: Workspace, head: str) -> None:
    lock = repo.put(".git/refs/autocode/t/base.lock")
    process = subprocess.Popen(["sh", "-c", f"sleep 0.5; rm {lock}"])
    started = time.monotonic()
    workspace.hold("t", "base", head)
    assert 0.2 < time.monotonic() - started < 2.5
    process.wait()


@pytest.mark.parametrize("link", ["refs/notes/autocode", "logs/refs/heads/autocode", "refs/autocode"])
def test_a_ref_or_reflog_that_leads_out_of_git_is_not_followed(
    repo: GitRepo, tmp_path: Path, link: str
) -> None:
    workspace = Workspace.open(repo.path)
    head = workspace.begin().snapshot
    place = repo.path / ".git" / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "outside")
    with pytest.raises(WorkspaceError, match="symbolic link"):
        workspace.hold("t", "base", head)
        workspace.deliver("autocode/t", workspace.write(head, {"b": "1"}, "m"), head, "m")
        workspace.note(head, "n")
    assert not (tmp_path / "outside").exists()


KILLED = """
import sys
from pathlib import Path
from tools.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
head = workspace.begin().snapshot
print("ready", flush=True)
number = 0
while True:
    number += 1
    snapshot = workspace.write(head, {f"f{number}.py": "x" * 5000}, "m")
    workspace.hold("t", "base", snapshot)
    workspace.note(workspace.deliver(f"autocode/t{number}", snapshot, head, "m"), "n" * 5000)
"""


def test_a_process_killed_at_any_moment_leaves_the_repository_whole(repo: GitRepo) -> None:
    before = repo.fingerprint()
    for wait in (0.003, 0.011, 0.029, 0.047):
        arguments = [sys.executable, "-c", KILLED, str(repo.path)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        workspace = Workspace.open(repo.path)
        head = workspace.begin().snapshot
        workspace.hold("t", "base", head)
        workspace.note(head, "n")
    repo.git("fsck", "--strict")
    assert repo.fingerprint() == before


def test_the_past_is_the_commits_that_changed_few_files(
    repo: GitRepo, workspace: Workspace, tmp_path: Path
) -> None:
    repo.commit({"a.py": "2\n", "b.py": "1\n"}, "Add b\n\nWhat for.")
    repo.commit({f"{number}.py": "" for number in range(30)}, "Add many")
    head = repo.commit({"b.py": "2\n"}, "Fix b")
    assert workspace.past_changes(head) == [("Fix b", ("b.py",)), ("Add b", ("a.py", "b.py"))]
    repo.git("clone", "-q", "--depth", "2", f"file://{repo.path}", str(tmp_path / "shallow"))
    assert Workspace.open(tmp_path / "shallow").past_changes(head) == [("Fix b", ("b.py",))]
