"""Sites that host repositories: GitHub and GitLab, and the tokens of those that the user named.

The address of a remote may be anybody's. A token goes to a host only if the user logged in to it with `gh` or
`glab`, or named it in the settings.
"""

import asyncio
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from tools.hosting.errors import HostingError
from tools.remote import RemoteUrl

SiteKind = Literal["github", "gitlab"]

_LOGIN_SECONDS = 10
_TOKEN = re.compile(r"[\x21-\x7e]{8,1000}")
_PART = re.compile(r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.-]{1,255}")
# Remotes may use these names to get through firewalls.
_ALIASES = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}
_NOBODY = "nobody.invalid"
_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GH_CONFIG_DIR", "GLAB_CONFIG_DIR",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A site at `web`, such as `https://github.com`, with the user's token for it if there is one."""

    kind: SiteKind
    web: str
    token: str = field(default="", repr=False)

    @property
    def api(self) -> str:
        """The address of its API."""
        if self.kind == "gitlab":
            return f"{self.web}/api/v4"
        return "https://api.github.com" if self.web == "https://github.com" else f"{self.web}/api/v3"

    @property
    def name(self) -> str:
        """The host, for people."""
        return urlsplit(self.web).netloc

    @property
    def advice(self) -> str:
        """The ways to give a token."""
        program, variable = ("gh", "GITHUB_TOKEN") if self.kind == "github" else ("glab", "GITLAB_TOKEN")
        return f"log in with `{program} auth login --hostname {self.name}`, or set {variable}"


@dataclass(frozen=True)
class Project:
    """A repository on a site. `path` is `owner/name`, on GitLab with any number of groups."""

    site: Site
    path: str

    @property
    def web(self) -> str:
        """The address of its page."""
        return f"{self.site.web}/{self.path}"


@dataclass(frozen=True)
class Sites:
    """The sites that the user named, with their tokens. `environment` is that of the process."""

    github: Site = field(default_factory=lambda: Site("github", "https://github.com"))
    gitlab: Site = field(default_factory=lambda: Site("gitlab", "https://gitlab.com"))
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def find(self, authority: str) -> Site | None:
        """Return the site at a host (and port), with its token. None if the user does not know that host."""
        host = _ALIASES.get(authority.lower(), authority.lower())
        for site in (self.github, self.gitlab):
            if host == site.name.lower():
                token = site.token or await self._login(site.kind, host)
                return Site(site.kind, site.web, token)
        for kind in ("github", "gitlab"):
            if token := await self._login(kind, host):
                return Site(kind, f"https://{host}", token)
        return None

    def named_token(self, authority: str) -> str:
        """Return the token that the settings have for a host, empty if they have none."""
        named = (site.token for site in (self.github, self.gitlab) if site.name.lower() == authority.lower())
        return next(named, "")

    async def project(self, remote: RemoteUrl) -> Project:
        """Return the project that a remote is. Raises HostingError if its host is no site of the user's."""
        if remote.scheme == "file":
            raise HostingError(f"{remote} is a folder, and pull requests need a remote on GitHub or GitLab")
        site = await self.find(remote.host if remote.scheme == "ssh" else remote.authority)
        if site is None:
            login = f"auth login --hostname {remote.host}"
            raise HostingError(
                f"{remote.host} is no GitHub or GitLab that you are logged in to; use `gh {login}` or "
                f"`glab {login}`, or set GITHUB_URL or GITLAB_URL with its token"
            )
        return Project(site, project_path(site, remote.path))

    async def _login(self, kind: SiteKind, host: str) -> str:
        """Ask the site's own program for the token of a host, empty if there is none."""
        if kind == "github":
            return await self._ask("gh", "auth", "token", "--hostname", host)
        asked = ("glab", "config", "get", "token", "--host")
        token = await self._ask(*asked, host)
        # A token that glab has for every host is for none in particular.
        return token if token and token != await self._ask(*asked, _NOBODY) else ""

    async def _ask(self, *command: str) -> str:
        program = shutil.which(command[0], path=self.environment.get("PATH"))
        if program is None or not re.fullmatch(r"[a-z0-9][a-z0-9.:-]*", command[-1]):
            return ""
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            cwd="/",  # not in a repository, whose configuration it might read
            env={name: self.environment[name] for name in _KEPT if name in self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            return ""
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        token = output.decode("ascii", "replace").strip()
        return token if process.returncode == 0 and _TOKEN.fullmatch(token) else ""


def project_path(site: Site, path: str) -> str:
    """Return the path of a project in the path of an address. Raises HostingError if it is none."""
    prefix = urlsplit(site.web).path.strip("/")
    plain = path.strip("/").removeprefix(f"{prefix}/" if prefix else "").removesuffix(".git").strip("/")
    parts = plain.split("/")
    right = len(parts) == 2 if site.kind == "github" else 2 <= len(parts) <= 20
    if not right or not all(_PART.fullmatch(part) for part in parts):
        raise HostingError(f"{path[:100]!r} is no repository on {site.name}; it is written owner/name")
    return plain
