"""The request for a run: its task, repository and options, checked before anything is stored."""

import asyncio
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ConfigDict, Field, ValidationError

from graph.errors import InputError
from graph.settings import Settings
from memory.records.journal import Journal
from memory.records.runs import RunRow
from memory.secrets import masked_tokens
from memory.validation import ForeignModel, faults_of
from nodes.dialogue.messages import task_of
from nodes.dialogue.replies import Unusable
from nodes.events import Event
from nodes.llm.model_settings import ModelError, price_advice
from nodes.llm.models import Models
from nodes.planning.plan_reply import read_plan
from nodes.state import ContextFile, Input, Options, Plan, options_of
from tools.catalogue import InvalidCall
from tools.catalogue.mcp_call import is_mcp, read_mcp_call
from tools.mcp.toolset import check_server
from tools.workspace import NotARepository, Workspace, WorkspaceError

THREAD_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Pattern of thread ids. They become parts of branch and folder names."""


TASK_CHARACTERS = 100_000


def new_thread_id() -> str:
    """Return an id for a thread that the client has not named."""
    return uuid4().hex[:10]


class RunRequest(ForeignModel):
    """The input of a run as clients send it."""

    model_config = ConfigDict(extra="forbid")

    task: str = ""
    repo: str | None = None
    context_files: list[str | ContextFile] = Field(default_factory=list)
    steps: list[dict[str, Any]] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)
    messages: list[Any] | None = None
    masked: bool = False


def complete_request(input: Mapping[str, Any], settings: Settings, repo: str | None = None) -> Input:
    """Return the input with the settings' limits where it sets none, and `repo` where it names none.

    `{"messages": […]}` may replace the task. Raises InputError with every fault.
    """
    try:
        # Clients send null for what they leave out.
        request = RunRequest.model_validate(
            {name: value for name, value in input.items() if value is not None}
        )
        if request.steps:
            plan = read_plan({"steps": request.steps}, settings.enable_tool_use)
            _check_servers(plan, settings)
    except (Unusable, InvalidCall) as error:
        raise InputError(str(error)) from error
    except ValidationError as error:
        raise InputError("; ".join(faults_of(error))) from error
    options = run_options(request.options, settings)
    task = request.task if request.task.strip() else task_of(request.messages or [])
    if not task.strip():
        raise InputError("the task is empty; say what is to be done")
    if len(task) > TASK_CHARACTERS:
        raise InputError(f"the task is longer than {TASK_CHARACTERS} characters; put the rest into a file")
    place = request.repo or repo
    if not place:
        raise InputError("the task names no repository")
    # Before anything is stored, and for the models as well: a key in a task is nothing that they need.
    hide = partial(masked_tokens, secrets=tuple(settings.secrets()))
    context = [
        file if isinstance(file, str) else ContextFile(path=file["path"], content=hide(file["content"]))
        for file in request.context_files
    ]
    steps = hide(request.steps) or None
    asked = (task, list(request.context_files), request.steps or None)
    input = Input(
        task=hide(task),
        repo=place,
        context_files=context,
        steps=steps,
        options=options.model_dump(),
    )
    if request.masked or (input["task"], context, steps) != asked:
        input["masked"] = True
    return input


def _check_servers(plan: Plan, settings: Settings) -> None:
    """Raise InvalidCall for a tool of an MCP server that the user has not listed."""
    for step in plan["steps"]:
        # A server is not started for a request, so its own word on the parameters comes with the step.
        if is_mcp(step.get("tool_name")):
            check_server(read_mcp_call(step["tool_name"], step["tool_params"]), settings.mcp_servers)


def run_options(options: Mapping[str, Any], settings: Settings) -> Options:
    """Return a run's options, with the settings' limits for those that are None.

    Raises InputError, also for a limit on the cost of models whose price is unknown.
    """
    limits = {
        "parallel": settings.enable_parallel_execution,
        "max_debug_rounds": settings.max_debug_rounds,
        "max_review_rounds": settings.max_review_rounds,
        "max_cost_usd": settings.max_cost_usd,
        "max_tokens": settings.max_tokens,
        "max_run_seconds": settings.max_run_seconds,
        "sandbox_seconds": settings.suite_seconds,
    }
    try:
        chosen = Options.model_validate(limits | {name: v for name, v in options.items() if v is not None})
    except ValidationError as error:
        raise InputError("; ".join(faults_of(error))) from error
    models = settings.model_settings().chosen_by(chosen)
    try:
        models.check_chosen()
    except ModelError as error:
        raise InputError(str(error)) from error
    if chosen.max_cost_usd is not None and (unpriced := models.unpriced()):
        raise InputError(price_advice(unpriced))
    return chosen


async def check_models(models: Models, input: Mapping[str, Any]) -> None:
    """Raise InputError for models in a run's options that have no known provider or no key."""
    try:
        await models.check(options_of(input))
    except ModelError as error:
        raise InputError(str(error)) from error


def with_limits(run: RunRow, limits: Mapping[str, Any] | None, settings: Settings) -> dict[str, Any]:
    """Return a run's input with new limits and models. Raises InputError."""
    if not limits:
        return run.input
    options = run_options({**(run.input.get("options") or {}), **limits}, settings)
    return {**run.input, "options": options.model_dump()}


async def raise_limits(
    journal: Journal[Event], run: RunRow, limits: Mapping[str, Any], settings: Settings
) -> None:
    """Store new limits and models for a run and its thread's next ones.

    Raises InputError if the limits are spent already.
    """
    options = with_limits(run, limits, settings)["options"]
    sums = await journal.completions.sums(run.id)
    used = {"max_cost_usd": sums.cost_usd, "max_tokens": sums.tokens, "max_run_seconds": run.seconds}
    for name, spent in used.items():
        if options[name] is not None and spent >= options[name]:
            raise InputError(
                f"{name} is {options[name]:g}, and the run has used {spent:.6g} of it; give it more"
            )
    raised = {name: options[name] for name in (*used, "model", "models") if name in limits}
    await journal.runs.set_limits(run.id, raised)
    if thread := await journal.threads.get(run.thread_id):
        await journal.threads.remember(run.thread_id, merge_options(thread.options, raised))


def merge_options(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a thread's options after those that a run was given. None removes an option."""
    options = {**defaults, **given}
    # Whoever asks for the plan wants to see it, although an earlier run approved everything.
    if given.get("approve_plan") and "auto_approve" not in given:
        options.pop("auto_approve", None)
    if given.get("model") and "models" not in given:  # for all agents, those with one of their own included
        options.pop("models", None)
    return {name: value for name, value in options.items() if value is not None}


def check_thread_id(thread_id: str) -> str:
    """Return the thread's id. Raises InputError if no branch can have its name."""
    if not re.fullmatch(THREAD_ID, thread_id):
        raise InputError("a thread's id is made of letters, digits, - and _ (64 at most)")
    return thread_id


def scratch_root(settings: Settings) -> Path:
    """Return the folder that holds the repositories of threads that came without one."""
    return settings.home / "scratch"


def scratch_folder(settings: Settings, thread_id: str) -> Path:
    """Return the folder for the repository of a thread that came without one.

    Raises InputError for an id that is none, because `..` would be AUTOCODE_HOME.
    """
    return scratch_root(settings) / check_thread_id(thread_id)


def repository_bounds(settings: Settings) -> list[Path]:
    """Return the folders that repositories may use, from AUTOCODE_REPOS. None of them means no limit."""
    allowed = [Path(folder).expanduser() for folder in settings.autocode_repos.split(os.pathsep) if folder]
    return [*allowed, scratch_root(settings)] if allowed else []


async def open_repository(input: Input, scratch: Path) -> Input:
    """Open the input's repository and return the input with its root. One at `scratch` is created.

    Raises InputError.
    """
    try:
        workspace = await asyncio.to_thread(_open, Path(input.get("repo") or ""), scratch)
    except NotARepository:
        raise  # the command line and the HTTP side give their own advice
    except WorkspaceError as error:
        raise InputError(str(error)) from error
    return {**input, "repo": str(workspace.path)}


def _open(repo: Path, scratch: Path) -> Workspace:
    if repo != scratch:
        return Workspace.open(repo.expanduser().absolute())
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Workspace.init(scratch)
