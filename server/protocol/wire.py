"""Request bodies. What is known is read; what is not known and asks for something is refused by its name."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nodes.state import ContextFile
from server.problems import Problem

THREAD_ID = r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$"
"""Ours are ten hexadecimal digits, the SDKs' are UUIDs; it becomes part of a branch's name."""

Limit = Field(default=10, ge=1, le=1000)
Offset = Field(default=0, ge=0)
Metadata = dict[str, Any]


def not_served(*features: str) -> Problem:
    """The refusal of what the protocol has and this server has not."""
    names = ", ".join(features)
    detail = f"this server does not serve {names}; leave it out, or see its documentation for what it serves"
    return Problem(501, "Not served", detail)


class Body(BaseModel):
    """A body that may hold more than what is read here: empty values of that ask for nothing."""

    model_config = ConfigDict(extra="allow")

    def check(self) -> None:
        """Refuse what asks for something that is not served."""
        if wanted := sorted(name for name, value in (self.model_extra or {}).items() if value):
            raise not_served(*wanted)


class Config(Body):
    """A run's config: tags and recursion_limit are left alone, as a run's rounds have limits of their own."""

    tags: list[str] = Field(default_factory=list)
    recursion_limit: int | None = None
    configurable: Metadata = Field(default_factory=dict)

    def check(self) -> None:
        """Refuse what would configure the graph: it has nothing of the kind."""
        super().check()
        own = ("thread_id", "checkpoint_id", "checkpoint_ns", "user_id")
        if wanted := sorted(key for key, value in self.configurable.items() if value and key not in own):
            raise not_served(*(f"config.configurable.{key}" for key in wanted))


class Command(Body):
    """What a waiting run is told; `resume` is one answer, or answers by the interrupts' ids."""

    resume: Any = None


class Checkpoint(Body):
    """A point of a thread's history."""

    thread_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = ""
    checkpoint_map: Metadata | None = None


class AssistantSearch(Body):
    """Which assistants."""

    graph_id: str | None = None
    name: str | None = None
    metadata: Metadata | None = None
    limit: int = Limit
    offset: int = Offset
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

    assistant_id: str
    input: RunInput | None = None
    command: Command | None = None
    metadata: Metadata = Field(default_factory=dict)
    config: Config = Field(default_factory=Config)
    context: Metadata | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None
    stream_mode: list[str] | str = Field(default_factory=list)
    stream_subgraphs: bool = False
    stream_resumable: bool = True
    multitask_strategy: Literal["reject", "enqueue", "interrupt", "rollback"] | None = None
    if_not_exists: Literal["create", "reject"] = "reject"
    on_disconnect: Literal["cancel", "continue"] = "continue"
    on_completion: Literal["keep", "delete"] = "keep"
    durability: Literal["sync", "async", "exit"] = "sync"
    checkpoint_during: bool = True
    strict_resume: bool = True

    def check(self) -> None:
        """Refuse what is not served, naming all of it."""
        super().check()
        self.config.check()
        if self.command:
            self.command.check()
        if self.context:
            raise not_served("context")
        if self.multitask_strategy == "rollback":
            raise not_served("multitask_strategy rollback")
        if self.on_completion == "delete":
            raise not_served("on_completion delete")

    @property
    def wanted_checkpoint(self) -> str | None:
        """The checkpoint that the run is to begin from, where one is named."""
        return self.checkpoint_id or (self.checkpoint.checkpoint_id if self.checkpoint else None)


class ThreadCreate(Body):
    """A thread to create."""

    thread_id: str | None = Field(default=None, pattern=THREAD_ID)
    metadata: Metadata = Field(default_factory=dict)
    if_exists: Literal["raise", "do_nothing"] | None = None


class ThreadPatch(Body):
    """Metadata to merge into a thread's."""

    metadata: Metadata = Field(default_factory=dict)


class ThreadSearch(Body):
    """Which threads, in which order, and what of them."""

    ids: list[str] | None = None
    metadata: Metadata | None = None
    status: Literal["idle", "busy", "interrupted", "error"] | None = None
    limit: int = Limit
    offset: int = Offset
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


class StateUpdate(Body):
    """Values to write into a thread's state, as if `as_node` had returned them."""

    values: Metadata | None = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None


class StateAt(Body):
    """Which state."""

    checkpoint: Checkpoint
    subgraphs: bool | None = None
    select: list[str] | None = None


class HistorySearch(Body):
    """Which of a thread's states, newest first."""

    limit: int = Limit
    before: Checkpoint | Metadata | str | None = None
    metadata: Metadata | None = None
    checkpoint: Checkpoint | None = None
    select: list[str] | None = None


class CancelMany(Body):
    """Which runs to cancel."""

    thread_id: str | None = None
    run_ids: list[str] = Field(default_factory=list)
    status: Literal["pending", "running", "all"] | None = None


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
