"""Results of the tools that agents called. Each is stored before the model sees it, and never made twice."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from memory.records.database import Database, read_only, transaction
from memory.records.tables import tool_calls


@dataclass(frozen=True)
class ToolCallKey:
    """Identity of a tool call: the `position`th of a reply, which is the `ordinal`th of an agent's step.

    `arguments` are JSON.
    """

    run_id: str
    agent: str
    step_id: str
    ordinal: int
    position: int
    name: str
    arguments: str


@dataclass(frozen=True)
class StoredResult:
    """The result of a call as the model sees it. `snapshot` holds the agent's files after the call."""

    result: str
    snapshot: str
    exit_code: int | None
    seconds: float


class ToolCalls:
    """The table of tool calls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @read_only
    def lookup(self, connection: Connection, key: ToolCallKey) -> StoredResult | None:
        """Return the stored result of exactly this call, or None."""
        table = tool_calls.c
        same = (table[name] == value for name, value in vars(key).items())
        columns = (table.result, table.snapshot, table.exit_code, table.seconds)
        row = connection.execute(select(*columns).where(*same).order_by(table.number).limit(1)).one_or_none()
        return StoredResult(*row) if row else None

    @transaction
    def store(self, connection: Connection, key: ToolCallKey, result: StoredResult) -> None:
        """Store a result."""
        connection.execute(tool_calls.insert().values(**vars(key), **vars(result)))
