"""Records of applications: commits from which an undo knows the checkout before and after each of them."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pygit2

from tools.workspace.errors import WorkspaceError
from tools.workspace.listing import TreeEntry
from tools.workspace.objects import EMAIL, NAME, Objects

MOST_RECORDS = 10_000

_SUBJECT = "Record of an application by AutoCodeAI"


@dataclass(frozen=True)
class Application:
    """An application of a thread's result. `expected` is the thread's newest record before it.

    The part that is applied goes from `base` to `taken`, of a delivery whose newest commit is `target`.
    `since` is the delivered commit that the user has had so far.
    """

    thread: str
    expected: str | None
    base: str
    taken: str
    target: str
    since: str


@dataclass(frozen=True)
class ApplyRecord:
    """A stored application. Its id names a snapshot with all of the delivery that the user has.

    `before` and `after` are snapshots of the files that it changed, as they were in the checkout. A commit
    that an older version left has neither, as it is the delivered commit itself.
    """

    id: str
    thread: str
    target: str
    since: str
    whole: bool
    before: str | None = None
    after: str | None = None
    previous: str | None = None
    time: float = 0.0

    @classmethod
    def read(cls, objects: Objects, thread: str, id: str) -> "ApplyRecord":
        """Read a record. Any commit can stand there. Raises WorkspaceError if there is none."""
        commit = objects.commit(id)
        subject, _, body = commit.message.partition("\n\n")
        if subject == _SUBJECT:
            try:
                return cls(id=id, **_fields(json.loads(body)))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise WorkspaceError(f"the record {id} of an application is damaged: {error}") from error
        return cls(id, thread, id, id, True)

    @classmethod
    def chain(cls, objects: Objects, thread: str, newest: str | None) -> "Iterator[ApplyRecord]":
        """Yield records, newest first."""
        for _ in range(MOST_RECORDS):
            if newest is None:
                return
            record = cls.read(objects, thread, newest)
            yield record
            newest = record.previous


def store_record(
    objects: Objects,
    application: Application,
    before: Mapping[str, TreeEntry | None],
    after: Mapping[str, TreeEntry | None],
) -> str:
    """Write the record of an application with the changed files before and after it. Return its id."""
    sides = [_sparse(objects, entries) for entries in (before, after)]
    whole = objects.tree(application.taken).id == objects.tree(application.target).id
    fields = {
        "thread": application.thread, "target": application.target, "since": application.since,
        "before": sides[0], "after": sides[1], "previous": application.expected, "whole": whole,
        "time": time.time(),
    }  # fmt: skip
    # Parents keep all of it from being pruned. An older version takes what it has in common with the target
    # for applied, which must not be the target itself if only a part was.
    parents = [application.base, *sides, application.expected, application.target if whole else None]
    author = pygit2.Signature(NAME, EMAIL)
    text = f"{_SUBJECT}\n\n{json.dumps(fields)}\n"
    ids = [pygit2.Oid(hex=parent) for parent in dict.fromkeys(parents) if parent]
    tree = objects.tree(application.taken).id
    return str(objects.repo.create_commit(None, author, author, text, tree, ids))


def _sparse(objects: Objects, entries: Mapping[str, TreeEntry | None]) -> str:
    empty = objects.repo[objects.repo.TreeBuilder().write()].peel(pygit2.Tree)
    return objects.store(objects.graft(empty, entries), [], "Files of a checkout")


def _fields(data: dict[str, Any]) -> dict[str, Any]:
    texts = {name: str(data[name]) for name in ("thread", "target", "since", "before", "after")}
    previous = str(data["previous"]) if data["previous"] else None
    return {**texts, "whole": data["whole"] is True, "previous": previous, "time": float(data["time"])}
