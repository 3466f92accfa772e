"""Results of checks on a base, which later runs on the same base reuse."""

from sqlalchemy import Connection, select

from memory.records.database import Database, read_only, transaction
from memory.records.tables import checks


class Checks:
    """The table of check results, by a key that names all that a result depends on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @read_only
    def check(self, connection: Connection, key: str) -> str | None:
        """Return the result that is stored under `key`, or None."""
        value: str | None = connection.scalar(select(checks.c.value).where(checks.c.key == key))
        return value

    @transaction
    def store_check(self, connection: Connection, key: str, value: str) -> None:
        """Store a result. It replaces an earlier one under the same key."""
        row = self._database.insert(checks).values(key=key, value=value)
        connection.execute(
            row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value})
        )
