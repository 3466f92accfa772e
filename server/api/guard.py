"""The guard: checks every request and WebSocket before a route sees it.

Two attacks matter most. Any web page can send requests to localhost (CSRF). With a DNS name that it points at
127.0.0.1, it can also read the answers (DNS rebinding). Therefore the Host must be a name of this server, an
Origin must be this server or configured, and a body must be JSON, which a foreign page cannot send without a
preflight request.
"""

import base64
import hmac
import ipaddress
import logging
import re
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph.settings import Settings
from memory.secrets import masked
from server.api.problems import Problem, problem_of

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
EVERYWHERE = frozenset(("0.0.0.0", "::", ""))  # noqa: S104  # compared, not bound
OPEN_PATHS = frozenset(("/", "/health", "/ok", "/client.js"))
"""Paths that need no key: they reveal nothing about any thread. The page asks for the key itself."""

STATIC = "/static/"
SUBPROTOCOL = "autocode"
KEY_PREFIX = "autocode.key."
"""Prefix of the subprotocol that holds the key, base64url. A browser's WebSocket cannot set headers."""

_CONTENT = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADER_BYTES = 32 * 1024
"""Limit for the headers of a request. h11 enforces its own only on headers that come in several pieces."""

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
    """Rules for requests."""

    hosts: frozenset[str]
    any_address: bool
    origins: frozenset[str]
    key: str | None
    secrets: tuple[str, ...]
    body_bytes: int
    connections: int

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """Read the rules from the settings. A server on all addresses answers to every IP address."""
        bound = settings.autocode_host.strip("[]").lower()
        key = settings.autocode_api_key
        return cls(
            hosts=LOOPBACK | {bound} | {name.lower() for name in _split(settings.autocode_allowed_hosts)},
            any_address=bound in EVERYWHERE,
            origins=frozenset(url.rstrip("/").lower() for url in _split(settings.autocode_cors_origins)),
            key=key.get_secret_value() if key else None,
            secrets=tuple(settings.secrets()),
            body_bytes=settings.max_request_bytes,
            connections=settings.max_connections,
        )

    def check(self, scope: Scope) -> None:
        """Raise a Problem for a request that is not allowed."""
        headers = Headers(scope=scope)
        _check_size(headers)
        host = self._check_host(headers.getlist("host"))
        self._check_origin(headers.getlist("origin"), host)
        if not _is_open(scope["path"]):
            self._check_key(scope, headers)
        if scope["type"] == "http":
            self._check_body(headers)

    def _check_host(self, values: list[str]) -> str:
        # A proxy and this server could read different ones of two Host headers.
        name = _hostname(values[0]) if len(values) == 1 else ""
        if name in self.hosts or (self.any_address and _is_address(name)):
            return values[0].lower()
        detail = "the Host header is no name of this server; use its address, or add the name to "
        raise Problem(403, "Host not allowed", detail + "AUTOCODE_ALLOWED_HOSTS")

    def _check_origin(self, values: list[str], host: str) -> None:
        # Sandboxed frames and files send `null`, which is in no list.
        allowed = {f"http://{host}", f"https://{host}", *self.origins}
        if any(origin.rstrip("/").lower() not in allowed for origin in values):
            detail = "a web page of another origin sent this request; to allow it, add its origin to "
            raise Problem(403, "Origin not allowed", detail + "AUTOCODE_CORS_ORIGINS")

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if self.key is None:
            return
        expected = self.key.strip().encode()
        # compare_digest takes the same time for every wrong key.
        if not any(hmac.compare_digest(key, expected) for key in _keys(scope, headers)):
            detail = "send the server's key (AUTOCODE_API_KEY) as X-Api-Key, or as Authorization: Bearer KEY"
            raise Problem(401, "Key missing or wrong", detail, {"WWW-Authenticate": "Bearer"})

    def _check_body(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        # A request without a body has no type, and a chunked one has no length.
        if not ("transfer-encoding" in headers or (length.isdecimal() and int(length) > 0)):
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not re.fullmatch(r"application/([\w.-]+\+)?json", kind):
            detail = "a body must be JSON; send the header Content-Type: application/json"
            raise Problem(415, "Not JSON", detail)
        if length.isdecimal() and int(length) > self.body_bytes:
            raise self.too_large()

    def too_large(self) -> Problem:
        """Return the Problem for a body beyond the limit."""
        detail = f"the body is larger than {self.body_bytes} bytes; send paths in place of file contents, "
        return Problem(413, "Body too large", f"{detail}or raise MAX_REQUEST_BYTES")


class Guard:
    """ASGI middleware that checks requests, limits bodies and connections, and adds security headers.

    No traceback leaves the server. `own` limits the guard to paths that start with one of these, for an app
    that is mounted beside others.
    """

    def __init__(self, app: ASGIApp, policy: Policy, own: tuple[str, ...] | None = None) -> None:
        self.app = app
        self.policy = policy
        self.own = own
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app, or answer it with a problem."""
        if scope["type"] not in ("http", "websocket") or not self._is_ours(scope["path"]):
            return await self.app(scope, receive, send)
        response = _SecureResponse(send)
        self._open += 1
        try:
            self.policy.check(scope)
            # After the policy, so that a stranger gets a 403 and learns nothing about the load.
            if self._open > self.policy.connections:
                detail = "all connections are in use (MAX_CONNECTIONS); try again in a moment"
                raise Problem(503, "Server full", detail, {"Retry-After": "1"})
            await self.app(scope, self._limited(receive), response)
        except Exception as error:
            if not isinstance(error, Problem):
                trace = "".join(traceback.format_exception(error))
                log.error("%s", masked(trace, self.policy.secrets))
            # A started response cannot become a problem. Closing the connection tells the client.
            if not response.started:
                await problem_of(error).response()(scope, receive, response)
        finally:
            self._open -= 1

    def _is_ours(self, path: str) -> bool:
        return self.own is None or any(
            path == start or (start != "/" and path.startswith(start)) for start in self.own
        )

    def _limited(self, receive: Receive) -> Receive:
        """Return a `receive` that counts the body and raises a Problem beyond the limit."""
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


class _SecureResponse:
    """A `send` that adds the security headers and records whether the response has started."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _split(text: str) -> list[str]:
    """Split a setting at commas and blanks."""
    return [word for word in re.split(r"[,\s]+", text) if word]


def _check_size(headers: Headers) -> None:
    if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_BYTES:
        detail = f"the headers are larger than {HEADER_BYTES} bytes; send fewer or shorter ones"
        raise Problem(431, "Headers too large", detail)


def _is_open(path: str) -> bool:
    # StaticFiles resolves `..` after this check, so such a path is not known to be a file of the page.
    return path in OPEN_PATHS or (path.startswith(STATIC) and ".." not in path.split("/"))


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _keys(scope: Scope, headers: Headers) -> Iterable[bytes]:
    for value in headers.getlist("x-api-key"):
        yield value.encode("latin-1")  # the raw bytes, because a key need not be ASCII
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            yield token.strip().encode("latin-1")
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(KEY_PREFIX):
            coded = offered.removeprefix(KEY_PREFIX)
            with suppress(ValueError):
                yield base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
