"""Pushes to remotes of a repository, and pulls from them, which may be hostile."""

import asyncio
import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest
from blockbuster import blockbuster_ctx
from githost import GitHost, redirect, silent
from gitrepo import GitRepo

from memory.records.owner import this_process
from tools.remote import (
    GitLimits,
    GitProgram,
    Login,
    Pushed,
    RemoteError,
    RemoteRefused,
    clone_url,
    configured_url,
    pull,
    push,
)
from tools.workspace import Workspace

BRANCH = "autocode/t1"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """A repository with a delivered branch."""
    made = GitRepo(tmp_path / "repo")
    made.commit({"calc.py": "a = 1\nb = 2\nc = 3\n"})
    made.git("branch", BRANCH)
    return made


@pytest.fixture
def bare(tmp_path: Path) -> GitRepo:
    """A local remote."""
    made = GitRepo(tmp_path / "served" / "bare.git", "--bare")
    made.git("config", "http.receivepack", "true")
    return made


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    with GitHost(tmp_path / "served") as served:
        yield served


def remote(repo: GitRepo, url: str | Path, name: str = "origin") -> None:
    repo.git("config", f"remote.{name}.url", str(url))
    repo.git("config", f"remote.{name}.fetch", f"+refs/heads/*:refs/remotes/{name}/*")


def git(home: Path | None = None, seconds: float = 30.0, **variables: str) -> GitProgram:
    environment = {**os.environ, **variables} | ({"HOME": str(home)} if home else {})
    return GitProgram(environment, GitLimits(seconds=seconds))


async def pushed(
    repo: GitRepo,
    program: GitProgram | None = None,
    branch: str = BRANCH,
    name: str = "",
    approved: str = "",
    login: Login | None = None,
) -> Pushed:
    workspace = Workspace.open(repo.path)
    commit = workspace.resolve(f"refs/heads/{BRANCH}")
    place, login = program or git(), login or Login()
    with blockbuster_ctx():  # `langgraph dev` ends a run that blocks its event loop
        return await push(place, workspace, commit, branch, name, approved_branch=approved, login=login)


@pytest.mark.parametrize("over", ["folder", "file url", "relative", "http"])
async def test_a_branch_arrives_once(repo: GitRepo, bare: GitRepo, host: GitHost, over: str) -> None:
    addresses = {
        "folder": str(bare.path),
        "file url": f"file://{bare.path}",
        "relative": "../served/bare.git",
        "http": host.url("bare.git"),
    }
    remote(repo, addresses[over])
    tip = repo.git("rev-parse", BRANCH)
    before = repo.fingerprint()
    assert (await pushed(repo)).status == "new"
    assert bare.git("rev-parse", f"refs/heads/{BRANCH}") == tip
    assert (await pushed(repo)).status == "up to date"
    repo.git("checkout", "-q", BRANCH)
    repo.commit({"more.py": "d = 4\n"})
    repo.git("checkout", "-q", "main")
    assert (await pushed(repo)).status == "updated"
    assert bare.git("rev-parse", f"refs/heads/{BRANCH}") == repo.git("rev-parse", BRANCH)
    assert set(repo.fingerprint()) - set(before) <= {".git/logs/refs/heads/autocode/t1"}


@pytest.mark.parametrize("over", ["folder", "http"])
async def test_nothing_is_ever_forced(repo: GitRepo, bare: GitRepo, host: GitHost, over: str) -> None:
    remote(repo, bare.path if over == "folder" else host.url("bare.git"))
    await pushed(repo)
    tree = bare.git("rev-parse", f"{BRANCH}^{{tree}}")
    other = bare.git("commit-tree", "-m", "somebody else's", "-p", BRANCH, tree)
    bare.git("update-ref", f"refs/heads/{BRANCH}", other)
    with pytest.raises(RemoteError, match="nothing is ever forced"):
        await pushed(repo)
    assert bare.git("rev-parse", BRANCH) == other


async def test_a_folder_with_a_checkout_is_no_target(repo: GitRepo, tmp_path: Path) -> None:
    other = GitRepo(tmp_path / "other")
    other.commit({"x": "1"})
    remote(repo, other.path)
    with pytest.raises(RemoteError, match="only to a bare repository"):
        await pushed(repo)


async def test_other_branches_need_their_own_approval(repo: GitRepo, bare: GitRepo) -> None:
    remote(repo, bare.path)
    for branch in ("main", "feature", "autocode", "autocodex/y", "Autocode/t1"):
        with pytest.raises(RemoteRefused, match="others need your approval"):
            await pushed(repo, branch=branch)
        with pytest.raises(RemoteRefused):
            await pushed(repo, branch=branch, approved="another")
    assert bare.git("for-each-ref") == ""
    assert (await pushed(repo, branch="feature", approved="feature")).status == "new"


@pytest.mark.parametrize(
    "branch",
    [
        "--force", "+main", "autocode/x:main", ":main", "autocode/../main", "autocode/x y", "autocode/\nmain",
        "autocode/\0", "autocode/x.lock", "refs/heads/main", "autocode/", "autocode/@{-1}", "autocode/x~1",
        "autocode/\u0430", "a" * 300, "", "HEAD^", "autocode/*",
    ],
)  # fmt: skip
async def test_names_of_branches_that_mean_more_are_refused(
    repo: GitRepo, bare: GitRepo, branch: str
) -> None:
    remote(repo, bare.path)
    with pytest.raises(RemoteRefused):
        await pushed(repo, branch=branch, approved=branch)
    assert bare.git("for-each-ref") == ""


@pytest.mark.parametrize(
    "name", ["--upload-pack=x", "-o", "ext::sh", "../x", "https://example.org/x", "a b", "x\0", "\u043erigin"]
)
async def test_names_of_remotes_are_names(repo: GitRepo, bare: GitRepo, name: str) -> None:
    remote(repo, bare.path)
    with pytest.raises(RemoteRefused, match="no name of a remote"):
        await pushed(repo, name=name)


async def test_an_unknown_remote_names_those_there_are(repo: GitRepo, bare: GitRepo) -> None:
    with pytest.raises(RemoteError, match="git remote add origin"):
        await pushed(repo)
    remote(repo, bare.path, "home")
    with pytest.raises(RemoteError, match="its remotes are: home"):
        await pushed(repo, name="origin")
    assert (await pushed(repo)).remote == "home"  # the only one


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch /tmp/x'", "fd::17", "-oProxyCommand=touch x", "ssh://-oProxyCommand=x/y",
        "ssh://user@-oProxyCommand=x/y", "-oProxyCommand=x:y", "user@-oProxyCommand=x:y", "ssh://%2DoP/x",
        "git://example.org/x", "ftp://example.org/x", "file://example.org/x", "http://169.254.169.254/x",
        "https://[fe80::1]/x", "https://exa mple.org/x", "https://example.org/x\n", "https://example.org/x\0",
        "https://ex\u0430mple.org/x", "https://example.org", "https://example.org/-x", "https://example.org/x?y",
        "https://example.org:99999/x", "https://-x.org/y", "https://example.org\\@evil.org/x", "x" * 5000,
        "host:-x", "transport::address", "https::http://example.org/x",
    ],
)  # fmt: skip
async def test_addresses_that_attack_are_refused(repo: GitRepo, url: str) -> None:
    with pytest.raises(RemoteRefused):
        configured_url(url, repo.path)
    with pytest.raises(RemoteRefused):
        clone_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x", "ssh://git@example.org/x", "git@example.org:x", "file:///etc", "/etc", "../x",
        "https://user@example.org/x", "https://user:secret@example.org/x", "https://127.0.0.1/x",
        "https://10.0.0.1/x", "https://[::1]/x", "https://127.1/x", "https://2130706433/x", "https://0/x",
    ],
)  # fmt: skip
def test_a_model_may_name_only_public_https_addresses(url: str) -> None:
    with pytest.raises(RemoteRefused) as caught:
        clone_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/o/r.git", "https://example.org/o/r.git"),
        ("https://token@Example.org:8443/o/r", "https://example.org:8443/o/r"),
        ("https://me:pa55word@example.org/o/r", "https://example.org/o/r"),
        ("git@example.org:o/r.git", "ssh://git@example.org/o/r.git"),
        ("ssh://git@10.0.0.7:2222/o/r", "ssh://git@10.0.0.7:2222/o/r"),
        ("http://192.168.1.2:3000/o/r", "http://192.168.1.2:3000/o/r"),
        ("https://xn--exmple-4nf.org/o/r", "https://xn--exmple-4nf.org/o/r"),
    ],
)
def test_addresses_that_users_configure_are_shown_without_passwords(url: str, shown: str) -> None:
    assert str(configured_url(url, Path("/"))) == shown


async def test_hooks_and_configuration_of_a_remote_folder_do_not_run(
    repo: GitRepo, bare: GitRepo, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    hooks = ("pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive")
    for hook in (*hooks, "push-to-checkout"):
        bare.put(f"hooks/{hook}", f"#!/bin/sh\ntouch {mark}\n", executable=True)
    for key in (
        "core.alternateRefsCommand",
        "core.sshCommand",
        "core.fsmonitor",
        "uploadpack.packObjectsHook",
    ):
        bare.git("config", key, f"touch {mark}; cat")
    remote(repo, bare.path)
    await pushed(repo)
    workspace = Workspace.open(repo.path)
    await pull(git(), workspace, workspace.begin().snapshot, branch=BRANCH)
    assert not mark.exists()


async def test_hooks_and_configuration_of_the_repository_do_not_run(
    repo: GitRepo, bare: GitRepo, host: GitHost, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    remote(repo, host.url("bare.git"))
    for hook in ("pre-push", "reference-transaction", "post-update"):
        repo.put(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {mark}\nexit 1\n", executable=True)
    for key in (
        "core.sshCommand",
        "core.alternateRefsCommand",
        "core.askPass",
        "credential.helper",
        "gpg.program",
    ):
        repo.git("config", key, f"!touch {mark}")
    repo.git("config", "push.gpgSign", "if-asked")
    repo.git("config", f"url.ext::touch% {mark}.pushInsteadOf", "http")
    repo.git("config", "remote.origin.receivepack", f"touch {mark};")
    repo.git("config", "remote.origin.vcs", "ext")
    repo.git("config", "remote.origin.push", "+refs/heads/*:refs/heads/*")
    repo.git("config", "remote.origin.mirror", "true")
    assert (await pushed(repo, login=Login(own=True))).status == "new"
    assert not mark.exists()
    assert bare.git("for-each-ref", "--format=%(refname)") == f"refs/heads/{BRANCH}"


async def test_the_users_own_helper_is_asked_only_with_approval(
    repo: GitRepo, host: GitHost, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    helper = home / "helper"
    helper.write_text(f"#!/bin/sh\necho $1 >> {home}/asked\necho username=u\necho password=pa55word-long\n")
    helper.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[credential]\n\thelper = {helper}\n[url "http://127.0.0.1:9/"]\n\tinsteadOf = http://127.0.0.1\n'
        f"[core]\n\thooksPath = {home}\n"
    )

    def closed(handler: object) -> None:
        handler.send_response(401)  # type: ignore[attr-defined]
        handler.send_header("WWW-Authenticate", 'Basic realm="x"')  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]

    host.answers["closed"] = closed
    remote(repo, host.url("closed/x.git"))
    with pytest.raises(RemoteError, match="wants another login"):
        await pushed(repo, git(home))
    assert not (home / "asked").exists()
    with pytest.raises(RemoteError, match="wants another login"):
        await pushed(repo, git(home), login=Login(own=True))
    assert (home / "asked").read_text().split()[0] == "get"
    assert [sent for *_, sent in host.requests if "Authorization" in sent]


async def test_ssh_asks_nothing_and_runs_with_approval_alone(repo: GitRepo, tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {log}\nenv | sort >> {log}\nexit 255\n')
    ssh.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    program = git(tmp_path, PATH=path, SSH_AUTH_SOCK="/agent", OPENAI_API_KEY="sk-private", GIT_SSH="/evil")
    remote(repo, "git@example.org:o/r.git")
    with pytest.raises(RemoteRefused, match="nobody has approved"):
        await pushed(repo, program)
    assert not log.exists()
    with pytest.raises(RemoteError):
        await pushed(repo, program, login=Login(own=True))
    told = log.read_text()
    assert "-oBatchMode=yes" in told
    assert "git@example.org git-receive-pack 'o/r.git'" in told
    assert "SSH_AUTH_SOCK=/agent" in told
    assert "sk-private" not in told
    assert "/evil" not in told


async def test_a_push_follows_no_redirect(repo: GitRepo, bare: GitRepo, host: GitHost) -> None:
    host.answers["moved"] = redirect(host.url("bare.git"))
    remote(repo, host.url("moved"))
    with pytest.raises(RemoteError, match="has moved"):
        await pushed(repo)
    assert bare.git("for-each-ref") == ""


async def test_a_remote_that_never_answers_is_left(repo: GitRepo, bare: GitRepo, host: GitHost) -> None:
    host.answers["silent"] = silent
    remote(repo, host.url("silent/x.git"))
    with pytest.raises(RemoteError, match="did not end within 1 s"):
        await pushed(repo, git(seconds=1.0))


async def test_a_refusal_of_the_server_is_said(repo: GitRepo, bare: GitRepo, host: GitHost) -> None:
    remote(repo, host.url("bare.git"))
    text = 'printf "\\033[2J\\342\\200\\256no pushes at \\033]0;x\\007night https://u:pa55word@x.org\\n" >&2'
    bare.put("hooks/pre-receive", f"#!/bin/sh\n{text}\nexit 1\n", executable=True)
    with pytest.raises(RemoteError) as caught:
        await pushed(repo)
    message = str(caught.value)
    assert "pre-receive hook declined" in message
    assert "no pushes at" in message
    assert message.replace("\n", " ").isprintable()
    assert "pa55word" not in message


async def test_a_shallow_repository_can_be_pushed(
    repo: GitRepo, bare: GitRepo, host: GitHost, tmp_path: Path
) -> None:
    repo.commit({"x": "1"})
    remote(repo, bare.path)
    repo.git("push", "-q", str(bare.path), "main")
    shallow = GitRepo(tmp_path / "shallow")
    shallow.git("fetch", "-q", "--depth=1", f"file://{bare.path}", "main")
    shallow.git("reset", "-q", "--hard", "FETCH_HEAD")
    shallow.commit({"y": "2"})
    shallow.git("branch", BRANCH)
    remote(shallow, host.url("bare.git"))
    assert (await pushed(shallow)).status == "new"
    assert bare.git("rev-parse", BRANCH) == shallow.git("rev-parse", BRANCH)


@pytest.mark.parametrize("over", ["folder", "http"])
async def test_a_pull_merges_into_the_snapshot(
    repo: GitRepo, bare: GitRepo, host: GitHost, tmp_path: Path, over: str
) -> None:
    repo.git("push", "-q", str(bare.path), "main")
    bare.git("symbolic-ref", "HEAD", "refs/heads/main")
    remote(repo, bare.path if over == "folder" else host.url("bare.git"))
    other = GitRepo(tmp_path / "other")
    other.git("pull", "-q", str(bare.path), "main")
    workspace = Workspace.open(repo.path)
    start = workspace.begin().snapshot
    assert (await pull(git(), workspace, start)).status == "up to date"
    other.commit({"calc.py": "a = 10\nb = 2\nc = 3\n"})
    other.git("push", "-q", str(bare.path), "main")
    before = repo.fingerprint()
    forward = await pull(git(), workspace, start)
    assert (forward.status, forward.snapshot) == ("fast-forward", other.git("rev-parse", "HEAD"))
    edited = workspace.write(start, {"calc.py": "a = 1\nb = 2\nc = 30\n"}, "an edit")
    merged = await pull(git(), workspace, edited, "origin", "main")
    assert merged.status == "merged"
    assert merged.snapshot
    assert workspace.text(merged.snapshot, "calc.py") == "a = 10\nb = 2\nc = 30\n"
    clash = workspace.write(start, {"calc.py": "a = 11\nb = 2\nc = 3\n"}, "another edit")
    conflict = await pull(git(), workspace, clash)
    assert (conflict.status, conflict.snapshot) == ("conflict", None)
    assert "a = 11" in conflict.conflicts[0].text
    assert repo.fingerprint() == before


async def test_unrelated_histories_are_not_merged(repo: GitRepo, bare: GitRepo, tmp_path: Path) -> None:
    other = GitRepo(tmp_path / "other")
    other.commit({"x": "1"})
    other.git("push", "-q", str(bare.path), "main")
    remote(repo, bare.path)
    workspace = Workspace.open(repo.path)
    with pytest.raises(RemoteError, match="no commit in common"):
        await pull(git(), workspace, workspace.begin().snapshot, branch="main")


async def test_a_cancelled_push_leaves_no_program(repo: GitRepo, host: GitHost, bare: GitRepo) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        loop.call_soon_threadsafe(asked.set)
        silent(handler)

    host.answers["silent"] = answer
    remote(repo, host.url("silent/x.git"))
    task = asyncio.create_task(pushed(repo))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [child for child in psutil.Process().children(recursive=True) if "git" in child.name()] == []


async def test_what_a_killed_process_left_is_removed(repo: GitRepo, bare: GitRepo, tmp_path: Path) -> None:
    remote(repo, bare.path)
    dead = this_process()
    place = tmp_path / "home" / "git"
    left = place / f"{replace(dead, started=1.0)}-abc".replace(":", "+")
    alive = place / f"{dead}-abc".replace(":", "+")
    for folder in (left, alive):
        folder.mkdir(parents=True)
    program = replace(git(), place=place)
    assert (await pushed(repo, program)).status == "new"
    assert list(place.iterdir()) == [alive]


async def test_a_token_logs_in_over_https_alone(
    repo: GitRepo, bare: GitRepo, host: GitHost, tmp_path: Path
) -> None:
    login = Login(token="token-of-the-site")
    remote(repo, host.url("bare.git"))
    await pushed(repo, login=login)
    assert not [sent for *_, sent in host.requests if "Authorization" in sent]
    certificate = host.encrypt(tmp_path)
    host.requests.clear()
    remote(repo, host.url("bare.git"))
    with pytest.raises(RemoteError, match="certificate"):
        await pushed(repo, login=login)
    await pushed(repo, git(GIT_SSL_CAINFO=str(certificate)), login=login)
    pair = base64.b64encode(b"oauth2:token-of-the-site").decode()
    assert {sent.get("Authorization") for *_, sent in host.requests} == {f"Basic {pair}"}


async def test_a_login_goes_to_no_other_place(
    repo: GitRepo, bare: GitRepo, host: GitHost, tmp_path: Path
) -> None:
    with GitHost(tmp_path / "served") as other:
        host.answers["moved"] = redirect(other.url("bare.git"))
        home = tmp_path / "home"
        home.mkdir()
        (home / ".gitconfig").write_text('[http]\n\textraHeader = "Authorization: Basic c2VjcmV0"\n')
        remote(repo, host.url("moved"))
        workspace = Workspace.open(repo.path)
        with pytest.raises(RemoteError, match="has moved"):
            await pull(git(home), workspace, workspace.begin().snapshot, login=Login(own=True))
        assert other.requests == []


async def test_what_a_pull_brings_is_checked(
    repo: GitRepo, bare: GitRepo, host: GitHost, tmp_path: Path
) -> None:
    remote(repo, bare.path)
    blob = repo.git("hash-object", "-w", "calc.py")
    (tmp_path / "tree").write_bytes(b"100644 .git\0" + bytes.fromhex(blob))
    tree = repo.git("hash-object", "-w", "-t", "tree", "--literally", str(tmp_path / "tree"))
    commit = repo.git("commit-tree", "-m", "x", "-p", "HEAD", tree)
    repo.git("push", "-q", str(bare.path), f"{commit}:refs/heads/main")
    workspace = Workspace.open(repo.path)
    head = workspace.begin().snapshot
    for url in (bare.path, host.url("bare.git")):
        remote(repo, url)
        with pytest.raises(RemoteError):
            await pull(git(), workspace, head, branch="main")
