"""The guard: a table of requests with their status, and the details of each check."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from graph.settings import Settings
from server.api.guard import Guard

HOME = "http://127.0.0.1:8000"
KEY = "correct horse battery staple"
JSON = {"Content-Type": "application/json"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body; fails on /fail."""
    if scope["path"] == "/fail":
        raise ValueError(f"the key is {KEY}")
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def guarded(own: tuple[str, ...] | None = None, **settings: Any) -> httpx.AsyncClient:
    guard = Guard(echo, Settings(**settings), own)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=HOME)


DESK = "https://desk.example"
LARGE = b"x" * 1025


@dataclass(frozen=True)
class Case:
    """One request to a guard with these settings, and the status of the answer."""

    status: int
    method: str = "GET"
    path: str = "/api/threads"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        facts = [
            str(self.status),
            self.method,
            self.path,
            *(f"{k}={v[:24]}" for k, v in self.headers.items()),
        ]
        return " ".join([*facts, f"{len(self.body)}B" if self.body else "", *map(str, self.settings)])


def keyed(status: int, *, method: str = "GET", path: str = "/api/threads", **headers: str) -> Case:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(status, method, path, names, settings={"autocode_api_key": KEY})


CASES = [
    # Host
    Case(200),
    Case(200, headers={"Host": "localhost:9"}),
    Case(200, headers={"Host": "[::1]:8000"}),
    Case(403, headers={"Host": "evil.example"}),
    Case(403, headers={"Host": "127.0.0.1.evil.example"}),
    Case(403, headers={"Host": "10.0.0.9"}),
    Case(403, headers={"Host": ""}),
    Case(200, headers={"Host": "[0:0:0:0:0:0:0:1]:8000"}),
    Case(200, headers={"Host": "LOCALHOST:"}),
    *(
        Case(403, headers={"Host": host})
        for host in (
            *("evil.example@localhost", "localhost@evil.example", "localhost/evil", "localhost?evil"),
            *("localhost#x", "localhost:99999", "localhost:8000:80", "localhost:evil", "::1", "[::1"),
            *("[127.0.0.1]", "[::1]evil", "local host", "localhost,evil.example", "localhost\\x"),
            *("localhost%00", "127.1", "0x7f.1", "2130706433", "localhost."),
        )
    ),
    Case(403, path="/", headers={"Host": "evil.example"}),
    Case(200, headers={"Host": "box.example"}, settings={"autocode_allowed_hosts": "a, Box.example"}),
    Case(200, headers={"Host": "box.example"}, settings={"autocode_host": "box.example"}),
    Case(200, headers={"Host": "10.0.0.9"}, settings={"autocode_host": "0.0.0.0"}),
    Case(200, headers={"Host": "[fe80::1]"}, settings={"autocode_host": "::"}),
    Case(403, headers={"Host": "evil.example"}, settings={"autocode_host": "0.0.0.0"}),
    # Origin
    Case(200, "POST", headers={"Origin": HOME}),
    Case(200, "POST", headers={"Origin": HOME.upper()}),
    Case(403, "POST", headers={"Origin": "http://evil.example"}),
    Case(403, "GET", headers={"Origin": "http://evil.example"}),
    Case(403, "OPTIONS", headers={"Origin": "http://evil.example"}),
    Case(403, "POST", headers={"Origin": "null"}),
    Case(403, "POST", headers={"Origin": "http://[evil"}),
    Case(403, "POST", headers={"Origin": "http://127.0.0.1:9000"}),
    Case(403, "POST", headers={"Origin": "file://127.0.0.1:8000"}),
    Case(200, "POST", headers={"Origin": DESK}, settings={"autocode_cors_origins": DESK}),
    Case(200, "POST", headers={"Origin": DESK}, settings={"autocode_cors_origins": f"{DESK}/, x"}),
    Case(403, "POST", headers={"Origin": f"{DESK}.evil"}, settings={"autocode_cors_origins": DESK}),
    *(Case(403, headers={"Sec-Fetch-Site": site}) for site in ("cross-site", "same-site")),
    *(Case(200, headers={"Sec-Fetch-Site": site}) for site in ("same-origin", "none")),
    *(Case(200, path=path, headers={"Sec-Fetch-Site": "cross-site"}) for path in ("/", "/static/x.js")),
    Case(200, headers={"Sec-Fetch-Site": "same-site", "Origin": HOME}),
    # Key
    keyed(401),
    keyed(401, X_Api_Key=KEY[:-1]),
    keyed(401, X_Api_Key=f"{KEY}x"),
    keyed(401, Authorization=f"Basic {KEY}"),
    keyed(401, Authorization=KEY),
    keyed(200, X_Api_Key=KEY),
    keyed(200, Authorization=f"Bearer {KEY}"),
    keyed(200, Authorization=f"bearer  {KEY}"),
    keyed(200, X_Api_Key="wrong", Authorization=f"Bearer {KEY}"),
    keyed(401, method="DELETE", path="/threads/t"),
    keyed(401, path="/openapi.json"),
    keyed(401, path="/health/"),
    keyed(401, path="/static/../api/threads"),
    keyed(200, path="/"),
    keyed(200, path="/ok"),
    keyed(200, path="/health"),
    keyed(200, path="/static/icon.svg"),
    keyed(403, path="/health", Host="evil.example"),
    # Body
    Case(200, "POST", headers=JSON, body=b"{}"),
    Case(200, "POST", headers={"Content-Type": "application/json; charset=utf-8"}, body=b"{}"),
    Case(200, "PATCH", headers={"Content-Type": "application/merge-patch+json"}, body=b"{}"),
    Case(415, "POST", headers={"Content-Type": "text/plain"}, body=b"{}"),
    Case(415, "POST", headers={"Content-Type": "multipart/form-data"}, body=b"{}"),
    Case(415, "POST", headers={"Content-Type": "application/json-seq"}, body=b"{}"),
    Case(415, "PUT", body=b"{}"),
    Case(200, "POST"),
    Case(200, "DELETE"),
    Case(200, "POST", headers=JSON, body=LARGE[:-1], settings={"max_request_bytes": 1024}),
    Case(413, "POST", headers=JSON, body=LARGE, settings={"max_request_bytes": 1024}),
    Case(400, "POST", headers=JSON | {"Transfer-Encoding": "chunked", "Content-Length": "2"}, body=b"{}"),
    Case(422, "POST", headers=JSON, body=b"[" + 100_001 * b"[],"),
    Case(422, "POST", headers=JSON, body=b'["' + 100_001 * b"[]," + b'"' + 100_001 * b',""'),
    Case(422, "POST", headers=JSON, body=('["\\"", ' + 60_000 * "0,").encode("utf-16-le")),
    Case(200, "POST", headers=JSON, body=b'{"text": "' + 100_001 * b'[\\"{,' + b'"}'),
    Case(431, headers={"X-Long": "x" * 33_000}),
    # The first check that fails decides.
    Case(431, headers={"Host": "evil.example", "X-Long": "x" * 33_000}),
    Case(403, headers={"Host": "evil.example"}, settings={"autocode_api_key": KEY}),
    Case(401, "POST", body=LARGE, settings={"autocode_api_key": KEY, "max_request_bytes": 1024}),
    Case(415, "POST", body=LARGE, settings={"max_request_bytes": 1024}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_each_request_gets_its_status(case: Case) -> None:
    guard = Guard(echo, Settings(**case.settings))
    transport = httpx.ASGITransport(guard)
    async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
        url = httpx.URL(HOME, raw_path=case.path.encode())
        answer = await client.request(case.method, url, headers=dict(case.headers), content=case.body)
    assert answer.status_code == case.status
    if case.status != 200:
        assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["detail"]


async def test_a_full_server_asks_to_try_again() -> None:
    guard = Guard(echo, Settings().model_copy(update={"max_connections": 0}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=HOME) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "10.0.0.9", ""]
)
async def test_a_name_that_was_rebound_to_this_machine_is_refused(host: str) -> None:
    async with guarded() as client:
        answer = await client.get("/", headers={"Host": host})
    assert answer.status_code == 403 and "AUTOCODE_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9000", "http://127.0.0.1:8000.evil.example", "file://"],
)
async def test_another_web_page_is_refused(origin: str) -> None:
    async with guarded() as client:
        answer = await client.post("/api/agent/run", headers={"Origin": origin})
    assert answer.status_code == 403 and "AUTOCODE_CORS_ORIGINS" in answer.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"]
)
async def test_what_a_form_can_send_is_no_json(kind: str) -> None:
    async with guarded() as client:
        answer = await client.post("/api/agent/run", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415 and "application/json" in answer.json()["detail"]
        assert (
            await client.post("/x", content=b"{}", headers=JSON | {"Host": "localhost"})
        ).status_code == 200
        assert (await client.post("/api/threads/t/cancel")).status_code == 200, "no body, no type"


@pytest.mark.parametrize("stated", [True, False])
async def test_a_body_beyond_the_limit_is_refused_stated_or_not(stated: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 500

    async with guarded(max_request_bytes=1024) as client:
        body = b"x" * 1500 if stated else pieces()
        answer = await client.post("/", content=body, headers=JSON)
        assert answer.status_code == 413 and "MAX_REQUEST_BYTES" in answer.json()["detail"]
        assert (await client.post("/", content=b"x" * 1024, headers=JSON)).text == "1024"


@pytest.mark.parametrize("header", [{"X-Api-Key": KEY}, {"Authorization": f"bearer {KEY}"}])
async def test_with_a_key_set_nothing_but_the_page_is_served_without_it(header: dict[str, str]) -> None:
    async with guarded(autocode_api_key=KEY) as client:
        for path in ("/api/threads", "/threads", "/openapi.json", "/static/../api/threads", "/Health"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path
        assert (await client.get("/api/threads", headers={"X-Api-Key": KEY[:-1]})).status_code == 401
        assert (await client.get("/api/threads", headers=header)).status_code == 200
        for path in ("/", "/health", "/client.js"):
            assert (await client.get(path)).status_code == 200


async def opened(guard: Guard, *protocols: str, **headers: str) -> list[Message]:
    """What the guard sends to a WebSocket that knocks."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [
        (name.lower().encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()
    ]
    scope = {
        "type": "websocket", "path": "/api/ws", "headers": raw, "subprotocols": list(protocols),
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    await guard(scope, receive, send)
    return sent


async def accept(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})


async def test_a_websocket_is_checked_before_it_is_accepted() -> None:
    guard = Guard(accept, Settings(autocode_api_key=KEY))
    coded = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")
    assert (await opened(guard, "autocode", f"autocode.key.{coded}"))[0]["type"] == "websocket.accept"
    for protocols, origin in (
        (("autocode", "autocode.key.b"), "http://localhost"),
        ((), "http://evil.example"),
    ):
        start, body = await opened(guard, *protocols, origin=origin)
        assert start["type"] == "websocket.http.response.start" and start["status"] in (401, 403)
        assert json.loads(body["body"])["status"] == start["status"]


async def test_no_traceback_and_no_secret_leaves(caplog: pytest.LogCaptureFixture) -> None:
    async with guarded(autocode_api_key=KEY) as client:
        answer = await client.get("/fail", headers={"X-Api-Key": KEY})
    problem = answer.json()
    assert answer.status_code == 500 and answer.headers["Content-Type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail"} and "key is" not in answer.text
    assert "ValueError" in caplog.text and KEY not in caplog.text


async def test_every_answer_forbids_what_pages_of_others_could_do_with_it() -> None:
    async with guarded() as client:
        headers = (await client.get("/")).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"


async def test_mounted_with_others_it_guards_its_own_paths_alone() -> None:
    async with guarded(("/", "/api/"), autocode_api_key=KEY) as client:
        assert (await client.get("/threads")).status_code == 200
        assert (await client.get("/api/threads")).status_code == 401
