"""Completions: one table that is cache, budget ledger and tape of every model call."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, Row, and_, bindparam, cast, func, select, update

from memory.records.budget import LEAST_OUTPUT, BudgetSpent, Estimate, Kind, Limits, Sums, room
from memory.records.database import Database, transaction, view
from memory.records.tables import completions, runs

ANOTHER_LOOK_SECONDS = 1.0
"""How often a call that waits for its share looks whether another process's call has settled."""

CALL = ("run_id", "agent", "step_id", "ordinal", "prompt_hash")
SETTLED = (
    select(completions)
    .where(*(completions.c[name] == bindparam(name) for name in CALL), completions.c.state == "settled")
    .order_by(completions.c.number.desc())
    .limit(1)
)
LOCK = select(runs.c.seconds).where(runs.c.id == bindparam("run")).with_for_update()
HELD = select(
    func.sum(completions.c.input_tokens + completions.c.output_tokens),
    cast(func.sum(completions.c.cost_usd), Float),
).where(completions.c.run_id == bindparam("run"))
TAKEN = HELD.where(completions.c.state != "reserved")
IN_FLIGHT = (
    select(func.count())
    .select_from(completions)
    .where(completions.c.run_id == bindparam("run"), completions.c.state == "reserved")
)
INSERT = completions.insert()
CLOSE = update(completions).where(completions.c.number == bindparam("of")).returning(completions.c.run_id)
"""Made once: SQLAlchemy takes longer over a statement than SQLite does."""


@dataclass(frozen=True)
class Key:
    """Which call: the `ordinal`th of an agent's step in a run, for one prompt."""

    run: str
    agent: str
    step: str
    ordinal: int
    prompt_hash: str


@dataclass(frozen=True)
class Grant:
    """A reservation, and how many tokens of reply it pays for."""

    number: int
    output_tokens: int
    capped: Kind | None


@dataclass(frozen=True)
class Spent:
    """What a call took; `cost_usd` is None where the price is unknown."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float


@dataclass(frozen=True)
class Stored:
    """A reply that was paid for before."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


@dataclass(frozen=True)
class Usage:
    """What one agent took of one model in a run; `cost_usd` is None where a price is unknown."""

    agent: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float


class Completions:
    """The table. A row is `reserved` while its call runs, then `settled` with a reply or `abandoned`."""

    def __init__(self, database: Database, masked: Callable[[Any], Any]) -> None:
        self._database = database
        self._masked = masked
        self._freed = asyncio.Event()

    @view
    def lookup(self, connection: Connection, key: Key) -> Stored | None:
        """The reply stored for exactly this call, or None."""
        row = connection.execute(SETTLED, _call(key)).one_or_none()
        if row is None:
            return None
        return Stored(row.reply, row.model, row.input_tokens, row.output_tokens, row.cost_usd)

    async def reserve(
        self,
        key: Key,
        model: str,
        messages: Sequence[Mapping[str, str]],
        estimate: Estimate,
        limits: Limits,
    ) -> Grant:
        """Set room aside for a call, or raise BudgetSpent.

        What is left caps the reply. Where calls in flight hold what this one lacks, it waits until they have
        settled: they mostly take less than they reserved.
        """
        row = {
            **_call(key),
            "model": model,
            "messages": json.dumps(list(messages)),
            "state": "reserved",
        }
        while True:
            freed = self._freed
            attempt = asyncio.ensure_future(self._reserve(row, estimate, limits))
            try:
                grant = await asyncio.shield(attempt)
            except asyncio.CancelledError:
                if late := await attempt:
                    await self.release(late)
                raise
            if grant:
                return grant
            with suppress(TimeoutError):
                async with asyncio.timeout(ANOTHER_LOOK_SECONDS):
                    await freed.wait()

    @transaction
    def _reserve(
        self, connection: Connection, row: dict[str, Any], estimate: Estimate, limits: Limits
    ) -> Grant | None:
        """One attempt; None when others hold what is lacking. The run's row is the lock on PostgreSQL."""
        run = {"run": row["run_id"]}
        seconds = connection.scalar(LOCK, run) or 0.0
        if limits.seconds is not None and seconds >= limits.seconds:
            raise BudgetSpent("seconds", seconds, limits.seconds)
        sums = _sums(connection.execute(HELD, run).one())
        tokens, kind = room(estimate, limits, sums)
        if tokens < estimate.output_tokens and connection.scalar(IN_FLIGHT, run):
            return None
        if kind and tokens < min(LEAST_OUTPUT, estimate.output_tokens):
            limit = limits.cost_usd if kind == "cost" else limits.tokens
            raise BudgetSpent(kind, sums.cost_usd if kind == "cost" else sums.tokens, limit or 0)
        row |= {"input_tokens": estimate.input_tokens, "output_tokens": tokens}
        if estimate.input_price is not None and estimate.output_price is not None:
            row["prompt_cost_usd"] = estimate.input_tokens * estimate.input_price
            row["cost_usd"] = row["prompt_cost_usd"] + tokens * estimate.output_price
        result = connection.execute(INSERT, row)
        (number,) = result.inserted_primary_key or (0,)
        return Grant(number, tokens, kind)

    async def settle(self, grant: Grant, reply: str, spent: Spent) -> Sums:
        """Store the reply and what it really took; returns the run's sums."""
        try:
            return await self._close(grant, {**vars(spent), "state": "settled", "reply": reply})
        finally:
            self._wake()

    async def abandon(self, grant: Grant, spent: Spent) -> Sums:
        """Count a call without a usable reply: dropped, timed out, cancelled, or cut short by the budget."""
        try:
            return await self._close(grant, {**vars(spent), "state": "abandoned"})
        finally:
            self._wake()

    async def release(self, grant: Grant) -> None:
        """Undo a reservation for a call that the provider refused and did not bill."""
        try:
            await self._release(grant)
        finally:
            self._wake()

    @transaction
    def abandon_all(self, connection: Connection, run_id: str) -> None:
        """For a resume: count what a dead process left reserved, at the prompts' price alone."""
        left = and_(completions.c.run_id == run_id, completions.c.state == "reserved")
        lost = {"state": "abandoned", "output_tokens": 0, "cost_usd": completions.c.prompt_cost_usd}
        connection.execute(update(completions).where(left).values(lost))

    @view
    def sums(self, connection: Connection, run_id: str) -> Sums:
        """What the run has taken so far, calls in flight left out."""
        return _sums(connection.execute(TAKEN, {"run": run_id}).one())

    @view
    def usage(self, connection: Connection, run_id: str) -> list[Usage]:
        """What each agent took of each model, in the order of their first calls."""
        table = completions.c
        query = (
            select(
                table.agent,
                table.model,
                func.count().label("calls"),
                func.sum(table.input_tokens).label("input_tokens"),
                func.sum(table.output_tokens).label("output_tokens"),
                func.sum(table.cost_usd).label("cost_usd"),
                func.sum(table.seconds).label("seconds"),
                func.count(table.cost_usd).label("priced"),
            )
            .where(table.run_id == run_id, table.state != "reserved")
            .group_by(table.agent, table.model)
            .order_by(func.min(table.number))
        )
        rows = [row._asdict() for row in connection.execute(query).all()]
        return [
            Usage(**(row if row.pop("priced") == row["calls"] else row | {"cost_usd": None})) for row in rows
        ]

    async def export(self, run_id: str) -> list[dict[str, Any]]:
        """The run as a tape: one JSON object an exchange, secrets masked."""
        return await self._exchanges(completions.c.run_id == run_id)

    async def exchange(self, grant: Grant) -> dict[str, Any]:
        """One settled call as a line of a tape, secrets masked."""
        (line,) = await self._exchanges(completions.c.number == grant.number)
        return line

    @view
    def _exchanges(self, connection: Connection, which: ColumnElement[bool]) -> list[dict[str, Any]]:
        table = completions.c
        query = select(completions).where(which, table.state == "settled").order_by(table.number)
        rows = connection.execute(query).all()
        return [self._masked(_line(row)) for row in rows]

    @transaction
    def _close(self, connection: Connection, grant: Grant, values: dict[str, Any]) -> Sums:
        run_id = connection.scalar(CLOSE, {"of": grant.number, **values})
        return _sums(connection.execute(TAKEN, {"run": run_id or ""}).one())

    @transaction
    def _release(self, connection: Connection, grant: Grant) -> None:
        connection.execute(completions.delete().where(completions.c.number == grant.number))

    def _wake(self) -> None:
        """Let the calls that wait for a share look again."""
        self._freed.set()
        self._freed = asyncio.Event()


def _call(key: Key) -> dict[str, Any]:
    return dict(zip(CALL, (key.run, key.agent, key.step, key.ordinal, key.prompt_hash), strict=True))


def _sums(row: Row[int, float]) -> Sums:
    tokens, cost = row
    return Sums(int(tokens or 0), float(cost or 0.0))


def _line(row: Row[Any]) -> dict[str, Any]:
    usage = ("input_tokens", "output_tokens", "cost_usd", "seconds")
    return {
        "agent": row.agent,
        "step": row.step_id,
        "ordinal": row.ordinal,
        "prompt_hash": row.prompt_hash,
        "model": row.model,
        "messages": json.loads(row.messages),
        "reply": row.reply,
        "usage": {name: getattr(row, name) for name in usage},
    }
