"""What the journal's tables give: threads, runs and events as values, and who may not have a thread."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from memory.records.owner import Owner

LEASE_SECONDS = 15.0
"""How old a heartbeat may be before a process that cannot be seen from here counts as dead."""

UNFINISHED = ("queued", "running", "waiting")


@dataclass(frozen=True)
class Entry:
    """An event before it is written; one that is `whole` is never cut, however large."""

    thread_id: str
    run_id: str
    type: str
    data: Mapping[str, Any]
    node: str | None = None
    step_id: str | None = None
    whole: bool = False


@dataclass(frozen=True)
class Record:
    """One line of a thread's log; `seq` counts from 1 without gaps, `ts` is RFC 3339 UTC.

    `cut` says that `data` was too large for the log: `Journal.output` has it whole.
    """

    seq: int
    thread_id: str
    run_id: str
    ts: str
    type: str
    node: str | None
    step_id: str | None
    data: dict[str, Any]
    cut: bool = False

    @classmethod
    def of(cls, row: Any) -> "Record":
        """Read a row of the log."""
        return cls(**{**row._asdict(), "data": json.loads(row.data), "cut": bool(row.cut)})


@dataclass(frozen=True)
class ThreadRow:
    """A thread with the task, status and branch of its unfinished run, else of its newest.

    `owner` is the live process that holds it; the status of a thread without a run is `new`.
    """

    id: str
    task: str
    status: str
    repo: str
    branch: str | None
    created: str
    owner: str | None
    updated: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Any) -> "ThreadRow":
        """Read a row of threads joined with runs."""
        return cls(
            id=row.id,
            task=json.loads(row.input).get("task", "") if row.input else "",
            status=row.status or "new",
            repo=row.repo,
            branch=row.branch,
            created=row.created,
            owner=live_owner(row),
            updated=row.updated or row.created,
            metadata=json.loads(row.metadata),
        )


@dataclass(frozen=True)
class RunRow:
    """One run; `seconds` is the time it was at work, parks and crashes left out.

    Its status is `queued`, `running`, or that of its last `run.finished`; `started` is when it was asked for.
    """

    id: str
    thread_id: str
    input: dict[str, Any]
    status: str
    branch: str | None
    started: str
    finished: str | None
    seconds: float
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Any) -> "RunRow":
        """Read a row of runs."""
        values = row._asdict()
        del values["number"]
        return cls(**{**values, "input": json.loads(row.input), "metadata": json.loads(row.metadata)})


class ThreadBusy(Exception):
    """Another live process holds the thread."""

    def __init__(self, thread_id: str, owner: str) -> None:
        holder = Owner.parse(owner)
        who = f"process {holder.pid} on {holder.host}" if holder else owner
        super().__init__(f"thread {thread_id} is being run by {who}; wait for it, or cancel the thread")
        self.owner = owner


class RunUnfinished(ThreadBusy):
    """The thread has a run that is queued, runs, or waits for a human."""

    def __init__(self, thread_id: str, run: str, status: str) -> None:
        Exception.__init__(
            self,
            f"thread {thread_id} has an unfinished run ({run}, {status}); resume or cancel it first, "
            "enqueue behind it, or interrupt it",
        )
        self.owner = ""


def now() -> str:
    """The time, as RFC 3339 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def live_owner(row: Any) -> str | None:
    """The lease's owner while its heartbeat is fresh and its process not known to be dead."""
    if not row.owner or time.time() - row.heartbeat >= LEASE_SECONDS:
        return None
    owner = Owner.parse(row.owner)
    return None if owner and owner.died() else str(row.owner)
