"""The tables, in types that SQLite and PostgreSQL share; times are RFC 3339, heartbeats epoch seconds."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, Table, Text

metadata = MetaData()

threads = Table(
    "threads",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("repo", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("last_seq", Integer, nullable=False, default=0),
    Column("owner", Text),
    Column("heartbeat", Float, nullable=False, default=0.0),
    Column("cancel", Boolean, nullable=False, default=False),
)

runs = Table(
    "runs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("thread_id", Text, nullable=False, index=True),
    Column("input", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("branch", Text),
    Column("started", Text, nullable=False),
    Column("finished", Text),
    Column("seconds", Float, nullable=False, default=0.0),
)

events = Table(
    "events",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("ts", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("node", Text),
    Column("step_id", Text),
    Column("data", Text, nullable=False),
)

checks = Table(
    "checks",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

completions = Table(
    "completions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("prompt_hash", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("messages", Text, nullable=False),
    Column("reply", Text),
    Column("state", Text, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cost_usd", Float),
    Column("prompt_cost_usd", Float),
    Column("seconds", Float, nullable=False, default=0.0),
    Index("completions_by_call", "run_id", "agent", "step_id", "ordinal"),
)

episodes = Table(
    "episodes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("created", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("content", Text, nullable=False),
)
