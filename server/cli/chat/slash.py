"""Slash commands of a conversation: their names, and commands of `autocode` that are called from it."""

import re
import shlex
from collections.abc import Callable, Coroutine, Mapping
from difflib import get_close_matches
from inspect import unwrap
from pathlib import Path
from typing import Any

from server.cli.exit_codes import UsageError

SLASH = {
    "diff": "Show what the thread has delivered and you have not applied.",
    "apply": "Apply it to your checkout. Takes the options of `autocode apply`.",
    "undo": "Take the last apply back.",
    "show": "Show the newest run again. Takes the options of `autocode show`.",
    "resume": "Go on with a run that stopped. --budget, --max-tokens and --max-seconds give it more.",
    "plan": "Ask for your approval of each plan from the next task on (`off`: no longer).",
    "model": "Show the models, or use [AGENT] NAME from the next task on (`default`: the settings').",
    "cost": "Show what the thread has cost so far.",
    "threads": "List the threads of this repository.",
    "thread": "Show the thread, or go on with another one: its id, a prefix, or `last`.",
    "new": "Begin a new thread.",
    "fork": "List the checkpoints of the thread, or go on from number N in a new thread.",
    "forget": "Remove the thread with its branches, after asking. Takes the options of `autocode forget`.",
    "help": "Show this list.",
    "quit": "Leave. A run that is at work is stopped, and can be resumed.",
}
"""The slash commands with a line of help each."""

AT_ANY_TIME = ("cost", "help", "quit")
_OF_A_THREAD = re.compile(rf"autocode ({'|'.join(SLASH)}) [A-Za-z0-9][A-Za-z0-9_-]*")


def in_conversation(text: str) -> str:
    """Return a notice with the commands of a conversation for those of `autocode` that name a thread."""
    return _OF_A_THREAD.sub(r"/\1", text)


def read_slash(text: str) -> tuple[str, list[str]]:
    """Return the name and the arguments of a slash command. Raises UsageError, with the nearest name."""
    name, _, rest = text[1:].partition(" ")
    if name not in SLASH:
        near = get_close_matches(name, SLASH, 1)
        raise UsageError(
            f"there is no /{name}; " + (f"did you mean /{near[0]}?" if near else "/help lists all")
        )
    try:
        return name, shlex.split(rest)
    except ValueError as error:
        raise UsageError(f"/{name}: {error}; close the quotes") from error


def check_text(text: str) -> None:
    """Raise UsageError for a single word that is a command, which would be sent to the models as a task."""
    word = text.strip().lower()
    meant = "quit" if word in ("exit", "bye", ":q") else word
    if meant in SLASH:
        raise UsageError(f"did you mean /{meant}? A task says what is to be done")


def is_slash(text: str) -> bool:
    """Return True for a slash command. A path, such as /etc/hosts, is text."""
    return re.match(r"/[a-z]*(\s|$)", text) is not None


def flags_of(name: str, words: list[str], thread: str) -> dict[str, Any]:
    """Return the flags of a command of `autocode`, whose thread is that of the conversation."""
    from typer.main import get_command

    from server.cli.app import app  # imports this module

    command = get_command(app).commands[name]  # type: ignore[attr-defined]  # it is a group
    takes_thread = any(parameter.name == "thread" for parameter in command.params)
    with command.make_context(f"/{name}", [thread, *words] if takes_thread else words) as context:
        given = {flag: value for flag, value in context.params.items() if flag != "env_file"}
    if given.get("repo"):
        given["repo"] = Path(given["repo"])  # typer does so only where it calls the command itself
    return given


def body_of(name: str) -> Callable[..., Coroutine[Any, Any, int]]:
    """Return the function of settings, console and flags that a command of `autocode` calls."""
    from server.cli.app import COMMANDS

    bodies: Mapping[str, Callable[..., Any]] = {each.__name__: unwrap(each) for each in COMMANDS}
    return bodies[name]
