"""The pieces of event payloads."""

from typing import Any, ClassVar

from pydantic import BaseModel, Field


class Part(BaseModel, extra="forbid"):
    """A piece of a payload. An unknown field is an error."""


class Payload(Part):
    """The data of an event. `type` is the event's type on the wire."""

    type: ClassVar[str]


COMMAND = "command"
"""The `what` of a start in the sandbox that is a command of an agent."""


class AgentUsage(Part):
    """Usage of one model by one agent. `cost_usd` is None if a price is unknown.

    `estimated` is true if the tokens of a call are an estimate. `cached_tokens` are input tokens
    that the provider had in its cache.
    """

    agent: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float
    estimated: bool = False
    cached_tokens: int = 0


class RecalledEpisode(Part):
    """An earlier task like this one. `similarity` is between 0 and 1. `repo` is set if it is another one."""

    id: str
    task: str
    similarity: float
    repo: str = ""


class IndexState(Part):
    """State of a repository's index. `embedded` is the share of chunks with vectors, `note` explains less."""

    engine: str
    embedded: float
    note: str
    ready: bool


class AnswerDetails(Part):
    """The person who answered, and the way: terminal, page, HTTP, SDK or chat.

    `params` replace those of the question. `scope` says where the same is not asked again.
    """

    by: str = ""
    through: str = ""
    params: dict[str, Any] | None = None
    scope: str | None = None


class ToolStepCall(Part):
    """The call of a tool step. `permitted_by` says which rule or answer let it run."""

    params: dict[str, Any]
    command: list[str]
    seconds: float
    permitted_by: str


class FileEdit(Part):
    """One edited file with its line counts. `placed` lists the hunks that did not match exactly."""

    path: str
    added: int
    removed: int
    placed: list[str] = Field(default_factory=list)
