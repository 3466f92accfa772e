"""Servers that speak OpenAI's protocol loosely: each quirk is understood, or named and asked again."""

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from desk import Desk
from langchain_core.messages import HumanMessage

from memory.calls.budget import BudgetSpent
from memory.records.journal import Journal
from nodes.event_parts import Payload
from nodes.events import Event
from nodes.llm.call import Call, Reply
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.models import Models, open_models
from nodes.llm.prices import read_prices
from nodes.llm.usage import TokenCounts, checked, total
from nodes.state import Options

SSE = "text/event-stream"
FAST = {
    "mode": "local",
    "agents": {"coder": "m"},
    "local_model": "m",
    "retry_seconds": 0.01,
    "max_retries": 1,
}


@pytest.fixture
def settings(desk: Desk) -> ModelSettings:
    return ModelSettings(local_url=desk.url, **FAST)  # type: ignore[arg-type]


class Told(list[Payload]):
    """Published payloads."""

    def of(self, type: str) -> list[dict[str, Any]]:
        return [payload.model_dump() for payload in self if payload.type == type]


async def ask(models: Models, told: Told | None = None, step: str = "s", **options: Any) -> Reply:
    publish = (told if told is not None else Told()).append
    return await models.complete(
        Call("r", "coder", step, 0), [HumanMessage("Hello")], Options(**options), publish
    )


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a stream."""
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    } | more


def sse(*events: Any, end: str = "\n\n", done: bool = True) -> bytes:
    """A body of events."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}{end}" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


HI = chunk({"content": "Hi there"})
STOP = chunk({}, "stop")
LIMIT = {"message": "slow down", "code": 429}


def usage(input: Any, output: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": input, "completion_tokens": output}}


def message(content: Any, **more: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **more},
        "finish_reason": "stop",
    }
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (SSE, sse(HI, STOP)),
        (SSE, sse(HI)),  # no finish_reason, no usage
        (SSE, sse(HI, STOP, done=False)),
        (SSE, sse(HI, STOP, end="\r\n\r\n")),
        (SSE, sse(HI, STOP, end="\r\r")),
        (SSE, sse(HI, STOP, end="\n")),  # no blank line between events
        (SSE, b": keep-alive\n\n: keep-alive\n\n" + sse(HI, {"object": "ping"}, STOP)),
        (SSE, sse({"choices": None}, {"choices": []}, chunk(None), chunk({"content": None}), HI, STOP)),
        (SSE, sse(chunk({"reasoning_content": "hm"}), chunk({"reasoning": "hm"}), HI, STOP)),
        (SSE, sse(chunk({"content": [{"type": "text", "text": "Hi there"}]}), STOP)),
        (SSE, sse({"choices": [{"message": {"content": "Hi there"}, "finish_reason": "stop"}]})),
        (SSE, sse({"choices": [{"text": "Hi there", "finish_reason": "stop"}]})),
        (SSE, sse(chunk({"role": "tool", "content": "Hi there"}, "stop"), STOP, STOP)),
        (SSE, sse(HI, chunk({"content": ""}, "stop"), chunk({"content": ""}, None))),
        ("text/plain", sse(HI, STOP)),
        ("application/json", message("Hi there")),
        (SSE, message("Hi there")),
        ("application/json", json.dumps(json.loads(message("Hi there")), indent=2).encode()),
    ],
)
async def test_an_answer_is_understood_however_it_comes(
    kind: str, body: bytes, desk: Desk, models: Models
) -> None:
    desk.on("", raw=(kind, body))
    reply = await ask(models)
    assert (reply.text, reply.cut, len(desk.requests)) == ("Hi there", False, 1)


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (SSE, sse(HI, done=False), "the stream broke off"),
        (SSE, sse(HI, done=False) + b'data: {"choices": [{"del', "broke off in the middle"),
        ("application/json", message("Hi")[:40], "broke off"),
        (SSE, sse({"choices": None}, {"choices": []}), "`choices` was empty"),
        (SSE, sse("[1, 2]"), "something else than chunks"),
        (SSE, sse("[" * 100_000), "broke off in the middle"),
        (SSE, sse(f'{{"choices": [{"[]," * 100_001}0]}}'), "broke off in the middle"),
        (SSE, sse(HI, chunk({}, "content_filter")), "content filter stopped the reply"),
        (SSE, sse(HI, chunk({}, "error")), "finish_reason error"),
        (SSE, sse(HI, {"error": {"message": "out of memory"}}), "reported an error: out of memory"),
        (
            SSE,
            sse(HI, done=False) + b'error: {"message": "out of slots", "code": 500}\n\n',
            "HTTP 500: out of slots",
        ),
        (SSE, sse(HI, done=False) + b'{"error": "out of breath"}\n', "out of breath"),
        ("application/json", json.dumps({"error": LIMIT}).encode(), "HTTP 429: slow down"),
        ("application/json", json.dumps([{"error": LIMIT}]).encode(), "HTTP 429: slow down"),
        ("application/json", b'{"object": "error", "message": "busy", "code": 503}', "HTTP 503: busy"),
        (SSE, sse({"error": {"message": "slow down", "type": "rate_limit_error"}}), "HTTP 429: slow down"),
    ],
)
async def test_a_failure_is_named_and_asked_again_however_it_comes(
    kind: str, body: bytes, reason: str, desk: Desk, models: Models
) -> None:
    desk.on("", raw=(kind, body), times=1).on("", "whole")
    told = Told()
    assert (await ask(models, told)).text == "whole"
    assert reason in told.of("retry")[0]["reason"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>welcome</html>", "web page instead of a chat completion"),
        (b'{"error": {"message": "who are you?", "code": "401"}}', "key was refused"),
        (b'{"error": {"message": "bad model", "type": "invalid_request_error"}}', "the request was refused"),
    ],
)
async def test_a_refusal_with_a_good_status_is_one_all_the_same(
    body: bytes, reason: str, desk: Desk, models: Models
) -> None:
    desk.on("", raw=("text/html", body))
    with pytest.raises(ModelError, match=reason):
        await ask(models)
    assert len(desk.requests) == 1


async def test_calls_of_tools_leave_no_text_and_are_no_error(desk: Desk, models: Models) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
    desk.on("", raw=(SSE, sse(chunk({"tool_calls": [call, {"function": None}]}), chunk({}, "tool_calls"))))
    assert (await ask(models)).text == ""


async def test_a_reply_that_does_not_stop_is_given_up(
    desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.on("", raw=(SSE, sse(*[chunk({"content": "again " * 500})] * 20)))
    async with open_models(replace(settings, max_output_tokens=10), journal.completions) as models:
        with pytest.raises(ModelError, match=r"does not stop.*limit of 10 tokens"):
            await ask(models)
    assert len(desk.requests) == 2


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([HI | usage(50, 1), HI | usage(50, 2), STOP | usage(50, 4)], (50, 4, False)),  # a running total
        ([HI | usage(50, 0), STOP, {"choices": []} | usage(50, 4)], (50, 4, False)),
        ([HI | usage("50", "4.0"), STOP], (50, 4, False)),
        ([HI, STOP], (6, 2, True)),
        ([chunk({"reasoning_content": "hm, " * 100}), HI, STOP], (6, 102, True)),  # thoughts are billed
        ([HI | usage(-5, 4), STOP], (6, 4, True)),
        ([HI | usage(None, None), STOP], (6, 2, True)),
        ([HI | usage("many", [1]), STOP], (6, 2, True)),
        ([HI | usage(50, 0), STOP], (50, 2, True)),
        ([HI | usage(10**12, 4), STOP], (6, 4, True)),
        ([HI | usage(50, float("inf")), STOP], (50, 2, True)),
        ([HI | {"usage": "yes"}, STOP], (6, 2, True)),
    ],
)
async def test_usage_is_believed_only_where_it_can_be_true(
    events: list[Any], expected: tuple[int, int, bool], desk: Desk, models: Models, journal: Journal[Event]
) -> None:
    desk.on("", raw=(SSE, sse(*events)))
    told = Told()
    reply = await ask(models, told)
    factor = 1 if reply.text == "Hi there" else 2
    input, output, estimated = expected
    assert (reply.input_tokens, reply.output_tokens) == (input, output if not estimated else output * factor)
    assert [data["estimated"] for data in told.of("budget")] == [estimated]
    (sums,) = await journal.completions.usage("r")
    assert sums.estimated is estimated


def test_counts_of_single_pieces_are_added_and_too_few_tokens_are_not_believed() -> None:
    pieces = [TokenCounts(9, 3), TokenCounts(9, 2), TokenCounts(9, 4)]
    assert total(pieces) == TokenCounts(9, 9) and total([]) is None
    assert checked(TokenCounts(9, 1), 5, "x" * 4000, None).output == 1000
    assert checked(TokenCounts(90_000, 1), 5, "x", 8192).input == 5


async def test_the_time_limit_counts_silence_and_not_the_whole_reply(
    desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.tokens_per_second = 10
    desk.on("", "one two three four five six seven eight nine ten eleven twelve", times=1)
    async with open_models(replace(settings, timeout=0.6), journal.completions) as models:
        assert (await ask(models)).text.endswith("twelve")
        assert len(desk.requests) == 1
        desk.on("", "too late", delay=1.5)
        with pytest.raises(ModelError, match=r"no data came for 0.6 s; raise LLM_TIMEOUT"):
            await ask(models, step="silent")


async def test_a_reply_that_drips_for_ever_ends_after_ten_time_limits(
    desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.tokens_per_second = 10
    desk.on("", "drip " * 600)
    async with open_models(replace(settings, timeout=0.2), journal.completions) as models:
        with pytest.raises(ModelError, match="over 2 s in all, 10 times LLM_TIMEOUT"):
            await ask(models)
    assert len(desk.requests) == 2  # it is asked once more


VLLM = (
    "This model's maximum context length is 4096 tokens. However, you requested 8292 tokens (100 in the "
    "messages, 8192 in the completion)."
)


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        (VLLM, [8192, 4096 - 64 - 100]),
        ("the request exceeds the available context size (4096 tokens)", [8192, 4096 - 64 - 7]),
        ("max_tokens is too large: 8192. This model supports at most 4096 completion tokens", [8192, 4096]),
    ],
)
async def test_a_smaller_context_is_learned_from_its_refusal(
    said: str, limits: list[int], desk: Desk, models: Models
) -> None:
    desk.on("", said, status=400, times=1).on("", "fits")
    assert (await ask(models)).text == "fits"
    assert (await ask(models, step="next")).text == "fits"
    assert [request.max_tokens for request in desk.requests[:2]] == limits
    assert 0 <= (desk.requests[2].max_tokens or 0) - limits[1] < 100, "no refusal the second time"


async def test_the_output_limit_shrinks_to_context_tokens_and_a_prompt_that_is_too_long_says_so(
    desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.on("", "fits")
    async with open_models(replace(settings, context_tokens=2048), journal.completions) as models:
        await ask(models)
        assert 1900 < (desk.requests[0].max_tokens or 0) < 2048
        with pytest.raises(ModelError, match=r"leaves no room.*CONTEXT_TOKENS"):
            await models.complete(Call("r", "coder", "long", 0), [HumanMessage("x" * 8000)], Options(), print)
    assert len(desk.requests) == 1


async def test_a_rate_limit_is_no_failure_and_holds_all_branches_back(
    desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.on("", "slow down", status=429, times=3, headers={"Retry-After": "1"}).on("", "done")
    told, began = Told(), time.monotonic()
    async with open_models(replace(settings, max_retries=0), journal.completions) as models:
        first = asyncio.create_task(ask(models, told))
        await asyncio.to_thread(desk.wait, 1)
        await asyncio.sleep(0.2)
        replies = await asyncio.gather(first, *(ask(models, told, step=f"s{n}") for n in range(2)))
    assert {reply.text for reply in replies} == {"done"} and time.monotonic() - began >= 1
    early = [request for request in desk.requests if request.at - desk.requests[0].at < 0.9]
    assert len(early) == 1, "the others waited without asking"
    waits = [retry["wait_seconds"] for retry in told.of("retry")]
    assert max(waits) >= 1 and len(waits) >= 2


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "400"}, 400),
        ({"retry-after-ms": "400000"}, 400),
        ({"Retry-After": "1e300"}, 1_000_000_000),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m40s"}, 400),
    ],
)
async def test_a_longer_wait_than_llm_max_wait_is_named_at_once(
    headers: dict[str, str], wait: int, desk: Desk, models: Models
) -> None:
    desk.on("", "slow down", status=429, headers=headers)
    with pytest.raises(ModelError, match=f"asked again in {wait} s, longer than LLM_MAX_WAIT"):
        await ask(models)
    assert len(desk.requests) == 1


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "-5", "9" * 400, "Thu, 99 Foo"])
async def test_a_senseless_retry_after_is_passed_over(value: str, desk: Desk, models: Models) -> None:
    desk.on("", "slow down", status=429, headers={"Retry-After": value}, times=1).on("", "done")
    assert (await ask(models)).text == "done"


async def test_the_run_s_time_limit_holds_during_a_wait(
    desk: Desk, models: Models, journal: Journal[Event]
) -> None:
    desk.on("", "slow down", status=429, headers={"Retry-After": "60"})
    call = asyncio.create_task(ask(models, max_run_seconds=5.0))
    await asyncio.to_thread(desk.wait, 1)
    await journal.threads.acquire("t", "repo", "me")
    await journal.threads.renew("me", {"t": "r"}, 6.0)
    with pytest.raises(BudgetSpent, match="5 seconds"):
        async with asyncio.timeout(10):
            await call


async def test_a_limit_on_the_cost_needs_a_price(
    desk: Desk, settings: ModelSettings, journal: Journal[Event]
) -> None:
    desk.on("", "done", usage={"prompt_tokens": 1_000_000, "completion_tokens": 1000})
    async with open_models(settings, journal.completions) as models:
        with pytest.raises(ModelError, match=r"that of m .* is unknown; set MODEL_PRICES"):
            await ask(models, max_cost_usd=1.0)
    assert not desk.requests
    prices = read_prices('{"m": {"input": 2, "output": 10, "cached": 1}}')
    async with open_models(replace(settings, prices=prices), journal.completions) as models:
        assert (await ask(models, max_cost_usd=5.0)).cost_usd == pytest.approx(2.01)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{}x", "JSON"),
        ('{"m": {"input": -1, "output": 1}}', "m.input.*greater than or equal to 0.*per million"),
        ('{"m": {"input": 1}}', "m.output"),
        ('{"m": {"input": 1, "output": 1, "inptu": 1}}', "m.inptu"),
        ("/nowhere/prices.json", "neither a JSON object nor a readable file"),
    ],
)
def test_unusable_prices_are_explained(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_prices(text)
