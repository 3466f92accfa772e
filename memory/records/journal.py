"""The journal of a home: threads, their runs and events, and all that runs leave behind."""

from collections.abc import Callable, Sequence
from typing import Any, Generic

from memory.calls.completions import Completions
from memory.calls.tool_calls import ToolCalls
from memory.records.approvals import Approvals
from memory.records.checks import Checks
from memory.records.consents import Consents
from memory.records.database import Database
from memory.records.episodes import Episodes
from memory.records.events import E, Events
from memory.records.intents import Intents
from memory.records.notes import Notes
from memory.records.runs import Runs
from memory.records.threads import Threads


class Journal(Generic[E]):
    """Everything that one database holds, except the checkpoints."""

    def __init__(self, database: Database, parse: Callable[[Any], E], secrets: Sequence[str] = ()) -> None:
        self._database = database
        self.threads = Threads(database)
        self.events = Events(database, parse, secrets)
        self.runs = Runs(database, self.events)
        self.approvals = Approvals(database, self.events)
        self.notes = Notes(database, self.events)
        self.checks = Checks(database)
        self.consents = Consents(database)
        self.intents = Intents(database, secrets)
        self.completions = Completions(database, secrets)
        self.tool_calls = ToolCalls(database)
        self.episodes = Episodes(database, secrets)

    @classmethod
    async def open(cls, url: str, parse: Callable[[Any], E], secrets: Sequence[str] = ()) -> "Journal[E]":
        """Open `sqlite:///PATH` or `postgresql://…`.

        `parse` validates the stored form of an event. Each of `secrets` is stored as `***`.
        """
        return cls(await Database.open(url, secrets), parse, secrets)

    async def aclose(self) -> None:
        """Close the database."""
        await self._database.aclose()
