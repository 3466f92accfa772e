"""Who may talk to the server: everything is checked before a route sees it, WebSockets included.

Two attacks come first. Any web page can send requests to localhost (CSRF), and with a DNS name that it points
at 127.0.0.1 it can read the answers as well (DNS rebinding). So the Host must be a name of ours, an Origin
must be ours or configured, and a body must be JSON, which a foreign page cannot send without asking first.
"""

import base64
import binascii
import hmac
import ipaddress
import logging
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph.settings import Settings
from server.api.problems import Problem, problem_of

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
EVERYWHERE = frozenset(("0.0.0.0", "::", ""))  # noqa: S104  # compared with, not bound to
OPEN_PATHS = frozenset(("/", "/health", "/ok", "/client.js"))
"""Served without a key: they say nothing about any thread. The page asks for the key itself."""

STATIC = "/static/"
SUBPROTOCOL = "autocode"
KEY_PREFIX = "autocode.key."
"""How a browser's WebSocket, which cannot set headers, brings the key: as a second subprotocol, base64url."""

_CONTENT = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADER_BYTES = 32 * 1024
"""How much a request may say before its body; what comes in one piece passes the HTTP parser's own limit."""

HEADERS = {
    "Content-Security-Policy": _CONTENT,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = logging.getLogger("autocode.server")


@dataclass(frozen=True)
class Policy:
    """What is let in."""

    hosts: frozenset[str]
    numbers: bool
    origins: frozenset[str]
    key: str | None
    secrets: tuple[str, ...]
    body_bytes: int
    connections: int

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """Read it from the settings. Bound to every address, the server may be called by any number."""
        bound = settings.autocode_host.strip("[]").lower()
        key = settings.autocode_api_key
        return cls(
            hosts=LOOPBACK | {bound} | {name.lower() for name in words(settings.autocode_allowed_hosts)},
            numbers=bound in EVERYWHERE,
            origins=frozenset(one.rstrip("/").lower() for one in words(settings.autocode_cors_origins)),
            key=key.get_secret_value() if key else None,
            secrets=tuple(settings.secrets()),
            body_bytes=settings.max_request_bytes,
            connections=settings.max_connections,
        )

    def check(self, scope: Scope) -> None:
        """Raise the Problem that keeps a request out."""
        headers = Headers(scope=scope)
        _check_size(headers)
        host = self._check_host(headers.getlist("host"))
        self._check_origin(headers.getlist("origin"), host)
        if not _is_open(scope["path"]):
            self._check_key(scope, headers)
        if scope["type"] == "http":
            self._check_body(headers)

    def _check_host(self, given: list[str]) -> str:
        name = _hostname(given[0]) if len(given) == 1 else ""
        if name in self.hosts or (self.numbers and _is_number(name)):
            return given[0].lower()
        detail = "the Host header names no host of this server; call it by its address, "
        raise Problem(403, "Host not allowed", detail + "or list the name in AUTOCODE_ALLOWED_HOSTS")

    def _check_origin(self, given: list[str], host: str) -> None:
        for origin in given:
            parts = urlsplit(origin.lower())
            ours = parts.scheme in ("http", "https") and parts.netloc == host
            if not ours and origin.rstrip("/").lower() not in self.origins:
                detail = "a web page of another origin sent this; list that origin in AUTOCODE_CORS_ORIGINS "
                raise Problem(403, "Origin not allowed", detail + "if it is to use this server")

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if self.key is None:
            return
        given = _keys(scope, headers)
        if not any(hmac.compare_digest(one, self.key.strip().encode()) for one in given):
            detail = "this server wants its key (AUTOCODE_API_KEY): send it as the header X-Api-Key, or as "
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "Key missing or wrong", f"{detail}Authorization: Bearer KEY", challenge)

    def _check_body(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not ("transfer-encoding" in headers or (length.isdecimal() and int(length) > 0)):
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not re.fullmatch(r"application/([\w.-]+\+)?json", kind):
            detail = "bodies are read as JSON alone; send the header Content-Type: application/json"
            raise Problem(415, "Not JSON", detail)
        if length.isdecimal() and int(length) > self.body_bytes:
            raise self.too_large()

    def too_large(self) -> Problem:
        """The Problem with a body beyond the limit."""
        detail = (
            f"the body is larger than {self.body_bytes} bytes; name files of the repository by their path"
        )
        return Problem(413, "Body too large", f"{detail} or raise MAX_REQUEST_BYTES")


class Guard:
    """ASGI middleware: the policy, limits on bodies and connections, security headers, and no traceback out.

    `own` limits it to paths that begin with one of these, for an app that is mounted with others.
    """

    def __init__(self, app: ASGIApp, policy: Policy, own: tuple[str, ...] | None = None) -> None:
        self.app = app
        self.policy = policy
        self.own = own
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to the app, or answer it with a problem."""
        if scope["type"] not in ("http", "websocket") or not self._is_ours(scope["path"]):
            return await self.app(scope, receive, send)
        answer = _Answer(send)
        self._open += 1
        try:
            self.policy.check(scope)
            if self._open > self.policy.connections:
                detail = "all connections are in use (MAX_CONNECTIONS); try again in a moment"
                raise Problem(503, "Server full", detail, {"Retry-After": "1"})
            await self.app(scope, self._limited(receive), answer)
        except Exception as error:
            if not isinstance(error, Problem):
                self._note(error)
            if not answer.begun:
                await problem_of(error).response()(scope, receive, answer)
        finally:
            self._open -= 1

    def _is_ours(self, path: str) -> bool:
        return self.own is None or any(
            path == one or (one != "/" and path.startswith(one)) for one in self.own
        )

    def _limited(self, receive: Receive) -> Receive:
        """Count a body that does not say its length, and break it off beyond the limit."""
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.policy.body_bytes:
                    raise self.policy.too_large()
            return message

        return limited

    def _note(self, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        for secret in self.policy.secrets:
            trace = trace.replace(secret, "***")
        log.error("%s", trace)


class _Answer:
    """Sends on, adds the security headers, and remembers whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def words(text: str) -> list[str]:
    """The items of a setting that lists some, with commas or blanks between them."""
    return [word for word in re.split(r"[,\s]+", text) if word]


def _check_size(headers: Headers) -> None:
    if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_BYTES:
        detail = f"the request's headers are larger than {HEADER_BYTES} bytes; send fewer or shorter ones"
        raise Problem(431, "Headers too large", detail)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or (path.startswith(STATIC) and ".." not in path.split("/"))


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _keys(scope: Scope, headers: Headers) -> Iterable[bytes]:
    for value in headers.getlist("x-api-key"):
        yield value.encode("latin-1")  # as it came: a key may have other letters
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            yield token.strip().encode("latin-1")
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(KEY_PREFIX):
            coded = offered.removeprefix(KEY_PREFIX)
            try:
                yield base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
            except (binascii.Error, ValueError):
                continue
