"""Consents that humans gave once and for all, by a key that names all that they cover."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from memory.records.database import Database, now, read_only, transaction
from memory.records.tables import consents


@dataclass(frozen=True)
class Consent:
    """A consent. `about` says what it covers, and is empty for those of older versions."""

    key: str
    given: str
    about: Mapping[str, Any]


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
    def give(self, connection: Connection, key: str, about: Mapping[str, Any] | None = None) -> None:
        """Remember that a human has agreed."""
        text = json.dumps(dict(about or {}))
        row = self._database.insert(consents).values(key=key, given=now(), about=text)
        connection.execute(row.on_conflict_do_nothing())

    @read_only
    def all(self, connection: Connection) -> list[Consent]:
        """Return all consents, the oldest first."""
        rows = connection.execute(select(consents).order_by(consents.c.given, consents.c.key))
        return [Consent(row.key, row.given, json.loads(row.about)) for row in rows]

    @transaction
    def revoke(self, connection: Connection, key: str) -> bool:
        """Forget a consent. Return False if there is none."""
        return connection.execute(delete(consents).where(consents.c.key == key)).rowcount == 1
