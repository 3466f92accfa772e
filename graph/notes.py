"""A user's note to a task that is under way."""

from graph.errors import InputError, RunnerError, UnknownThread
from memory.records.journal import Journal
from nodes.events import Event, NoteAdded
from nodes.publish import Draft

LONGEST = 20_000


async def note(journal: Journal[Event], thread_id: str, text: str) -> Event:
    """Write a note to a thread's unfinished run, wherever it runs; the next call of an agent sees it.

    Raises InputError, UnknownThread, and RunnerError where no run is left to hear it.
    """
    if not text.strip():
        raise InputError("the note is empty")
    if len(text) > LONGEST:
        raise InputError(f"the note is longer than {LONGEST} characters; put the rest into a file")
    if await journal.threads.get(thread_id) is None:
        raise UnknownThread(f"there is no thread {thread_id}; `autocode threads` lists them")
    event = await journal.notes.add(thread_id, Draft(NoteAdded(role="user", text=text)))
    if event is None:
        raise RunnerError(f"thread {thread_id} has no unfinished run to hear a note; start another run")
    return event
