"""The command `chat`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from server.cli.commands.options import (
    ApprovePlanOption,
    BudgetOption,
    MaxSecondsOption,
    MaxTokensOption,
    ModelOption,
    YesOrAskOption,
    limit_options,
    model_options,
)
from server.cli.entry import command
from server.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


@command
async def chat(
    settings: "Settings",
    console: "CliConsole",
    repo: Annotated[
        Path | None, Option(metavar="DIR", help="The git repository (default: the thread's, or this folder).")
    ] = None,
    thread: Annotated[
        str | None, Option(metavar="THREAD", help="Go on with this thread: its id, a prefix, or `last`.")
    ] = None,
    yes: YesOrAskOption = None,
    approve_plan: ApprovePlanOption = None,
    budget: BudgetOption = None,
    max_tokens: MaxTokensOption = None,
    max_seconds: MaxSecondsOption = None,
    model: ModelOption = None,
) -> ExitCode:
    """Talk with the agents: give tasks, steer them, follow up.

    What you type while a run is at work is a note to it. Ctrl-C stops the run, and leaves at the prompt.
    /help lists the commands. From a pipe, each line is a task. The limits are those of each task.
    """
    from graph.run_request import new_thread_id, run_options
    from graph.supervisor import Supervisor
    from server.cli.chat.conversation import Chat
    from server.cli.chat.reader import PipeReader, TerminalReader
    from server.cli.chat.screen import ChatConsole
    from server.cli.chat.slash import SLASH
    from server.cli.commands.tasks import thread_to_continue
    from tools.workspace import Workspace

    row = await thread_to_continue(settings, thread, repo) if thread is not None else None
    place = (repo or Path(row.repo if row else "")).expanduser().absolute()
    root = (await asyncio.to_thread(Workspace.open, place)).path
    id = row.id if row else new_thread_id()
    limits = limit_options(budget, max_tokens, max_seconds)
    flags = {"approve_plan": approve_plan, "auto_approve": yes, **limits}
    options = {name: value for name, value in flags.items() if value is not None}
    if model is not None:
        options |= model_options({}, model)
    run_options(options, settings)  # only for its errors
    terminal = None
    if console.can_redraw and console.can_ask:
        terminal = TerminalReader(settings.home / "chat_history", tuple(settings.secrets()), list(SLASH))
    chat_console = ChatConsole(console.out, console.err, reader=terminal)
    reader = terminal or PipeReader()
    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        return await Chat(settings, chat_console, supervisor, reader, root, id, options).converse()
