"""What a run is given, checked before anything is written: the task, its repository, its options."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph.errors import InputError
from graph.settings import Settings
from memory.validation import faults_of
from nodes.dialogue.replies import Unusable
from nodes.messages import task_of
from nodes.planner import read_plan
from nodes.state import ContextFile, Input, Options
from tools.workspace import Workspace, WorkspaceError

THREAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What may name a thread, and so a branch."""


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task: str = ""
    repo: str | None = None
    context_files: list[str | ContextFile] = Field(default_factory=list)
    steps: list[dict[str, Any]] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)
    messages: list[Any] | None = None


def completed(input: Mapping[str, Any], settings: Settings, repo: str | None = None) -> Input:
    """The input with this installation's limits where it sets none, and `repo` where it names none.

    `{"messages": […]}` may stand for the task. Raises InputError with every fault.
    """
    given = {name: value for name, value in input.items() if value is not None}
    try:
        checked = _Given.model_validate(given)
        set_here = {name: value for name, value in checked.options.items() if value is not None}
        options = Options.model_validate(_limits(settings) | set_here)
        if checked.steps:
            read_plan({"steps": checked.steps})
    except Unusable as error:
        raise InputError(str(error)) from error
    except ValidationError as error:
        raise InputError("; ".join(faults_of(error))) from error
    task = checked.task if checked.task.strip() else task_of(checked.messages or [])
    if not task.strip():
        raise InputError("the task is empty; say what is to be done")
    place = checked.repo or repo
    if not place:
        raise InputError("the task names no repository")
    return Input(
        task=task,
        repo=place,
        context_files=checked.context_files,
        steps=checked.steps or None,
        options=options.model_dump(),
    )


def named(thread_id: str) -> str:
    """A thread's id that can name a branch. Raises InputError."""
    if not THREAD.fullmatch(thread_id):
        raise InputError("a thread's id is made of letters, digits, - and _ (64 at most)")
    return thread_id


def scratch(settings: Settings, thread_id: str) -> Path:
    """Where the repository of a thread that came without one lies."""
    return settings.home / "scratch" / thread_id


async def opened(input: Input, home: Path) -> Input:
    """The input once its repository is known to open; one at `home` is made there. Raises InputError."""
    try:
        workspace = await asyncio.to_thread(_open, Path(input.get("repo") or ""), home)
    except WorkspaceError as error:
        raise InputError(str(error)) from error
    return {**input, "repo": str(workspace.path)}


def _open(repo: Path, home: Path) -> Workspace:
    if repo != home:
        return Workspace.open(repo.expanduser().absolute())
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Workspace.init(home)


def _limits(settings: Settings) -> dict[str, Any]:
    return {
        "parallel": settings.enable_parallel_execution,
        "max_debug_rounds": settings.max_debug_rounds,
        "max_review_rounds": settings.max_review_rounds,
        "max_cost_usd": settings.max_cost_usd,
        "max_tokens": settings.max_tokens,
        "max_run_seconds": settings.max_run_seconds,
        "sandbox_seconds": settings.sandbox_timeout,
    }
