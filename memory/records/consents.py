"""Consents that humans gave once and for all, by a key that names all that they cover."""

from sqlalchemy import Connection, select

from memory.records.database import Database, now, read_only, transaction
from memory.records.tables import consents


class Consents:
    """The table of consents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @read_only
    def given(self, connection: Connection, key: str) -> bool:
        """Return whether a human has agreed to what `key` names."""
        found = connection.scalar(select(consents.c.given).where(consents.c.key == key))
        return found is not None

    @transaction
    def give(self, connection: Connection, key: str) -> None:
        """Remember that a human has agreed."""
        row = self._database.insert(consents).values(key=key, given=now())
        connection.execute(row.on_conflict_do_nothing())
