"""Tools as models are told of them, and the calls that models stream in pieces."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from memory.calls.reply import ToolCall
from memory.validation import read_json, valid_text

ToolDefinition = dict[str, Any]
"""A tool in OpenAI's format, which `bind_tools` accepts: `{"type": "function", "function": {...}}`."""

ID_LENGTH = 9
"""Characters of an id that we make. Mistral accepts no other length."""


def define_tool(name: str, arguments: type[BaseModel]) -> ToolDefinition:
    """Return the definition of a tool. The docstring of `arguments` describes it to the model."""
    definition: ToolDefinition = convert_to_openai_tool(arguments)
    return {**definition, "function": {**definition["function"], "name": name}}


def tool_name(definition: ToolDefinition) -> str:
    """Return the name by which a model calls a tool."""
    return str(definition["function"]["name"])


def read_call(name: str, text: str) -> ToolCall:
    """Return a call without an id. Its arguments are unread if `text` is no JSON object."""
    arguments = read_arguments(text)
    return ToolCall("", name, arguments or {}, unread=valid_text(text) if arguments is None else None)


def read_arguments(text: str) -> dict[str, Any] | None:
    """Return the JSON object in `text`, an empty one for an empty text, and None if it holds another value.

    LangChain completes an object that was cut off. A command or a file that was cut off must not be used.
    """
    try:
        value = _loads(text) if text.strip() else {}
        if isinstance(value, str):  # some servers encode the object twice
            value = _loads(value)
        return value if isinstance(value, dict) else {} if value is None else None
    except ValueError:
        return None


def _loads(text: str) -> Any:
    # Models write line breaks into strings, which strict JSON forbids.
    return valid_json(read_json(text, strict=False))


def valid_json(value: Any) -> Any:
    """Return a JSON value whose texts are valid Unicode."""
    return json.loads(valid_text(json.dumps(value, ensure_ascii=False)))


def with_ids(calls: Sequence[ToolCall], place: str) -> tuple[ToolCall, ...]:
    """Give an id to the calls without one of their own. The same `place` gives the same ids.

    Ids are part of later prompts, and a prompt that changes from run to run is paid for again.
    """
    taken: set[str] = set()
    named = []
    for number, call in enumerate(calls):
        if not call.id or call.id in taken:
            made = hashlib.sha256(f"{place} {number}".encode()).hexdigest()[:ID_LENGTH]
            call = replace(call, id=made)
        taken.add(call.id)
        named.append(call)
    return tuple(named)


@dataclass(frozen=True)
class CallPiece:
    """A piece of a call. `index` counts the calls of a reply. Id and name come with the first piece alone."""

    index: int | None
    id: str
    name: str
    arguments: str

    @classmethod
    def of(cls, index: Any, id: Any, name: Any, arguments: Any) -> "CallPiece":
        """Read a piece as servers send it. Arguments may be an object instead of its text."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
        return cls(index if isinstance(index, int) else None, str(id or ""), str(name or ""), text)


@dataclass
class _PartialCall:
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    size: int = 0
    closed: bool = False  # whether the arguments so far end like an object: parsing them would be quadratic

    def add(self, piece: CallPiece) -> None:
        self.id, self.name = self.id or piece.id, self.name or piece.name
        self.pieces.append(piece.arguments)
        self.size += len(piece.arguments)
        if piece.arguments.strip():
            self.closed = piece.arguments.rstrip().endswith("}")

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    def is_repeated(self, piece: CallPiece) -> bool:
        """Return whether a server sends the whole call once more at the end of its stream."""
        whole = piece.id and piece.id == self.id and self.closed and self.size == len(piece.arguments)
        return bool(whole) and self.arguments == piece.arguments

    def is_continued(self, piece: CallPiece) -> bool:
        """Return whether a piece with this call's number belongs to it."""
        if piece.id and self.id and piece.id != self.id:
            return False
        if not piece.name or not self.name:
            return True
        if piece.name != self.name or (piece.index is None and not piece.id):
            return False
        return not (self.closed and piece.arguments.lstrip().startswith("{"))


@dataclass
class CallPieces:
    """The tool calls of one reply while it streams.

    OpenAI numbers parallel calls, and sends id and name with the first piece alone. Other servers leave out
    numbers or ids, number every call 0, repeat names and ids, or send each call whole.
    """

    _calls: list[_PartialCall] = field(default_factory=list)
    _by_index: dict[int | None, int] = field(default_factory=dict)

    def add(self, piece: CallPiece) -> CallPiece | None:
        """Add a piece. Return it as OpenAI would send it, None if it only repeats a call."""
        number = self._by_index.get(piece.index)
        call = None if number is None else self._calls[number]
        if call and call.is_repeated(piece):
            return None
        first = call is None or not call.is_continued(piece)
        if call is None or number is None or first:
            number, call = len(self._calls), _PartialCall(piece.id, piece.name)
            self._calls.append(call)
        # A piece without a number continues the last call.
        self._by_index[piece.index] = self._by_index[None] = number
        call.add(piece)
        return replace(piece, index=number) if first else CallPiece(number, "", "", piece.arguments)

    def calls(self, cut: bool = False) -> list[ToolCall]:
        """Return the calls, some without an id. `cut` says that the last one may not be whole."""
        read = [
            replace(read_call(clean_name(call.name), call.arguments), id=valid_text(call.id))
            for call in self._calls
        ]
        if cut and read and not self._calls[-1].size:
            read[-1] = replace(read[-1], unread="")  # not a call without arguments: they never came
        return read


def clean_name(name: str) -> str:
    """Return the name of a tool in the characters that every provider takes back in a prompt."""
    return re.sub(r"[^\w-]", "_", name.strip().removeprefix("functions."), flags=re.ASCII)[:64] or "unknown"
