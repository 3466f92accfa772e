"""Request bodies of the protocol. Fields that are not served are refused by name."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from memory.validation import ForeignModel
from nodes.state import ContextFile
from server.api.problems import Problem
from server.api.schemas import ThreadId

MAX_OFFSET = 2**31 - 1
"""Limit of offsets. Databases reject integers beyond their range."""

Limit = Field(default=10, ge=1, le=1000)
Metadata = dict[str, Any]


def not_served(*features: str) -> Problem:
    """Return the Problem for features of the protocol that this server lacks."""
    names = ", ".join(features)
    detail = f"this server does not serve {names}; leave it out, or read its documentation"
    return Problem(501, "Not served", detail)


class RequestBody(ForeignModel):
    """Base of all bodies. It refuses features that are not served, and unknown keys that are not empty."""

    model_config = ConfigDict(extra="forbid")
    unserved: ClassVar[Sequence[str]] = ()
    """Keys that must be empty, and `key value` for values that are not served."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unserved(cls, body: Any) -> Any:
        if not isinstance(body, Mapping):
            return body
        features = []
        for feature in cls.unserved:
            key, _, value = feature.partition(" ")
            if body.get(key) and value in ("", body[key]):
                features.append(feature)
        if features:
            raise not_served(*features)
        # SDKs send keys that are not set as null, also keys of later versions.
        return {key: value for key, value in body.items() if value or key in cls.model_fields}


class Configurable(RequestBody):
    """The place of a run. Nothing of the graph can be configured."""

    thread_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    user_id: str | None = None


class RunConfig(RequestBody):
    """Config of a run. Tags and recursion_limit have no effect, because rounds have their own limits."""

    tags: list[str] = Field(default_factory=list)
    recursion_limit: int | None = None
    configurable: Configurable = Field(default_factory=Configurable)


class RunCommand(RequestBody):
    """Command to a waiting run. `resume` is one answer, or answers by interrupt id."""

    unserved = ("goto", "update")

    resume: Any = None


class CheckpointBody(RequestBody):
    """A checkpoint in a thread's history."""

    thread_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = ""
    checkpoint_map: Metadata | None = None


class PageQuery(RequestBody):
    """A part of a list."""

    metadata: Metadata | None = None
    limit: int = Limit
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)


class AssistantSearch(PageQuery):
    """A search for assistants."""

    graph_id: str | None = None
    name: str | None = None
    sort_by: str | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None

    def matches(self, assistant: Mapping[str, Any]) -> bool:
        """Return True for an assistant that matches all criteria."""
        metadata = (self.metadata or {}).items()
        return (
            self.graph_id in (None, "", assistant["graph_id"])
            and all(assistant["metadata"].get(key) == value for key, value in metadata)
            and (self.name or "").lower() in assistant["name"].lower()
        )


class RunInput(BaseModel):
    """Input of a run: a task, or `messages` whose last one is the task."""

    model_config = ConfigDict(extra="allow")  # the supervisor checks the rest, for all clients alike

    repo: str | None = None
    context_files: list[str | ContextFile] | None = None


class RunBody(RequestBody):
    """A run to start. With a `command` or without input, it resumes the thread's run."""

    unserved = (
        "webhook", "feedback_keys", "after_seconds", "interrupt_before", "interrupt_after",
        "langsmith_tracer", "context", "multitask_strategy rollback", "on_completion delete",
    )  # fmt: skip

    assistant_id: str
    input: RunInput | None = None
    command: RunCommand | None = None
    metadata: Metadata = Field(default_factory=dict)
    config: RunConfig = Field(default_factory=RunConfig)
    checkpoint: CheckpointBody | None = None
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
        """The checkpoint that the run should start from, or None."""
        return self.checkpoint_id or (self.checkpoint.checkpoint_id if self.checkpoint else None)


class ThreadCreate(RequestBody):
    """A thread to create."""

    unserved = ("ttl", "supersteps")

    thread_id: ThreadId | None = None
    metadata: Metadata = Field(default_factory=dict)
    if_exists: Literal["raise", "do_nothing"] | None = None


class ThreadPatch(RequestBody):
    """Metadata to merge into a thread's."""

    unserved = ("ttl",)

    metadata: Metadata = Field(default_factory=dict)


class ThreadSearch(PageQuery):
    """A search for threads, with their order and the fields to return."""

    unserved = ("values", "extract")

    ids: list[str] | None = None
    status: Literal["idle", "busy", "interrupted", "error"] | None = None
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


class StateUpdate(RequestBody):
    """Messages to add to a thread's state."""

    unserved = ("as_node",)

    values: Metadata | None = None
    checkpoint: CheckpointBody | None = None
    checkpoint_id: str | None = None


class StateQuery(RequestBody):
    """A state by its checkpoint."""

    checkpoint: CheckpointBody
    subgraphs: bool | None = None
    select: list[str] | None = None


class HistorySearch(RequestBody):
    """A part of a thread's history."""

    unserved = ("metadata", "checkpoint")

    limit: int = Limit
    before: CheckpointBody | Metadata | str | None = None
    select: list[str] | None = None

    @property
    def before_id(self) -> str | None:
        """The id of the checkpoint that the page starts after. SDKs send it, a checkpoint or a config."""
        if isinstance(self.before, dict):
            configurable = self.before.get("configurable") or {}
            checkpoint_id = self.before.get("checkpoint_id") or configurable.get("checkpoint_id")
            return str(checkpoint_id) if checkpoint_id else None
        return self.before.checkpoint_id if isinstance(self.before, CheckpointBody) else self.before


class CancelMany(RequestBody):
    """Runs to cancel."""

    unserved = ("status",)

    thread_id: ThreadId
    run_ids: list[str] = Field(min_length=1, max_length=1000)
