"""Names of threads on the command line: an id, a unique prefix of one, or `last`."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from server.cli.exit_codes import UsageError
from server.cli.views.format import one_line

if TYPE_CHECKING:
    from graph.settings import Settings
    from memory.records.journal import Journal
    from memory.records.threads import ThreadRow
    from nodes.events import Event

SHOWN = 5
"""Number of threads that an error names."""


@asynccontextmanager
async def open_journal(settings: "Settings") -> AsyncIterator["Journal[Event]"]:
    """Open the records of all threads."""
    from graph import event_log  # imports the events, which --help does not need

    async with aclosing(await event_log.open_journal(settings)) as journal:
        yield journal


async def find_thread(journal: "Journal[Event]", name: str) -> "ThreadRow":
    """Return the thread with this id or prefix, or the one that was last at work. Raises UsageError."""
    if exact := await journal.threads.get(name):
        return exact
    rows = await journal.threads.all()
    if name == "last" and rows:
        return max(rows, key=lambda row: row.updated)  # the first of several, and they are newest first
    matching = [row for row in rows if name and row.id.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(f"{one_line(name)} names {len(matching)} threads: {_ids(matching)}; add letters")
    known = f"the newest are {_ids(rows)}; `autocode threads` lists all" if rows else "there are none yet"
    raise UsageError(f"there is no thread {one_line(name)}; {known}")


def _ids(rows: "list[ThreadRow]") -> str:
    ids = ", ".join(one_line(row.id) for row in rows[:SHOWN])
    return f"{ids}, …" if len(rows) > SHOWN else ids
