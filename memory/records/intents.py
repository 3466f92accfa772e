"""Intents of tool steps, stored before their effects, and the results that follow.

An intent without a result means that the process ended in between: the effect may have happened.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select, update

from memory.records.database import Database, now, read_only, transaction
from memory.records.tables import intents
from memory.secrets import masked


@dataclass(frozen=True)
class IntentKey:
    """One attempt at a step of a run. A step is attempted again if its changes did not merge."""

    run_id: str
    step_id: str
    attempt: int


@dataclass(frozen=True)
class Intent:
    """A call of a tool. `result` is None if the call has not ended, as far as anybody knows."""

    tool: str
    params: Mapping[str, Any]
    begun: str
    result: Mapping[str, Any] | None = None


class Intents:
    """The table of intents."""

    def __init__(self, database: Database, secrets: Sequence[str] = ()) -> None:
        self._database = database
        self._secrets = tuple(secrets)

    @read_only
    def get(self, connection: Connection, key: IntentKey) -> Intent | None:
        """Return the intent of an attempt."""
        row = connection.execute(select(intents).where(_attempt(key))).one_or_none()
        return _intent(row) if row else None

    @transaction
    def begin(self, connection: Connection, key: IntentKey, tool: str, params: Mapping[str, Any]) -> None:
        """Store an intent. Its effect may begin once this is stored."""
        row = self._database.insert(intents).values(
            **vars(key), tool=tool, params=json.dumps(dict(params)), begun=now()
        )
        # A tool without effects outside is repeated after a crash, and its intent is there already.
        connection.execute(row.on_conflict_do_nothing())

    @transaction
    def finish(self, connection: Connection, key: IntentKey, result: Mapping[str, Any]) -> Intent:
        """Store the result of an attempt, without secrets, and return it with its intent."""
        text = json.dumps(masked(dict(result), self._secrets))
        stored = update(intents).where(_attempt(key)).values(result=text).returning(intents)
        return _intent(connection.execute(stored).one())

    @transaction
    def copy(self, connection: Connection, run_id: str, copy_id: str) -> None:
        """Copy the intents of a run to another one, which goes on where that run is now."""
        rows = connection.execute(select(intents).where(intents.c.run_id == run_id)).mappings()
        if copies := [{**row, "run_id": copy_id} for row in rows]:
            connection.execute(intents.insert(), copies)


def _intent(row: Row[Any]) -> Intent:
    return Intent(row.tool, json.loads(row.params), row.begun, row.result and json.loads(row.result))


def _attempt(key: IntentKey) -> ColumnElement[bool]:
    return and_(*(intents.c[name] == value for name, value in vars(key).items()))
