"""A scripted model behind a real OpenAI-compatible HTTP server: rules in, replies out, requests counted."""

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-a-very-secret-key"
"""A provider's key, which no event and no row may hold."""

PIECE = re.compile(r"\s*\S+|\s+$")
SEVERAL = re.compile(r"(?:\s*\S+){1,10}|\s+$")

Said = str | Sequence[str | tuple[str, Any]]
"""The reply of a rule."""


@dataclass(frozen=True)
class Request:
    """One request as it came; `prompt` is what rules are matched against."""

    body: dict[str, Any]
    prompt: str
    at: float

    @property
    def model(self) -> str:
        return str(self.body.get("model"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body["messages"])

    @property
    def max_tokens(self) -> int | None:
        return self.body.get("max_tokens") or self.body.get("max_completion_tokens")


@dataclass
class Rule:
    """An answer to prompts that `match` finds. Prompts read 'model: NAME', then 'ROLE: content' lines.

    A tool's result reads 'tool: content', and a call of a tool 'ROLE calls NAME(ARGUMENTS)'. `reply` is a
    text, or a list of texts and calls (name, arguments), or makes one of the request; `times` is how often
    the rule applies; `status` answers with an error; `drop` closes the connection halfway through the reply;
    `usage` replaces what was counted (an empty one is left out, as is a `finish` of None, and `[DONE]`
    without `done`). `raw` is a content type with a body, which is sent as it is.
    """

    match: str
    reply: Said | Callable[[Request], Said] = ""
    times: int | None = None
    delay: float = 0.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=lambda: {"Retry-After": "0"})
    drop: bool = False
    usage: dict[str, Any] | None = None
    finish: str | None = "stop"
    done: bool = True
    raw: tuple[str, bytes] | None = None
    error: dict[str, Any] = field(default_factory=dict)

    def parts(self, request: Request) -> tuple[str, list[dict[str, Any]]]:
        """Text and tool calls of the reply."""
        said = self.reply(request) if callable(self.reply) else self.reply
        parts = [said] if isinstance(said, str) else said
        made = [part for part in parts if not isinstance(part, str)]
        place = len(request.messages)
        calls = [_call(f"call_{place}_{number}", *each) for number, each in enumerate(made)]
        return "".join(part for part in parts if isinstance(part, str)), calls


class Desk:
    """The server. The first rule that matches answers; a prompt that none matches gets HTTP 400."""

    def __init__(self, *rules: Rule, ttft: float = 0.0, tokens_per_second: float = 0.0) -> None:
        self.rules = list(rules)
        self.ttft = ttft
        self.tokens_per_second = tokens_per_second
        self.requests: list[Request] = []
        self.unmatched: list[str] = []
        self.max_in_flight = 0
        self.answered = 0
        self._in_flight = 0
        self._lock = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.desk = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """What LOCAL_LLM_URL is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def on(self, match: str, reply: Said | Callable[[Request], Said] = "", **rule: Any) -> "Desk":
        """Add a rule."""
        self.rules.append(Rule(match, reply, **rule))
        return self

    def prompts(self, match: str) -> list[str]:
        """The prompts so far that `match` finds."""
        return [request.prompt for request in self.requests if re.search(match, request.prompt, re.S)]

    def wait(self, requests: int = 1, seconds: float = 60.0) -> None:
        """Block until so many requests have come."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.requests) >= requests, seconds), "no request came"

    def __enter__(self) -> "Desk":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def arrive(self, request: Request) -> Rule | None:
        """Note a request and choose its rule."""
        with self._lock:
            self.requests.append(request)
            self._lock.notify_all()
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            for rule in self.rules:
                if rule.times != 0 and re.search(rule.match, request.prompt, re.S):
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
            self.unmatched.append(request.prompt)
            return None

    def leave(self, whole: bool) -> None:
        """Note that a request was answered, wholly or not."""
        with self._lock:
            self._in_flight -= 1
            self.answered += whole


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    desk: Desk

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._sockets: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._sockets.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may leave; anything else is a fault of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """Wake the threads that wait on connections kept alive."""
        for connection in list(self._sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        known = self.path.endswith("/models")
        models = {"object": "list", "data": [{"id": "desk", "object": "model"}]}
        self._json(200 if known else 404, models if known else {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = Request(body, _prompt(body), time.monotonic())
        desk, whole = self.server.desk, False
        rule = desk.arrive(request)
        try:
            whole = self._answer(rule, request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            desk.leave(whole)

    def _answer(self, rule: Rule | None, request: Request) -> bool:
        """Send the reply; False when it was refused or broken off."""
        if rule is None:
            self._json(400, {"error": {"message": f"no rule matches this prompt:\n{request.prompt}"}})
            return False
        time.sleep(self.server.desk.ttft + rule.delay)
        text, calls = rule.parts(request)
        if rule.raw:
            self._raw(*rule.raw)
            return True
        if rule.status:
            error = {"message": text or f"the desk says {rule.status}", **rule.error}
            self._json(rule.status, {"error": error}, rule.headers)
            return False
        deltas = list(_deltas(text, calls))
        usage = _counted(request, deltas) if rule.usage is None else rule.usage
        if not rule.drop and not self.server.desk.tokens_per_second:
            deltas = list(_deltas(text, calls, SEVERAL))  # each costs a client milliseconds
        finish = "tool_calls" if calls and rule.finish == "stop" else rule.finish
        if request.body.get("stream"):
            return self._stream(rule, request, deltas, finish, usage)
        message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        self._json(200, _head(request, "chat.completion") | {"choices": [choice], "usage": usage})
        return True

    def _raw(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(body), 97):  # pieces that end anywhere
            piece = body[start : start + 97]
            self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _stream(
        self, rule: Rule, request: Request, deltas: list[Any], finish: str | None, usage: dict[str, Any]
    ) -> bool:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunk = _head(request, "chat.completion.chunk")
        pace = self.server.desk.tokens_per_second
        due = time.perf_counter()
        for number, delta in enumerate(deltas):
            if rule.drop and number >= len(deltas) // 2:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return False
            if pace:
                due += 1 / pace
                time.sleep(max(0.0, due - time.perf_counter()))
            self._put(chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        self._put(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if usage and (request.body.get("stream_options") or {}).get("include_usage"):
            self._put(chunk | {"choices": [], "usage": usage})
        if rule.done:
            self._write("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        return True

    def _put(self, value: dict[str, Any]) -> None:
        self._write(f"data: {json.dumps(value)}\n\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, item in (headers or {}).items():
            self.send_header(name, item)
        self.end_headers()
        self.wfile.write(data)


def _prompt(body: dict[str, Any]) -> str:
    lines = [f"model: {body.get('model')}"]
    for message in body.get("messages", []):
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "\n".join(part.get("text", "") for part in content)
        lines.append(f"{message.get('role')}: {content}")
        for call in message.get("tool_calls") or []:
            made = call["function"]
            lines.append(f"{message.get('role')} calls {made['name']}({made['arguments']})")
    return "\n".join(lines)


def _call(id: str, name: str, arguments: Any) -> dict[str, Any]:
    """A call as OpenAI writes it. Arguments that are a text are sent as they are."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def _deltas(
    text: str, calls: list[dict[str, Any]], words: re.Pattern[str] = PIECE
) -> Iterator[dict[str, Any]]:
    """Pieces of a stream: words, then each call's name and the words of its arguments."""
    for piece in words.findall(text):
        yield {"content": piece}
    for index, call in enumerate(calls):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]}
        for piece in words.findall(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _counted(request: Request, deltas: list[Any]) -> dict[str, Any]:
    asked = len(PIECE.findall(request.prompt))
    return {"prompt_tokens": asked, "completion_tokens": len(deltas), "total_tokens": asked + len(deltas)}


def _head(request: Request, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-desk", "object": kind, "created": 0, "model": request.model}
