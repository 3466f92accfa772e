"""The command line: its commands, in the order of `--help`."""

from typing import Annotated

import typer

from server.cli.arguments import AnswerCommand, TaskCommand
from server.cli.chat.command import chat
from server.cli.commands.apply import apply, diff, undo
from server.cli.commands.approvals import approvals
from server.cli.commands.demo import demo
from server.cli.commands.doctor import doctor
from server.cli.commands.environments import environments
from server.cli.commands.forget import forget
from server.cli.commands.fork import fork
from server.cli.commands.index import index
from server.cli.commands.memory import memory
from server.cli.commands.push import push
from server.cli.commands.serve import serve
from server.cli.commands.show import show
from server.cli.commands.tasks import resume, run
from server.cli.commands.threads import cancel, note, threads
from server.cli.commands.verify import verify

app = typer.Typer(
    epilog="Exit codes: 0 verified, 1 not verified, 2 usage, 3 waiting for an approval, 4 budget spent, "
    "5 environment, 6 internal error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help would import rich, which doubles the time that --help takes
)

COMMANDS = (
    run, chat, resume, threads, show, diff, apply, undo, push, verify, cancel, serve, note, fork, forget,
    demo, doctor, environments, approvals, index,
)  # fmt: skip

CLASSES = {run: TaskCommand, resume: AnswerCommand}
"""Classes of the commands that read their arguments in a way of their own."""

for command in COMMANDS:
    app.command(cls=CLASSES.get(command))(command)

app.add_typer(memory, name="memory")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"autocode {version('autocode-ai')}")
        raise typer.Exit


@app.callback()
def autocode(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Turn a task into a tested git branch."""
