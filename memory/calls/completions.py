"""Completions of models, in one table: cache, budget ledger and source of cassettes."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, select, update

from memory.calls.budget import (
    LEAST_OUTPUT,
    BudgetKind,
    BudgetLimits,
    BudgetSpent,
    Estimate,
    Sums,
    allowed_output,
)
from memory.calls.reply import Answer, Spent, StoredReply, dump_calls, load_calls
from memory.records.database import Database, read_only, transaction
from memory.records.tables import completions, runs
from memory.secrets import masked, masked_tokens
from memory.validation import read_json

POLL_SECONDS = 1.0
"""Time between two looks for settled calls of other processes, which wake nobody here."""


@dataclass(frozen=True)
class CallKey:
    """Identity of a call: the `ordinal`th of an agent's step in a run, for one prompt."""

    # The model is left out, so a paid reply stays good when the model is changed.
    run_id: str
    agent: str
    step_id: str
    ordinal: int
    prompt_hash: str


@dataclass(frozen=True)
class Grant:
    """A reservation with the output tokens that it pays for. `capped` names the limit that lowered them."""

    number: int
    output_tokens: int
    capped: BudgetKind | None


@dataclass(frozen=True)
class ModelUsage:
    """Usage of one model by one agent in a run. `cost_usd` is None if a price is unknown.

    `estimated` is true if the tokens of a call are an estimate.
    """

    agent: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float
    estimated: bool = False
    cached_tokens: int = 0


USAGE = ("input_tokens", "output_tokens", "cost_usd", "seconds", "cached_tokens")
"""The columns of a call's usage in a cassette."""


class Completions:
    """The table of calls. A row is `reserved` during its call, then `settled` with a reply or `abandoned`."""

    def __init__(self, database: Database, secrets: Sequence[str]) -> None:
        self._database = database
        self._secrets = tuple(secrets)
        self._freed = asyncio.Event()

    @read_only
    def lookup(self, connection: Connection, key: CallKey) -> StoredReply | None:
        """Return the stored reply of exactly this call, or None, also for one that cannot be read."""
        same = (completions.c[name] == value for name, value in vars(key).items())
        table = completions.c
        query = select(completions).where(*same, table.state == "settled").order_by(table.number.desc())
        # Two processes that ran the same run after a lost lease may both have settled the call.
        row = connection.execute(query.limit(1)).one_or_none()
        try:
            return _reply(row) if row else None
        except (TypeError, ValueError):
            return None

    async def reserve(
        self,
        key: CallKey,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        estimate: Estimate,
        limits: BudgetLimits,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Grant:
        """Reserve budget for a call. Raises BudgetSpent.

        The rest of the budget caps the reply. If calls in flight hold what this one lacks, it waits until
        they have settled, because most calls take less than they reserve.
        """
        # Nothing but cassettes is made of the messages, so they need no keys that a repository holds.
        shown = json.dumps(masked_tokens(list(messages), self._secrets))
        texts = {"model": model, "messages": shown, "state": "reserved"}
        row = {**vars(key), **texts, "tools": json.dumps(list(tools)) if tools else None}
        while True:
            freed = self._freed  # before the attempt, to notice a call that settles during it
            attempt = asyncio.ensure_future(self._reserve(row, estimate, limits))
            try:
                grant = await asyncio.shield(attempt)
            except asyncio.CancelledError:
                # The transaction finishes although its caller was cancelled, so its reservation must go.
                if late := await attempt:
                    await self.release(late)
                raise
            if grant:
                return grant
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await freed.wait()

    @transaction
    def settle(self, connection: Connection, grant: Grant, answer: Answer, spent: Spent) -> Sums:
        """Store the reply and its usage. Return the run's totals."""
        values = {**vars(spent), "state": "settled", "reply": answer.text, "cut": answer.cut}
        if answer.tool_calls:
            values["tool_calls"] = json.dumps(dump_calls(answer.tool_calls))
        if answer.reasoning:
            values["reasoning"] = json.dumps(dict(answer.reasoning))
        return self._close(connection, grant, values)

    @transaction
    def abandon(self, connection: Connection, grant: Grant, spent: Spent) -> Sums:
        """Count a call without a usable reply: dropped, timed out, cancelled, or cut short by the budget."""
        return self._close(connection, grant, {**vars(spent), "state": "abandoned"})

    @transaction
    def release(self, connection: Connection, grant: Grant) -> None:
        """Undo the reservation of a call that the provider refused and did not bill."""
        connection.execute(completions.delete().where(completions.c.number == grant.number))
        self._database.after_commit(self._wake)

    @transaction
    def abandon_all(self, connection: Connection, run_id: str) -> None:
        """Count the calls that a dead process left reserved, at the price of their prompts alone."""
        # Nobody knows whether the provider billed a reply that never arrived.
        left = and_(completions.c.run_id == run_id, completions.c.state == "reserved")
        lost = {"state": "abandoned", "output_tokens": 0, "cost_usd": completions.c.prompt_cost_usd}
        connection.execute(update(completions).where(left).values(lost))

    @read_only
    def options(self, connection: Connection, run_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return a run's options. Those that a resume gave win."""
        raised = connection.scalar(select(runs.c.limits).where(runs.c.id == run_id))
        return {**options, **json.loads(raised or "{}")}

    @read_only
    def check_time(self, connection: Connection, run_id: str, limits: BudgetLimits) -> None:
        """Raise BudgetSpent if the run has used up its time."""
        seconds = _seconds(connection, run_id)
        if limits.seconds is not None and seconds >= limits.seconds:
            raise BudgetSpent("seconds", seconds, limits.seconds)

    @read_only
    def seconds(self, connection: Connection, run_id: str) -> float:
        """Return the seconds that a run has been at work."""
        return _seconds(connection, run_id)

    @read_only
    def sums(self, connection: Connection, run_id: str) -> Sums:
        """Return the run's totals without calls in flight."""
        return _sums(connection, run_id, in_flight=False)

    @read_only
    def usage(self, connection: Connection, *run_ids: str) -> list[ModelUsage]:
        """Return the usage of each model by each agent in runs, in the order of their first calls."""
        table = completions.c
        sums = [func.sum(table[name]).label(name) for name in USAGE if name != "cost_usd"]
        # A plain sum would pass over the calls without a price.
        all_priced = func.count(table.cost_usd) == func.count()
        cost = case((all_priced, func.sum(table.cost_usd))).label("cost_usd")
        estimated = _any_estimated().label("estimated")
        query = (
            select(table.agent, table.model, func.count().label("calls"), *sums, cost, estimated)
            .where(table.run_id.in_(run_ids), table.state != "reserved")
            .group_by(table.agent, table.model)
            .order_by(func.min(table.number))
        )
        rows = (row._asdict() for row in connection.execute(query))
        return [ModelUsage(**{**row, "estimated": bool(row["estimated"])}) for row in rows]

    @read_only
    def exchange(self, connection: Connection, grant: Grant) -> dict[str, Any]:
        """Return a settled call as a line of a cassette, secrets masked."""
        row = connection.execute(select(completions).where(completions.c.number == grant.number)).one()
        return self._line(row)

    @read_only
    def exchanges(self, connection: Connection, run_id: str) -> list[dict[str, Any]]:
        """Return the settled calls of a run, oldest first, as lines of a cassette with secrets masked."""
        settled = and_(completions.c.run_id == run_id, completions.c.state == "settled")
        query = select(completions).where(settled).order_by(completions.c.number)
        return [self._line(row) for row in connection.execute(query)]

    def _line(self, row: Row[Any]) -> dict[str, Any]:
        line = {
            "agent": row.agent,
            "step": row.step_id,
            "ordinal": row.ordinal,
            "prompt_hash": row.prompt_hash,
            "model": row.model,
            "messages": json.loads(row.messages),
            "reply": row.reply,
            "usage": {name: getattr(row, name) for name in USAGE},
        }
        # Absent rather than null, so that the line of a call without tools is as short as ever.
        parts = {name: getattr(row, name) for name in ("tools", "tool_calls", "reasoning")}
        line |= {name: json.loads(text) for name, text in parts.items() if text}
        return dict(masked(line, self._secrets))

    @transaction
    def _reserve(
        self, connection: Connection, row: dict[str, Any], estimate: Estimate, limits: BudgetLimits
    ) -> Grant | None:
        """Try once to reserve. None if calls in flight hold what is lacking."""
        run_id = row["run_id"]
        # On PostgreSQL the lock on the run's row keeps two processes from reserving the same rest.
        query = select(runs.c.seconds).where(runs.c.id == run_id).with_for_update()
        seconds = connection.scalar(query) or 0.0
        if limits.seconds is not None and seconds >= limits.seconds:
            raise BudgetSpent("seconds", seconds, limits.seconds)
        sums = _sums(connection, run_id, in_flight=True)
        tokens, kind = allowed_output(estimate, limits, sums)
        if tokens < estimate.output_tokens and _in_flight(connection, run_id):
            return None
        # A short estimate may ask for less than LEAST_OUTPUT, and then that is enough.
        if kind and tokens < min(LEAST_OUTPUT, estimate.output_tokens):
            limit = limits.cost_usd if kind == "cost" else limits.tokens
            raise BudgetSpent(kind, sums.cost_usd if kind == "cost" else sums.tokens, limit or 0)
        row |= {"input_tokens": estimate.input_tokens, "output_tokens": tokens}
        if estimate.input_price is not None and estimate.output_price is not None:
            row["prompt_cost_usd"] = estimate.input_tokens * estimate.input_price
            row["cost_usd"] = row["prompt_cost_usd"] + tokens * estimate.output_price
        result = connection.execute(completions.insert().values(row))
        (number,) = result.inserted_primary_key or (0,)
        return Grant(number, tokens, kind)

    def _close(self, connection: Connection, grant: Grant, values: dict[str, Any]) -> Sums:
        change = update(completions).where(completions.c.number == grant.number).values(values)
        run_id = connection.scalar(change.returning(completions.c.run_id))
        self._database.after_commit(self._wake)
        return _sums(connection, run_id or "", in_flight=False)

    def _wake(self) -> None:
        """Let the calls that wait for budget try again."""
        self._freed.set()
        self._freed = asyncio.Event()


def _seconds(connection: Connection, run_id: str) -> float:
    return connection.scalar(select(runs.c.seconds).where(runs.c.id == run_id)) or 0.0


def _reply(row: Row[Any]) -> StoredReply:
    return StoredReply(
        row.reply,
        cut=row.cut,
        tool_calls=load_calls(row.tool_calls),
        reasoning=read_json(row.reasoning or "{}"),
        **{name: getattr(row, name) for name in ("model", "estimated", *USAGE) if name != "seconds"},
    )


def _sums(connection: Connection, run_id: str, *, in_flight: bool) -> Sums:
    tokens = func.sum(completions.c.input_tokens + completions.c.output_tokens)
    unpriced = func.count() - func.count(completions.c.cost_usd)
    query = select(tokens, func.sum(completions.c.cost_usd), unpriced, _any_estimated())
    query = query.where(completions.c.run_id == run_id)
    if not in_flight:
        query = query.where(completions.c.state != "reserved")
    row = connection.execute(query).one()
    return Sums(int(row[0] or 0), float(row[1] or 0.0), bool(row[2]), bool(row[3]))


def _any_estimated() -> ColumnElement[int]:
    """Count the estimated calls. PostgreSQL has no maximum of booleans."""
    return func.sum(case((completions.c.estimated, 1), else_=0))


def _in_flight(connection: Connection, run_id: str) -> bool:
    own = and_(completions.c.run_id == run_id, completions.c.state == "reserved")
    return connection.scalar(select(completions.c.number).where(own).limit(1)) is not None
