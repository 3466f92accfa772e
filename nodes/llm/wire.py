"""Event streams of servers that speak OpenAI's protocol loosely, made regular for the client library."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx

from memory.validation import check_length
from nodes.llm.bodies import BoundedBody, InflatedBody
from nodes.llm.provider_errors import ProviderError, StreamedError
from nodes.llm.tool_calls import CallPiece, CallPieces
from nodes.llm.usage import TokenCounts, total

UNKNOWN_END = "unknown"
"""The `finish_reason` of a reply whose server sends none."""

ERROR_BYTES = 100_000
"""Bytes of an error's body that are read."""

FRAME_BYTES, SPARE_BYTES = 2_000, 2_000_000
"""The most bytes of a stream: so many for each token of the output limit, and so many besides."""

DEFAULT_OUTPUT = 8192

THOUGHTS: ContextVar[list[str]] = ContextVar("thoughts")
"""Receives the pieces of `reasoning_content`, which ChatOpenAI drops. Some servers demand it back."""


async def regularize(response: httpx.Response) -> None:
    """Put a regular event stream in the place of a chat completion's body. A response hook of httpx."""
    is_error = response.status_code >= 400
    if not (is_error or _is_chat(response.request)):
        return
    # httpx would unpack a piece as a whole, and a few bytes may stand for gigabytes.
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        response.stream = InflatedBody(_stream_of(response))
    elif encoding not in ("identity", "") and not is_error:
        raise ProviderError(f"the server sent {encoding[:40]}, though it was asked for identity", retries=0)
    stream = _stream_of(response)
    response.stream = BoundedBody(stream, ERROR_BYTES) if is_error else _RegularStream(response)


def _is_chat(request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path.endswith("/chat/completions")


def _stream_of(response: httpx.Response) -> httpx.AsyncByteStream:
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("the hook is for asynchronous clients")
    return response.stream


class _RegularStream(httpx.AsyncByteStream):
    """A reply as an event stream with one choice, one finish_reason, one usage and `[DONE]`.

    Raises ProviderError if the server breaks off or does not stop, and StreamedError for an error in a body
    whose status says that all is well.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._raw = _stream_of(response)
        request = json.loads(response.request.content)
        self._tokens = int(
            request.get("max_tokens") or request.get("max_completion_tokens") or DEFAULT_OUTPUT
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reply = _LooseReply(self._response, thoughts=THOUGHTS.get([]))
        try:
            async for value in self._values():
                if chunk := reply.read(value):
                    yield _event(chunk)
                    await asyncio.sleep(0)  # thousands may come at once, and LangChain takes long for each
                if reply.done:
                    break
        except httpx.TransportError:
            if not reply.finish:  # after the end of the answer nothing of it can be lost
                raise
        for chunk in reply.end():
            yield _event(chunk)
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        await self._raw.aclose()

    async def _values(self) -> AsyncIterator[Any]:
        """Yield the JSON values of the body, and `[DONE]`. The body may be one value instead of a stream."""
        lines = _lines(self._bounded())
        data: list[bytes] = []
        async for line in lines:
            if line.lstrip().startswith((b"{", b"[", b"<")) and not data:
                rest = [line]
                async for more in lines:  # one value over several lines, or an error without its field
                    rest.append(more)
                yield self._body(b"\n".join(rest))
                yield "[DONE]"
                return
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"error" and value.strip():  # llama.cpp sends errors in a field of their own
                yield {"error": _parsed(value) or value.decode(errors="replace")}
            elif not line:
                for value in _joined(data):
                    yield value
                data = []
        for value in _joined(data):
            yield value

    def _body(self, text: bytes) -> Any:
        """Return the value of a body that is no event stream."""
        value = _parsed(text)
        if isinstance(value, list) and value:
            value = value[0]  # Google's servers put an error into a list
        if value is not None:
            return value
        if not text.lstrip().startswith(b"<"):
            raise ProviderError("the server's reply is no whole JSON: it broke off")
        raise ProviderError(
            f"{self._response.request.url} answered with a web page instead of a chat completion; check that "
            "it is the address of a server of OpenAI's protocol",
            retries=0,
        )

    async def _bounded(self) -> AsyncIterator[bytes]:
        most, size = SPARE_BYTES + FRAME_BYTES * self._tokens, 0
        async for data in self._raw:
            size += len(data)
            if size > most:
                raise ProviderError(
                    f"the server does not stop: it sent over {most / 1e6:.0f} MB for a reply of at most "
                    f"{self._tokens} tokens",
                    retries=1,
                )
            yield data


async def _lines(raw: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body, which may end with CR, LF or both."""
    parts: list[bytes] = []
    async for data in raw:
        parts.append(data)
        if b"\n" not in data and b"\r" not in data:
            continue
        *whole, rest = b"".join(parts).splitlines(keepends=True)
        if rest.endswith(b"\n"):
            whole, rest = [*whole, rest], b""
        for line in whole:
            yield line.rstrip(b"\r\n")
        parts = [rest]  # a CR at the end stays, because its LF may come next
    if rest := b"".join(parts):
        yield rest.rstrip(b"\r\n")


def _joined(data: list[bytes]) -> Iterator[Any]:
    """Yield the value of one event. Servers that forget the blank lines send several events as one."""
    if not data:
        return
    whole = _parsed(b"\n".join(data))
    for value in [whole] if whole is not None else map(_parsed, data):
        if value is None:
            raise ProviderError("the stream broke off in the middle of an event")
        yield value


def _parsed(text: bytes) -> Any:
    """Return the JSON value, `[DONE]` as it is, None if it is neither."""
    if text.strip() == b"[DONE]":
        return "[DONE]"
    try:
        check_length(text.decode(errors="replace"))
        return json.loads(text)
    except (ValueError, RecursionError):  # also if it is too long, or nested too deeply
        return None


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@dataclass
class _LooseReply:
    """The state of one reply while its chunks arrive."""

    response: httpx.Response
    done: bool = False
    finish: str = ""
    answered: bool = False
    model: str = ""
    reports: list[TokenCounts] = field(default_factory=list)
    calls: CallPieces = field(default_factory=CallPieces)
    thoughts: list[str] = field(default_factory=list)

    def read(self, value: Any) -> dict[str, Any] | None:
        """Return a regular chunk for one value of the stream, None if it adds nothing to the answer."""
        if value == "[DONE]":
            self.done = True
            return None
        if not isinstance(value, dict):
            raise ProviderError("the server sent something else than chunks of a chat completion")
        if error := _error_of(value):
            raise StreamedError(error, self.response)
        self.model = str(value.get("model") or self.model)
        groq = value.get("x_groq")
        for usage in (value.get("usage"), groq.get("usage") if isinstance(groq, dict) else None):
            if counts := TokenCounts.of(usage):
                self.reports.append(counts)
        choices = value.get("choices")
        choice = next((each for each in _dicts(choices) if not each.get("index")), None)
        return self._read_choice(choice) if choice else None

    def end(self) -> Iterator[dict[str, Any]]:
        """Yield the last chunks. Raises ProviderError for a reply that is not whole."""
        usage = total(self.reports)
        if not (self.done or self.finish or usage):
            raise ProviderError("the stream broke off")
        if not self.answered:
            raise ProviderError("the server sent no answer: `choices` was empty")
        yield self._chunk([{"index": 0, "delta": {}, "finish_reason": self.finish or UNKNOWN_END}])
        if usage:
            counts = {"prompt_tokens": usage.input or 0, "completion_tokens": usage.output or 0}
            details = {"cached_tokens": usage.cached, "cache_write_tokens": usage.written}
            totals = {"total_tokens": sum(counts.values()), "prompt_tokens_details": details}
            yield self._chunk([]) | {"usage": counts | totals}

    def _read_choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        self.answered = True
        self.finish = str(choice.get("finish_reason") or self.finish)
        delta = next((part for key in ("delta", "message") if isinstance(part := choice.get(key), dict)), {})
        text = _text(delta.get("content")) or _text(delta.get("refusal")) or _text(choice.get("text"))
        self.thoughts.append(_text(delta.get("reasoning_content")))
        pieces = [self.calls.add(piece) for piece in _call_pieces(delta)]
        calls = [_tool_call(piece) for piece in pieces if piece]
        if not text and not calls:
            return None
        content = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
        return self._chunk([{"index": 0, "delta": content, "finish_reason": None}])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": "chatcmpl", "object": "chat.completion.chunk", "created": 0, "model": self.model}
        return {**head, "choices": choices}


def _error_of(value: dict[str, Any]) -> dict[str, Any] | None:
    """Return the error in a body or chunk, in the shape of OpenAI's protocol, None if there is none."""
    error = value.get("error")
    if isinstance(error, dict):
        return error
    if error:
        return {"message": str(error), "code": value.get("code") or value.get("status")}
    if not value.get("choices") and (value.get("object") == "error" or "detail" in value):
        return value if "message" in value else {"message": str(value.get("detail")), "code": None}
    return None


def _text(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    parts = [content] if isinstance(content, str) else [part.get("text") for part in _dicts(content)]
    return "".join(part for part in parts if isinstance(part, str))


def _call_pieces(delta: dict[str, Any]) -> Iterator[CallPiece]:
    """Yield the pieces of tool calls in a delta or a whole message."""
    calls = _dicts(delta.get("tool_calls"))
    if isinstance(old := delta.get("function_call"), dict):  # OpenAI's form before there were several calls
        calls.append({"index": 0, "function": old})
    whole = [call for call in calls if isinstance(call.get("function"), dict)]
    for call in whole:
        function = call["function"]
        yield CallPiece.of(call.get("index"), call.get("id"), function.get("name"), function.get("arguments"))


def _tool_call(piece: CallPiece) -> dict[str, Any]:
    texts = {"name": piece.name or None, "arguments": piece.arguments}
    return {"index": piece.index, "id": piece.id or None, "type": "function", "function": texts}


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
