"""The command line: its commands, in the order of `--help`.

Exit codes: 0 done and verified, 1 not verified (a run stopped by Ctrl-C too), 2 usage, 3 waiting for an
approval, 4 budget spent, 5 environment (no sandbox, no model), 6 internal error.
"""

import typer

from server.cli.commands.machine import doctor, serve
from server.cli.commands.memory import memory
from server.cli.commands.repositories import index, verify
from server.cli.commands.tasks import demo, resume, run
from server.cli.commands.threads import apply, cancel, diff, fork, note, show, threads

app = typer.Typer(
    help="A task and a git repository in; a branch that a sandbox has proved out.",
    epilog="Exit codes: 0 verified, 1 not verified, 2 usage, 3 waiting for an approval, 4 budget spent, "
    "5 environment, 6 internal error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS = (run, resume, threads, show, diff, apply, verify, cancel, serve, note, fork, demo, doctor, index)

for command in COMMANDS:
    app.command()(command)

app.add_typer(memory, name="memory")
