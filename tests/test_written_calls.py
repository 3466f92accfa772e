"""Tool calls that models write as text, and texts that only look like them."""

import json
import time
from typing import Any

import pytest
from pydantic import BaseModel

from memory.calls.reply import ToolCall
from nodes.llm.tool_calls import define_tool
from nodes.llm.written_calls import written_calls


class Execute(BaseModel):
    """Run a command."""

    command: str


class Edit(BaseModel):
    """Edit a file."""

    file_path: str
    old_string: str
    limit: int | None = None
    replace_all: bool = False


TOOLS = [define_tool("execute", Execute), define_tool("edit_file", Edit)]
LS = {"name": "execute", "arguments": {"command": "ls"}}
JSON = json.dumps(LS)
LLAMA = json.dumps({"name": "execute", "parameters": {"command": "ls"}})
QWEN = "<function=execute>\n<parameter=command>\nls\n</parameter>\n</function>"
INVOKE = '<invoke name="execute">\n<parameter name="command">ls</parameter>\n</invoke>'
DSML = (
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="execute">\n'  # noqa: RUF001  # DeepSeek's own characters
    '<｜DSML｜parameter name="command" string="true">ls</｜DSML｜parameter>\n'  # noqa: RUF001
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>"  # noqa: RUF001
)
DEEPSEEK = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>execute\n"  # noqa: RUF001
    '```json\n{"command": "ls"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'  # noqa: RUF001
)
DEEPSEEK_3_1 = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>execute<｜tool▁sep｜>"  # noqa: RUF001
    '{"command": "ls"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'  # noqa: RUF001
)
KIMI = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.execute:0<|tool_call_argument_begin|>"
    '{"command": "ls"}<|tool_call_end|><|tool_calls_section_end|>'
)


def made(text: str) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in written_calls(text, TOOLS)[1]]


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{JSON}\n</tool_call>",
        f"<tool_call>{JSON}</tool_call>",
        f"<tool_call>\n{JSON}",  # the end tag is the model's stop token
        f"<tool_call>\n{JSON}\n</tool_call><|im_end|>",
        f"<tool_calls><tool_call>{LLAMA}</tool_call></tool_calls>",
        f"<tool_call>\n{QWEN}\n</tool_call>",
        QWEN,
        '<function=execute>{"command": "ls"}</function>',
        "<tool_call>execute\n<arg_key>command</arg_key>\n<arg_value>ls</arg_value>\n</tool_call>",
        f"[TOOL_CALLS][{JSON}]",
        f"[TOOL_CALLS] [{JSON}]</s>",
        '[TOOL_CALLS]execute[ARGS]{"command": "ls"}',
        '[TOOL_CALLS]execute{"command": "ls"}',
        f"<|python_tag|>{LLAMA}<|eom_id|>",
        f"<function_calls>\n{INVOKE}\n</function_calls>",
        f"<minimax:tool_call>\n{INVOKE}\n</minimax:tool_call>",
        INVOKE,
        DSML,
        DEEPSEEK,
        DEEPSEEK_3_1,
        KIMI,
        LLAMA,
        f"```json\n{json.dumps(LS, indent=2)}\n```",
        f"```\n{JSON}\n```",
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "I look first.\n\n"])
def test_each_known_format_is_read(text: str, before: str) -> None:
    rest, calls = written_calls(before + text, TOOLS)
    assert calls == (ToolCall("", "execute", {"command": "ls"}),)
    assert rest == before.strip()


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        (f"<tool_call>{JSON}</tool_call>\n<tool_call>{LLAMA}</tool_call>", 2),
        (f"<tool_call>\n{JSON}\n{JSON}\n</tool_call>", 2),
        (f"<|python_tag|>{LLAMA}; {LLAMA}; {LLAMA}", 3),
        (f"[TOOL_CALLS][{JSON}, {JSON}]", 2),
        (f"<function_calls>{INVOKE}\n{INVOKE}</function_calls>", 2),
        (f"{QWEN}\n{QWEN}", 2),
        (KIMI.replace("<|tool_calls_section_end|>", "") + KIMI, 2),
    ],
)
def test_several_calls_are_read(text: str, commands: int) -> None:
    assert made(text) == [("execute", {"command": "ls"})] * commands
    assert written_calls(text, TOOLS)[0] == ""


EXAMPLE = f"You would write\n```\n<tool_call>{JSON}</tool_call>\n```\nand get the files."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The tool `execute` runs a command.",
        EXAMPLE,
        EXAMPLE + f"\n~~~~json\n{JSON}\n~~~~\nis another way.",
        f"A model writes `<tool_call>{JSON}</tool_call>` there.",
        f"I could write <tool_call>{JSON}</tool_call> here, but I do not.",
        f"Then {QWEN} would list them, but no.",
        f"First:\n{QWEN}\nThat would be a call.",
        f"{LLAMA}\nwould be a call.",
        f"like {LLAMA}",
        f"```python\n{JSON}\n```",
        f"```json\n{JSON}\n```\nThat is the format.",
        f"```json\n[{JSON}, {JSON}]\n```",
        '{"name": "execute"}',
        '{"name": "execute", "arguments": {"path": "x"}}',
        '{"name": "execute", "arguments": {"command": "ls", "more": 1}}',
        '{"name": "delete", "arguments": {"command": "ls"}}',
        '{"verdict": "PASS", "name": "execute", "arguments": {"command": "ls"}}',
        '<invoke name="delete"><parameter name="command">ls</parameter></invoke>',
        "<function=delete>{}</function>",
        "<function=execute> is the tag of a call",
        "Use <tool_call> and </tool_call>.",
        "<tool_call>\n<function=execute>\n<parameter=command>\nls -l",  # cut off
    ],
)
def test_an_example_or_another_json_is_no_call(text: str) -> None:
    assert written_calls(text, TOOLS) == (text, ())


def test_values_get_the_types_of_their_tool_and_texts_stay_as_they_are() -> None:
    old = 'def f():\n    """</parameter> ends."""\n\n```python\nx\n'
    values = {"file_path": "12", "old_string": old, "limit": "3", "replace_all": "True"}
    qwen = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
    claude = "".join(f'<parameter name="{name}">{value}</parameter>' for name, value in values.items())
    for text in (f"<function=edit_file>\n{qwen}</function>", f'<invoke name="edit_file">{claude}</invoke>'):
        ((name, arguments),) = made(text)
        assert name == "edit_file"
        assert arguments == {"file_path": "12", "old_string": old, "limit": 3, "replace_all": True}


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "execute", "arguments": {"command": "echo "hi""}}\n</tool_call>',
        '<tool_call>\n{"name": "execute", "arguments": {"command": "ls',
        '[TOOL_CALLS]execute[ARGS]{"command": ls}',
    ],
)
def test_a_call_whose_json_is_broken_is_handed_on_as_it_is(text: str) -> None:
    (call,) = written_calls(text, TOOLS)[1]
    assert call.name == "execute" and call.arguments == {} and '"command": ' in (call.unread or "")


@pytest.mark.parametrize(
    "piece",
    [
        "<tool_call>", "<tool_call>{", '<tool_call>{"name": "', "<function=execute><parameter=command>",
        "<function=execute>", INVOKE[:50], INVOKE, QWEN, "[TOOL_CALLS][", "<|python_tag|>{}", "\n{", ";", " ",
        "</tool_call>", "<tool_call>execute<arg_key>command</arg_key><arg_value>", DEEPSEEK, JSON, "```\n",
        "<tool_call>" + JSON, "`", "\n" + LLAMA + "\n", "</parameter> ", '{"a":', "[[", KIMI, "~~~~\n```\n",
    ],
)  # fmt: skip
def test_hostile_sizes_take_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        text = "I look.\n" + piece * (size // len(piece)) + "."
        began = time.process_time()
        written_calls(text, TOOLS)
        return time.process_time() - began

    assert seconds(2_000_000) < max(16 * seconds(250_000), 2.0)


def test_a_marked_call_of_a_tool_that_is_not_there_is_one_that_can_be_answered() -> None:
    rest, (call,) = written_calls('<tool_call>{"name": "delete", "arguments": {}}</tool_call>', TOOLS)
    assert (rest, call.name, call.arguments) == ("", "delete", {})
