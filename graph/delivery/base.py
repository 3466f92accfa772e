"""The commit where a delivery begins: the newest that the user has of it."""

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from nodes.proof import Proof
from tools.workspace import ApplyRecord, Workspace, WorkspaceError


@dataclass(frozen=True)
class DeliveryBase:
    """The snapshot that the user has. `since` is its newest delivered commit: the user may have more parts.

    `applied` is the thread's newest record, or None.
    """

    snapshot: str
    since: str
    applied: str | None

    @classmethod
    def whole(cls, workspace: Workspace, thread_id: str, first: str) -> "DeliveryBase":
        """Return the base of all that the thread has delivered."""
        return cls(first, first, _newest_id(workspace, thread_id))

    @classmethod
    def unapplied(cls, workspace: Workspace, thread_id: str, commit: str, first: str) -> "DeliveryBase":
        """Return the base of what the user has neither applied nor merged."""
        since = first
        with suppress(WorkspaceError):  # a branch without a commit
            since = _later(workspace, since, workspace.resolve("HEAD"), commit)
        newest = _newest_id(workspace, thread_id)
        for record in workspace.records(thread_id):
            if _is_taken_back(workspace, record, thread_id):
                continue
            # The branch of an earlier result may be gone.
            with suppress(WorkspaceError):
                if record.whole:
                    since = _later(workspace, since, record.target, commit)
                    break
                if is_within(workspace, record.target, commit):
                    if is_within(workspace, record.target, since):
                        break  # it was merged since
                    return cls(record.id, record.since, newest)
        return cls(since, since, newest)


def first_base(
    workspace: Workspace, start: str | None, commit: str, runs: Collection[str], proof: Proof | None
) -> str:
    """Return the commit that the first of the tasks in `commit` started from."""
    if start and is_within(workspace, start, commit):
        return start
    base = commit  # a thread of an earlier version has no `start`, but its commits name their runs
    while run_of(workspace, base) in runs:
        base = workspace.resolve(f"{base}^")
    if base != commit:
        return base
    return proof.base if proof else workspace.resolve(f"{commit}^")


def run_of(workspace: Workspace, commit: str) -> str | None:
    """Return the id of the run that delivered a commit, from its note."""
    with suppress(ValueError, RecursionError):  # anybody can write a note
        note = json.loads(workspace.read_note(commit) or "null")
        if isinstance(note, dict) and isinstance(note.get("run"), str):
            return str(note["run"])
    return None


def newest_record(workspace: Workspace, thread_id: str) -> ApplyRecord | None:
    """Return what the user applied last of a thread."""
    return next(workspace.records(thread_id), None)


def _is_taken_back(workspace: Workspace, record: ApplyRecord, thread_id: str) -> bool:
    """Return True for a record that a fork has of its original, where it was undone since."""
    if record.thread == thread_id or not workspace.held(record.thread):  # the original may be forgotten
        return False
    return all(other.id != record.id for other in workspace.records(record.thread))


def _newest_id(workspace: Workspace, thread_id: str) -> str | None:
    record = newest_record(workspace, thread_id)
    return record.id if record else None


def _later(workspace: Workspace, base: str, mark: str, commit: str) -> str:
    """Return the newest commit that `mark` and `commit` have in common, unless it is before `base`."""
    meeting = workspace.meeting(mark, commit)
    return meeting if meeting and is_within(workspace, base, meeting) else base


def is_within(workspace: Workspace, commit: str, other: str) -> bool:
    """Return whether `other` is the commit or comes after it."""
    return workspace.meeting(commit, other) == commit
