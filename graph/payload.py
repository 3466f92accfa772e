"""What events are made of: the envelope around each, and the pieces that their payloads share."""

from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["verified", "unverified", "waiting", "cancelled", "failed", "budget"]


class Envelope(BaseModel):
    """What every event carries. `seq` counts from 1 without gaps on a thread; `ts` is RFC 3339 UTC.

    `cut` says that texts or lists in `data` were too long for the log, which keeps them whole aside.
    """

    model_config = ConfigDict(extra="forbid")

    seq: int
    thread_id: str
    run_id: str
    ts: str
    node: str | None = None
    step_id: str | None = None
    cut: bool = False

    @cached_property
    def wire(self) -> str:
        """The event as JSON, made once for all its readers."""
        return self.model_dump_json()


class Payload(BaseModel):
    """What an event says, or a piece of it; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class Usage(Payload):
    """What models used: tokens as the provider counted them; `cost_usd` is None where a price is unknown."""

    agent: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float


class RecalledEpisode(Payload):
    """An earlier task like this one; `similarity` from 0 to 1."""

    id: str
    task: str
    similarity: float


class IndexState(Payload):
    """How far the repository's index was: the share of it with vectors, and why it is not more."""

    engine: str
    embedded: float
    note: str
    ready: bool


class FileEdit(Payload):
    """One file of an edit and its line counts; `placed` says how a hunk found its place when not exactly."""

    path: str
    added: int
    removed: int
    placed: list[str] = Field(default_factory=list)
