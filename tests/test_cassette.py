"""Record and replay."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from desk import KEY, Desk
from langchain_core.messages import HumanMessage

from memory.calls.budget import BudgetSpent
from memory.calls.completions import Completions
from memory.records.database import Database
from nodes.event_parts import Payload
from nodes.events import ErrorReported
from nodes.llm.call import Call
from nodes.llm.cassette import Exchange, ReplayModel, record
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.llm.models import open_models
from nodes.state import Options


@pytest.fixture
async def completions(tmp_path: Path) -> AsyncIterator[Completions]:
    database = await Database.open(f"sqlite:///{tmp_path / 'autocode.db'}")
    yield Completions(database, [KEY])
    await database.aclose()


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """One exchange without a cost, one with."""
    path = tmp_path / "tape.jsonl"
    path.write_text(line() + "\n\n" + line(ordinal=1, usage={"cost_usd": 2.0, "output_tokens": 7}) + "\n")
    return path


@pytest.fixture
async def recorded(desk: Desk, completions: Completions, tmp_path: Path) -> Path:
    """Two calls of the coder, recorded from a server."""
    tape = tmp_path / "recorded.jsonl"
    desk.on("first", f"one, by {KEY}").on("second", "two\nlines")
    settings = ModelSettings(mode="local", local_url=desk.url, local_model="gpt-4o", record=tape)
    async with open_models(settings, completions) as models:
        await models.probe()
        for ordinal, text in enumerate(["first", "second", "second"]):
            await models.complete(
                Call("r", "coder", "s1", min(ordinal, 1)),
                [HumanMessage(text)],
                Options(),
                print,
            )
    return tape


def test_every_exchange_is_recorded_once_and_without_secrets(recorded: Path) -> None:
    lines = [json.loads(line) for line in recorded.read_text().splitlines()]
    assert [(line["agent"], line["step"], line["ordinal"]) for line in lines] == [
        ("coder", "s1", 0),
        ("coder", "s1", 1),
    ]
    assert lines[0]["reply"] == "one, by ***" and lines[0]["model"] == "gpt-4o"
    assert lines[1]["messages"] == [{"role": "user", "content": "second"}]
    assert lines[1]["usage"]["output_tokens"] == 2 and len(lines[1]["prompt_hash"]) == 64
    assert stat.S_IMODE(recorded.stat().st_mode) == 0o600


async def test_a_tape_plays_by_agent_step_and_ordinal_warns_once_of_a_changed_prompt_and_ends(
    recorded: Path, completions: Completions, desk: Desk
) -> None:
    published: list[Payload] = []
    settings = ModelSettings(mode="replay", cassette=recorded)

    async def play(run: str, step: str, ordinal: int, text: str) -> str:
        call = Call(run, "coder", step, ordinal)
        reply = await models.complete(call, [HumanMessage(text)], Options(), published.append)
        assert reply.model == "gpt-4o" and reply.cost_usd
        return reply.text

    requests = len(desk.requests)
    async with open_models(settings, completions) as models:
        await models.probe()
        assert await play("replayed", "s1", 1, "second") == "two\nlines"
        assert not [one for one in published if isinstance(one, ErrorReported)]
        assert await play("replayed", "s1", 0, "changed") == "one, by ***"
        assert await play("again", "s1", 0, "changed") == "one, by ***"
        (warning,) = [one for one in published if isinstance(one, ErrorReported)]
        assert warning.kind == "warning" and "coder's call 0 of step s1" in warning.message
        with pytest.raises(ModelError, match=r"recorded\.jsonl ends before coder's call 2 of step s1"):
            await play("replayed", "s1", 2, "third")
    assert len(desk.requests) == requests


def line(**changes: Any) -> str:
    values = {"agent": "coder", "step": "s1", "ordinal": 0, "prompt_hash": "", "model": "m", "messages": []}
    return json.dumps({**values, "reply": "said", **changes})


async def test_a_replay_costs_what_was_recorded_else_nothing(tape: Path, completions: Completions) -> None:
    async with open_models(ModelSettings(mode="replay", cassette=tape), completions) as models:
        options, costs = Options(max_cost_usd=1.0), []
        for ordinal in (0, 1):
            call = Call("r", "coder", "s1", ordinal)
            reply = await models.complete(call, [HumanMessage("x")], options, print)
            costs.append(reply.cost_usd)
        assert costs == [0.0, 2.0]
        with pytest.raises(BudgetSpent):
            await models.complete(Call("r", "coder", "s1", 1), [HumanMessage("y")], options, print)


async def test_of_several_recordings_of_a_call_the_one_with_the_same_prompt_is_played(
    recorded: Path, completions: Completions
) -> None:
    record(recorded, json.loads(line(reply="of another run")))
    async with open_models(ModelSettings(mode="replay", cassette=recorded), completions) as models:
        for text, reply in (("first", "one, by ***"), ("else", "of another run")):
            call = Call(f"run-{text}", "coder", "s1", 0)
            said = await models.complete(call, [HumanMessage(text)], Options(), print)
            assert said.text == reply


@pytest.mark.parametrize("damage", ["{", "[]", '{"agent": "coder"}', line(ordinal="many")])
async def test_a_damaged_tape_is_refused_by_file_and_line(
    damage: str, tape: Path, completions: Completions
) -> None:
    await asyncio.to_thread(tape.write_text, "\n".join([line(), "", line(), damage]))
    async with open_models(ModelSettings(mode="replay", cassette=tape), completions) as models:
        with pytest.raises(ModelError, match=r"tape\.jsonl, line 4: "):
            await models.probe()


async def test_a_replay_arrives_in_pieces_whose_sum_is_the_reply() -> None:
    text = "  def f():\n\n\treturn 1  \n\n"
    replay = ReplayModel(exchange=Exchange.model_validate_json(line(reply=text)))
    pieces = [str(chunk.text) async for chunk in replay.astream([HumanMessage("x")])]
    assert "".join(pieces) == text and len([piece for piece in pieces if piece]) == 5
