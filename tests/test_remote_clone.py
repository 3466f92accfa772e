"""Clones of public repositories into a snapshot, from friendly and hostile servers."""

import asyncio
import hashlib
import os
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from githost import GitHost, endless, redirect, silent
from gitrepo import GitRepo

from tools.remote import Cloned, CloneLimits, GitLimits, GitProgram, RemoteError, RemoteRefused, clone
from tools.remote.public_proxy import PublicProxy, is_public
from tools.workspace import PathError, Workspace

FILES: dict[str, str | bytes] = {"README.md": "hello\n", "src/app.py": "x = 1\n", "run.sh": "#!/bin/sh\n"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    (tmp_path / "served").mkdir()
    with GitHost(tmp_path / "served") as served:
        yield served


@pytest.fixture
def source(host: GitHost) -> GitRepo:
    """A repository that the host serves as `lib/.git`."""
    repo = GitRepo(host.folder / "lib")
    repo.put("run.sh", "#!/bin/sh\n", executable=True)
    repo.commit(FILES)
    repo.git("update-index", "--chmod=+x", "run.sh")
    repo.git("commit", "-qm", "executable")
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "repo")
    made.commit({"calc.py": "a = 1\n"})
    return made


def git(**limits: int | float) -> GitProgram:
    return GitProgram(dict(os.environ), GitLimits(**limits))  # type: ignore[arg-type]


async def cloned(
    repo: GitRepo,
    host: GitHost,
    path: str,
    folder: str = "vendor/lib",
    program: GitProgram | None = None,
    branch: str = "",
    limits: CloneLimits | None = None,
) -> Cloned:
    workspace = Workspace.open(repo.path)
    head = workspace.begin().snapshot
    url, hosts = host.url(path), [host.endpoint]
    with blockbuster_ctx():  # `langgraph dev` ends a run that blocks its event loop
        return await clone(
            program or git(), workspace, head, url, folder, branch=branch, hosts=hosts, limits=limits
        )


async def test_a_clone_is_a_folder_of_the_snapshot_without_git(
    repo: GitRepo, host: GitHost, source: GitRepo
) -> None:
    before = repo.fingerprint()
    done = await cloned(repo, host, "lib/.git")
    assert repo.names(done.snapshot) == [
        "calc.py", "vendor/lib/README.md", "vendor/lib/run.sh", "vendor/lib/src/app.py",
    ]  # fmt: skip
    assert repo.show(done.snapshot, "vendor/lib/src/app.py") == "x = 1"
    assert "100755" in repo.git("ls-tree", done.snapshot, "vendor/lib/run.sh")
    assert (done.files, done.commit) == (3, source.git("rev-parse", "HEAD"))
    assert repo.fingerprint() == before
    assert repo.git("fsck", "--strict") == "" or "dangling" in repo.git("fsck", "--strict")


async def test_https_goes_through_the_proxy(
    repo: GitRepo, host: GitHost, source: GitRepo, tmp_path: Path
) -> None:
    certificate = host.encrypt(tmp_path)
    with pytest.raises(RemoteError, match="certificate"):
        await cloned(repo, host, "lib/.git")
    trusting = GitProgram({**os.environ, "GIT_SSL_CAINFO": str(certificate)})
    assert (await cloned(repo, host, "lib/.git", program=trusting)).files == 3
    small = GitProgram(trusting.environment, GitLimits(received_bytes=2000))
    with pytest.raises(RemoteRefused, match="more than 0 MB"):
        await cloned(repo, host, "lib/.git", "again", program=small)


async def test_a_clone_can_be_of_a_branch(repo: GitRepo, host: GitHost, source: GitRepo) -> None:
    source.git("checkout", "-qb", "next")
    source.commit({"new.txt": "n"})
    source.git("checkout", "-q", "main")
    done = await cloned(repo, host, "lib/.git", branch="next")
    assert "vendor/lib/new.txt" in repo.names(done.snapshot)
    with pytest.raises(RemoteError, match="no such branch"):
        await cloned(repo, host, "lib/.git", branch="missing")


async def test_a_clone_overwrites_nothing(repo: GitRepo, host: GitHost, source: GitRepo) -> None:
    for folder in ("calc.py", "calc.py/inner", "../out", ".git/hooks", "/etc/x", "a/../../b", ""):
        with pytest.raises(PathError):
            await cloned(repo, host, "lib/.git", folder)
    assert host.requests == []


async def test_the_repositories_own_configuration_and_hooks_are_not_read(
    repo: GitRepo, host: GitHost, source: GitRepo, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    for key in (
        "core.sshCommand",
        "core.gitProxy",
        "core.alternateRefsCommand",
        "core.fsmonitor",
        "core.askPass",
    ):
        repo.git("config", key, f"touch {mark}")
    repo.git("config", f"url.ext::touch {mark}.insteadOf", "http://")
    repo.git("config", "fetch.fsckObjects", "false")
    for hook in ("reference-transaction", "post-checkout", "pre-auto-gc"):
        repo.put(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {mark}\n", executable=True)
    await cloned(repo, host, "lib/.git")
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        "http://127.0.0.1:1/x",
        "http://localhost:80/x",
        "http://10.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://2130706433/x",
        "http://168.63.129.16/x",
    ],
)
async def test_a_redirect_to_an_internal_address_is_refused(
    repo: GitRepo, host: GitHost, target: str
) -> None:
    host.answers["moved"] = redirect(target)
    with pytest.raises(RemoteRefused, match="which is no public address"):
        await cloned(repo, host, "moved/x.git")


@pytest.mark.parametrize("target", ["file:///etc", "ext::touch /tmp/x", "ftp://example.org/x", "gopher://x/"])
async def test_a_redirect_to_another_protocol_is_refused(repo: GitRepo, host: GitHost, target: str) -> None:
    host.answers["moved"] = redirect(target)
    with pytest.raises(RemoteError):
        await cloned(repo, host, "moved/x.git")


async def test_a_name_that_resolves_differently_the_second_time_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1"])
    asked: list[str] = []

    async def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 80))]

    async with PublicProxy(1000, {}) as proxy:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        assert await proxy._allowed("rebind.example", 80) == ["93.184.216.34"]  # and it connects to this
        assert await proxy._allowed("rebind.example", 80) == []


async def test_the_proxy_serves_nobody_without_its_password() -> None:
    async with PublicProxy(1000, {}) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        for header in ("", "Proxy-Authorization: Basic Z2l0Og==\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"CONNECT example.org:443 HTTP/1.1\r\n{header}\r\n".encode())
            assert b"502" in await reader.read()
            writer.close()


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
        "ff02::1", "fec0::1",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1", "x",
    ],
)  # fmt: skip
def test_internal_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "140.82.121.4", "2606:50c0:8000::153"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


async def test_an_endless_answer_ends_at_the_limit(repo: GitRepo, host: GitHost) -> None:
    line = b"003f" + b"a" * 40 + b" refs/heads/x00000000000\n"
    host.answers["endless"] = endless(b"001e# service=git-upload-pack\n0000", line * 1000)
    with pytest.raises(RemoteRefused, match="more than 4 MB"):
        await cloned(repo, host, "endless/x.git", program=git(received_bytes=4 << 20))


async def test_a_pack_that_is_too_large_ends_at_the_limit(
    repo: GitRepo, host: GitHost, source: GitRepo
) -> None:
    source.commit({"large.bin": os.urandom(3 << 20)})
    with pytest.raises(RemoteRefused, match="more than 1 MB"):
        await cloned(repo, host, "lib/.git", program=git(received_bytes=1 << 20))
    with pytest.raises(RemoteError, match="more room than is allowed"):
        await cloned(repo, host, "lib/.git", program=git(file_bytes=1 << 20))


def packed(kind: int, data: bytes, base: bytes = b"") -> bytes:
    """An object of a pack: its kind and size, the id of a delta's base, and its content."""
    size, head = len(data) >> 4, [kind << 4 | len(data) & 15]
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + base + zlib.compress(data)


def number(value: int) -> bytes:
    """A size in a delta."""
    digits = [value & 127]
    while value := value >> 7:
        digits[-1] |= 128
        digits.append(value & 127)
    return bytes(digits)


def unfolding(base: int, times: int) -> bytes:
    """A delta that copies its whole base some times."""
    copy = b"\xf0" + base.to_bytes(3, "little")
    return number(base) + number(base * times) + copy * times


def identity(kind: bytes, data: bytes) -> bytes:
    return hashlib.sha1(kind + b" %d\0" % len(data) + data).digest()


async def test_a_pack_that_unfolds_to_gigabytes_is_refused(repo: GitRepo, host: GitHost) -> None:
    small, large = bytes(1 << 20), bytes(15 << 20)
    tree = b"100644 f\0" + identity(b"blob", small)
    commit = (
        b"tree "
        + identity(b"tree", tree).hex().encode()
        + b"\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\nx"
    )
    head = identity(b"commit", commit).hex().encode()
    objects = [
        packed(1, commit),
        packed(2, tree),
        packed(3, small),
        packed(7, unfolding(1 << 20, 15), identity(b"blob", small)),
        packed(7, unfolding(15 << 20, 300), identity(b"blob", large)),
    ]
    pack = b"PACK" + struct.pack(">II", 2, len(objects)) + b"".join(objects)
    pack += hashlib.sha1(pack).digest()
    assert len(pack) < 20_000

    def line(data: bytes) -> bytes:
        return b"%04x" % (len(data) + 4) + data

    def answer(handler: BaseHTTPRequestHandler) -> None:
        kind = "advertisement" if handler.command == "GET" else "result"
        refs = line(b"# service=git-upload-pack\n") + b"0000" + line(head + b" HEAD\0shallow\n") + b"0000"
        asked = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        handler.send_response(200)
        handler.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
        handler.end_headers()
        sent = line(b"shallow " + head) + b"0000"
        if asked.endswith(b"done\n"):
            sent += line(b"NAK\n") + pack
        handler.wfile.write(refs if handler.command == "GET" else sent)

    host.answers["bomb"] = answer
    with pytest.raises(RemoteError, match="more room than is allowed"):
        await cloned(repo, host, "bomb/x.git")


async def test_a_silent_server_is_left_after_the_time_limit(repo: GitRepo, host: GitHost) -> None:
    host.answers["silent"] = silent
    began = time.monotonic()
    with pytest.raises(RemoteError, match="did not end within 1 s"):
        await cloned(repo, host, "silent/x.git", program=git(seconds=1.0))
    assert time.monotonic() - began < 10


async def test_a_small_pack_with_large_files_is_refused(
    repo: GitRepo, host: GitHost, source: GitRepo
) -> None:
    source.commit({"zeros": bytes(8 << 20)})
    with pytest.raises(RemoteRefused, match="zeros is larger than 4 MB"):
        await cloned(repo, host, "lib/.git", limits=CloneLimits(file_bytes=4 << 20))
    with pytest.raises(RemoteRefused, match="more than 50000 files or 4 MB"):
        await cloned(repo, host, "lib/.git", limits=CloneLimits(bytes=4 << 20))
    with pytest.raises(RemoteRefused, match="more than 2 files"):
        await cloned(repo, host, "lib/.git", limits=CloneLimits(files=2))


def tree(source: GitRepo, *entries: str) -> None:
    """Commit a tree of entries that git itself would not make."""
    text = "".join(f"{entry}\0" for entry in entries)
    made = subprocess.run(
        ["git", "mktree", "-z", "--missing"], cwd=source.path, input=text, text=True, capture_output=True
    )
    assert made.returncode == 0, made.stderr
    commit = source.git("commit-tree", "-m", "hostile", made.stdout.strip())
    source.git("update-ref", "refs/heads/main", commit)


def blob(source: GitRepo, content: str) -> str:
    (source.path.parent / "blob").write_text(content)
    return source.git("hash-object", "-w", "../blob")


async def refused(repo: GitRepo, host: GitHost) -> str:
    with pytest.raises(RemoteError) as caught:
        await cloned(repo, host, "lib/.git")
    return str(caught.value)


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".git ", "..", ".g\u200cit", "a\\b", "x\ny"])
async def test_names_that_do_harm_are_refused(
    repo: GitRepo, host: GitHost, source: GitRepo, name: str
) -> None:
    tree(source, f"100644 blob {blob(source, 'x')}\t{name}")
    assert await refused(repo, host)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "x/../../..", "..", "a" * 2000])
async def test_links_that_lead_out_are_refused(
    repo: GitRepo, host: GitHost, source: GitRepo, target: str
) -> None:
    tree(source, f"120000 blob {blob(source, target)}\tlink")
    assert "link is a symbolic link" in await refused(repo, host)


async def test_links_that_stay_inside_are_kept(repo: GitRepo, host: GitHost, source: GitRepo) -> None:
    (source.path / "latest").symlink_to("src")
    source.commit()
    done = await cloned(repo, host, "lib/.git")
    assert "120000" in repo.git("ls-tree", done.snapshot, "vendor/lib/latest")


@pytest.mark.parametrize(("one", "other"), [("Readme", "README"), ("caf\u00e9", "cafe\u0301")])
async def test_paths_that_collide_are_refused(
    repo: GitRepo, host: GitHost, source: GitRepo, one: str, other: str
) -> None:
    content = blob(source, "x")
    tree(source, f"100644 blob {content}\t{one}", f"100644 blob {content}\t{other}")
    assert "one path on some file systems" in await refused(repo, host)


@pytest.mark.parametrize(
    "text",
    [
        '[submodule "a"]\n\tpath = a\n\turl = ext::sh -c touch% /tmp/x\n',
        '[submodule "a"] url = "ext::sh"\n',
        '[submodule "a"]\nurl = ex\\\nt::sh\n',
        '[SubModule "a"]\nURL=fd::17/foo\n',
        '[submodule "a"]\nurl = -u./payload\n',
        '[submodule "a"]\nurl = file:///etc\n',
        '[submodule "a"]\nurl = /etc/x\n',
        '[submodule "a"\nurl = x\n',
        "#" * 50_000,
    ],
)
async def test_submodules_that_run_programs_are_refused(
    repo: GitRepo, host: GitHost, source: GitRepo, text: str
) -> None:
    source.commit({".gitmodules": text})
    assert await refused(repo, host)


async def test_submodules_are_left_out_and_named(repo: GitRepo, host: GitHost, source: GitRepo) -> None:
    source.put(".gitmodules", '[submodule "a"]\n\tpath = a\n\turl = https://example.org/a\n')
    source.git("add", "-A")
    source.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},a")
    source.git("commit", "-qm", "module")
    done = await cloned(repo, host, "lib/.git")
    assert done.submodules == ("a",)
    assert "vendor/lib/a" not in repo.names(done.snapshot)


async def test_an_empty_repository_and_a_missing_one_are_said(repo: GitRepo, host: GitHost) -> None:
    GitRepo(host.folder / "empty")
    for path in ("empty/.git", "missing"):
        with pytest.raises(RemoteError, match="no such"):
            await cloned(repo, host, path)
