"""Tool calls: asked for, streamed, stored, replayed and priced, or refused by a model that makes none."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from desk import KEY, Desk
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel
from test_model_servers import SSE, STOP, chunk, message, sse

from memory.calls.budget import BudgetSpent
from memory.calls.reply import ToolCall
from memory.records.journal import Journal
from nodes.events import Event
from nodes.llm.answer import MOST_CALLS
from nodes.llm.call import Call, Reply
from nodes.llm.cassette import Exchange, ReplayModel
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.models import Models, open_models
from nodes.llm.prices import price_of
from nodes.llm.prompt import Prompt
from nodes.llm.provider_errors import ToolsRefused
from nodes.llm.tool_calls import define_tool
from nodes.llm.usage import TokenCounts, checked
from nodes.state import Options


class Execute(BaseModel):
    """Run a command."""

    command: str
    timeout: int = 60


class Read(BaseModel):
    """Read a file."""

    file_path: str


TOOLS = [define_tool("execute", Execute), define_tool("read_file", Read)]
ASKED: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage("Hello")]
LS = ("execute", {"command": "ls"})


@pytest.fixture
def settings(desk: Desk) -> ModelSettings:
    return ModelSettings(
        mode="local",
        agents={"coder": "m"},
        local_url=desk.url,
        local_model="m",
        retry_seconds=0.01,
        max_retries=1,
    )


async def ask(
    models: Models,
    messages: Sequence[BaseMessage] = ASKED,
    tools: Sequence[dict[str, Any]] = TOOLS,
    ordinal: int = 0,
    run: str = "r",
    **options: Any,
) -> Reply:
    call = Call(run, "coder", "s1", ordinal)
    return await models.complete(call, messages, Options(**options), print, tools)


def results(reply: Reply, *texts: str) -> list[BaseMessage]:
    """A reply and the results of its calls, as messages of the next prompt."""
    pairs = zip(texts, reply.tool_calls, strict=True)
    return [reply.message, *(ToolMessage(text, tool_call_id=call.id) for text, call in pairs)]


async def test_a_model_calls_tools_reads_their_results_and_answers(desk: Desk, models: Models) -> None:
    desk.on(r'assistant calls execute\({"command": "ls"}\)\ntool: a\.py\nassistant calls.*tool: b', "done")
    desk.on("user: Hello", ["I look. ", LS, ("read_file", {"file_path": "b"})])
    reply = await ask(models)
    assert reply.text == "I look. " and not reply.cut
    assert [(call.name, call.arguments, call.unread) for call in reply.tool_calls] == [
        ("execute", {"command": "ls"}, None),
        ("read_file", {"file_path": "b"}, None),
    ]
    assert desk.requests[0].body["tools"] == TOOLS
    desk.rules[0].match = r"assistant calls read_file.*\ntool: a\.py\ntool: b"
    again = await ask(models, [*ASKED, *results(reply, "a.py", "b")], ordinal=1)
    assert (again.text, again.tool_calls) == ("done", ())
    sent = desk.requests[1].messages
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert [each["tool_call_id"] for each in sent[3:]] == [call.id for call in reply.tool_calls]


def piece(arguments: Any = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"function": function, **more}


def calls(*pieces: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(pieces)})


END = chunk({}, "tool_calls")
ONE = '{"command": "ls"}'
TWO = '{"file_path": "b"}'


@pytest.mark.parametrize(
    "body",
    [
        sse(calls(piece("", "execute", index=0, id="a")), calls(piece(ONE, index=0)),
            calls(piece("", "read_file", index=1, id="b")), calls(piece(TWO, index=1)), END),
        sse(calls(piece(ONE, "execute"), piece(TWO, "read_file")), END),  # no ids, no numbers
        sse(calls(piece(ONE, "execute")), calls(piece(TWO, "read_file")), STOP),
        sse(calls(piece(ONE, "execute", index=0)), calls(piece(TWO, "read_file", index=0)), END),
        sse(calls(piece(ONE, "execute", index=0, id="a")),
            calls(piece(TWO, "read_file", index=0, id="b")), END),
        sse(calls(piece(ONE, "execute", id="a"), piece(TWO, "read_file", id="a")), END),  # one id for both
        sse(calls(piece(json.loads(ONE), "execute")), calls(piece(json.loads(TWO), "read_file")), END),
        sse(calls(piece(json.dumps(ONE), "execute", index=3), piece(TWO, "read_file", index=7)), END),
        sse(*(calls(piece(part, "execute", index=0, id="a")) for part in ('{"comm', 'and": "', 'ls"}')),
            calls(piece(TWO, "read_file", index=1, id="b")), END),  # name and id in each piece
        sse(calls(piece(ONE, "execute", index=0, id="a"), piece(TWO, "read_file", index=1, id="b")),
            calls(piece(ONE, "execute", index=0, id="a")), END),  # the whole call again at the end
        sse(calls(piece("", "execute", index=0)), calls(piece('{"command":'), piece(' "ls"}')),
            calls(piece(TWO, "functions.read_file", index=1)), END),  # no number behind the first piece
        message("", tool_calls=[piece(ONE, "execute"), piece(json.loads(TWO), "read_file")]),
        message(None, tool_calls=[piece(ONE, "execute", type="function"), {}, piece(TWO, "read_file")]),
    ],
)  # fmt: skip
async def test_calls_are_understood_however_they_come(body: bytes, desk: Desk, models: Models) -> None:
    desk.on("", raw=(SSE, body))
    reply = await ask(models)
    assert [(call.name, call.arguments, call.unread) for call in reply.tool_calls] == [
        ("execute", {"command": "ls"}, None),
        ("read_file", {"file_path": "b"}, None),
    ]
    assert len({call.id for call in reply.tool_calls}) == 2 and all(call.id for call in reply.tool_calls)
    assert (reply.text, reply.cut, len(desk.requests)) == ("", False, 1)


async def test_a_flood_of_calls_is_cut(desk: Desk, models: Models) -> None:
    flood = [piece(ONE, "execute", index=number, id="same") for number in range(1000)]
    desk.on("", raw=(SSE, sse(calls(*flood), END)))
    reply = await ask(models)
    assert len({call.id for call in reply.tool_calls}) == len(reply.tool_calls) == MOST_CALLS


async def test_the_old_form_of_a_call_is_understood(desk: Desk, models: Models) -> None:
    parts = [{"name": "execute", "arguments": ""}, {"arguments": '{"command"'}, {"arguments": ': "ls"}'}]
    desk.on("", raw=(SSE, sse(*(chunk({"function_call": part}) for part in parts), STOP)))
    (call,) = (await ask(models)).tool_calls
    assert (call.name, call.arguments) == ("execute", {"command": "ls"})


@pytest.mark.parametrize(
    ("arguments", "unread"),
    [
        ('{"command": "rm -rf /wor', '{"command": "rm -rf /wor'),  # LangChain would complete it
        ('["ls"]', '["ls"]'),
        ("ls", "ls"),
        ('{"command": NaN}', '{"command": NaN}'),
        ("[" * 100_000, "[" * 100_000),
        ("", None),
        ("null", None),
        ('{"command": "a\nb"}', None),
    ],
)
async def test_arguments_that_are_no_json_object_are_handed_on_as_they_are(
    arguments: str, unread: str | None, desk: Desk, models: Models
) -> None:
    desk.on("tool: no JSON", "sorry").on("", [("execute", arguments)])
    reply = await ask(models)
    (call,) = reply.tool_calls
    assert (call.name, call.unread) == ("execute", unread)
    assert unread is None or call.arguments == {}
    again = await ask(models, [*ASKED, *results(reply, "no JSON")], ordinal=1)
    assert again.text == "sorry"
    sent = desk.requests[1].messages[2]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(sent), dict), "a server may read the prompt's arguments"


async def test_a_call_that_the_limit_cut_off_is_not_read(desk: Desk, models: Models) -> None:
    desk.on("", [("execute", "")], finish="length")
    reply = await ask(models)
    assert reply.cut and [call.unread for call in reply.tool_calls] == [""]


async def test_texts_of_arguments_are_valid_unicode(desk: Desk, models: Models) -> None:
    desk.on("", [("execute", '{"command": "\\ud83d\\ude00 \\ud800"}')])
    (call,) = (await ask(models)).tool_calls
    assert call.arguments == {"command": "\N{GRINNING FACE} \N{REPLACEMENT CHARACTER}"}


async def test_ids_that_a_server_leaves_out_are_the_same_in_each_run(desk: Desk, models: Models) -> None:
    desk.on("", raw=(SSE, sse(calls(piece(ONE, "execute"), piece(ONE, "execute")), END)))
    first, again = await ask(models), await ask(models, run="another")
    assert [call.id for call in first.tool_calls] == [call.id for call in again.tool_calls]
    other = await ask(models, ordinal=1)
    assert len({call.id for reply in (first, other) for call in reply.tool_calls}) == 4


async def test_a_repeated_call_gets_its_tool_calls_back_and_is_not_paid_for(
    desk: Desk, models: Models, journal: Journal[Event]
) -> None:
    desk.on("tool: a.py", "done").on("", ["I look.", LS, ("execute", "{oops")])
    reply = await ask(models)
    prompt = [*ASKED, *results(reply, "a.py", "what?")]
    await ask(models, prompt, ordinal=1)
    stored = await ask(models)
    assert stored.cached and stored.text == reply.text and stored.tool_calls == reply.tool_calls
    assert (await ask(models, [*ASKED, *results(stored, "a.py", "what?")], ordinal=1)).cached
    assert len(desk.requests) == 2
    await ask(models, tools=TOOLS[:1])
    assert len(desk.requests) == 3, "other tools are another prompt"


def test_the_hash_of_a_prompt_without_tools_is_that_of_its_messages() -> None:
    wire = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert Prompt(ASKED).hash == hashlib.sha256(json.dumps(wire).encode()).hexdigest()


def test_arguments_and_definitions_count_as_tokens() -> None:
    plain, with_tools = Prompt(ASKED), Prompt(ASKED, TOOLS)
    assert with_tools.tokens > plain.tokens + len(json.dumps(TOOLS)) // 4 - 2
    written = ToolCall("a", "execute", {"command": "x" * 4000})
    reply = Reply("", model="m", input_tokens=1, output_tokens=1, cost_usd=None, tool_calls=(written,))
    assert Prompt([*ASKED, *results(reply, "")]).tokens > plain.tokens + 1000


async def test_tools_count_against_the_budget(desk: Desk, models: Models, journal: Journal[Event]) -> None:
    desk.on("", [LS], usage={})
    room = Prompt(ASKED).tokens + 300
    await ask(models, tools=(), max_tokens=room)
    with pytest.raises(BudgetSpent):
        await ask(models, run="tools", max_tokens=room)
    reply = await ask(models, run="free")
    assert reply.estimated and reply.output_tokens >= len("execute" + ONE) // 4


async def test_the_beginning_of_a_conversation_stays_the_same_from_call_to_call(
    desk: Desk, models: Models
) -> None:
    """A prompt cache hits as far as the bytes are the same."""
    desk.on(
        "", lambda request: [f"step {len(request.messages)}", ("execute", {"command": "ä", "timeout": 1})]
    )
    conversation = list(ASKED)
    for ordinal in range(4):
        reply = await ask(models, conversation, ordinal=ordinal)
        conversation += results(reply, f"result {ordinal}")
    bodies = [json.dumps(request.body["messages"])[:-1] for request in desk.requests]
    for before, after in pairwise(bodies):
        assert after.startswith(before)
    assert all("tool_calls" in body for body in bodies[1:])
    assert len({json.dumps(request.body["tools"]) for request in desk.requests}) == 1


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens_details": {"cached_tokens": 600}},  # OpenAI
        {"prompt_cache_hit_tokens": 600, "prompt_cache_miss_tokens": 400},  # DeepSeek
        {"prompt_cache_hit_tokens": 600, "prompt_tokens_details": {"cached_tokens": 600}},
        {"prompt_tokens_details": {"cached_tokens": None}, "prompt_cache_hit_tokens": "600"},
    ],
)
async def test_cached_tokens_are_counted_priced_and_stored(
    usage: dict[str, Any], desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.on("", [LS], usage={"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, **usage})
    async with open_models(replace(settings, local_model="gpt-4o"), journal.completions) as models:
        reply = await ask(models)
        assert (reply.input_tokens, reply.cached_tokens) == (1000, 600)
        assert reply.cost_usd == pytest.approx(400 * 2.5e-6 + 600 * 1.25e-6 + 100 * 1e-5)
        assert (await ask(models)).cached_tokens == 600
    (used,) = await journal.completions.usage("r")
    assert (used.input_tokens, used.cached_tokens) == (1000, 600)


def test_tokens_that_go_into_a_cache_have_their_own_price() -> None:
    """LangChain's shape of what LiteLLM reports for Claude."""
    details = {"cache_read": 1000, "cache_creation": 200}
    counts = TokenCounts.of({"input_tokens": 1210, "output_tokens": 20, "input_token_details": details})
    used, price = checked(counts, 1, "hm", None), price_of("anthropic/claude-sonnet-4-5")
    assert (used.input, used.cached, used.written) == (1210, 1000, 200) and price
    cost = price.cost(used.input, used.output, used.cached, used.written)
    assert cost == pytest.approx(10 * 3e-6 + 1000 * 3e-7 + 200 * 3.75e-6 + 20 * 1.5e-5)
    assert price.most_input == 3.75e-6
    openai = TokenCounts.of({"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": 4}})
    assert openai and openai.written == 4


async def test_calls_are_recorded_and_played_back(
    desk: Desk, settings: ModelSettings, journal: Journal[Event], tmp_path: Path
) -> None:
    tape = tmp_path / "tape.jsonl"
    desk.on("tool: a.py", "done").on("", ["I look.", ("execute", {"command": f"echo {KEY}"}), LS])

    async def talk(mode: ModelSettings, run: str) -> list[Reply]:
        async with open_models(mode, journal.completions) as models:
            assert await models.calls_tools("coder") and not (
                mode.cassette and await models.calls_tools("critic")
            )
            first = await ask(models, run=run)
            return [first, await ask(models, [*ASKED, *results(first, "a.py", "b.py")], run=run, ordinal=1)]

    live = await talk(replace(settings, record=tape), "r")
    played = await talk(ModelSettings(mode="replay", cassette=tape, agents=settings.agents), "again")
    assert [reply.text for reply in played] == ["I look.", "done"] and len(desk.requests) == 2
    assert [call.id for call in played[0].tool_calls] == [call.id for call in live[0].tool_calls]
    assert played[0].tool_calls[0].arguments == {"command": "echo ***"} and KEY not in tape.read_text()
    assert len(tape.read_text().splitlines()) == 2


async def test_calls_of_a_tape_arrive_in_pieces() -> None:
    call = {"id": "a", "name": "execute", "arguments": {"command": "ls -l"}}
    line = {"agent": "coder", "step": "", "ordinal": 0, "prompt_hash": "", "model": "m", "messages": []}
    replay = ReplayModel(exchange=Exchange.model_validate({**line, "reply": "hm", "tool_calls": [call]}))
    chunks = [each async for each in replay.bind_tools(TOOLS).astream(ASKED)]
    assert sum(bool(getattr(each, "tool_call_chunks", ())) for each in chunks) > 2
    (made,) = (await replay.ainvoke(ASKED)).tool_calls
    assert (made["id"], made["name"], made["args"]) == ("a", "execute", {"command": "ls -l"})


async def test_a_tape_without_tools_is_asked_without_tools(tmp_path: Path, journal: Journal[Event]) -> None:
    line = {"agent": "coder", "step": "s1", "ordinal": 0, "prompt_hash": Prompt(ASKED).hash, "model": "m"}
    (tmp_path / "old.jsonl").write_text(json.dumps({**line, "messages": [], "reply": "said"}))
    old = ModelSettings(mode="replay", cassette=tmp_path / "old.jsonl", agents={"coder": "m"})
    async with open_models(old, journal.completions) as models:
        assert not await models.calls_tools("coder")
        with pytest.raises(ToolsRefused):
            await ask(models)
        assert (await ask(models, tools=())).text == "said"


REFUSALS = [
    (400, "registry.ollama.ai/library/deepseek-r1:14b does not support tools"),  # Ollama
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),  # vLLM
    (500, "tools param requires --jinja flag"),  # llama.cpp
    (404, "No endpoints found that support tool use. To learn more about provider routing, visit: …"),
    (404, "No endpoints found that support the provided 'tool_choice' value."),  # OpenRouter
    (400, "deepseek-reasoner does not support Function Calling"),
    (400, "tool calling is not supported with this model"),  # Groq
    (405, "deepinfra error: Tool calling is not supported for model: mistralai/Mistral-Small-24B"),
    (400, "Function calling is not enabled for models/gemma-3-12b-it"),  # Gemini
    (400, "This model doesn't support tool use in streaming mode."),  # Bedrock
    (422, "The model does not support tool use or function calling but tools have been specified"),  # xAI
    (400, "Unsupported parameter: 'tools' is not supported with this model."),  # OpenAI
]


@pytest.mark.parametrize(("status", "said"), REFUSALS)
async def test_a_refusal_of_tools_costs_nothing_and_is_remembered(
    status: int, said: str, desk: Desk, models: Models, journal: Journal[Event]
) -> None:
    desk.on("", said, status=status, times=1).on("", "without")
    assert await models.calls_tools("coder")
    with pytest.raises(ToolsRefused) as refused:
        await ask(models)
    assert refused.value.model == "m" and said[:40] in str(refused.value)
    assert not await models.calls_tools("coder")
    assert await journal.completions.usage("r") == []
    with pytest.raises(ToolsRefused):
        await ask(models, ordinal=1)
    assert len(desk.requests) == 1, "a known refusal is not asked for again"
    assert (await ask(models, tools=())).text == "without"


@pytest.mark.parametrize(
    "said",
    [
        "Invalid schema for function 'execute'",
        "tool_call_id a is not found in 'tool_calls' of previous message",
        "parallel tool calls are not supported",
    ],
)
async def test_another_complaint_about_tools_is_an_error(said: str, desk: Desk, models: Models) -> None:
    desk.on("", said, status=400)
    with pytest.raises(ModelError):
        await ask(models)
    assert await models.calls_tools("coder")


async def test_the_fallback_may_refuse_tools_although_the_chosen_model_calls_them(
    desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.on("model: weak", "overloaded", status=503)
    desk.on("model: strong.*Hello", "strong does not support tools", status=400, times=1).on("", "plain")
    chosen = replace(
        settings,
        agents={"coder": "weak"},
        default_model="strong",
        explicit=frozenset({"coder", "default"}),
    )
    async with open_models(chosen, journal.completions) as models:
        with pytest.raises(ToolsRefused) as refused:
            await ask(models)
        assert refused.value.model == "strong" and await models.calls_tools("coder")
        assert (await ask(models, tools=())).text == "plain"


@pytest.mark.parametrize(("name", "calls"), [("gpt-4o", True), ("gpt-5-chat", False), ("unheard-of", True)])
async def test_a_profile_without_tools_is_believed(name: str, calls: bool, journal: Journal[Event]) -> None:
    known = ModelSettings(mode="openai", model=name, keys={"OPENAI_API_KEY": KEY})
    async with open_models(known, journal.completions) as models:
        assert await models.calls_tools("coder") is calls


async def test_reasoning_is_no_part_of_the_answer_and_goes_back_with_its_calls(
    desk: Desk, models: Models
) -> None:
    """DeepSeek and Kimi answer HTTP 400 if it is missing. They want the field in each of their messages."""
    thought = [chunk({"reasoning_content": text}) for text in ("I should ", "look \ud800.")]
    desk.on("tool: a.py", "<think>hm</think>done")
    desk.on("", raw=(SSE, sse(*thought, calls(piece(ONE, "execute", id="a")), END)))
    reply = await ask(models)
    assert reply.text == "" and reply.reasoning == {
        "reasoning_content": "I should look \N{REPLACEMENT CHARACTER}."
    }
    stored = await ask(models)
    plain = Reply("Hi", model="m", input_tokens=1, output_tokens=1, cost_usd=None).message
    again = await ask(models, [plain, *ASKED, *results(stored, "a.py")], ordinal=1)
    sent = desk.requests[1].messages
    assert [each.get("reasoning_content") for each in sent if each["role"] == "assistant"] == [
        "",
        "I should look \N{REPLACEMENT CHARACTER}.",
    ]
    assert again.message.text == "done" and desk.requests[1].max_tokens
    assert Prompt(results(reply, "")).tokens > Prompt(results(replace(reply, reasoning={}), "")).tokens


async def test_a_call_written_as_text_is_a_call_if_there_are_tools(desk: Desk, models: Models) -> None:
    text = 'I look.\n<tool_call>\n{"name": "execute", "arguments": {"command": "ls"}}\n</tool_call>'
    desk.on("tool: a.py", "done").on("", f"<think>{text}</think>{text}")
    reply = await ask(models)
    assert reply.text == "I look." and [call.name for call in reply.tool_calls] == ["execute"]
    assert (await ask(models)).tool_calls == reply.tool_calls and reply.tool_calls[0].id
    assert (await ask(models, [*ASKED, *results(reply, "a.py")], ordinal=1)).text == "done"
    plain = await ask(models, tools=())
    assert plain.text.endswith(text) and not plain.tool_calls
