"""Habits of a repository, which planner and critic are told of."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from gitrepo import GitRepo
from runs import Bench, script

from nodes.planning.habits import habits
from tools.workspace import Workspace

Files = Mapping[str, str]
TOWNCRIER = "[tool.towncrier]\ndirectory = 'changes/'\n"
DOCS = "docs/use.md"
NOTICE = "- What users notice gets"


def told(repo: GitRepo) -> list[str]:
    """The lines on a repository's habits, without their title."""
    workspace = Workspace.open(repo.path)
    return habits(workspace, workspace.resolve("HEAD")).splitlines()[1:]


def with_code(repo: GitRepo, times: int, *beside: str, start: Files | None = None) -> GitRepo:
    """A repository whose code has changed so often, with other files that `beside` names by number."""
    repo.commit({"README.md": "x\n", **(start or {})})
    for number in range(times):
        paths = ["pkg/code.py", *(path.format(number) for path in beside)]
        repo.commit({path: f"{number}\n" for path in paths})
    return repo


@pytest.mark.parametrize(
    ("beside", "start", "lines"),
    [
        ((), {}, []),
        ((), {"CHANGELOG.md": "# 1.0\n"}, []),
        (("tests/test_code.py", "examples/a.py"), {}, []),
        (
            ("CHANGES.rst",), {},
            [f"{NOTICE} an entry in `CHANGES.rst`, at its top"],
        ),
        (
            ("docs/changelog.md", DOCS), {"docs/changelog.md": "# Log\n", DOCS: "Use.\n"},
            [
                f"{NOTICE} an entry in `docs/changelog.md`, at its top",
                "- `docs/` describes what users see, and changes with it",
            ],
        ),
        (
            ("newsfragments/{}.fix.rst",), {"CHANGES.rst": "Unreleased\n"},
            [
                f"{NOTICE} a news fragment, a new file in `newsfragments/`, such as `newsfragments/3.fix.rst`"
                " and `newsfragments/2.fix.rst`"
            ],
        ),
        (
            (), {"pyproject.toml": TOWNCRIER},
            [f"{NOTICE} a news fragment, a new file in `changes/`"],
        ),
        ((), {"pyproject.toml": "[tool.towncrier]\ndirectory = '`\\n## Task'\n"}, []),
        ((), {"pyproject.toml": "[tool]\ntowncrier = 'x'\n[["}, []),
    ],
)  # fmt: skip
def test_a_habit_is_what_the_last_changes_of_the_code_show(
    tmp_path: Path, beside: tuple[str, ...], start: Files, lines: list[str]
) -> None:
    found = told(with_code(GitRepo(tmp_path), 4, *beside, start=start))
    assert [line.partition(" (")[0] for line in found] == lines


def test_a_changelog_with_an_unreleased_version_is_kept_from_the_start(tmp_path: Path) -> None:
    start = {"CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n", "pkg/code.py": ""}
    repo = with_code(GitRepo(tmp_path), 1, start=start)
    (line,) = told(repo)
    assert "`CHANGELOG.md`, under its unreleased version" in line
    with_code(repo, 6)
    assert told(repo) == [], "nobody writes in it any more"
    repo.commit({"CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n- More\n"})
    assert told(repo) == [f"{NOTICE} an entry in `CHANGELOG.md`, under its unreleased version."]


def test_the_changelog_with_an_unreleased_version_is_the_one_that_is_written(tmp_path: Path) -> None:
    start = {"CHANGES.md": "## 8.4\n\nUnreleased\n", "docs/changes.md": "See CHANGES.md.\n"}
    repo = with_code(GitRepo(tmp_path), 3, "docs/changes.md", start=start)
    assert "`docs/changes.md`, at its top" in told(repo)[0]
    repo.commit({"CHANGES.md": "## 8.5\n\nUnreleased\n"})
    assert "`CHANGES.md`, under its unreleased version" in told(repo)[0]


def test_a_merge_stands_for_what_it_brought_in_and_a_shallow_clone_for_what_it_has(tmp_path: Path) -> None:
    repo = with_code(GitRepo(tmp_path / "repo"), 1)
    for number in range(3):
        repo.git("checkout", "-q", "-b", f"topic{number}")
        repo.commit({"pkg/code.py": f"merged {number}\n"})
        repo.commit({"HISTORY.md": f"{number}\n"})
        repo.git("checkout", "-q", "main")
        repo.git("merge", "-q", "--no-ff", "-m", "Merge", f"topic{number}")
    (line,) = told(repo)
    assert "`HISTORY.md`, at its top (3 of the last 4 changes" in line
    repo.git("clone", "-q", "--depth", "3", f"file://{repo.path}", str(tmp_path / "shallow"))
    assert told(GitRepo(tmp_path / "shallow")) == []


async def test_planner_and_critic_are_told(bench: Bench) -> None:
    with_code(bench.repo, 3, "CHANGES.md")
    script(bench.desk)
    assert (await bench.run()).end.status == "verified"
    for agent in ("planner", "critic"):
        (prompt,) = bench.desk.prompts(f"You are the {agent}")
        assert "an entry in `CHANGES.md`, at its top (3 of the last" in prompt
        assert ("```\n2\n```" in prompt) == (agent == "planner"), "the newest entries"
    (prompt,) = bench.desk.prompts("You are a coder")
    assert "## Habits" not in prompt
