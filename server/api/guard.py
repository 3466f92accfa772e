"""The guard: checks every request and WebSocket before a route sees it.

Two attacks matter most. Any web page can send requests to localhost (CSRF). With a DNS name that it points at
127.0.0.1, it can also read the answers (DNS rebinding). Therefore the Host must be a name of this server, an
Origin must be this server or configured, and a body must be JSON, which a foreign page cannot send without a
preflight request.
"""

import asyncio
import base64
import hmac
import ipaddress
import logging
import re
import traceback
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph.run_request import repository_bounds
from graph.settings import Settings
from memory.secrets import masked_tokens
from memory.validation import MOST_VALUES, check_length
from server.api.problems import Problem, problem_of
from server.connection import counted_address
from tools.workspace.opening import bounded

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
EVERYWHERE = frozenset(("0.0.0.0", "::", ""))  # noqa: S104  # compared, not bound
OPEN_PATHS = frozenset(("/", "/health", "/ok", "/client.js"))
"""Paths that need no key: they reveal nothing about any thread. The page asks for the key itself."""

STATIC = "/static/"
SUBPROTOCOL = "autocode"
KEY_PREFIX = "autocode.key."
"""Prefix of the subprotocol that holds the key, base64url. A browser's WebSocket cannot set headers."""

ALIVE_PATHS = frozenset(("/health", "/ok"))
"""Paths that a full server answers too, because it is alive."""

_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,253}))(?::(?P<port>[0-9]{0,5}))?"
)
_CONTENT = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    # No text can become markup or a script. The page's one policy names the script that colours code.
    "require-trusted-types-for 'script'; trusted-types autocode-worker"
)
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


class Guard:
    """ASGI middleware that checks requests, limits bodies and connections, and adds security headers.

    No traceback leaves the server. `own` limits the guard to paths that start with one of these, for an app
    that is mounted beside others.
    """

    def __init__(self, app: ASGIApp, settings: Settings, own: tuple[str, ...] | None = None) -> None:
        self.app, self.settings, self.own = app, settings, own
        bound = settings.autocode_host.strip("[]").lower()
        names = (bound, *_split(settings.autocode_allowed_hosts))
        self._hosts = LOOPBACK | {name.strip("[]").lower() for name in names}
        self._any_address = bound in EVERYWHERE
        self._origins = allowed_origins(settings)
        self._bounds = repository_bounds(settings)
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app, or answer it with a problem."""
        if scope["type"] not in ("http", "websocket") or not self._is_ours(scope["path"]):
            return await self.app(scope, receive, send)
        started, seen, body = False, 0, list[bytes]()

        async def secure_send(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        async def limited_receive() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                body.append(message.get("body", b""))
                seen += len(body[-1])
                self._check_length(seen)
                if not message.get("more_body"):
                    if seen > MOST_VALUES:  # a value takes a byte at least
                        await asyncio.to_thread(_check_json, b"".join(body))
                    body.clear()  # a stream may go on for hours
            return message

        client = counted_address((scope.get("client") or ("",))[0])
        self._open[client] += 1
        try:
            self._check(scope)
            # After the checks, so that a stranger gets a 403 and learns nothing about the load.
            if scope["path"] not in ALIVE_PATHS:
                self._check_load(client)
            with bounded(self._bounds):
                await self.app(scope, limited_receive, secure_send)
        except Exception as error:
            if not isinstance(error, Problem):
                trace = "".join(traceback.format_exception(error))
                log.error("%s", masked_tokens(trace, tuple(self.settings.secrets())))
            # A started response cannot become a problem. Closing the connection tells the client.
            if not started:
                await problem_of(error).response()(scope, receive, secure_send)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    def _is_ours(self, path: str) -> bool:
        return self.own is None or any(
            path == start or (start != "/" and path.startswith(start)) for start in self.own
        )

    def _check(self, scope: Scope) -> None:
        """Raise a Problem for a request that is not allowed."""
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_BYTES:
            detail = f"the headers are larger than {HEADER_BYTES} bytes; send fewer or shorter ones"
            raise Problem(431, "Headers too large", detail)
        self._check_host(hosts := headers.getlist("host"))
        # Sandboxed frames and files send `null`, which is in no list.
        allowed = {f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}", *self._origins}
        origins = [origin.rstrip("/").lower() for origin in headers.getlist("origin")]
        # An image or a link of another page has no Origin, and could end a stream that cancels its run.
        is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site") and not origins
        if not allowed.issuperset(origins) or (is_foreign and not _is_open(scope["path"])):
            detail = "a web page of another origin sent this request; to allow it, add its origin to "
            raise Problem(403, "Origin not allowed", detail + "AUTOCODE_CORS_ORIGINS")
        key = self.settings.autocode_api_key
        if key is not None and not _is_open(scope["path"]):
            expected = key.get_secret_value().strip().encode()
            # compare_digest takes the same time for every wrong key.
            if not any(hmac.compare_digest(sent, expected) for sent in _keys(scope, headers)):
                detail = (
                    "send the server's key (AUTOCODE_API_KEY) as X-Api-Key, or as Authorization: Bearer KEY"
                )
                raise Problem(401, "Key missing or wrong", detail, {"WWW-Authenticate": "Bearer"})
        if scope["type"] == "http":
            self._check_body(headers)

    def _check_load(self, client: str) -> None:
        for count, name, value in (
            (self._open.total(), "MAX_CONNECTIONS", self.settings.max_connections),
            (self._open[client], "MAX_CONNECTIONS_PER_CLIENT", self.settings.max_connections_per_client),
        ):
            if count > value:
                detail = f"all {value} connections are in use ({name}); try again in a moment"
                raise Problem(503, "Server full", detail, {"Retry-After": "1"})

    def _check_host(self, values: list[str]) -> None:
        # A proxy and this server could read different ones of two Host headers.
        name = _hostname(values[0]) if len(values) == 1 else ""
        if name not in self._hosts and not (self._any_address and _is_address(name)):
            detail = "the Host header is no name of this server; use its address, or add the name to "
            raise Problem(403, "Host not allowed", detail + "AUTOCODE_ALLOWED_HOSTS")

    def _check_body(self, headers: Headers) -> None:
        if "transfer-encoding" in headers and "content-length" in headers:
            # A proxy may take the rest of the body for another request.
            detail = "a request has either Content-Length or Transfer-Encoding"
            raise Problem(400, "Two lengths", detail, {"Connection": "close"})
        length = headers.get("content-length", "0")
        # A request without a body has no type, and a chunked one has no length.
        if not ("transfer-encoding" in headers or (length.isdecimal() and int(length) > 0)):
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not re.fullmatch(r"application/([\w.-]+\+)?json", kind):
            detail = "a body must be JSON; send the header Content-Type: application/json"
            raise Problem(415, "Not JSON", detail)
        self._check_length(int(length) if length.isdecimal() else 0)

    def _check_length(self, length: int) -> None:
        limit = self.settings.max_request_bytes
        if length > limit:
            detail = f"the body is larger than {limit} bytes; send paths in place of file contents, "
            raise Problem(413, "Body too large", f"{detail}or raise MAX_REQUEST_BYTES")


def _check_json(body: bytes) -> None:
    """Raise a Problem for a body whose parsing would block the server."""
    try:
        if b"\0" in body:
            raise ValueError("JSON is written in UTF-8")
        check_length(body.decode())
    except ValueError as error:
        raise Problem(422, "Invalid request", f"body: {error}") from error


def allowed_origins(settings: Settings) -> frozenset[str]:
    """Return the origins of other web pages that may send requests."""
    return frozenset(url.rstrip("/").lower() for url in _split(settings.autocode_cors_origins))


def is_loopback(host: str) -> bool:
    """Return True for a name or address that only this machine can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_shared(settings: Settings, mounted: bool) -> bool:
    """Return True if others than the user may use the server, as one that ours is `mounted` in lets them."""
    is_open = settings.autocode_api_key or settings.autocode_allowed_hosts.strip()
    return bool(mounted or is_open or not is_loopback(settings.autocode_host))


def _split(text: str) -> list[str]:
    """Split a setting at commas and blanks."""
    return [word for word in re.split(r"[,\s]+", text) if word]


def _is_open(path: str) -> bool:
    # StaticFiles resolves `..` after this check, so such a path is not known to be a file of the page.
    return path in OPEN_PATHS or (path.startswith(STATIC) and ".." not in path.split("/"))


def _hostname(host: str) -> str:
    """Return the name or the address of a Host header without its port. Empty if it is no host (RFC 9110)."""
    match = _HOST.fullmatch(host)
    if not match or int(match["port"] or 0) > 65535:
        return ""
    if not (address := match["address"]):
        return match["name"].lower()
    try:
        return str(ipaddress.IPv6Address(address))
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
