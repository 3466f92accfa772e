"""Bringing a result into the user's checkout: everything or nothing, and never over work."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from gitrepo import GitRepo

from tools.workspace import Workspace, WorkspaceError


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    repo.put("run.sh", "#!/bin/sh\n", executable=True)
    repo.commit({"a.py": "1\n", "b.py": "1\n", "d/e/only.py": "1\n", ".gitignore": "ignored*\n"})
    return repo


def files(repo: GitRepo) -> dict[str, tuple[int, bytes]]:
    """Fingerprint the checkout without .git, which git's own commands may refresh."""
    return {path: seen for path, seen in repo.fingerprint().items() if not path.startswith(".git/")}


def git_side(repo: GitRepo) -> dict[str, tuple[int, bytes]]:
    return {path: seen for path, seen in repo.fingerprint().items() if path.startswith(".git/")}


def test_a_result_comes_into_the_files_and_leaves_index_and_head_alone(repo: GitRepo) -> None:
    repo.put("a.py", "staged\n")
    repo.git("add", "a.py")
    repo.put("b.py", "unstaged\n")
    repo.put("mine.txt", "untracked\n")
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    edits = {"b.py": "unstaged\nmore\n", "new/deep/n.py": "n\n", "d/e/only.py": None, "run.sh": "echo\n"}
    result = workspace.write(base, edits, "m")
    before = git_side(repo)
    assert workspace.apply(base, result) == ("b.py", "d/e/only.py", "new/deep/n.py", "run.sh")
    assert git_side(repo) == before
    assert (repo.path / "b.py").read_text() == "unstaged\nmore\n"
    assert (repo.path / "new/deep/n.py").read_text() == "n\n"
    assert not (repo.path / "d").exists()
    assert os.access(repo.path / "run.sh", os.X_OK)
    assert (repo.path / "mine.txt").read_text() == "untracked\n"
    assert repo.git("diff", "--cached", "--name-only") == "a.py"
    assert workspace.apply(base, result) == ()


def test_work_done_since_the_run_began_is_never_overwritten(repo: GitRepo) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    edits = {
        "a.py": "2\n",
        "b.py": "2\n",
        "d/e/only.py": None,
        "ignored.txt": "x\n",
        "new.py": "n\n",
        "ok.py": "o\n",
    }
    result = workspace.write(base, edits, "m")
    repo.put("a.py", "mine\n")
    (repo.path / "b.py").unlink()
    repo.put("d/e/only.py", "mine\n")
    repo.put("ignored.txt", "mine\n")
    repo.put("new.py", "mine\n")
    before = repo.fingerprint()
    with pytest.raises(WorkspaceError) as refusal:
        workspace.apply(base, result)
    assert repo.fingerprint() == before
    told = str(refusal.value)
    assert all(path in told for path in ("a.py: it has changed", "b.py: it is gone", "d/e/only.py", "new.py"))
    assert "ignored.txt: there is a file that git does not track" in told
    assert "ok.py" not in told


def test_changes_elsewhere_do_not_matter_and_what_is_already_there_is_fine(repo: GitRepo) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, {"a.py": "2\n", "new.py": "n\n"}, "m")
    repo.put("b.py", "mine\n")
    repo.put("new.py", "n\n")
    assert workspace.apply(base, result) == ("a.py",)
    assert (repo.path / "b.py").read_text() == "mine\n"


def test_a_file_that_both_changed_is_merged_in_its_own_line_ends_and_mode(repo: GitRepo) -> None:
    lines = [f"line {number}\n" for number in range(9)]
    repo.commit({"m.py": "".join(lines)})
    repo.git("config", "core.autocrlf", "true")
    workspace = Workspace.open(repo.path)
    base = workspace.begin(from_head=True).snapshot
    text = "".join(lines).replace("line 7\n", "theirs\n")
    result = workspace.write(base, {"m.py": text}, "m", {"m.py": 0o755})
    repo.put("m.py", "".join(lines).replace("line 1\n", "mine\n").replace("\n", "\r\n"))
    before = git_side(repo)
    assert workspace.apply(base, result) == ("m.py",)
    assert git_side(repo) == before
    merged = (repo.path / "m.py").read_bytes()
    assert b"mine\r\n" in merged and b"theirs\r\n" in merged and merged.count(b"\n") == 9
    assert os.access(repo.path / "m.py", os.X_OK)
    assert workspace.apply(base, result) == ()


def test_files_that_cannot_be_merged_are_refused(repo: GitRepo) -> None:
    repo.commit({"bin": b"\0one", "text": "1\n2\n"})
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, {"bin": b"\0two", "text": "1\n3\n", "a.py": None}, "m")
    repo.put("bin", b"\0mine")
    repo.put("a.py", "mine\n")
    (repo.path / "text").unlink()
    (repo.path / "text").symlink_to("a.py")
    before = repo.fingerprint()
    with pytest.raises(WorkspaceError) as refusal:
        workspace.apply(base, result)
    assert repo.fingerprint() == before
    told = str(refusal.value)
    assert (
        "bin: it has changed in the checkout, and conflicts with the result" in told
        and "text: it has changed" in told
    )
    assert "a.py: it has changed in the checkout, and the result deletes it" in told


def test_a_crlf_checkout_is_compared_and_written_in_its_own_line_ends(repo: GitRepo) -> None:
    repo.git("config", "core.autocrlf", "true")
    repo.put("a.py", "1\r\n")
    workspace = Workspace.open(repo.path)
    base = workspace.begin()
    result = workspace.write(base.snapshot, {"a.py": "1\n2\n", "b.py": "1\n2\n", "bin": b"\0\n"}, "m")
    assert workspace.apply(base.snapshot, result) == ("a.py", "b.py", "bin")
    assert (repo.path / "a.py").read_bytes() == b"1\r\n2\r\n"
    assert (repo.path / "b.py").read_bytes() == b"1\r\n2\r\n"
    assert (repo.path / "bin").read_bytes() == b"\0\n"


def test_modes_and_owners_of_files_stay(repo: GitRepo) -> None:
    (repo.path / "a.py").chmod(0o600)
    (repo.path / "run.sh").chmod(0o750)
    if os.geteuid() == 0:
        os.chown(repo.path / "a.py", 12345, 12346)
        os.chown(repo.path, 12345, 12345)
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, {"a.py": "2\n", "run.sh": "2\n", "new/n.py": "1\n"}, "m")
    workspace.apply(base, result)
    assert stat.S_IMODE((repo.path / "a.py").stat().st_mode) == 0o600
    assert stat.S_IMODE((repo.path / "run.sh").stat().st_mode) == 0o750
    if os.geteuid() == 0:
        assert ((repo.path / "a.py").stat().st_uid, (repo.path / "a.py").stat().st_gid) == (12345, 12346)
        assert (repo.path / "new/n.py").stat().st_uid == (repo.path / "new").stat().st_uid == 12345


def test_executable_bits_and_links_of_a_commit_are_applied(repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    (repo.path / "a.py").chmod(0o755)
    (repo.path / "run.sh").chmod(0o644)
    (repo.path / "b.py").unlink()
    (repo.path / "b.py").symlink_to("a.py")
    (repo.path / "l").symlink_to("a.py")
    result = repo.commit(message="modes")
    wanted = files(repo)
    repo.git("reset", "-q", "--hard", base)
    assert Workspace.open(repo.path).apply(base, result) == ("a.py", "b.py", "l", "run.sh")
    assert files(repo) == wanted
    assert Workspace.open(repo.path).apply(result, base) == ("a.py", "b.py", "l", "run.sh")
    assert repo.git("status", "--porcelain") == ""


def test_file_modes_do_not_matter_where_git_ignores_them(repo: GitRepo) -> None:
    repo.git("config", "core.fileMode", "false")
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    (repo.path / "a.py").chmod(0o755)
    assert workspace.apply(base, workspace.write(base, {"a.py": "2\n"}, "m")) == ("a.py",)
    assert os.access(repo.path / "a.py", os.X_OK)


def test_nothing_is_written_through_links_or_into_git(repo: GitRepo, tmp_path: Path) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, {"d/e/new.py": "n\n", "a.py": "2\n"}, "m")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/only.py").write_text("1\n")
    shutil.rmtree(repo.path / "d/e")
    (repo.path / "d/e").symlink_to(tmp_path / "outside")
    with pytest.raises(WorkspaceError, match="d/e is a symbolic link"):
        workspace.apply(base, result)
    assert sorted(os.listdir(tmp_path / "outside")) == ["only.py"]
    (repo.path / "a.py").unlink()
    (repo.path / "a.py").symlink_to(tmp_path / "outside/only.py")
    with pytest.raises(WorkspaceError, match=r"a\.py: it has changed"):
        workspace.apply(base, result)
    assert (tmp_path / "outside/only.py").read_text() == "1\n"


def test_a_file_becomes_a_folder_and_a_folder_a_file(repo: GitRepo) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    swapped = {"a.py": None, "a.py/x": "x\n", "d/e/only.py": None, "d/e": "file\n"}
    result = workspace.write(base, swapped, "m")
    assert len(workspace.apply(base, result)) == 4
    assert (repo.path / "a.py/x").read_text() == "x\n"
    assert (repo.path / "d/e").read_text() == "file\n"
    workspace.apply(result, base)
    assert repo.git("status", "--porcelain") == ""


def test_a_failure_half_way_puts_every_file_back(repo: GitRepo) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    edits = {"a.py": "2\n", "b.py": None, "n/new.py": "n\n", "d/e/only.py": None, "d/e": "now a file\n"}
    result = workspace.write(base, edits, "m")
    repo.put("d/e/ignored.log", "keeps the folder alive")
    before = repo.fingerprint()
    inode = (repo.path / "b.py").stat().st_ino
    with pytest.raises(WorkspaceError, match="every file is as before"):
        workspace.apply(base, result)
    assert repo.fingerprint() == before
    assert (repo.path / "b.py").stat().st_ino == inode


def test_files_behind_filters_and_submodules_are_refused(repo: GitRepo, tmp_path: Path) -> None:
    repo.put("big.bin", "pointer\n")
    head = repo.commit()
    repo.put(".gitattributes", "*.bin filter=lfs\n")
    workspace = Workspace.open(repo.path)
    result = workspace.write(head, {"big.bin": "other\n"}, "m")
    with pytest.raises(WorkspaceError, match="Git LFS"):
        workspace.apply(head, result)
    library = GitRepo(tmp_path / "library").commit({"x": "1"})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{library},lib")
    repo.git("commit", "-qm", "sub")
    with pytest.raises(WorkspaceError, match="submodule"):
        workspace.apply(head, repo.git("rev-parse", "HEAD"))


def test_a_pipe_in_the_way_is_refused_and_not_read(repo: GitRepo) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, {"a.py": "2\n"}, "m")
    (repo.path / "a.py").unlink()
    os.mkfifo(repo.path / "a.py")
    with pytest.raises(WorkspaceError, match="a pipe"):
        workspace.apply(base, result)


def test_a_damaged_index_is_an_error_that_says_so(repo: GitRepo) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    result = workspace.write(base, {"a.py": "2\n"}, "m")
    index = repo.path / ".git/index"
    data = index.read_bytes()
    index.write_bytes(data[:8] + b"\xff" * 4 + data[12:])
    with pytest.raises(WorkspaceError, match="nothing was applied"):
        Workspace.open(repo.path).apply(base, result)
