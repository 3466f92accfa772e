"""The journal: threads and who holds them, their runs, the append-only event log, checks of bases."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from memory.records.approvals import Approvals
from memory.records.budget import BudgetSpent
from memory.records.completions import Completions
from memory.records.database import Database, JournalError, transaction, view
from memory.records.episodes import Episodes
from memory.records.notes import Notes
from memory.records.rows import Entry, Record, RunRow, RunUnfinished, ThreadBusy, ThreadRow
from memory.records.tables import checks
from memory.secrets import masked

__all__ = [
    "BudgetSpent",
    "Entry",
    "Journal",
    "JournalError",
    "Record",
    "RunRow",
    "RunUnfinished",
    "ThreadBusy",
    "ThreadRow",
]


class Journal(Approvals, Notes):
    """Everything durable but the checkpoints: `completions` for the models, `episodes` for memory."""

    def __init__(self, database: Database, secrets: Sequence[str] = ()) -> None:
        self._database = database
        self._secrets = tuple(secret for secret in secrets if secret)
        self.completions = Completions(database, self._masked)
        self.episodes = Episodes(database, self._masked)

    @classmethod
    async def open(cls, url: str, secrets: Sequence[str] = ()) -> "Journal":
        """Open `sqlite:///PATH` or `postgresql://…`; what equals one of `secrets` is logged as ***."""
        return cls(await Database.open(url), secrets)

    async def aclose(self) -> None:
        """Close the database."""
        await self._database.aclose()

    @view
    def check(self, connection: Connection, key: str) -> str | None:
        """What was stored under `key` for a check on a base, or None."""
        value: str | None = connection.scalar(select(checks.c.value).where(checks.c.key == key))
        return value

    @transaction
    def store_check(self, connection: Connection, key: str, value: str) -> None:
        """Keep a check's result; a later one under the same key replaces it."""
        row = self._database.insert(checks).values(key=key, value=value)
        connection.execute(
            row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value})
        )

    def _masked(self, value: Any) -> Any:
        return masked(value, self._secrets)
