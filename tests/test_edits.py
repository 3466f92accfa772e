"""Edits: replies applied to snapshots of a real repository, wholly or not at all."""

from pathlib import Path

import pytest
from gitrepo import GitRepo

from nodes.dialogue.edits import write_edit
from nodes.dialogue.replies import Unusable
from tools.workspace import Workspace

TOOL = "#!/bin/sh\necho one\necho two\n"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    repo.put("bin/tool", TOOL, executable=True)
    repo.commit({"plain.sh": TOOL, "conf.yaml": "a:\n  b: 1\n", "Vagrantfile.old": ""})
    return repo


def edited(repo: GitRepo, reply: str, file: str | None = None) -> dict[str, str]:
    """Apply a reply to HEAD, and return the modes and names of its files."""
    edit = write_edit(Workspace.open(repo.path), repo.git("rev-parse", "HEAD"), reply, "coder", file)
    listing = repo.git("ls-tree", "-r", edit.snapshot).splitlines()
    return {line.partition("\t")[2]: line[:6] for line in listing}


def diff(text: str) -> str:
    return f"```diff\n{text}```\n"


def test_modes_of_diffs_are_set_with_and_without_hunks(repo: GitRepo) -> None:
    alone = "diff --git a/plain.sh b/plain.sh\nold mode 100644\nnew mode 100755\n"
    assert edited(repo, diff(alone))["plain.sh"] == "100755"
    hunk = "--- a/plain.sh\n+++ b/plain.sh\n@@ -1,3 +1,3 @@\n #!/bin/sh\n-echo one\n+echo 1\n echo two\n"
    assert edited(repo, diff(alone + hunk))["plain.sh"] == "100755"
    added = "--- /dev/null\n+++ b/new.sh\n@@ -0,0 +1 @@\n+#!/bin/sh\n"
    new = f"diff --git a/new.sh b/new.sh\nnew file mode 100755\n{added}"
    assert edited(repo, diff(new))["new.sh"] == "100755"
    link = new.replace("100755", "120000")
    with pytest.raises(Unusable, match="mode 120000 cannot be set"):
        edited(repo, diff(link))


def test_a_renamed_or_copied_script_stays_executable(repo: GitRepo) -> None:
    names = "diff --git a/bin/tool b/bin/new\nsimilarity index 100%\n{0} from bin/tool\n{0} to bin/new\n"
    moved = edited(repo, diff(names.format("rename")))
    assert moved["bin/new"] == "100755" and "bin/tool" not in moved
    copied = edited(repo, diff(names.format("copy")))
    assert copied["bin/new"] == copied["bin/tool"] == "100755"


def test_a_header_with_two_files_is_no_silent_edit_of_the_first(repo: GitRepo) -> None:
    hunk = "@@ -1,3 +1,3 @@\n #!/bin/sh\n-echo one\n+echo 1\n echo two\n"
    with pytest.raises(Unusable, match="rename from OLD"):
        edited(repo, diff(f"--- a/plain.sh\n+++ b/other.sh\n{hunk}"))


@pytest.mark.parametrize(
    "line",
    ["    # ... existing code ...", "// rest of the file unchanged", "# ...", "    ... other methods ..."],
)
def test_added_lines_of_a_diff_must_not_stand_for_others(repo: GitRepo, line: str) -> None:
    with pytest.raises(Unusable, match="not whole"):
        edited(repo, diff(f"--- a/conf.yaml\n+++ b/conf.yaml\n@@ -1,2 +1,3 @@\n a:\n   b: 1\n+{line}\n"))


@pytest.mark.parametrize(
    "line", ["# remaining seconds here", "x = ...", "    ...", ">>> f(", "... other = 3)"]
)
def test_ordinary_lines_are_no_elisions(repo: GitRepo, line: str) -> None:
    reply = diff(f"--- a/conf.yaml\n+++ b/conf.yaml\n@@ -1,2 +1,3 @@\n a:\n   b: 1\n+{line}\n")
    assert "conf.yaml" in edited(repo, reply)


def test_every_block_must_be_understood(repo: GitRepo) -> None:
    whole = "### new.py\n```python\nx = 1\n```\n"
    with pytest.raises(Unusable, match="A block has no path: it begins with `pytest -q`"):
        edited(repo, f"{whole}\nRun it:\n\n```sh\npytest -q\n```\n")
    with pytest.raises(Unusable, match="`Example` stands above a block"):
        edited(repo, whole.replace("new.py", "Example"))
    assert "Example" in edited(repo, whole.replace("new.py", "./Example"))
    assert "Example" in edited(repo, whole.replace("new.py", "Example"), file="Example")
    assert "Makefile" in edited(repo, whole.replace("new.py", "Makefile"))
    assert "step.py" in edited(repo, "```python\nx = 1\n```\n", file="step.py")
