"""Repositories of runs: allowed folders, symbolic links, and scratch repositories."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gitrepo import GitRepo

from graph.errors import InputError
from graph.settings import Settings
from server.api.problems import Problem, problem_of
from server.api.task_submission import ContextFiles, check_repository, create_scratch
from tools.workspace import OutsideBounds, WorkspaceError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    return Settings.load(autocode_home=tmp_path / "home", autocode_repos=os.pathsep.join(map(str, roots)))


def test_a_repository_below_a_root_is_allowed_by_any_of_its_paths(settings: Settings, tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "two/shop")
    (repo.path / "src").mkdir()
    (tmp_path / "link").symlink_to(repo.path)
    for path in (repo.path, repo.path / "src", tmp_path / "link"):
        assert Path(check_repository(settings, str(path))).samefile(repo.path)


def test_what_leads_out_of_the_roots_is_refused_however_it_is_named(
    settings: Settings, tmp_path: Path
) -> None:
    secret = GitRepo(tmp_path / "secret")
    secret.commit()
    (tmp_path / "one/link").symlink_to(secret.path)
    secret.git("worktree", "add", "-q", str(tmp_path / "one/tree"))
    GitRepo(tmp_path / "one-more")
    for named in ("secret", "one/../secret", "one/link", "one/tree", "one-more", "absent"):
        with pytest.raises(OutsideBounds, match="AUTOCODE_REPOS") as refused:
            check_repository(settings, str(tmp_path / named))
        assert problem_of(refused.value).status_code == 403, named


def test_a_folder_whose_repository_begins_above_the_root_is_refused(tmp_path: Path) -> None:
    GitRepo(tmp_path)
    (tmp_path / "sub").mkdir()
    settings = Settings.load(autocode_home=tmp_path / "home", autocode_repos=str(tmp_path / "sub"))
    with pytest.raises(OutsideBounds, match="AUTOCODE_REPOS"):
        check_repository(settings, str(tmp_path / "sub"))


@pytest.mark.parametrize("named", ["nul\0", "long" * 2000, "circle", "circle/within"])
def test_a_path_that_cannot_even_be_looked_up_is_refused(tmp_path: Path, named: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(Problem, match="no folder can be found") as refused:
        check_repository(Settings.load(autocode_home=tmp_path / "home"), str(tmp_path / named))
    assert refused.value.status_code == 422


def test_without_roots_anything_that_is_a_repository_is_allowed(tmp_path: Path) -> None:
    settings = Settings.load(autocode_home=tmp_path / "home")
    assert check_repository(settings, str(GitRepo(tmp_path / "any").path))
    with pytest.raises(WorkspaceError, match="not in a git repository"):
        check_repository(settings, "/")


def test_a_scratch_repository_holds_what_the_task_brought_and_nothing_else(
    settings: Settings, tmp_path: Path
) -> None:
    brought: ContextFiles = [
        {"path": "a/b.py", "content": "x\r\n"},
        {"path": ".gitignore", "content": "*\n"},
        "c.py",
    ]
    place, paths = create_scratch(settings, "t1", brought)
    assert paths == ["a/b.py", ".gitignore", "c.py"] and (Path(place) / "a/b.py").read_bytes() == b"x\r\n"
    assert check_repository(settings, place) == place
    for path in ("../x", "/etc/x", ".git/hooks/x", "a//b", ""):
        with pytest.raises(Problem) as wrong:
            create_scratch(settings, "t2", [{"path": path, "content": ""}])
        assert (wrong.value.status_code, wrong.value.title) == (422, "Invalid context file")


@pytest.mark.parametrize("thread", ["..", ".", ".git", "a/../../b", "a\0b", "", "-x"])
def test_a_thread_whose_id_leads_elsewhere_gets_no_repository(settings: Settings, thread: str) -> None:
    brought: ContextFiles = [{"path": "mcp.json", "content": "{}"}]
    with pytest.raises(InputError, match="id is made of"):
        create_scratch(settings, thread, brought)
    assert not settings.home.exists()


def test_requests_on_one_new_thread_at_once_find_one_whole_repository(settings: Settings) -> None:
    def create(number: int) -> str:
        brought: ContextFiles = [{"path": f"f{number}.py", "content": "x"}]
        place, _ = create_scratch(settings, "t", brought)
        return check_repository(settings, place)

    with ThreadPoolExecutor(8) as pool:
        places = set(pool.map(create, range(8)))
    (place,) = places
    assert [path.name for path in Path(place).parent.iterdir()] == ["t"]
    assert len(list(Path(place).glob("f*.py"))) == 1
