"""Addresses of remotes: which ones git may be given, and how they are shown."""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from tools.remote.errors import RemoteRefused
from tools.remote.public_proxy import is_public

Scheme = Literal["https", "http", "ssh", "file"]

_LENGTH = 2000
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~+-]{0,99}")
_SCP = re.compile(r"^(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:\[\]]+|\[[^\]/]+\]):(?P<path>[^:].*)")
_HELPER = re.compile(r"^[A-Za-z0-9+.-]*::")
PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class RemoteUrl:
    """A checked address. `text` is what git gets, `str()` is what people see: it holds no password."""

    scheme: Scheme
    host: str
    port: int | None
    user: str
    path: str
    text: str
    secret: str = ""

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        user = f"{self.user}@" if self.scheme == "ssh" and self.user else ""
        return f"{self.scheme}://{user}{self.authority}/{self.path.lstrip('/')}"

    @property
    def authority(self) -> str:
        """The host, with its port if the address names one."""
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of the connection over HTTP."""
        return self.host.strip("[]"), self.port or PORTS.get(self.scheme, 0)


def clone_url(text: str, hosts: Collection[tuple[str, int]] = ()) -> RemoteUrl:
    """Check an address that a model or a client named. Raises RemoteRefused.

    It must be https, without a login, and no internal address. `hosts` are exceptions that the user named:
    they may be internal, and reached by http. Names are checked again when they are resolved.
    """
    url = _network_url(text)
    if url.endpoint not in hosts:
        if url.scheme != "https":
            raise _refused(text, "only https:// is allowed")
        if _is_address(url.host) and not is_public(url.host.strip("[]")):
            raise _refused(text, "this is an internal address, and only public hosts are allowed")
        # Resolvers take `127.1` and `2130706433` for addresses.
        if url.host.rpartition(".")[2].isdigit() and not _is_address(url.host):
            raise _refused(text, "write the address of the host in its usual form")
    if url.scheme == "ssh":
        raise _refused(text, "only https:// is allowed")
    if url.user or url.secret:
        raise _refused(text, "leave out user and password")
    return url


def configured_url(text: str, checkout: Path) -> RemoteUrl:
    """Check an address from the configuration of the user's repository. Raises RemoteRefused.

    It may be on the local network, or a folder. Addresses that no remote has are refused.
    """
    if text.startswith("file://"):
        parts = urlsplit(text)
        _check_text(text)
        if parts.netloc not in ("", "localhost"):
            raise _refused(text, "a file:// address must name no host")
        return _folder(Path(unquote(parts.path)))
    if "://" not in text and not _HELPER.match(text) and (text.startswith(("/", ".")) or ":" not in text):
        _check_text(text, ascii_only=False)
        return _folder(checkout / text)
    url = _network_url(text)
    if _is_address(url.host) and (ip := ipaddress.ip_address(url.host.strip("[]"))):
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if ip.is_link_local or ip.is_unspecified or ip.is_multicast:
            raise _refused(text, "no remote has such an address")
    return url


def _folder(path: Path) -> RemoteUrl:
    place = str(path.resolve())
    return RemoteUrl("file", "", None, "", place, place)


def _network_url(text: str) -> RemoteUrl:
    if _HELPER.match(text[:_LENGTH]):
        raise _refused(text, "addresses with `::` run programs and are never used")
    _check_text(text)
    if "://" in text:
        return _parsed(text)
    if match := _SCP.fullmatch(text):
        url = RemoteUrl("ssh", match["host"], None, match["user"] or "", match["path"], text)
        return _checked(text, url)
    raise _refused(text, "write it as https://host/path")


def _parsed(text: str) -> RemoteUrl:
    scheme = text.partition("://")[0].lower()
    if scheme not in ("https", "http", "ssh"):
        raise _refused(text, f"the protocol {scheme[:20]!r} is not used, https and ssh are")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _refused(text, str(error)) from error
    if parts.query or parts.fragment:
        raise _refused(text, "leave out everything from ? or # on")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    url = RemoteUrl(scheme, host, port, parts.username or "", parts.path, text, parts.password or "")  # type: ignore[arg-type]
    return _checked(text, url)


def _checked(text: str, url: RemoteUrl) -> RemoteUrl:
    if not _HOST.fullmatch(url.host) or url.host.startswith("[") != _is_address(url.host, 6):
        raise _refused(text, "this is no host name. Names with other letters than a to z are written xn--…")
    if url.user and not _USER.fullmatch(url.user):
        raise _refused(text, "the user name has characters that are not allowed")
    if url.path.lstrip("/").startswith("-") or not url.path.strip("/"):
        raise _refused(text, "the path of a repository is missing, or begins with `-`")
    if url.scheme == "ssh" and url.secret:
        raise _refused(text, "ssh takes no password in an address")
    return replace(url, host=url.host.lower())


def _check_text(text: str, ascii_only: bool = True) -> None:
    if not text or len(text) > _LENGTH:
        raise _refused(text, f"it is empty, or longer than {_LENGTH} characters")
    if not text.isprintable() or (
        ascii_only and (not text.isascii() or any(char in text for char in ' "\\<>^`{|}'))
    ):
        raise _refused(text, "it contains a character that no address has")
    if text.startswith("-"):
        raise _refused(text, "it begins with `-`")


def _is_address(host: str, version: int = 0) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).version in ((version,) if version else (4, 6))
    except ValueError:
        return False


def _refused(text: str, problem: str) -> RemoteRefused:
    # A password must not end up in an error, so only the part behind a login is shown.
    shown = re.sub(r"//[^/@]*@", "//", text[:200])
    return RemoteRefused(f"the address {shown!r} is refused: {problem}")
