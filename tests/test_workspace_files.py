"""Reading, writing, comparing, merging and packing snapshots."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from gitrepo import GitRepo

from tools.workspace import Change, PathError, Workspace
from tools.workspace.package import open_package

Edits = dict[str, str | bytes | None]


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    repo.put("run.sh", "#!/bin/sh\n", executable=True)
    (repo.path / "link").symlink_to("src/app.py")
    (repo.path / "folder-link").symlink_to("src")
    repo.commit({"src/app.py": "one\ntwo\nthree\n", "src/deep/x.py": "x\n", "README": "r\n"})
    return repo


@pytest.fixture
def workspace(repo: GitRepo) -> Workspace:
    return Workspace.open(repo.path)


@pytest.fixture
def head(workspace: Workspace) -> str:
    return workspace.begin().snapshot


def test_a_package_names_its_files_below_its_folder(repo: GitRepo, head: str) -> None:
    package = open_package(repo.path, "src")
    assert package.files(head) == {"app.py": 14, "deep/x.py": 2} and package.size(head, "app.py") == 14
    assert package.blobs(head).keys() == package.files(head).keys()


def test_files_are_read_by_path_and_links_are_not_followed(workspace: Workspace, head: str) -> None:
    assert workspace.files(head) == {"README": 2, "run.sh": 10, "src/app.py": 14, "src/deep/x.py": 2}
    assert list(workspace.files(head)) == sorted(workspace.files(head))
    assert sum(workspace.files(head).values()) == 28
    assert workspace.text(head, "src/app.py") == "one\ntwo\nthree\n"
    for path in (
        "link",
        "folder-link/app.py",
        "src",
        "nope",
        "",
        "/",
        "src//app.py",
        "../x",
        "a\0b",
        "\udcff",
    ):
        assert workspace.read(head, path) is None
        assert workspace.text(head, path) is None


def test_contents_are_named_by_their_blobs(workspace: Workspace, head: str, repo: GitRepo) -> None:
    blobs = workspace.blobs(head)
    assert blobs.keys() == workspace.files(head).keys()
    assert blobs["README"] == repo.git("rev-parse", "HEAD:README")


def test_clones_share_the_first_commit_also_when_work_is_in_progress(repo: GitRepo, tmp_path: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "-qb", "side")
    repo.commit({"side": "1\n"})
    repo.git("checkout", "-q", "main")
    repo.commit({"main": "1\n"})
    repo.git("merge", "-q", "--no-edit", "side")
    repo.git("clone", "-q", "--no-local", ".", str(tmp_path / "clone"))
    repo.git("clone", "-q", "--no-local", "--depth", "1", ".", str(tmp_path / "shallow"))
    clone = GitRepo(tmp_path / "clone")
    clone.put("main", "2\n")
    for path, root in ((repo.path, first), (clone.path, first), (tmp_path / "shallow", "")):
        workspace = Workspace.open(path)
        begun = workspace.begin().snapshot
        assert workspace.root(begun) == root
    empty = Workspace.init(tmp_path / "empty")
    assert empty.root(empty.begin().snapshot) == ""


def test_text_keeps_line_ends_and_is_none_for_what_is_not_utf8(workspace: Workspace, head: str) -> None:
    files: Edits = {"crlf": "1\r\n2\r", "bom": "\ufeffx", "binary": b"a\0b", "latin": b"\xe9", "empty": ""}
    written = workspace.write(head, files, "m")
    assert workspace.text(written, "crlf") == "1\r\n2\r"
    assert workspace.text(written, "bom") == "\ufeffx"
    assert workspace.text(written, "empty") == ""
    assert workspace.text(written, "binary") is workspace.text(written, "latin") is None


def test_a_write_changes_what_it_names_alone_and_keeps_executable_bits(
    repo: GitRepo, workspace: Workspace, head: str
) -> None:
    written = workspace.write(
        head, {"run.sh": "echo\n", "src/new/é.py": "n\n", "src/deep/x.py": None}, "Edit"
    )
    changed = repo.git("-c", "core.quotePath=false", "diff-tree", "-r", "--name-status", head, written)
    assert changed.split("\n") == ["M\trun.sh", "D\tsrc/deep/x.py", "A\tsrc/new/é.py"]
    assert repo.git("ls-tree", written, "run.sh").startswith("100755")
    assert repo.git("log", "-1", "--format=%s|%P|%an", written) == f"Edit|{head}|AutoCodeAI"
    assert (
        workspace.write(head, {"run.sh": "echo\n", "src/new/é.py": "n\n", "src/deep/x.py": None}, "Edit")
        == written
    )
    assert workspace.write(head, {"README": "r\n"}, "nothing new") == head
    repo.git("fsck", "--strict")


def test_modes_are_set_with_and_without_new_content(repo: GitRepo, workspace: Workspace, head: str) -> None:
    edits: Edits = {"new.sh": "#!/bin/sh\n", "README": None, "READ.sh": "r\n"}
    modes = {"new.sh": 0o100755, "READ.sh": 0o755, "run.sh": 0o644, "src/app.py": 0o755}
    written = workspace.write(head, edits, "Edit", modes)
    listed = {line.split("\t")[1]: line[:6] for line in repo.git("ls-tree", "-r", written).splitlines()}
    assert {path: listed[path] for path in modes} == {
        "new.sh": "100755", "READ.sh": "100755", "run.sh": "100644", "src/app.py": "100755"
    }  # fmt: skip
    assert workspace.text(written, "src/app.py") == workspace.text(head, "src/app.py")
    assert workspace.write(head, {}, "the same", {"run.sh": 0o755}) == head
    for path, mode in (("link", 0o755), ("src", 0o755), ("absent", 0o755), ("run.sh", 0o120000)):
        with pytest.raises(PathError, match=path):
            workspace.write(head, {}, "m", {path: mode})


def test_a_file_may_become_a_folder_and_back_when_all_is_deleted(workspace: Workspace, head: str) -> None:
    folder = workspace.write(head, {"README": None, "README/part.md": "p\n"}, "m")
    assert "README/part.md" in workspace.files(folder)
    back = workspace.write(folder, {"README/part.md": None, "README": "r\n"}, "m")
    assert workspace.tree(back) == workspace.tree(head)
    unlinked = workspace.write(head, {"folder-link": None, "folder-link/app.py": "a\n"}, "m")
    assert workspace.text(unlinked, "folder-link/app.py") == "a\n"


def test_paths_that_leave_the_repository_or_reach_git_are_refused(workspace: Workspace, head: str) -> None:
    paths = [
        "", "/etc/passwd", "../x", "src/../../x", "./x", "src//x", "src/", "a\0b", "a\nb", "src\\x.py",
        "C:/x", ".git/config", ".GIT/hooks/x", "src/.git/config", ".git /config", ".git./config",
        "git~1/config", ".git::$INDEX_ALLOCATION/x", ".g\u200cit/config", "\udcff.py", "x" * 256,
        "d/" * 2500 + "x",
    ]  # fmt: skip
    for path in paths:
        with pytest.raises(PathError):
            workspace.write(head, {path: "x"}, "m")


def test_a_write_that_cannot_be_is_refused_with_the_reason(workspace: Workspace, head: str) -> None:
    refused: list[tuple[dict[str, str | None], str]] = [
        ({"link": "x"}, "link is a symbolic link"),
        ({"folder-link/app.py": "x"}, "folder-link is a symbolic link"),
        ({"README/x": "x"}, "README is a file"),
        ({"src": "x"}, "src is a folder"),
        ({"src": None}, "src is a folder"),
        ({"src": "x", "src/app.py": None}, "src is a folder"),
        ({"new": "x", "new/file": "x"}, "new is written as a file too"),
        ({"absent": None}, "no such file"),
        ({"bad.py": "\ud800"}, "not valid Unicode"),
    ]
    for changes, reason in refused:
        with pytest.raises(PathError, match=reason):
            workspace.write(head, changes, "m")


def test_nothing_is_written_into_a_submodule(repo: GitRepo, tmp_path: Path) -> None:
    GitRepo(tmp_path / "library").commit({"lib.py": "1\n"})
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "library"), "lib")
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    for path in ("lib/lib.py", "lib"):
        with pytest.raises(PathError, match="lib is a submodule"):
            workspace.write(base, {path: "x"}, "m")
    written = workspace.write(base, {"a.py": "x"}, "m")
    assert repo.git("ls-tree", written, "lib").startswith("160000")


def test_changes_count_lines_and_diff_can_be_applied_by_git(
    repo: GitRepo, workspace: Workspace, head: str
) -> None:
    repo.git("config", "diff.noprefix", "true")
    repo.git("config", "diff.mnemonicPrefix", "true")
    repo.put(".git/info/attributes", "*.py -diff\n")
    edits: Edits = {
        "src/app.py": "one\n2\nthree\nfour",
        "README": None,
        "a dir/ü.txt": "a\nb\n",
        "run.sh": b"\0",
    }
    workspace = Workspace.open(repo.path)
    written = workspace.write(head, {**edits, "empty": ""}, "m")
    assert workspace.changes(head, written) == (
        Change("README", "deleted", 0, 1),
        Change("a dir/ü.txt", "added", 2, 0),
        Change("empty", "added", 0, 0),
        Change("run.sh", "modified", 0, 0),
        Change("src/app.py", "modified", 2, 1),
    )
    diff = workspace.diff(head, written)
    assert "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n" in diff
    assert "--- /dev/null\n+++ b/a dir/ü.txt\n" in diff
    assert "Binary files a/run.sh and b/run.sh differ" in diff
    text = workspace.diff(head, workspace.write(head, {**edits, "run.sh": "2\n", "empty": ""}, "m"))
    subprocess.run(["git", "apply", "--check", "-"], cwd=repo.path, input=text.encode(), check=True)
    assert workspace.diff(head, written, ["README", "src"]).count("diff --git") == 2
    assert workspace.diff(head, written, ["sr"]) == ""


def test_changes_from_both_sides_merge_and_either_alone_is_itself(workspace: Workspace, head: str) -> None:
    ours = workspace.write(head, {"src/app.py": "ONE\ntwo\nthree\n", "a.py": "a\n"}, "m")
    theirs = workspace.write(head, {"src/app.py": "one\ntwo\nTHREE\n", "README": None}, "m")
    merged = workspace.merge(head, ours, theirs, "both")
    assert merged.conflicts == ()
    assert merged.snapshot
    assert workspace.text(merged.snapshot, "src/app.py") == "ONE\ntwo\nTHREE\n"
    assert {change.path for change in workspace.changes(head, merged.snapshot)} == {
        "README",
        "a.py",
        "src/app.py",
    }
    assert workspace.merge(head, ours, head, "m").snapshot == ours
    assert workspace.merge(head, head, theirs, "m").snapshot == theirs
    assert workspace.merge(head, ours, theirs, "both") == merged


def test_conflicts_show_both_sides_with_labels(workspace: Workspace, head: str) -> None:
    mine: Edits = {"src/app.py": "one\n2\nthree\n", "new.py": "mine\n", "README": None, "b": b"\0 1"}
    yours: Edits = {"src/app.py": "one\nII\nthree\n", "new.py": "yours\n", "README": "R\n", "b": b"\0 2"}
    ours, theirs = (workspace.write(head, side, "m") for side in (mine, yours))
    merged = workspace.merge(head, ours, theirs, "m")
    assert merged.snapshot is None
    left, right = "<<<<<<< ours (merged so far)", ">>>>>>> theirs (this step)"
    assert {conflict.path: conflict.text for conflict in merged.conflicts} == {
        "README": f"{left}: the file is deleted or moved\n=======\nR\n{right}\n",
        "b": f"{left}: a binary file\n=======\n{right}: a binary file\n",
        "new.py": f"{left}\nmine\n=======\nyours\n{right}\n",
        "src/app.py": f"one\n{left}\n2\n=======\nII\n{right}\nthree\n",
    }


def test_conflicts_of_latin1_texts_and_of_files_with_folders_are_told(
    workspace: Workspace, head: str
) -> None:
    ours = workspace.write(head, {"latin": b"\xe9 1\n", "thing": "file\n"}, "m")
    theirs = workspace.write(head, {"latin": b"\xe9 2\n", "thing/inside": "folder\n"}, "m")
    conflicts = {
        conflict.path: conflict.text for conflict in workspace.merge(head, ours, theirs, "m").conflicts
    }
    assert "\ufffd 1\n=======\n\ufffd 2\n" in conflicts["latin"]
    assert "file\n" in conflicts["thing"]


def test_a_tar_holds_files_modes_and_harmless_links_alone(repo: GitRepo, tmp_path: Path) -> None:
    links = {
        "src/up": "../README", "src/deep/far": "../../README", "dir": "src/deep", "dangling": "nowhere",
        "bad-abs": "/etc/passwd", "bad-up": "../x", "src/bad": "../../x", "bad-trick": "dir/../../../x",
    }  # fmt: skip
    for path, target in links.items():
        (repo.path / path).symlink_to(target)
    long = "/".join(["a" * 90] * 3)
    repo.put(f"{long}.py", "long\n")
    repo.put(os.fsdecode(b"raw\xff"), "raw\n")
    workspace = Workspace.open(repo.path)
    snapshot = workspace.begin().snapshot
    stream = b"".join(workspace.tar(snapshot))
    assert stream == b"".join(workspace.tar(snapshot))
    with tarfile.open(fileobj=io.BytesIO(stream), errors="surrogateescape") as archive:
        members = {member.name: member for member in archive}
        archive.extractall(tmp_path / "out", filter="data")
    assert {name for name, member in members.items() if member.issym()} == {
        "src/up", "src/deep/far", "dir", "dangling", "link", "folder-link",
    }  # fmt: skip
    assert members["run.sh"].mode == 0o755
    assert members["README"].mode == 0o644
    assert {(member.mtime, member.uid, member.gid) for member in members.values()} == {(0, 0, 0)}
    assert (tmp_path / "out" / f"{long}.py").read_text() == "long\n"
    (tmp_path / "by-tar").mkdir()
    subprocess.run(["tar", "-xf", "-"], cwd=tmp_path / "by-tar", input=stream, check=True)
    assert Path(os.fsdecode(bytes(tmp_path / "by-tar") + b"/raw\xff")).read_text() == "raw\n"
    assert not os.access(tmp_path / "by-tar/README", os.X_OK) or os.geteuid() == 0


def test_files_of_many_megabytes_pass_through_in_pieces(repo: GitRepo) -> None:
    big = os.urandom(1 << 20) * 8
    workspace = Workspace.open(repo.path)
    written = workspace.write(workspace.begin().snapshot, {"big.bin": big}, "m")
    assert workspace.read(written, "big.bin") == big
    pieces = list(workspace.tar(written))
    assert max(map(len, pieces)) < 10 << 20
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        member = archive.extractfile("big.bin")
        assert member
        assert member.read() == big
