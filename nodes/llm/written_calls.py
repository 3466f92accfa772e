"""Tool calls that a model wrote as text, because its server does not read them out of the reply.

Only a call in the tokens of a known format counts, or one that ends the reply. A fenced block is content,
except for a last one that holds exactly one call. A call that is not whole ends the reading, so that the time
is linear.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from memory.calls.reply import ToolCall
from nodes.llm.tool_calls import ToolDefinition, clean_name, read_call, tool_name

_WORD, _GAP = r"[\w.-]{1,64}", r"[ \t\r\n]{0,40}"
_SEPARATOR = r"<\uff5ctool\u2581sep\uff5c>"
_SPACE = r"(?:antml:|\uff5cDSML\uff5c)?"  # the namespace of an element

# A call in backticks is named, not made.
_OPENER = re.compile(
    rf"^[ \t]{{0,16}}(?P<fence>`{{3,}}|~{{3,}})|(?<!`)(?P<call><tool_call>|<function=|<{_SPACE}invoke name="
    r"|\[TOOL_CALLS\]|<\|python_tag\|>|<\uff5ctool\u2581call\u2581begin\uff5c>|<\|tool_call_begin\|>)",
    re.MULTILINE,
)
_FRAME = (
    r"(?:</?(?:antml:|minimax:|\uff5cDSML\uff5c)?(?:tool_calls?|function_calls)>|</function>|;"
    r"|<\uff5ctool\u2581(?:calls\u2581begin|call\u2581end|calls\u2581end)\uff5c>|<\|tool_call(?:s_section_begin|_end|s_section_end)\|>"
    r"|<\|(?:im_end|eot_id|eom_id|end)\|>|</s>|<\uff5cend\u2581of\u2581sentence\uff5c>|\[/TOOL_CALLS\])"
)
_FRAMES = re.compile(rf"(?:{_GAP}{_FRAME})*{_GAP}")
_CALL_END = re.compile(rf"{_FRAME}|\Z")
_WRAPPER = re.compile(
    r"<[\w:\uff5c\u2581|]{0,40}(?:tool_calls?|function_calls|tool\u2581calls\u2581begin|_begin)[\uff5c|]{0,1}>\s*\Z"
)


class _Markup(NamedTuple):
    """A format with an element for each argument."""

    head: re.Pattern[str]
    argument: re.Pattern[str]
    argument_end: re.Pattern[str]
    end: re.Pattern[str]

    @classmethod
    def of(cls, head: str, argument: str, argument_end: str, end: str) -> "_Markup":
        """Compile the patterns of a format. `NAME` stands for the name of the tool or of the argument."""
        # An argument may hold its own end tag. It ends where another one or the end of the call follows.
        follows = rf"{_GAP}(?={argument.replace('NAME', _WORD)}|{end}|\Z)"
        parts = (head, rf"{_GAP}{argument}", argument_end + follows, rf"{_GAP}(?:{end}|\Z)")
        return cls(*(re.compile(part.replace("NAME", f"({_WORD})")) for part in parts))


_MARKUPS = (
    # Qwen's coders
    _Markup.of(
        rf"<function=NAME>(?={_GAP}<(?:parameter=|/function>))",
        "<parameter=NAME>",
        "</parameter>",
        "</function>",
    ),
    # Claude, MiniMax, and DeepSeek since 3.2
    _Markup.of(
        rf'<{_SPACE}invoke name="NAME"[^>\n]{{0,40}}>(?={_GAP}</?{_SPACE}(?:parameter |invoke>))',
        rf'<{_SPACE}parameter name="NAME"[^>\n]{{0,60}}>',
        rf"</{_SPACE}parameter>",
        rf"</{_SPACE}invoke>",
    ),
    # GLM
    _Markup.of(
        rf"<tool_call>{_GAP}NAME{_GAP}(?=<arg_key>|</tool_call>)",
        rf"<arg_key>NAME</arg_key>{_GAP}<arg_value>",
        "</arg_value>",
        "</tool_call>",
    ),
)
_NAMED = tuple(
    re.compile(rf"{head}{_GAP}(?=\{{)".replace("NAME", f"({_WORD})"))
    for head in (
        rf"\[TOOL_CALLS\]{_GAP}NAME(?:\[CALL_ID\]\w{{1,40}})?(?:\[ARGS\])?",  # Mistral
        r"<function=NAME>",  # Llama
        # DeepSeek
        rf"<\uff5ctool\u2581call\u2581begin\uff5c>(?:function{_SEPARATOR})?NAME(?:{_SEPARATOR})?{_GAP}(?:```json)?",
        rf"<\|tool_call_begin\|>{_GAP}NAME(?::\d{{1,6}})?{_GAP}<\|tool_call_argument_begin\|>",  # Kimi
    )
)
"""Tokens with a name, before an object of arguments."""

_UNNAMED = re.compile(rf"(?:<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>){_GAP}(?=[{{\[])")
"""Tokens of Hermes, Mistral and Llama, before an object with name and arguments, or a list of them."""

_BETWEEN, _FENCE_END = re.compile(rf"{_GAP};?{_GAP}"), re.compile(rf"{_GAP}```")
_BROKEN_NAME = re.compile(rf'\s{{0,40}}[{{\[]{{1,2}}\s{{0,40}}"name"\s{{0,9}}:\s{{0,9}}"({_WORD})"')


@dataclass(frozen=True)
class _Calls:
    """Calls from `start` to `end`. If they are not `marked` by special tokens, they must end the reply."""

    start: int
    end: int
    calls: tuple[ToolCall, ...]
    marked: bool
    whole: bool = True


def written_calls(text: str, tools: Sequence[ToolDefinition]) -> tuple[str, tuple[ToolCall, ...]]:
    """Return the rest of the text, and the calls of the given tools. They have no ids."""
    reader = _CallReader(text.rstrip(), {tool_name(tool): tool["function"]["parameters"] for tool in tools})
    reader.read()
    found = reader.accepted() or reader.last_json()
    rest, position = [], 0
    for each in found:
        rest.append(_unwrapped(reader.text[position : each.start]))
        position = reader.after(each)
    rest.append(reader.text[position:])
    calls = tuple(call for each in found for call in each.calls)
    return ("\n".join(filter(None, (part.strip() for part in rest))) if found else text), calls


def _unwrapped(text: str) -> str:
    """Remove the tokens that open a group of calls from the end of the text before them."""
    for _ in range(3):
        tail = text[-100:]
        text = text[: len(text) - len(tail)] + _WRAPPER.sub("", tail)
    return text


@dataclass
class _CallReader:
    text: str
    tools: Mapping[str, Mapping[str, Any]]
    found: list[_Calls] = field(default_factory=list)
    block: tuple[int, int, int] = (0, 0, -1)  # start and end of the last fenced block's content, and its end

    def read(self) -> None:
        """Collect calls from the whole text, outside of fenced blocks."""
        position = 0
        while opener := _OPENER.search(self.text, position):
            if mark := opener["fence"]:
                close = re.compile(rf"^[ \t]{{0,16}}{mark[0]}{{{len(mark)},}}[ \t]*$", re.MULTILINE)
                end = close.search(self.text, opener.end())
                if end is None:
                    return
                self.block = (opener.start(), end.start(), end.end())
                position = end.end()
                continue
            calls = self._calls_at(opener.start())
            position = opener.end()
            if calls:
                self.found.append(calls)
                position = max(position, calls.end)
                if not calls.whole:
                    return

    def after(self, calls: _Calls) -> int:
        """Return the end of calls and of the tokens behind them."""
        frames = _FRAMES.match(self.text, calls.end)
        return frames.end() if frames else calls.end

    def accepted(self) -> list[_Calls]:
        """Return the calls that are no examples in prose."""
        kept: list[_Calls] = []
        tail = len(self.text)
        for each in reversed(self.found):
            reach = self.after(each)
            alone = "\n" in self.text[each.end : reach]
            if each.calls and (reach >= tail or (each.marked and alone)):
                kept.append(each)
                tail = each.start
        return kept[::-1]

    def last_json(self) -> list[_Calls]:
        """Return the one call that ends the reply as an object, in a fenced block or bare."""
        start, stop, end = self.block
        if end == len(self.text):
            info, _, body = self.text[start:stop].partition("\n")
            if info.strip("`~ \t\r").lower() not in ("", "json", "tool_call"):
                return []
        else:
            frames = re.search(rf"(?:{_FRAME}){_GAP}\Z", self.text[-60:])
            end = len(self.text) - (len(frames[0]) if frames else 0)
            start = 0 if self.text.startswith("{") else self.text.rfind("\n{") + 1
            body = self.text[start:end]
            if not body.startswith("{") or start < self.block[2]:
                return []
        value = _decoded(body.strip(), 0)
        if value is None or value[1] != len(body.strip()) or not self._is_exact(value[0]):
            return []
        call = self._call_of(value[0])
        return [_Calls(start, len(self.text), (call,), marked=False)] if call else []

    def _calls_at(self, start: int) -> _Calls | None:
        """Return the calls whose tokens stand at a position, None if they are prose."""
        before = self.text[max(0, start - 60) : start]
        for markup in _MARKUPS:
            if (head := markup.head.match(self.text, start)) and clean_name(head[1]) in self.tools:
                marked = (
                    bool(_WRAPPER.search(before)) or "\uff5c" in head[0] or head[0].startswith("<tool_call>")
                )
                return self._marked_up(markup, head, marked)
        for pattern in _NAMED:
            if (head := pattern.match(self.text, start)) and clean_name(head[1]) in self.tools:
                marked = not head[0].startswith("<function=")
                return self._with_object(clean_name(head[1]), head, marked)
        head = _UNNAMED.match(self.text, start)
        return self._with_values(head) if head else None

    def _marked_up(self, markup: _Markup, head: re.Match[str], marked: bool) -> _Calls:
        name, position = clean_name(head[1]), head.end()
        schema = self.tools[name].get("properties", {})
        values: dict[str, Any] = {}
        while argument := markup.argument.match(self.text, position):
            end = markup.argument_end.search(self.text, argument.end())
            if end is None:
                return _Calls(head.start(), len(self.text), (), marked, whole=False)
            values[argument[1]] = _value(self.text[argument.end() : end.start()], schema.get(argument[1], {}))
            position = end.end()
        end = markup.end.match(self.text, position)
        if end is None:
            return _Calls(head.start(), len(self.text), (), marked, whole=False)
        return _Calls(head.start(), end.end(), (ToolCall("", name, values),), marked)

    def _with_object(self, name: str, head: re.Match[str], marked: bool) -> _Calls:
        value = _decoded(self.text, head.end())
        if value is None:
            return self._broken(name, head, marked)
        call, end = read_call(name, self.text[head.end() : value[1]]), value[1]
        if "```" in head[0] and (fence := _FENCE_END.match(self.text, end)):
            end = fence.end()
        return _Calls(head.start(), end, (call,), marked)

    def _with_values(self, head: re.Match[str]) -> _Calls | None:
        """Read one value after another. Llama separates them by semicolons, others by line breaks."""
        calls: list[ToolCall] = []
        end = position = head.end()
        while self.text[position : position + 1] in ("{", "["):
            value = _decoded(self.text, position)
            if value is None:
                name = _BROKEN_NAME.match(self.text, position)
                known = name and name[1] in self.tools
                broken = self._broken(name[1] if name and known else "", head, marked=True)
                return _Calls(head.start(), broken.end, (*calls, *broken.calls), True, whole=False)
            items, end = value
            for item in items if isinstance(items, list) else [items]:
                if call := self._call_of(item, any_name=head[0].startswith("<tool_call>")):
                    calls.append(call)
            between = _BETWEEN.match(self.text, end)
            position = between.end() if between else end
        return _Calls(head.start(), end, tuple(calls), marked=True)

    def _broken(self, name: str, head: re.Match[str], marked: bool) -> _Calls:
        """Return a call whose arguments are no JSON, so that the model is told."""
        end = _CALL_END.search(self.text, head.end())
        stop = end.start() if end else len(self.text)
        calls = (read_call(name, self.text[head.end() : stop]),) if name else ()
        return _Calls(head.start(), stop, calls, marked, whole=False)

    def _call_of(self, value: Any, any_name: bool = False) -> ToolCall | None:
        """Return the call in an object with name and arguments, also of a tool that is not there."""
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            return None
        name = clean_name(value["name"])
        arguments = value.get("arguments", value.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        return read_call(name, text) if name in self.tools or any_name else None

    def _is_exact(self, value: Any) -> bool:
        """Return whether an object is a call and nothing else, with arguments that its tool has."""
        if not isinstance(value, dict) or value.keys() - {"type", "id", "name", "arguments", "parameters"}:
            return False
        arguments = value.get("arguments", value.get("parameters"))
        schema = self.tools.get(str(value.get("name")))
        if schema is None or not isinstance(arguments, dict):
            return False
        required, known = set(schema.get("required", ())), set(schema.get("properties", {}))
        return required <= arguments.keys() <= known


def _decoded(text: str, position: int) -> tuple[Any, int] | None:
    """Return the JSON value at a position, and where it ends. None if there is none."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, position)
    except (ValueError, RecursionError):
        return None


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """Return an argument in the type of its schema. A text is kept, but for the line breaks of its tags."""
    if text.startswith("\n"):
        text = text[1:].removesuffix("\n")
    kinds = {schema.get("type"), *(option.get("type") for option in schema.get("anyOf", ()))}
    if "string" in kinds or kinds == {None}:
        return text
    word = text.strip()
    value = _decoded({"True": "true", "False": "false", "None": "null"}.get(word, word), 0)
    return value[0] if value and value[1] == len(word) else text
