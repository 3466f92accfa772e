"""Where a run begins: opening repositories and taking the work in progress, touching nothing."""

import os
import shutil
import time
from pathlib import Path

import pytest
from gitrepo import GitRepo

from tools.workspace import Workspace, WorkspaceError

PROGRESS = "Work in progress (not by AutoCodeAI)"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


def messy(repo: GitRepo) -> None:
    """Leave staged, unstaged, untracked, ignored, stashed and conflicting things about."""
    repo.commit({".gitignore": "ignored/\n", "kept.py": "kept\n", "staged.py": "1\n", "gone.py": "1\n"})
    repo.put("kept.py", "stashed\n")
    repo.git("stash")
    repo.git("branch", "other")
    repo.git("pack-refs", "--all")
    repo.put("staged.py", "2\n")
    repo.put("new.py", "new\n")
    repo.git("add", "staged.py", "new.py")
    repo.put("staged.py", "3\n")
    repo.put("untracked/deep/file.txt", "u\n")
    repo.put("ignored/x.bin", b"\0\1")
    (repo.path / "gone.py").unlink()
    repo.put(".git/hooks/reference-transaction", "#!/bin/sh\ntouch ../HOOKED\n", executable=True)


def test_nothing_of_the_users_changes_when_snapshots_are_made_held_and_delivered(repo: GitRepo) -> None:
    messy(repo)
    before = repo.fingerprint()
    workspace = Workspace.open(repo.path)
    base = workspace.begin()
    ours = workspace.write(base.snapshot, {"a.py": "a\n", "kept.py": None}, "ours")
    theirs = workspace.write(base.snapshot, {"b/b.py": "b\n"}, "theirs")
    merged = workspace.merge(base.snapshot, ours, theirs, "merge").snapshot
    assert merged
    workspace.hold("t1", "merged", merged)
    delivered = workspace.deliver("autocode/t1", merged, base.snapshot, "Do it")
    workspace.note(delivered, "proof\n")
    assert repo.fingerprint() == before
    assert repo.names("autocode/t1") == [
        ".gitignore", "a.py", "b/b.py", "new.py", "staged.py", "untracked/deep/file.txt",
    ]  # fmt: skip
    repo.git("fsck", "--strict")


def test_work_in_progress_is_one_commit_of_the_users_on_head(repo: GitRepo) -> None:
    messy(repo)
    base = Workspace.open(repo.path).begin()
    assert base.dirty
    assert base.head == repo.git("rev-parse", "HEAD") == repo.git("rev-parse", f"{base.snapshot}^")
    assert repo.git("log", "-1", "--format=%s|%an|%cn", base.snapshot) == f"{PROGRESS}|Ursula|AutoCodeAI"
    assert repo.show(base.snapshot, "staged.py") == "3"
    assert repo.show(base.snapshot, "new.py") == "new"
    assert "gone.py" not in repo.names(base.snapshot)
    assert not any("ignored/" in name for name in repo.names(base.snapshot))


def test_the_same_work_in_progress_is_the_same_snapshot(repo: GitRepo) -> None:
    messy(repo)
    assert Workspace.open(repo.path).begin() == Workspace.open(repo.path).begin()


def test_a_clean_checkout_or_from_head_starts_at_head_itself(repo: GitRepo) -> None:
    head = repo.commit({"a.py": "1\n"})
    clean = Workspace.open(repo.path).begin()
    assert (clean.snapshot, clean.head, clean.dirty) == (head, head, False)
    repo.put("a.py", "2\n")
    assert Workspace.open(repo.path).begin(from_head=True).snapshot == head
    assert Workspace.open(repo.path).begin().dirty


def test_an_empty_repository_starts_from_an_empty_tree(repo: GitRepo) -> None:
    workspace = Workspace.open(repo.path)
    base = workspace.begin()
    assert (base.head, base.dirty, workspace.files(base.snapshot)) == (None, False, {})
    repo.put("first.py", "1\n")
    dirty = workspace.begin()
    assert dirty.head is None
    assert workspace.files(dirty.snapshot) == {"first.py": 2}
    assert repo.git("rev-parse", f"{dirty.snapshot}^") == base.snapshot
    workspace.deliver("autocode/t", workspace.write(base.snapshot, {"x": "y"}, "m"), base.snapshot, "m")


def test_a_detached_head_is_a_head(repo: GitRepo) -> None:
    first = repo.commit({"a.py": "1\n"})
    repo.commit({"a.py": "2\n"})
    repo.git("checkout", "-q", first)
    assert Workspace.open(repo.path).begin().snapshot == first


def test_secret_files_stay_out_unless_committed(repo: GitRepo) -> None:
    repo.commit({"committed.key": "old\n", "a.py": "1\n", "gone.pem": "x\n"})
    secrets = [
        ".env",
        ".env.local",
        "conf/prod.pem",
        "id_rsa",
        "keys/id_work",
        ".aws/credentials",
        "staged.key",
    ]
    harmless = [".env.example", "id_generator.py", "id_rsa.pub", "environment.py", "monkey.py"]
    for path in (*secrets, *harmless, "committed.key"):
        repo.put(path, "new\n")
    (repo.path / "gone.pem").unlink()
    repo.git("add", "staged.key", "committed.key")
    base = Workspace.open(repo.path).begin()
    assert base.left_out == tuple(sorted([*secrets, "committed.key"]))
    assert repo.names(base.snapshot) == sorted([*harmless, "a.py", "committed.key"])
    assert repo.show(base.snapshot, "committed.key") == "old"


def test_the_checkouts_line_ends_are_converted_as_git_would(repo: GitRepo) -> None:
    repo.commit({".gitattributes": "*.txt text eol=crlf\n*.bin -text\n", "a.txt": "1\n", "b.py": "1\n"})
    repo.git("config", "core.autocrlf", "true")
    repo.put("a.txt", "1\r\n2\r\n")
    repo.put("c.py", "1\r\n")
    repo.put("d.bin", b"1\r\n\0")
    base = Workspace.open(repo.path).begin()
    repo.git("add", "-A")
    assert Workspace.open(repo.path).tree(base.snapshot) == repo.git("write-tree")
    assert Workspace.open(repo.path).read(base.snapshot, "a.txt") == b"1\n2\n"
    assert Workspace.open(repo.path).read(base.snapshot, "d.bin") == b"1\r\n\0"


def test_an_irreversible_line_end_under_safecrlf_is_said_with_a_way_out(repo: GitRepo) -> None:
    repo.commit({".gitattributes": "*.txt text eol=crlf\n"})
    repo.git("config", "core.safecrlf", "true")
    repo.put("mixed.txt", "1\r\n2\n")
    with pytest.raises(WorkspaceError, match=r"from_head.*mixed\.txt"):
        Workspace.open(repo.path).begin()


def test_files_behind_a_filter_are_taken_from_head(repo: GitRepo) -> None:
    repo.put("b.big", "pointer\n")
    repo.git("add", "b.big")
    repo.commit({".gitattributes": "*.big filter=lfs\n*.u16 working-tree-encoding=UTF-16\n"})
    repo.put("b.big", "real content")
    repo.put("new.u16", "x".encode("utf-16"))
    base = Workspace.open(repo.path).begin()
    assert base.filtered == ("b.big", "new.u16")
    assert not base.dirty


def test_a_submodule_stays_a_link_to_a_commit_and_is_never_entered(repo: GitRepo, tmp_path: Path) -> None:
    library = GitRepo(tmp_path / "library")
    pinned = library.commit({"lib.py": "1\n"})
    library.commit({"lib.py": "2\n"})
    repo.commit({"a.py": "1\n"})
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.path), "lib")
    (repo.path / "lib/secret.py").write_text("untracked in the submodule")
    (repo.path / "lib/lib.py").write_text("changed in the submodule")
    nested = GitRepo(repo.path / "nested")
    nested.commit({"n.py": "1\n"})
    base = Workspace.open(repo.path).begin()
    assert base.dirty
    assert repo.git("ls-tree", base.snapshot, "lib").startswith(
        f"160000 commit {library.git('rev-parse', 'HEAD')}"
    )
    assert sorted(Workspace.open(repo.path).files(base.snapshot)) == [".gitmodules", "a.py"]
    repo.git("commit", "-qm", "submodule")
    shutil.rmtree(repo.path / "lib")
    (repo.path / "lib").mkdir()
    assert not Workspace.open(repo.path).begin().dirty
    assert pinned


def test_links_stay_links_and_modes_stay_modes(repo: GitRepo) -> None:
    repo.commit({"real.py": "1\n", "was_file": "1\n"})
    (repo.path / "link").symlink_to("real.py")
    (repo.path / "out").symlink_to("/etc")
    (repo.path / "was_file").unlink()
    (repo.path / "was_file").symlink_to("real.py")
    (repo.path / "real.py").chmod(0o755)
    os.mkfifo(repo.path / "pipe")
    base = Workspace.open(repo.path).begin()
    modes = {line.split("\t")[1]: line[:6] for line in repo.git("ls-tree", "-r", base.snapshot).splitlines()}
    assert modes == {"link": "120000", "out": "120000", "was_file": "120000", "real.py": "100755"}
    assert repo.show(base.snapshot, "out") == "/etc"


def test_a_folder_replaced_by_a_link_is_not_followed(repo: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f.py").write_text("outside")
    repo.commit({"d/f.py": "inside\n"})
    shutil.rmtree(repo.path / "d")
    (repo.path / "d").symlink_to(tmp_path / "outside")
    base = Workspace.open(repo.path).begin()
    assert repo.git("ls-tree", "-r", base.snapshot).startswith("120000")
    assert repo.names(base.snapshot) == ["d"]


def test_binary_files_and_names_that_are_not_utf8_are_carried_along(repo: GitRepo) -> None:
    repo.commit({os.fsdecode(b"old\xff.txt"): "1\n", "latin.txt": "caf\xe9".encode("latin-1")})
    repo.put(os.fsdecode(b"d\xfe/new\xff.bin"), b"\0\xff")
    repo.put("üñï.txt", "1\n")
    workspace = Workspace.open(repo.path)
    base = workspace.begin()
    written = workspace.write(base.snapshot, {"a.py": "1\n"}, "m")
    names = [os.fsdecode(b"d\xfe/new\xff.bin"), "latin.txt", os.fsdecode(b"old\xff.txt"), "üñï.txt"]
    assert sorted(repo.names(written)) == sorted(["a.py", *names])
    assert sorted(workspace.files(written)) == ["a.py", "latin.txt", "üñï.txt"]
    assert workspace.text(written, "latin.txt") is None
    assert workspace.read(written, "latin.txt") == b"caf\xe9"
    repo.git("fsck", "--strict")


def test_files_outside_a_sparse_checkout_are_not_deletions(repo: GitRepo) -> None:
    repo.commit({"in/a.py": "1\n", "out/b.py": "1\n", "assumed.py": "1\n"})
    repo.git("sparse-checkout", "set", "in")
    repo.git("update-index", "--assume-unchanged", "assumed.py")
    (repo.path / "assumed.py").unlink()
    assert not (repo.path / "out").exists()
    assert not Workspace.open(repo.path).begin().dirty
    repo.put("in/a.py", "2\n")
    base = Workspace.open(repo.path).begin()
    assert repo.names(base.snapshot) == ["assumed.py", "in/a.py", "out/b.py"]


def test_an_unfinished_merge_goes_in_as_it_lies_in_the_files(repo: GitRepo) -> None:
    repo.commit({"a.py": "1\n", "b.py": "1\n"})
    repo.git("checkout", "-qb", "other")
    repo.commit({"a.py": "other\n", "b.py": "other\n"})
    repo.git("checkout", "-q", "main")
    repo.commit({"a.py": "main\n", "b.py": "main\n"})
    with pytest.raises(Exception, match="non-zero"):
        repo.git("merge", "other")
    (repo.path / "b.py").unlink()
    base = Workspace.open(repo.path).begin()
    assert repo.names(base.snapshot) == ["a.py"]
    assert "<<<<<<< HEAD" in repo.show(base.snapshot, "a.py")


def test_indexes_that_cannot_be_read_are_said_with_a_way_out(repo: GitRepo) -> None:
    repo.commit({"a.py": "1\n"})
    repo.git("update-index", "--split-index")
    with pytest.raises(WorkspaceError, match=r"from_head.*--no-split-index"):
        Workspace.open(repo.path).begin()
    repo.git("update-index", "--no-split-index")
    repo.put("in/a.py")
    repo.put("out/b.py")
    head = repo.commit()
    repo.git("sparse-checkout", "set", "--cone", "--sparse-index", "in")
    with pytest.raises(WorkspaceError, match=r"from_head.*--no-sparse-index"):
        Workspace.open(repo.path).begin()
    assert Workspace.open(repo.path).begin(from_head=True).snapshot == head


def test_a_subfolder_opens_its_repository_and_other_folders_name_init(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit({"deep/er/a.py": "1\n"})
    assert Workspace.open(repo.path / "deep/er").path == repo.path
    (tmp_path / "plain").mkdir()
    with pytest.raises(WorkspaceError, match="is not in a git repository"):
        Workspace.open(tmp_path / "plain")
    with pytest.raises(WorkspaceError, match="no folder"):
        Workspace.open(tmp_path / "nothing")
    made = Workspace.init(tmp_path / "plain")
    assert made.begin().head is None
    assert Workspace.init(repo.path).begin().head == repo.git("rev-parse", "HEAD")


def test_checkouts_whose_git_folder_lies_elsewhere_open(repo: GitRepo, tmp_path: Path) -> None:
    apart = GitRepo(tmp_path / "apart", "--separate-git-dir", str(tmp_path / "elsewhere"))
    head = apart.commit({"a.py": "1\n"})
    workspace = Workspace.open(apart.path)
    assert (workspace.path, workspace.begin().snapshot) == (apart.path, head)
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(apart.path), "lib")
    inside = Workspace.open(repo.path / "lib")
    assert (inside.path, inside.begin().snapshot) == (repo.path / "lib", head)
    assert inside.apply(head, inside.write(head, {"b.py": "1\n"}, "m")) == ("b.py",)
    (tmp_path / "link").symlink_to(repo.path)
    assert Workspace.open(tmp_path / "link").path == repo.path


def test_a_linked_worktree_has_its_own_head_and_shares_refs(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit({"a.py": "1\n"})
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side/a.py").write_text("2\n")
    workspace = Workspace.open(tmp_path / "side")
    assert workspace.path == tmp_path / "side"
    base = workspace.begin()
    assert repo.show(base.snapshot, "a.py") == "2"
    workspace.hold("t", "base", base.snapshot)
    assert Workspace.open(repo.path).held("t") == {"base": base.snapshot}
    assert workspace.apply(base.snapshot, workspace.write(base.snapshot, {"b.py": "b\n"}, "m")) == ("b.py",)
    assert (tmp_path / "side/b.py").read_text() == "b\n"


def test_a_bare_repository_starts_at_head_and_takes_branches(repo: GitRepo, tmp_path: Path) -> None:
    head = repo.commit({"a.py": "1\n"})
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    workspace = Workspace.open(tmp_path / "bare.git")
    base = workspace.begin()
    assert (base.snapshot, base.dirty) == (head, False)
    snapshot = workspace.write(head, {"a.py": "2\n"}, "m")
    assert workspace.deliver("autocode/t", snapshot, head, "m") == workspace.resolve("autocode/t")
    with pytest.raises(WorkspaceError, match="no checkout"):
        workspace.apply(head, snapshot)


def test_a_hostile_config_and_hooks_run_nothing(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit({"a.txt": "1\n", ".gitattributes": "*.txt filter=evil diff=evil merge=evil\n"})
    trap = f"touch {tmp_path}/TRAPPED"
    (tmp_path / "included").write_text(f"[core]\n\tpager = {trap}\n")
    for name in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv",
                 "diff.evil.command", "merge.evil.driver", "core.fsmonitor", "core.sshCommand", "core.editor",
                 "gpg.program", "diff.external", "core.alternateRefsCommand"):  # fmt: skip
        repo.git("config", name, trap)
    repo.git("config", "include.path", str(tmp_path / "included"))
    repo.git("config", "commit.gpgSign", "true")
    repo.git("config", "core.hooksPath", "evil-hooks")
    repo.git("config", "core.protectNTFS", "false")
    for hook in ("pre-commit", "post-commit", "reference-transaction", "post-index-change", "post-checkout"):
        repo.put(f"evil-hooks/{hook}", f"#!/bin/sh\n{trap}\n", executable=True)
        repo.put(f".git/hooks/{hook}", f"#!/bin/sh\n{trap}\n", executable=True)
    repo.put("a.txt", "2\n")
    repo.put("b.py", "2\n")
    workspace = Workspace.open(repo.path)
    base = workspace.begin()
    ours = workspace.write(base.snapshot, {"a.txt": "3\n", "c.py": "1\n"}, "m")
    theirs = workspace.write(base.snapshot, {"a.txt": "4\n"}, "m")
    assert workspace.merge(base.snapshot, ours, theirs, "m").conflicts
    assert "+3" in workspace.diff(base.snapshot, ours)
    delivered = workspace.deliver("autocode/t", ours, base.snapshot, "m")
    workspace.note(delivered, "n")
    assert workspace.apply(base.snapshot, workspace.write(base.snapshot, {"c.py": "1\n"}, "m")) == ("c.py",)
    assert not (tmp_path / "TRAPPED").exists()


def test_a_config_that_claims_another_folder_as_its_files_is_refused(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit({"a.py": "1\n"})
    (tmp_path / "home").mkdir()
    (tmp_path / "home/private.txt").write_text("private")
    repo.git("config", "core.worktree", str(tmp_path / "home"))
    with pytest.raises(WorkspaceError, match=r"core\.worktree"):
        Workspace.open(repo.path)


def test_a_repository_of_another_user_can_be_opened(repo: GitRepo) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    head = repo.commit({"a.py": "1\n"})
    for folder, folders, files in os.walk(repo.path):
        for name in (*folders, *files, "."):
            os.chown(Path(folder, name), 12345, 12345)
    assert Workspace.open(repo.path).begin().snapshot == head


@pytest.mark.parametrize("extension", ["partialClone=origin", "objectFormat=sha256", "refStorage=reftable"])
def test_repositories_that_libgit2_cannot_read_are_said_so(repo: GitRepo, extension: str) -> None:
    repo.commit({"a.py": "1\n"})
    name, _, value = extension.partition("=")
    config = repo.path / ".git/config"
    text = config.read_text().replace("repositoryformatversion = 0", "repositoryformatversion = 1")
    config.write_text(f"{text}[extensions]\n\t{name} = {value}\n")
    with pytest.raises(WorkspaceError, match=r"cannot be opened.*full clone"):
        Workspace.open(repo.path)


def test_a_missing_object_is_said_so(repo: GitRepo) -> None:
    repo.commit({"a.py": "1\n"})
    blob = repo.git("rev-parse", "HEAD:a.py")
    (repo.path / f".git/objects/{blob[:2]}/{blob[2:]}").unlink()
    workspace = Workspace.open(repo.path)
    head = workspace.begin().snapshot
    written = workspace.write(head, {"a.py": "2\n"}, "m")
    for lookup in (workspace.files, lambda head: workspace.diff(head, written)):
        with pytest.raises(WorkspaceError, match="partial clone, or damaged"):
            lookup(head)
    with pytest.raises(WorkspaceError, match="no commit"):
        workspace.files("1" * 40)


@pytest.mark.parametrize("pack", [False, True])
def test_a_branch_named_autocode_is_said_before_any_work(repo: GitRepo, pack: bool) -> None:
    repo.commit({"a.py": "1\n"})
    repo.git("branch", "autocode")
    if pack:
        repo.git("pack-refs", "--all")
    workspace = Workspace.open(repo.path)
    with pytest.raises(WorkspaceError, match="git branch -m autocode"):
        workspace.begin()
    with pytest.raises(WorkspaceError, match="git branch -m autocode"):
        workspace.deliver("autocode/t", workspace.resolve("HEAD"), None, "m")


def test_malformed_and_explosive_trees_are_refused(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.workspace.listing.MAX_FILES", 20_000)
    repo.commit({"a.py": "1\n"})
    blob = bytes.fromhex(repo.git("rev-parse", "HEAD:a.py"))

    def tree(*entries: tuple[bytes, bytes, bytes]) -> bytes:
        file = repo.put("../tree", b"".join(mode + b" " + name + b"\0" + id for mode, name, id in entries))
        return bytes.fromhex(repo.git("hash-object", "-t", "tree", "--literally", "-w", str(file)))

    def begin(tree: bytes) -> None:
        repo.git("update-ref", "HEAD", repo.git("commit-tree", "-m", "m", tree.hex()))
        Workspace.open(repo.path).begin(from_head=True)

    for name in (b"..", b".git", b".GIT", b"a/../../b", b".g\xe2\x80\x8cit", b"git~1"):
        with pytest.raises(WorkspaceError):
            begin(tree((b"100644", name, blob)))
    inner = tree((b"100644", b"f", blob))
    with pytest.raises(WorkspaceError, match="malformed"):
        begin(tree((b"120000", b"d", blob), (b"40000", b"d", inner)))
    bomb = inner
    for _ in range(10):
        bomb = tree(*((b"40000", b"%d" % number, bomb) for number in range(10)))
    with pytest.raises(WorkspaceError, match="too many"):
        begin(bomb)
    # In an earlier commit it may stay, and none of its billion paths is looked at twice.
    commit = repo.git("commit-tree", "-p", "HEAD", "-m", "m", inner.hex())
    repo.git("update-ref", "HEAD", commit)
    workspace = Workspace.open(repo.path)
    assert len(workspace.history(commit, commit, 1 << 20) or b"") < 20_000
    assert len(workspace.recent_changes(commit)[0]) < 10_000


def test_twenty_thousand_files_begin_within_seconds(repo: GitRepo) -> None:
    repo.grow(20_000)
    workspace = Workspace.open(repo.path)
    started = time.monotonic()
    assert not workspace.begin().dirty
    assert time.monotonic() - started < 5
    repo.put("p3/m3000.py", "changed\n")
    started = time.monotonic()
    assert workspace.begin().dirty
    assert time.monotonic() - started < 5


def test_new_files_keep_their_executable_bit(repo: GitRepo) -> None:
    repo.put("tools/new.sh", "#!/bin/sh\n", executable=True)
    snapshot = Workspace.open(repo.path).begin().snapshot
    assert repo.git("ls-tree", snapshot, "tools/new.sh").startswith("100755")


def test_large_untracked_files_stay_out_and_are_named(repo: GitRepo) -> None:
    repo.commit({"a.py": "1\n"})
    large = b"0" * (5 * 1024 * 1024 + 1)
    (repo.path / "data.bin").write_bytes(large)
    (repo.path / "small.bin").write_bytes(large[:100])
    (repo.path / "added.bin").write_bytes(large)
    repo.git("add", "added.bin")
    workspace = Workspace.open(repo.path)
    base = workspace.begin()
    assert base.large == ("data.bin",)
    assert set(workspace.files(base.snapshot)) == {"a.py", "added.bin", "small.bin"}


def test_work_in_progress_without_bounds_is_refused_before_it_is_stored(repo: GitRepo) -> None:
    repo.commit({"a.py": "1\n"})
    os.truncate(repo.path / "a.py", 1 << 40)
    with pytest.raises(WorkspaceError, match=r"1 files with 1,048,576 MB.*'a\.py'.*from_head"):
        Workspace.open(repo.path).begin()
    assert Workspace.open(repo.path).begin(from_head=True).head
