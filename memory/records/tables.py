"""Tables, in types that SQLite and PostgreSQL share.

Times are RFC 3339 UTC texts, heartbeats are epoch seconds, and structured values are JSON texts.
"""

from collections.abc import Iterator

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, Table, Text, false

SCHEMA = 6
"""Version of the tables. A database with a smaller number gets the columns that it lacks.

A new column must be nullable or have a `server_default`.
"""

ACTIVE = ("queued", "running")
"""Statuses of runs that need nobody's help to go on."""

UNFINISHED = (*ACTIVE, "waiting")
"""Statuses of runs that no other run of their thread may overtake."""

FINAL = ("verified", "answered", "unverified", "budget")
"""Statuses of runs that cannot be resumed as they are. A larger budget reopens the last kind."""

metadata = MetaData()


def _texts(*names: str) -> Iterator[Column[str]]:
    """Return columns of texts that are never null."""
    return (Column(name, Text, nullable=False) for name in names)


about = Table(
    "about",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

threads = Table(
    "threads",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # ids are random, numbers are in order
    Column("id", Text, nullable=False, unique=True),
    *_texts("repo", "created"),
    Column("last_seq", Integer, nullable=False, default=0),
    Column("owner", Text),
    Column("heartbeat", Float, nullable=False, default=0.0),
    # A request by another process, which the owner reads when it renews its lease.
    Column("cancel", Boolean, nullable=False, default=False),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Column("updated", Text),
    # Options that runs were given, which are the defaults of the thread's next run.
    Column("options", Text, nullable=False, server_default="{}"),
)

runs = Table(
    "runs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("thread_id", Text, nullable=False, index=True),
    *_texts("input", "status"),
    Column("branch", Text),
    Column("started", Text, nullable=False),
    Column("finished", Text),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("metadata", Text, nullable=False, server_default="{}"),
    # Limits that a resume gave in the place of those in `input`.
    Column("limits", Text, nullable=False, server_default="{}"),
)

events = Table(
    "events",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    *_texts("run_id", "ts", "type"),
    Column("node", Text),
    Column("step_id", Text),
    Column("data", Text, nullable=False),
    Column("cut", Boolean, nullable=False, server_default=false()),
)

outputs = Table(
    "outputs",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("data", Text, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("thread_id", Text, nullable=False, index=True),
    Column("answer", Text),
    # Number of answers that the task had before. The graph has taken this one once it has more.
    Column("resumed", Integer, nullable=False, default=0),
)

notes = Table(
    "notes",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("text", Text, nullable=False),
)

notes_seen = Table(
    "notes_seen",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("step_id", Text, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    # The newest note at the first call. A repeat of the call sees no newer ones.
    Column("upto", Integer, nullable=False),
)

checks = Table(
    "checks",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

consents = Table(
    "consents",
    metadata,
    Column("key", Text, primary_key=True),
    Column("given", Text, nullable=False),
    # A JSON object that says what it covers. Rows of older versions have none.
    Column("about", Text, nullable=False, server_default="{}"),
)

intents = Table(
    "intents",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("step_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    *_texts("tool", "params", "begun"),
    # Null until the tool has ended.
    Column("result", Text),
)

completions = Table(
    "completions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    *_texts("run_id", "agent", "step_id"),
    Column("ordinal", Integer, nullable=False),
    *_texts("prompt_hash", "model", "messages"),
    Column("reply", Text),
    Column("state", Text, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cost_usd", Float),
    Column("prompt_cost_usd", Float),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("cut", Boolean, nullable=False, server_default=false()),
    Column("estimated", Boolean, nullable=False, server_default=false()),
    Column("cached_tokens", Integer, nullable=False, server_default="0"),
    # JSON texts, null in a call without tools.
    Column("tools", Text),
    Column("tool_calls", Text),
    Column("reasoning", Text),
    # Not unique: a call that was abandoned is made again under the same key.
    Index("completions_by_call", "run_id", "agent", "step_id", "ordinal"),
)

tool_calls = Table(
    "tool_calls",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    *_texts("run_id", "agent", "step_id"),
    Column("ordinal", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    *_texts("name", "arguments", "result", "snapshot"),
    Column("exit_code", Integer),
    Column("seconds", Float, nullable=False),
    Index("tool_calls_by_call", "run_id", "agent", "step_id", "ordinal", "position"),
)

episodes = Table(
    "episodes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("run_id", Text, nullable=False, unique=True),
    *_texts("created", "repo", "root", "task", "content"),
)
