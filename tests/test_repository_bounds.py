"""Repositories whose git folder leads elsewhere: out of the server's folders, or out of themselves."""

import os
import re
from pathlib import Path

import pytest
from damage import Damage, alone, config, link, moved, text
from gitrepo import GitRepo

from tools.workspace import OutsideBounds, Workspace, WorkspaceError
from tools.workspace.opening import bounded

OUTSIDE = "../../../outside"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """A repository in the folder `inside`, beside a folder `outside` with another one."""
    other = GitRepo(tmp_path / "outside/other")
    other.commit({"secret.py": "secret\n"})
    repo = GitRepo(tmp_path / "inside/repo")
    repo.commit({"a.py": "a\n"})
    return repo


LEADING_OUT: dict[str, Damage] = {
    "objects": moved(".git/objects"),
    "refs": moved(".git/refs"),
    "branches": moved(".git/refs/heads"),
    "branch": moved(".git/refs/heads/main"),
    "HEAD": moved(".git/HEAD"),
    "config": moved(".git/config"),
    "index": moved(".git/index"),
    "info": moved(".git/info"),
    "logs": moved(".git/logs"),
    "git folder": moved(".git"),
    "packed refs": link(".git/packed-refs", f"{OUTSIDE}/packed"),
    "our refs": link(".git/refs/autocode", f"../{OUTSIDE}/refs"),
    "our log": link(".git/logs/refs/heads/autocode", f"../../../{OUTSIDE}/logs"),
    "alternates": text(".git/objects/info/alternates", f"../../{OUTSIDE}/other/.git/objects\n"),
    "common folder": text(".git/commondir", "../../../outside/other/.git\n"),
    "include": config("[include]\npath = ../../../outside/other/secret.py\n"),
    "ignored files": config("[core]\nexcludesFile = /etc/hostname\n"),
    "attributes": config("[core]\nattributesFile = ../../outside/other/secret.py\n"),
    "git file": alone(text(".git", "gitdir: ../../outside/other/.git\n")),
}  # fmt: skip


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_server_follows_nothing_out_of_its_folders(repo: GitRepo, tmp_path: Path, name: str) -> None:
    LEADING_OUT[name](repo.path)
    with bounded([tmp_path / "inside"]), pytest.raises(OutsideBounds, match="AUTOCODE_REPOS"):
        Workspace.open(repo.path).begin()


def test_a_server_uses_what_stays_in_its_folders(repo: GitRepo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "../tree")
    GitRepo(tmp_path / "inside/borrowing").git("fetch", "-q", "../repo")
    text(".git/objects/info/alternates", "../../../repo/.git/objects\n")(tmp_path / "inside/borrowing")
    with bounded([tmp_path / "inside"]):
        for place in ("repo", "tree", "borrowing"):
            assert Workspace.open(tmp_path / "inside" / place).begin().snapshot


WRITTEN = ("refs", "branches", "our refs", "our log", "logs")


@pytest.mark.parametrize("name", WRITTEN)
def test_no_ref_is_written_through_a_link_that_leads_out(repo: GitRepo, tmp_path: Path, name: str) -> None:
    LEADING_OUT[name](repo.path)
    for folder in ("refs", "logs"):
        (tmp_path / "outside" / folder).mkdir(exist_ok=True)
    before = _tree(tmp_path / "outside")
    workspace = Workspace.open(repo.path)
    base = workspace.begin(from_head=True).snapshot
    with pytest.raises(WorkspaceError, match=r"leads out of the repository|is a symbolic link"):
        workspace.hold("t", "base", base)
        workspace.deliver("autocode/t", base, base, "Do it")
    assert _tree(tmp_path / "outside") == before


def test_a_branch_of_ours_that_stands_for_another_is_not_written(repo: GitRepo) -> None:
    main = repo.git("rev-parse", "main")
    text(".git/refs/heads/autocode/t", "ref: refs/heads/main\n")(repo.path)
    workspace = Workspace.open(repo.path)
    snapshot = workspace.write(main, {"b.py": "b\n"}, "b")
    with pytest.raises(WorkspaceError, match=r"stands for refs/heads/main.*git symbolic-ref -d"):
        workspace.deliver("autocode/t", snapshot, main, "Do it")
    assert repo.git("rev-parse", "main") == main


def _tree(folder: Path) -> list[tuple[str, float]]:
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted((str(path), path.lstat().st_mtime) for path in found if not re.search("objects", str(path)))
