"""Request bodies: what is read of them, and what is refused by its name."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nodes.state import ContextFile
from server.api.problems import Problem

THREAD_ID = r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$"
"""Ours are ten hexadecimal digits, the SDKs' are UUIDs; it becomes part of a branch's name."""

MOST = 2**31 - 1
"""The farthest that a list can be asked for; a database takes no number of any size."""

Limit = Field(default=10, ge=1, le=1000)
Offset = Field(default=0, ge=0, le=MOST)
Metadata = dict[str, Any]


def not_served(*features: str) -> Problem:
    """The refusal of what the protocol has and this server has not."""
    names = ", ".join(features)
    detail = f"this server does not serve {names}; leave it out, or see its documentation for what it serves"
    return Problem(501, "Not served", detail)


class Body(BaseModel):
    """A body. What the protocol has and this server has not is refused by its name, other keys are faults."""

    model_config = ConfigDict(extra="forbid")
    unserved: ClassVar[Mapping[str, Sequence[Any]]] = {}
    """Keys that ask for what is not served, with the values that do so: none named, any but an empty one."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        asked = [key for key, values in cls.unserved.items() if given.get(key)]
        wanted = [key for key in asked if not cls.unserved[key] or given[key] in cls.unserved[key]]
        if wanted:
            values = {key: f"{key} {given[key]}" if cls.unserved[key] else key for key in wanted}
            raise not_served(*values.values())
        return {key: value for key, value in given.items() if value or key in cls.model_fields}


class Configurable(Body):
    """What a config may say of the graph: where the run is; there is nothing to configure."""

    thread_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    user_id: str | None = None


class Config(Body):
    """A run's config; tags and recursion_limit are left alone, as a run's rounds have limits of their own."""

    tags: list[str] = Field(default_factory=list)
    recursion_limit: int | None = None
    configurable: Configurable = Field(default_factory=Configurable)


class Command(Body):
    """What a waiting run is told; `resume` is one answer, or answers by the interrupts' ids."""

    unserved = {"goto": (), "update": ()}

    resume: Any = None


class Checkpoint(Body):
    """A point of a thread's history."""

    thread_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = ""
    checkpoint_map: Metadata | None = None


class Page(Body):
    """Which part of a list."""

    metadata: Metadata | None = None
    limit: int = Limit
    offset: int = Offset


class AssistantSearch(Page):
    """Which assistants."""

    graph_id: str | None = None
    name: str | None = None
    sort_by: str | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None

    def matches(self, assistant: Mapping[str, Any]) -> bool:
        """True for an assistant that has everything asked for."""
        wanted = {"graph_id": self.graph_id, "metadata": self.metadata}
        same = all(_holds(assistant[key], value) for key, value in wanted.items() if value)
        return same and (self.name or "").lower() in assistant["name"].lower()


class RunInput(BaseModel):
    """What starts a run, from every face alike: a task, or `messages` of which the last one is the task."""

    model_config = ConfigDict(extra="allow")

    repo: str | None = None
    context_files: list[str | ContextFile] | None = None


class RunBody(Body):
    """A run to begin, or (`command`, or no input) the thread's run to go on with."""

    unserved = {
        "webhook": (),
        "feedback_keys": (),
        "after_seconds": (),
        "interrupt_before": (),
        "interrupt_after": (),
        "langsmith_tracer": (),
        "context": (),
        "multitask_strategy": ("rollback",),
        "on_completion": ("delete",),
    }

    assistant_id: str
    input: RunInput | None = None
    command: Command | None = None
    metadata: Metadata = Field(default_factory=dict)
    config: Config = Field(default_factory=Config)
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None
    stream_mode: list[str] | str = Field(default_factory=list)
    stream_subgraphs: bool = False
    stream_resumable: bool = True
    multitask_strategy: Literal["reject", "enqueue", "interrupt"] | None = None
    if_not_exists: Literal["create", "reject"] = "reject"
    on_disconnect: Literal["cancel", "continue"] = "continue"
    on_completion: Literal["keep"] = "keep"
    durability: Literal["sync", "async", "exit"] = "sync"
    checkpoint_during: bool = True
    strict_resume: bool = True

    @property
    def wanted_checkpoint(self) -> str | None:
        """The checkpoint that the run is to begin from, where one is named."""
        return self.checkpoint_id or (self.checkpoint.checkpoint_id if self.checkpoint else None)


class ThreadCreate(Body):
    """A thread to create."""

    unserved = {"ttl": (), "supersteps": ()}

    thread_id: str | None = Field(default=None, pattern=THREAD_ID)
    metadata: Metadata = Field(default_factory=dict)
    if_exists: Literal["raise", "do_nothing"] | None = None


class ThreadPatch(Body):
    """Metadata to merge into a thread's."""

    unserved = {"ttl": ()}

    metadata: Metadata = Field(default_factory=dict)


class ThreadSearch(Body):
    """Which threads, in which order, and what of them."""

    unserved = {"values": (), "extract": ()}

    ids: list[str] | None = None
    metadata: Metadata | None = None
    status: Literal["idle", "busy", "interrupted", "error"] | None = None
    limit: int = Limit
    offset: int = Offset
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


class StateUpdate(Body):
    """Messages to add to a thread's state."""

    unserved = {"as_node": ()}

    values: Metadata | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None


class StateAt(Body):
    """Which state."""

    checkpoint: Checkpoint
    subgraphs: bool | None = None
    select: list[str] | None = None


class HistorySearch(Body):
    """Which of a thread's states, newest first."""

    unserved = {"metadata": (), "checkpoint": ()}

    limit: int = Limit
    before: Checkpoint | Metadata | str | None = None
    select: list[str] | None = None


class CancelMany(Body):
    """Which runs to cancel."""

    unserved = {"status": ()}

    thread_id: str
    run_ids: list[str] = Field(min_length=1, max_length=1000)


def modes_of(given: Iterable[str] | str) -> list[str]:
    """Stream modes as the SDKs send them: none (or an empty one), one, several, several as a JSON array."""
    several = [given] if isinstance(given, str) else list(given)
    modes: list[str] = []
    for one in several:
        modes += json.loads(one) if re.fullmatch(r'\[("[a-z-]+"(, ?)?)*\]', one) else [one]
    return [mode for mode in dict.fromkeys(modes) if mode]


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return all(value.get(key) == item for key, item in wanted.items())
    return bool(value == wanted)
