"""The command line: its commands, in the order of `--help`."""

import typer

from server.cli.commands.approvals import approvals
from server.cli.commands.demo import demo
from server.cli.commands.doctor import doctor
from server.cli.commands.environments import environments
from server.cli.commands.fork import fork
from server.cli.commands.index import index
from server.cli.commands.memory import memory
from server.cli.commands.push import push
from server.cli.commands.serve import serve
from server.cli.commands.tasks import resume, run
from server.cli.commands.threads import apply, cancel, diff, note, show, threads
from server.cli.commands.verify import verify

app = typer.Typer(
    help="Turn a task into a tested git branch.",
    epilog="Exit codes: 0 verified, 1 not verified, 2 usage, 3 waiting for an approval, 4 budget spent, "
    "5 environment, 6 internal error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help would import rich, which doubles the time that --help takes
)

COMMANDS = (
    run, resume, threads, show, diff, apply, push, verify, cancel, serve, note, fork, demo, doctor,
    environments, approvals, index,
)  # fmt: skip

for command in COMMANDS:
    app.command()(command)

app.add_typer(memory, name="memory")
