"""Models against a real HTTP server: retries, fallback, budgets, choice of model, errors that help."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, cast

import pytest
from desk import KEY, Desk
from forking import Forked
from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from memory.calls.budget import BudgetSpent
from memory.records.journal import Journal
from nodes.event_parts import Payload
from nodes.events import Event
from nodes.llm.call import Call, Reply
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.models import Models, open_models
from nodes.llm.prices import price_of
from nodes.state import Agent, Options

ROOT = Path(__file__).parent.parent
DEFAULTS: dict[Agent, str] = {
    "planner": "gpt-4o",
    "coder": "deepseek/deepseek-chat",
    "critic": "anthropic/claude-sonnet-4-5",
}


class Notes(list[Payload]):
    """What was published."""

    def __call__(self, payload: Payload) -> None:
        self.append(payload)

    def of(self, type: str) -> list[dict[str, Any]]:
        return [payload.model_dump() for payload in self if payload.type == type]


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def settings(desk: Desk) -> ModelSettings:
    return ModelSettings(
        mode="local",
        agents=DEFAULTS,
        local_url=desk.url,
        local_model="gpt-4o",
        secrets=(KEY,),
        retry_seconds=0.01,
        max_retries=2,
    )


async def ask(
    models: Models, text: str, notes: Notes, step: str = "s1", ordinal: int = 0, **options: Any
) -> Reply:
    messages = [SystemMessage("Be brief."), HumanMessage(text)]
    return await models.complete(Call("r", "coder", step, ordinal), messages, Options(**options), notes)


async def test_a_reply_carries_what_the_provider_counted_and_the_budget_says_so(
    desk: Desk, models: Models, notes: Notes
) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    desk.on("Hello", "Hi there", usage=usage)
    reply = await ask(models, "Hello", notes)
    cost = 400 * 2.5e-6 + 600 * 1.25e-6 + 100 * 1e-5
    counted = Reply("Hi there", model="gpt-4o", input_tokens=1000, output_tokens=100, cost_usd=None)
    assert replace(reply, cost_usd=None) == replace(counted, cached_tokens=600)
    assert reply.cost_usd == pytest.approx(cost)
    (budget,) = notes.of("budget")
    assert (budget["total_tokens"], budget["total_cost_usd"]) == (1100, pytest.approx(cost))
    assert desk.requests[0].max_tokens == 8192
    assert desk.requests[0].messages[0] == {"role": "system", "content": "Be brief."}


async def test_a_call_is_paid_for_once_and_a_new_prompt_again(
    desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("first", "one").on("second", "two")
    assert (await ask(models, "first", notes)).text == "one"
    again = await ask(models, "first", notes)
    assert (again.text, again.cached, again.cost_usd) == ("one", True, 0.0)
    assert (await ask(models, "second", notes)).text == "two"
    assert [data["cached"] for data in notes.of("budget")] == [False, True, False]
    assert len(desk.requests) == 2
    assert [usage.calls for usage in await journal.completions.usage("r")] == [2]


class Branch(TypedDict, total=False):
    id: str


async def test_parallel_replies_stream_through_langgraph_under_their_steps_and_a_stored_one_not_again(
    models: Models, desk: Desk, notes: Notes
) -> None:
    desk.on("", lambda request: f"I am {request.messages[-1]['content']} now")

    async def coder(state: Branch) -> Branch:
        await ask(models, state["id"], notes, step=state["id"])
        return {}

    builder = StateGraph(Branch)
    builder.add_node("coder", coder)
    builder.add_conditional_edges(START, lambda _: [Send("coder", {"id": name}) for name in "abc"], ["coder"])
    graph = builder.compile()
    for expected in ({name: f"I am {name} now" for name in "abc"}, {}):
        heard: dict[str, str] = {}
        async for part in graph.astream({}, stream_mode=["messages"], subgraphs=True, version="v2"):
            message, metadata = cast(tuple[Any, dict[str, Any]], part["data"])
            assert (metadata["agent"], metadata["langgraph_node"]) == ("coder", "coder")
            heard[metadata["step_id"]] = heard.get(metadata["step_id"], "") + str(message.text)
        assert heard == expected


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_or_broken_provider_is_asked_again_visibly_and_not_paid_for_its_refusals(
    status: int, desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("", f"busy {KEY}", status=status, times=2, headers={"Retry-After": "0.05"}).on(
        "", "ready at last"
    )
    assert (await ask(models, "Hello", notes)).text == "ready at last"
    retries = notes.of("retry")
    assert [(retry["attempt"], retry["model"], retry["wait_seconds"]) for retry in retries] == [
        (1, "gpt-4o", 0.05),
        (2, "gpt-4o", 0.05),
    ]
    assert retries[0]["reason"] == f"HTTP {status}: busy ***"
    assert [usage.calls for usage in await journal.completions.usage("r")] == [1]


@pytest.mark.parametrize(
    ("status", "billed"), [(408, True), (409, False), (425, False), (502, False), (504, False)]
)
async def test_only_a_provider_that_gave_up_at_work_is_paid_for_its_failure(
    status: int, billed: bool, desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("", "later", status=status, times=1, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"})
    desk.on("", "done")
    assert (await ask(models, "Hello", notes)).text == "done"
    (retry,) = notes.of("retry")
    assert retry["wait_seconds"] == 0.0, "the date that Retry-After names is past"
    assert [usage.calls for usage in await journal.completions.usage("r")] == [1 + billed]


async def test_a_dropped_stream_is_asked_again_and_what_came_of_it_counts(
    desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("", "word " * 40, drop=True, times=1).on("", "whole")
    assert (await ask(models, "Hello", notes)).text == "whole"
    assert "incomplete chunked read" in notes.of("retry")[0]["reason"]
    (usage,) = await journal.completions.usage("r")
    assert usage.calls == 2
    assert usage.output_tokens == 1 + len("word" + " word" * 19) // 4 + 1


@pytest.mark.parametrize("heard", [True, False])
async def test_a_prompt_that_may_have_been_read_counts_although_no_reply_came(
    settings: ModelSettings, journal: Journal[Event], notes: Notes, heard: bool
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        if not heard:
            server.close()
            await server.wait_closed()
        elsewhere = replace(settings, local_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
        async with open_models(elsewhere, journal.completions) as models:
            with pytest.raises(ModelError):
                await ask(models, "Hello", notes)
    sums = await journal.completions.sums("r")
    assert (sums.tokens > 0) is heard


async def test_a_stream_that_ends_without_an_end_is_a_dropped_one(
    desk: Desk, settings: ModelSettings, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("", "half a", finish=None, usage={}, done=False, times=1).on("", "whole")
    async with open_models(settings, journal.completions) as models:
        assert (await ask(models, "Hello", notes)).text == "whole"
    assert notes.of("retry")[0]["reason"] == "the stream broke off"


async def test_a_model_that_hangs_is_given_up_after_the_time_limit(
    desk: Desk, settings: ModelSettings, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("", "late", delay=1.5, times=1).on("", "in time")
    async with open_models(replace(settings, timeout=0.5), journal.completions) as models:
        assert (await ask(models, "Hello", notes)).text == "in time"
    assert "Timeout" in notes.of("retry")[0]["reason"]


async def test_the_default_model_steps_in_visibly_and_then_the_error_names_both(
    desk: Desk, settings: ModelSettings, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("model: weak", "overloaded", status=503).on("model: strong.*Hello", "mine")
    desk.on("", "gone", status=503)
    chosen = replace(
        settings,
        agents={"coder": "weak"},
        default_model="strong",
        explicit=frozenset({"coder", "default"}),
        max_retries=1,
    )
    async with open_models(chosen, journal.completions) as models:
        reply = await ask(models, "Hello", notes)
        assert (reply.text, reply.model, reply.cost_usd) == ("mine", "strong", None)
        assert [data["unpriced"] for data in notes.of("budget")] == [True]
        assert [retry["model"] for retry in notes.of("retry")] == ["weak", "strong"]
        assert "strong steps in for weak" in notes.of("retry")[1]["reason"]
        with pytest.raises(ModelError, match=r"coder: weak keeps failing .*overloaded.*strong failed.*gone"):
            await ask(models, "Farewell", notes)


@pytest.mark.parametrize(
    "waits", [{"headers": {"Retry-After": "3600"}}, {"error": {"code": "insufficient_quota"}}]
)
async def test_a_provider_that_will_not_answer_soon_is_not_waited_for(
    waits: dict[str, Any], desk: Desk, models: Models, notes: Notes
) -> None:
    desk.on("", "come back later", status=429, **waits)
    with pytest.raises(ModelError, match="come back later"):
        await ask(models, "Hello", notes)
    assert len(desk.requests) == 1


@pytest.mark.parametrize(
    ("status", "said", "advice"),
    [
        (401, f"wrong key {KEY}", "key was refused.*wrong key \\*\\*\\*"),
        (403, "not for you", "key was refused"),
        (404, "no such model", "CODER_MODEL"),
        (400, "prompt is too long", "longer than its context"),
        (422, "what?\x1b[31m\nwhat?", "HTTP 422: what\\? \\[31m what\\?"),
    ],
)
async def test_a_refusal_is_told_at_once_without_retries_or_keys(
    status: int, said: str, advice: str, desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("", said, status=status)
    with pytest.raises(ModelError, match=f"coder: gpt-4o: .*{advice}") as refused:
        await ask(models, "Hello", notes)
    assert KEY not in str(refused.value) and len(desk.requests) == 1 and not notes
    assert await journal.completions.usage("r") == []


async def test_a_budget_holds_across_parallel_branches_and_lets_small_calls_through(
    desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    """Each call reserves $0.08 and takes $0.01, so a limit of $0.0415 lets four of eight through."""
    usage = {"prompt_tokens": 0, "completion_tokens": 1000, "total_tokens": 1000}
    desk.on("", "done", usage=usage)
    calls = (ask(models, "Hello", notes, step=f"s{n}", max_cost_usd=0.0415) for n in range(8))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results].count(Reply) == 4
    assert [type(result) for result in results].count(BudgetSpent) == 4
    assert (await journal.completions.sums("r")).cost_usd == pytest.approx(0.04, abs=1e-3)
    assert all((request.max_tokens or 0) * 1e-5 <= 0.0415 for request in desk.requests)


async def test_a_reply_that_the_budget_cut_short_ends_the_run_and_is_not_used_later(
    desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    desk.on("", "half of", finish="length", times=2).on("", "all of it")
    with pytest.raises(BudgetSpent) as spent:
        await ask(models, "Hello", notes, max_cost_usd=0.01)
    assert (spent.value.kind, spent.value.limit) == ("cost", 0.01)
    reply = await ask(models, "Hello", notes, ordinal=1)
    assert reply.cut and (await ask(models, "Hello", notes, ordinal=1)).cut  # from the table
    assert reply.text == "half of" and "LLM_MAX_OUTPUT_TOKENS" in notes.of("error")[0]["message"]
    assert (await ask(models, "Hello", notes)).text == "all of it"


async def test_cancelled_calls_stop_at_once_and_count_their_prompts_and_what_came(
    desk: Desk, models: Models, journal: Journal[Event], notes: Notes
) -> None:
    desk.tokens_per_second = 20
    desk.on("", "word " * 600)
    tasks = [asyncio.create_task(ask(models, "Hello", notes, step=f"s{n}")) for n in range(8)]
    await asyncio.to_thread(desk.wait, len(tasks))
    for task in tasks:
        await asyncio.sleep(0.03)
        task.cancel()
    assert {type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)} == {
        asyncio.CancelledError
    }
    (usage,) = await journal.completions.usage("r")
    assert usage.calls == 8 and usage.input_tokens == 8 * 13
    assert 0 < usage.output_tokens < 8 * 600 and desk.answered == 0


async def test_a_process_killed_after_the_reply_never_pays_for_it_again(
    desk: Desk, settings: ModelSettings, journal: Journal[Event], tmp_path: Path, notes: Notes
) -> None:
    desk.on("", "expensive")
    program = f"""
import asyncio, os, signal
from langchain_core.messages import HumanMessage, SystemMessage
from memory.records.journal import Journal
from nodes.events import EVENT
from nodes.llm.call import Call
from nodes.llm.models import open_models
from nodes.llm.model_settings import ModelSettings
from nodes.state import Options
async def main():
    journal = await Journal.open("sqlite:///{tmp_path / "autocode.db"}", EVENT.validate_python)
    settings = ModelSettings(mode="local", local_url={desk.url!r}, local_model="gpt-4o")
    async with open_models(settings, journal.completions) as models:
        messages = [SystemMessage("Be brief."), HumanMessage("Hello")]
        await models.complete(Call("r", "coder", "s1", 0), messages, Options(), lambda payload: None)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    killed = Forked(["-c", program], env=os.environ)
    assert await asyncio.to_thread(killed.wait) == -signal.SIGKILL
    async with open_models(replace(settings, local_model="another"), journal.completions) as models:
        reply = await ask(models, "Hello", notes)
    assert (reply.text, reply.cached, len(desk.requests)) == ("expensive", True, 1)


@pytest.mark.parametrize(
    ("mode", "changes", "expected"),
    [
        ("litellm", {}, ["gpt-4o", "deepseek/deepseek-chat", "anthropic/claude-sonnet-4-5", "gpt-4o"]),
        ("openai", {}, ["gpt-4o", "gpt-4o", "gpt-4o", "gpt-4o"]),
        ("openai", {"default_model": "gpt-4o-mini"}, ["gpt-4o", *["gpt-4o-mini"] * 3]),
        ("openai", {"explicit": frozenset({"critic"})}, ["gpt-4o", "gpt-4o", DEFAULTS["critic"], "gpt-4o"]),
        ("deepseek", {}, ["deepseek-chat"] * 4),
        ("local", {}, ["qwen"] * 4),
        ("local", {"explicit": frozenset({"coder"})}, ["qwen", DEFAULTS["coder"], "qwen", "qwen"]),
        ("local", {"model": "org/big"}, ["org/big"] * 3 + ["qwen"]),
        ("local", {"model": "openai/gpt-4o"}, ["openai/gpt-4o"] * 3 + ["qwen"]),
        ("openai", {"model": "openai/gpt-5"}, ["gpt-5"] * 3 + ["gpt-4o"]),
        ("litellm", {"default_model": "groq/llama"}, [*DEFAULTS.values(), "groq/llama"]),
        ("deepseek", {"explicit": frozenset({"planner"})}, ["gpt-4o", *["deepseek-chat"] * 3]),
        ("replay", {"default_model": "openai/gpt-4o"}, [*DEFAULTS.values(), "openai/gpt-4o"]),
        ("deepseek", {"model": "deepseek/deepseek-reasoner"}, ["deepseek-reasoner"] * 3 + ["deepseek-chat"]),
    ],
)
def test_each_agent_gets_a_model_that_its_mode_serves(
    mode: Any, changes: dict[str, Any], expected: list[str]
) -> None:
    settings = ModelSettings(**{"mode": mode, "agents": DEFAULTS, "local_model": "qwen", **changes})
    assert [settings.model_of(agent) for agent in DEFAULTS] + [settings.fallback] == expected


@pytest.mark.parametrize(
    ("mode", "agents", "only"),
    [
        ("openai", DEFAULTS, True),
        ("litellm", DEFAULTS, False),
        ("litellm", {"planner": "gpt-4o", "coder": "openai/gpt-5"}, True),
        ("litellm", {}, False),
        ("local", {"planner": "gpt-4o"}, False),
        ("deepseek", {"planner": "gpt-4o"}, False),
    ],
)
def test_code_goes_to_openai_s_embedder_only_if_openai_sees_it_anyway(
    mode: Any, agents: dict[Agent, str], only: bool
) -> None:
    assert ModelSettings(mode=mode, agents=agents).only_openai is only


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


NOBODY = f"http://127.0.0.1:{free_port()}/v1"
KEYS = {"OPENAI_API_KEY": "x"}
NOWHERE = Path("/nowhere/tape.jsonl")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (ModelSettings(mode="openai"), "set OPENAI_API_KEY"),
        (ModelSettings(mode="deepseek", keys=KEYS), "set DEEPSEEK_API_KEY"),
        (ModelSettings(mode="local", local_url=NOBODY), "ollama serve.*LOCAL_LLM_URL"),
        (ModelSettings(mode="local", local_url="nonsense"), "LOCAL_LLM_URL"),
        (ModelSettings(mode="replay"), "set LLM_CASSETTE"),
        (ModelSettings(mode="replay", cassette=NOWHERE), "tape.jsonl cannot be read"),
        (ModelSettings(mode="openai", keys=KEYS, record=NOWHERE), "LLM_RECORD=/nowhere/tape.jsonl"),
    ],
)
async def test_what_is_missing_is_said_before_any_work(
    settings: ModelSettings, says: str, journal: Journal[Event]
) -> None:
    async with open_models(settings, journal.completions) as models:
        with pytest.raises(ModelError, match=says):
            await models.probe()


async def test_a_server_that_answers_is_enough_to_begin(models: Models) -> None:
    await models.probe()


async def test_a_list_of_models_without_end_is_not_read(journal: Journal[Event]) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x" * 65536)
                await writer.drain()

    async with await asyncio.start_server(pour, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = ModelSettings(mode="local", local_url=f"http://127.0.0.1:{port}/v1")
        async with open_models(settings, journal.completions) as models, asyncio.timeout(5):
            await models.probe()


async def test_a_busy_machine_does_not_hide_a_server_that_answers(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.llm.providers.openai_provider.PROBE_SECONDS", 0.2)
    asyncio.get_running_loop().call_later(0, time.sleep, 0.5)  # while the server accepts
    await models.probe()


def test_prices_are_found_with_and_without_their_provider_and_unknown_ones_are_none() -> None:
    plain, prefixed = price_of("gpt-4o"), price_of("openai/gpt-4o")
    assert plain and plain == prefixed and plain.cost(1_000_000, 100_000) == pytest.approx(3.5)
    assert price_of("anthropic/claude-sonnet-4-5") and price_of("deepseek/deepseek-chat")
    assert all(price_of(model) for model in DEFAULTS.values()) and price_of("groq/llama-3.3-70b-versatile")
    assert price_of("elsewhere/gpt-4o") is None and price_of("unheard-of") is None


LITELLM = """
import asyncio, json, os, sys, tempfile
from langchain_core.messages import HumanMessage, ToolMessage
from pydantic import BaseModel
from memory.records.journal import Journal
from nodes.events import EVENT
from nodes.llm.call import Call
from nodes.llm.models import open_models
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.tool_calls import define_tool
from nodes.state import Options
class Execute(BaseModel):
    command: str
TOOLS = [define_tool("execute", Execute)]
def print_nothing(payload):
    pass
async def main():
    journal = await Journal.open(sys.argv[1], EVENT.validate_python)
    agents, notes = {"planner": "groq/llama-3.3-70b-versatile", "coder": "openai/gpt-4o"}, []
    lacking = ModelSettings(agents=agents, keys={"OPENAI_API_KEY": "sk-some-key"}, max_retries=1)
    odd = ModelSettings(model="unheard-of", agents=agents)
    for wrong in (lacking, odd):
        async with open_models(wrong, journal.completions) as models:
            try:
                await models.probe()
            except ModelError as error:
                notes.append(("error", str(error)))
    settings = ModelSettings(model="openai/gpt-4o", keys=lacking.keys, retry_seconds=0.01)
    async with open_models(settings, journal.completions) as models:
        await models.probe()
        call = Call("r", "coder", "s1", 0)
        publish = lambda payload: notes.append((payload.type, payload.model_dump()))
        reply = await models.complete(call, [HumanMessage("Hello")], Options(), publish)
        look, takes = Call("r2", "coder", "s1", 0), await models.calls_tools("coder")
        called = await models.complete(look, [HumanMessage("Look")], Options(), print_nothing, TOOLS)
        (made,) = called.tool_calls
        more = [HumanMessage("Look"), called.message, ToolMessage("a.py", tool_call_id=made.id)]
        answer = await models.complete(Call("r2", "coder", "s1", 1), more, Options(), print_nothing, TOOLS)
    toolless = ModelSettings(model="perplexity/sonar", agents={"coder": ""})
    async with open_models(toolless, journal.completions) as models:
        takes = [takes, await models.calls_tools("coder")]
    looked = [made.name, dict(made.arguments), answer.text, called.cached_tokens, *takes]
    (usage,) = await journal.completions.usage("r")
    await journal.aclose()
    json.dump({"reply": vars(reply), "notes": notes, "calls": usage.calls, "looked": looked}, sys.stdout)
asyncio.run(main())
"""


def test_litellm_serves_any_provider_and_leaves_stdout_alone(desk: Desk, tmp_path: Path) -> None:
    counts = {"prompt_tokens": 900, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 600}}
    desk.on("assistant calls execute.*tool: a.py", "seen")
    desk.on("Look", [("execute", {"command": "ls"})], usage=counts)
    desk.on("", "no", status=500, times=1).on("", "one two three four", drop=True, times=1)
    desk.on("", "", status=503, times=1).on("", "nothing", drop=True, times=1).on("", "yes")
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env |= {"PYTHONPATH": str(ROOT), "OPENAI_BASE_URL": desk.url, "OPENAI_API_BASE": desk.url}
    command = [sys.executable, "-c", LITELLM, f"sqlite:///{tmp_path / 'litellm.db'}"]
    done = subprocess.run(command, env=env, check=True, text=True, stdout=subprocess.PIPE)
    said = json.loads(done.stdout)
    assert (said["reply"]["text"], said["reply"]["cost_usd"]) == (
        "yes",
        pytest.approx(3 * 2.5e-6 + 1e-5, rel=1),
    )
    kinds = [note[0] for note in said["notes"]]
    assert kinds == ["error", "error", *["retry"] * 4, "budget"] and len(desk.requests) == 7
    assert said["looked"] == ["execute", {"command": "ls"}, "seen", 600, True, False]
    assert said["calls"] == 3, "both dropped streams are billed, refusals are not"
    assert "GROQ_API_KEY for planner (groq/llama-3.3-70b-versatile)" in said["notes"][0][1]
    assert "OPENAI_API_KEY" not in said["notes"][0][1] and "unheard-of" in said["notes"][1][1]


def test_no_client_library_is_imported_before_a_model_is_asked() -> None:
    program = (
        "import sys, nodes.llm; print(sorted({'litellm', 'openai', 'langchain_openai'} & set(sys.modules)))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.check_output([sys.executable, "-c", program], env=env, text=True) == "[]\n"
