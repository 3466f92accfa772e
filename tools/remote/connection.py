"""One use of a remote: our own git folder, the proxy before the network, and the logins that are allowed."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.remote.errors import RemoteError, RemoteRefused
from tools.remote.git_dir import Setting, config_text, own_git_dir
from tools.remote.git_program import GitOutput, GitProgram
from tools.remote.public_proxy import PublicProxy
from tools.remote.remote_url import RemoteUrl

REMOTE = "target"
"""Name of the remote in our own git folder."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_PROTOCOLS = {"https": ("https",), "http": ("http", "https"), "ssh": ("ssh",)}
_ADVICE = (
    (r"terminal prompts disabled|could not read (?:Username|Password)|Authentication failed|error: 40[13]",
     "the remote wants another login; `gh auth setup-git`, `glab auth login` or a credential helper of git "
     "provides one"),
    (r"Permission denied \(|publickey", "ssh has no key that the remote accepts; see `ssh-add -l`"),
    (r"Host key verification failed", "ssh does not know the host; connect to it once with ssh yourself"),
    (r"error: 404|not found|does not (?:appear to be a git repository|exist)",
     "there is no such repository, or you may not see it"),
    (r"Protocol .* (?:not supported|disabled)", "it led to another protocol, and nothing was sent there"),
    (r"error: 30\d|redirect", "the repository has moved; correct the address of the remote"),
    (r"File too large|signal 25|Out of memory|alloc|memory exhausted", "it needs more room than is allowed"),
    (r"fsck|object corrupt|malformed|bad tree|contains '\.git'|hasDot|gitmodules",
     "its files are damaged, or made to do harm"),
    (r"object-format|mismatched algorithms", "SHA-256 repositories are not supported"),
    (r"find remote ref", "there is no such branch"),
)  # fmt: skip


@dataclass(frozen=True)
class Login:
    """Logins that a remote may use. Only a person's approval allows them.

    `own` are the user's credential helpers, ssh agent and certificates. `token` is for the remote's host.
    """

    own: bool = False
    token: str = field(default="", repr=False)
    token_user: str = "oauth2"  # noqa: S105  # the name that goes with a token


ANONYMOUS = Login()


@dataclass(frozen=True)
class Connection:
    """A remote that is ready to be used from `folder`."""

    git: GitProgram
    url: RemoteUrl
    folder: Path
    login: Login
    proxy: PublicProxy | None
    ssh: str = "ssh"

    async def run(self, *arguments: str) -> GitOutput:
        """Run a git command that talks to the remote."""
        protocols = _PROTOCOLS.get(self.url.scheme, ())
        output = await self.git.run(self.folder, arguments, protocols, login=self.login.own, ssh=self.ssh)
        if self.proxy and self.proxy.full:
            size = self.git.limits.received_bytes >> 20
            raise RemoteRefused(f"{self.url}: it sent more than {size} MB, and was cut off")
        if self.proxy and self.proxy.refused:
            places = ", ".join(sorted(self.proxy.refused)[:3])
            raise RemoteRefused(
                f"{self.url}: it led to {places}, which is no public address; nothing was sent there"
            )
        return output

    def failure(self, output: GitOutput) -> RemoteError:
        """Return the error of a command that failed, with the cause where it is known."""
        text = output.errors or f"git ended with exit code {output.exit_code}"
        advice = next((advice for pattern, advice in _ADVICE if re.search(pattern, text)), "")
        last = "; ".join(line for line in text.splitlines()[-3:])
        return RemoteError(f"{self.url}: {advice + ': ' if advice else ''}{last}")


@asynccontextmanager
async def connect(
    git: GitProgram,
    url: RemoteUrl,
    objects: Path | None = None,
    *,
    login: Login = ANONYMOUS,
    hosts: Collection[tuple[str, int]] = (),
    settings: Sequence[Setting] = (),
) -> AsyncIterator[Connection]:
    """Prepare the use of a remote. `hosts` are those that may be internal. Raises RemoteError."""
    async with _in_thread(own_git_dir(git.place, objects, settings)) as folder:
        own = await git.own_settings(folder) if login.own else []
        ssh = next((value for key, value in reversed(own) if key.lower() == "core.sshcommand"), "ssh")
        added = [(key, value) for key, value in own if key.lower() != "core.sshcommand"]
        added += [(f"remote.{REMOTE}.url", url.text), *_token_header(url, login)]
        if login != ANONYMOUS:
            # git would send the headers of a login to the place of a redirect too.
            added.append(("http.followRedirects", "false"))
        if url.scheme not in ("http", "https"):
            await asyncio.to_thread(_add, folder, added)
            yield Connection(git, url, folder, login, None, ssh)
            return
        proxies = {name: git.variable(name) for name in _PROXIES}
        async with PublicProxy(git.limits.received_bytes, proxies, hosts) as proxy:
            own_proxy = [("http.proxy", proxy.url), ("http.proxyAuthMethod", "basic")]
            await asyncio.to_thread(_add, folder, [*added, *own_proxy])
            yield Connection(git, url, folder, login, proxy, ssh)


@asynccontextmanager
async def _in_thread(manager: AbstractContextManager[Path]) -> AsyncIterator[Path]:
    """Enter and leave a context whose both ends block."""
    folder = await asyncio.to_thread(manager.__enter__)
    try:
        yield folder
    finally:
        await asyncio.shield(asyncio.to_thread(manager.__exit__, None, None, None))


def _token_header(url: RemoteUrl, login: Login) -> list[Setting]:
    if not login.token or url.scheme != "https":
        return []
    pair = base64.b64encode(f"{login.token_user}:{login.token}".encode()).decode()
    return [(f"http.https://{url.authority}/.extraHeader", f"Authorization: Basic {pair}")]


def _add(folder: Path, settings: Sequence[Setting]) -> None:
    with (folder / "config").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(config_text(settings))
