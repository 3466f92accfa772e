"""Repositories that want to hang the process, leave their bounds, or end it with an internal error."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import (
    Damage,
    a_socket,
    alone,
    bad_object,
    config,
    cut,
    fifo,
    folder,
    gone,
    held,
    large,
    link,
    names,
    no_object,
    object_fifo,
    packed,
    text,
)
from gitrepo import GitRepo
from hostile_child import HostileChild

ALL = ("status", "read", "write", "apply")


@pytest.fixture(scope="module")
def child() -> Iterator[HostileChild]:
    child = HostileChild()
    yield child
    child.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    repo = GitRepo(tmp_path_factory.mktemp("original") / "repo")
    repo.commit({"a.py": "a\n", "sub/b.py": "b\n", "sub/c.py": "c\n"})
    repo.git("tag", "v1.0.0")
    repo.commit({"a.py": "a = 1\n"})
    return repo


@pytest.fixture
def repo(tmp_path: Path, original: GitRepo) -> Path:
    """A copy of the original in a folder `inside`, beside a folder `outside`."""
    (tmp_path / "outside").mkdir()
    shutil.copytree(original.path, tmp_path / "inside" / "repo", symlinks=True)
    return tmp_path / "inside" / "repo"


PIPE = r"is a pipe \(FIFO\), where git needs a regular file; remove it"
STARS = "a*" * 40 + "b\n"

HOSTILE: dict[str, tuple[Damage, str]] = {
    "HEAD as FIFO": (fifo(".git/HEAD"), r"not in a git repository|" + PIPE),
    "config as FIFO": (fifo(".git/config"), PIPE),
    "HEAD as a pipe that somebody holds open": (held(".git/HEAD"), r"not in a git repository|" + PIPE),
    **{
        f"{name} as a pipe that somebody holds open": (held(name), PIPE)
        for name in (".git/config", ".git/index", ".git/packed-refs", ".git/refs/heads/main", ".gitignore")
    },
    "config as folder": (folder(".git/config"), "is a folder"),
    "config as device": (link(".git/config", "/dev/zero"), "is a device"),
    "config of a gigabyte": (large(".git/config", 2**30), "make it smaller"),
    "config that is none": (text(".git/config", "[core\nx"), "cannot be parsed"),
    "config as circle": (link(".git/config", "config"), "symbolic links"),
    "included FIFO": (config("[include]\npath = more\n", fifo(".git/more")), PIPE),
    "included FIFO in one line": (config('[INCLUDE]path="mo"re ; x\n', fifo(".git/more")), PIPE),
    "included by condition": (config('[includeIf "gitdir:/"]\npath = more\n', fifo(".git/more")), PIPE),
    "include of an include": (
        config("[include]\npath=one\n", text(".git/one", "[include]\npath = ../two\n", fifo("two"))),
        PIPE,
    ),
    "include of itself": (config("[include]\npath = config\n"), "cannot be opened"),
    "include with a continued line": (config("[include]\npath = mo\\\nre\n", fifo(".git/more")), PIPE),
    "config.worktree as FIFO": (
        config("[extensions]\nworktreeConfig = true\n", fifo(".git/config.worktree")),
        PIPE,
    ),
    "excludesFile as FIFO": (config("[core]\nexcludesFile = .git/more\n", fifo(".git/more")), PIPE),
    "attributesFile as FIFO": (config("[core]\nattributesFile = .git/more\n", fifo(".git/more")), PIPE),
    "excludesFile as device": (config("[core]\nexcludesFile = /dev/zero\n"), "is a device"),
    "info/exclude as FIFO": (fifo(".git/info/exclude"), PIPE),
    "info/attributes as FIFO": (fifo(".git/info/attributes"), PIPE),
    "info/grafts as FIFO": (fifo(".git/info/grafts"), PIPE),
    ".gitignore as FIFO": (fifo(".gitignore"), PIPE),
    "inner .gitignore as FIFO": (fifo("sub/.gitignore"), PIPE),
    ".gitignore in an untracked folder": (fifo("new/deep/.gitignore"), PIPE),
    ".gitignore as device": (link(".gitignore", "/dev/zero"), "is a device|^works"),
    ".gitignore of a gigabyte": (large(".gitignore", 2**30), "make it smaller"),
    ".gitignore with a form feed": (text(".gitignore", b"a\n \f\n"), "form feed"),
    "info/exclude with a vertical tab": (text(".git/info/exclude", b"\v"), "form feed"),
    "alternates with NUL": (text(".git/objects/info/alternates", b"\0\n"), "NUL"),
    ".gitattributes as FIFO": (fifo(".gitattributes"), PIPE),
    "inner .gitattributes as FIFO": (fifo("sub/.gitattributes"), PIPE),
    "alternates as FIFO": (fifo(".git/objects/info/alternates"), PIPE),
    "alternates of alternates": (
        text(".git/objects/info/alternates", "../../one\n",
             text("one/info/alternates", "../two\n", fifo("two/info/alternates"))),
        PIPE,
    ),
    "alternates in a circle": (text(".git/objects/info/alternates", "../objects\n"), "^works"),
    "packed-refs as FIFO": (fifo(".git/packed-refs"), PIPE),
    "packed-refs as folder": (folder(".git/packed-refs"), "is a folder"),
    "packed-refs that are none": (text(".git/packed-refs", "\0\1 nonsense\n" * 9), "git fsck"),
    "packed-refs cut": (packed(cut(".git/packed-refs", 70)), "git fsck"),
    "index as FIFO": (fifo(".git/index"), PIPE),
    "index cut": (cut(".git/index", 100), "from_head"),
    "index of zeros": (large(".git/index", 4096), "from_head"),
    "index as folder": (folder(".git/index"), "is a folder"),
    "branch as FIFO": (fifo(".git/refs/heads/main"), PIPE),
    "branch as socket": (a_socket(".git/refs/heads/main"), "is a socket"),
    "branch of zeros": (large(".git/refs/heads/main", 2**20), "make it smaller"),
    "branch that is none": (text(".git/refs/heads/main", "nonsense\n"), "git fsck"),
    "branch of a lost commit": (text(".git/refs/heads/main", "1" * 40 + "\n"), "git fsck"),
    "branch that names itself": (text(".git/refs/heads/main", "ref: refs/heads/main\n"), "git fsck"),
    "other branch as FIFO": (fifo(".git/refs/heads/other"), PIPE),
    "tag that is none": (text(".git/refs/tags/v9", "nonsense\n"), "^works|git fsck"),
    "HEAD that is none": (text(".git/HEAD", b"\xff\xfe\0\n"), "git fsck"),
    "HEAD without a file": (gone(".git/HEAD"), "not in a git repository"),
    "log of ours as FIFO": (fifo(".git/logs/refs/heads/autocode/t"), PIPE),
    "ref of ours as FIFO": (fifo(".git/refs/autocode/t/base"), PIPE),
    "branch of ours that names main": (
        text(".git/refs/heads/autocode/t", "ref: refs/heads/main\n"), "symbolic|commits",
    ),
    "lock of ours as FIFO": (fifo(".git/refs/heads/autocode/t.lock"), "."),
    "tracked file as FIFO": (fifo("a.py"), "device or a pipe|a.py is a pipe"),
    "tracked file as socket": (a_socket("a.py"), "device or a pipe|a.py is a socket"),
    "untracked FIFO": (fifo("pipe"), "^works"),
    "tracked file as link to a device": (link("a.py", "/dev/zero"), "is a symbolic link, not a file"),
    "object as FIFO": (object_fifo("HEAD:a.py"), PIPE),
    "commit as FIFO": (object_fifo("HEAD"), PIPE),
    "lost tree": (no_object("HEAD^{tree}"), "git fsck"),
    "lost file": (no_object("HEAD:sub/c.py"), "git fsck"),
    "lost commit": (no_object("HEAD"), "git fsck"),
    "damaged tree": (bad_object("HEAD:sub"), "git fsck"),
    "damaged file": (bad_object("HEAD:sub/c.py"), "git fsck"),
    "lost parent": (no_object("HEAD^"), "^works"),
    ".git as FIFO": (alone(fifo(".git")), "not in a git repository"),
    ".git as large file": (alone(large(".git", 2**30)), "make it smaller"),
    ".git that names itself": (alone(text(".git", "gitdir: .git\n")), "not in a git|cannot"),
    ".git that names a FIFO": (alone(text(".git", "gitdir: pipe\n", fifo("pipe"))), "not in a git|cannot"),
    "commondir as FIFO": (fifo(".git/commondir"), PIPE),
    "worktree as FIFO": (text(".git/worktrees/w/HEAD", "x", fifo(".git/worktrees/w/gitdir")), "^works"),
    "HEAD of a worktree as FIFO": (fifo(".git/worktrees/w/HEAD"), PIPE),
    "modules as FIFO": (fifo(".gitmodules"), "^works|" + PIPE),
    "submodule with a FIFO": (
        text("inner/.git/HEAD", "ref: refs/heads/main\n", fifo("inner/.git/config"),
             folder("inner/.git/objects"), folder("inner/.git/refs")),
        "^works",
    ),
    "patterns without end": (text(".gitignore", STARS * 100, *names(50)), "took more than"),
    "attributes without end": (
        text(".gitattributes", STARS.replace("\n", " text\n") * 100, *names(50)), "took more than",
    ),
    "SHA-256": (
        config("[core]\nrepositoryformatversion = 1\n[extensions]\nobjectFormat = sha256\n"),
        "not supported",
    ),
    "commit graph of zeros": (large(".git/objects/info/commit-graph", 4096), "."),
    "multi-pack index as FIFO": (fifo(".git/objects/pack/multi-pack-index"), PIPE),
    "pack as FIFO": (fifo(".git/objects/pack/pack-" + "1" * 40 + ".idx"), PIPE),
    "checkout elsewhere": (config("[core]\nworktree = /\n"), "core.worktree"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_repository_works_or_ends_with_a_clear_error(
    child: HostileChild, repo: Path, name: str
) -> None:
    damage, expected = HOSTILE[name]
    damage(repo)
    answer = child.use(repo, *ALL)
    assert not re.match("HUNG|DIED|INTERNAL|SLOW", answer)
    assert re.search(expected, answer), answer
