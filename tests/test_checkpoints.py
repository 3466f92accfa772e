"""Checkpoints: durable, strict, in the journal's own file."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from memory.records.checkpoints import open_checkpointer
from memory.records.database import JournalError
from memory.records.journal import Journal
from nodes.events import EVENT


class Counted(TypedDict, total=False):
    answer: str
    calls: list[str]


class Foreign:
    """A type that nothing allows."""


def ask(state: Counted) -> Counted:
    return {"answer": interrupt({"kind": "question"}), "calls": [*state.get("calls", []), "ask"]}


def graph(saver: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    builder = StateGraph(Counted)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


async def test_an_interrupted_graph_goes_on_in_another_process_life(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'home' / 'autocode.db'}"
    config: Any = {"configurable": {"thread_id": "t"}}
    journal = await Journal.open(url, EVENT.validate_python)
    async with open_checkpointer(url) as saver:
        paused = await graph(saver).ainvoke({"calls": []}, config, durability="sync")
        assert paused["__interrupt__"][0].value == {"kind": "question"}
        await journal.threads.acquire("t", "/repo", "me")
    async with open_checkpointer(url) as saver:
        done = await graph(saver).ainvoke(Command(resume="yes"), config, durability="sync")
    assert done == {"answer": "yes", "calls": ["ask"]}
    assert [thread.id for thread in await journal.threads.all()] == ["t"]
    await journal.aclose()


async def test_a_type_that_is_not_allowed_is_never_revived_from_a_checkpoint(tmp_path: Path) -> None:
    async with open_checkpointer(f"sqlite:///{tmp_path / 'autocode.db'}") as saver:
        stored = saver.serde.dumps_typed({"plain": (1, "two"), "path": Path("x")})
        assert saver.serde.loads_typed(stored) == {"plain": [1, "two"], "path": Path("x")}
        try:
            revived = saver.serde.loads_typed(saver.serde.dumps_typed(Foreign()))
        except (TypeError, ValueError):
            return
        assert not isinstance(revived, Foreign)


async def test_a_damaged_file_and_another_database_are_refused_clearly(tmp_path: Path) -> None:
    damaged = tmp_path / "autocode.db"
    damaged.write_bytes(b"this is no database " * 100)
    with pytest.raises(JournalError, match="damaged"):
        async with open_checkpointer(f"sqlite:///{damaged}"):
            pass
    with pytest.raises(JournalError, match="SQLite alone"):
        async with open_checkpointer("postgresql://somebody:password@host/database"):
            pass


async def test_a_write_that_is_cancelled_midway_locks_nobody_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'autocode.db'}"
    at: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}}
    journal = await Journal.open(url, EVENT.validate_python)
    async with open_checkpointer(url) as saver:
        for moments in range(1, 20):
            writes = [
                asyncio.create_task(saver.aput(at, empty_checkpoint(), {}, {})),
                asyncio.create_task(saver.aput_writes(at, [("channel", "x")], "task")),
            ]
            for _ in range(moments):
                await asyncio.sleep(0)
            for write in writes:
                write.cancel()
                with suppress(asyncio.CancelledError):
                    await write
            await journal.checks.store_check("key", str(moments))
    await journal.aclose()
