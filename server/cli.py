"""The command line: flags and help. Each command's body is imported when it runs, for `--help` must not wait.

Exit codes: 0 done and verified, 1 not verified (a run stopped by Ctrl-C too), 2 usage, 3 waiting for an
approval, 4 budget spent, 5 environment (no sandbox, no model), 6 internal error.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.signals import leave, stopping

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.face import Face

app = typer.Typer(
    help="A task and a git repository in; a branch that a sandbox has proved out.",
    epilog="Exit codes: 0 verified, 1 not verified, 2 usage, 3 waiting for an approval, 4 budget spent, "
    "5 environment, 6 internal error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Thread = Annotated[str, typer.Argument(metavar="THREAD", help="Its id, as `autocode threads` lists it.")]
EnvFile = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Settings to read, as NAME=value lines.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Approve everything that asks, plans included.")]
Json = Annotated[bool, typer.Option("--json", help="One event a line, as JSON, and nothing else.")]
Repo = Annotated[Path, typer.Option("--repo", metavar="DIR", help="The git repository.")]


@app.command()
def run(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="What is to be done; - reads it from standard input.")
    ],
    repo: Repo = Path(),
    context: Annotated[
        list[Path],
        typer.Option("--context", metavar="FILE", help="A file that the agents should read; repeatable."),
    ] = [],  # noqa: B006  # typer copies it
    yes: Yes = False,
    approve_plan: Annotated[
        bool, typer.Option("--approve-plan", help="Ask before the plan is carried out.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Bring a verified result into the checkout.")
    ] = False,
    json: Json = False,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="ID", help="Go on from the last result of this thread.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="Stop before it costs more.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", help="Stop before it uses more.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", metavar="S", help="Stop before it works longer.")
    ] = None,
    from_head: Annotated[bool, typer.Option("--from-head", help="Leave the work in progress out.")] = False,
    init: Annotated[bool, typer.Option("--init", help="Make DIR a repository if it is none.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Carry out a task and deliver a branch.

    Plans, codes in parallel, tests in a sandbox, repairs, reviews; the branch carries the proof.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.tasks import Task, start

        options = {
            "approve_plan": approve_plan,
            "auto_approve": yes,
            "from_head": from_head,
            "max_cost_usd": budget,
            "max_tokens": max_tokens,
            "max_run_seconds": max_seconds,
        }
        return await start(
            settings, face, Task(task, repo, tuple(context), thread, options, init, yes, apply)
        )

    _carry(body, env_file, json)


@app.command()
def resume(
    thread: Thread,
    yes: Yes = False,
    approve: Annotated[
        list[str], typer.Option("--approve", metavar="ID", help="Approve this; repeatable.")
    ] = [],  # noqa: B006
    reject: Annotated[
        list[str], typer.Option("--reject", metavar="ID", help="Refuse this; repeatable.")
    ] = [],  # noqa: B006
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why it is refused.")] = None,
    edit: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--edit",
            metavar="ID JSON",
            help="Approve this with changes: JSON, @FILE, or - (stdin).",
        ),
    ] = None,
    json: Json = False,
    env_file: EnvFile = None,
) -> None:
    """Go on with a run that waits, was stopped or died.

    Without an answer, what waits is asked about; nothing that was finished is done or paid for again.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.tasks import Replies, go_on

        return await go_on(settings, face, thread, Replies(yes, tuple(approve), tuple(reject), reason, edit))

    _carry(body, env_file, json)


@app.command()
def threads(
    json: Annotated[
        bool, typer.Option("--json", help="A JSON array of id, task, status, repo, branch.")
    ] = False,
    prune: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="First forget those that ended so long ago."),
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """List the threads, newest first."""

    async def body(settings: "Settings", face: "Face") -> int:
        from server.threads import listing

        return await listing(settings, face, prune)

    _carry(body, env_file, json)


@app.command()
def show(thread: Thread, env_file: EnvFile = None) -> None:
    """Show a thread's newest run.

    Its plan and steps, checks and verdicts, proof and cost.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.threads import show

        return await show(settings, face, thread)

    _carry(body, env_file)


@app.command()
def diff(thread: Thread, env_file: EnvFile = None) -> None:
    """Print what a thread changed.

    In colour on a terminal, as a patch in a pipe.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.threads import diff

        return await diff(settings, face, thread)

    _carry(body, env_file)


@app.command()
def apply(
    thread: Thread,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    unverified: Annotated[bool, typer.Option("--unverified", help="Also a result without proof.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Bring a result into the checkout.

    Entirely or not at all; nobody's work is overwritten.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.threads import apply

        return await apply(settings, face, thread, yes, unverified)

    _carry(body, env_file)


@app.command()
def verify(
    commit: Annotated[
        str, typer.Argument(metavar="COMMIT", help="A commit or branch that AutoCodeAI delivered.")
    ],
    repo: Repo = Path(),
    env_file: EnvFile = None,
) -> None:
    """Run a proof again and compare.

    Exit code 0 if it holds, 1 if not.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.verify import verify

        return await verify(settings, face, commit, repo)

    _carry(body, env_file)


@app.command()
def cancel(thread: Thread, env_file: EnvFile = None) -> None:
    """Stop a thread's run; it can be resumed."""

    async def body(settings: "Settings", face: "Face") -> int:
        from server.threads import stopped

        if await stopped(settings, face, thread):
            return 0
        from server.tasks import cancel

        return await cancel(settings, face, thread)

    _carry(body, env_file)


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="Where to listen: 127.0.0.1, if not said.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, metavar="N", help="8000, if not said.")
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Serve the web page and the APIs.

    Beyond 127.0.0.1 it wants AUTOCODE_API_KEY and AUTOCODE_REPOS.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.serve import serve

        chosen = {"autocode_host": host, "autocode_port": port}
        given = {name: value for name, value in chosen.items() if value is not None}
        return await serve(settings.model_copy(update=given), face)

    _carry(body, env_file)


@app.command()
def note(
    thread: Thread,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the agents should know.")],
    env_file: EnvFile = None,
) -> None:
    """Tell a running task something; the next agent hears it."""

    async def body(settings: "Settings", face: "Face") -> int:
        from server.threads import noted

        return await noted(settings, face, thread, text)

    _carry(body, env_file)


@app.command()
def fork(
    thread: Thread,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="CHECKPOINT", help="Its number or id by --list; else the newest."),
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="List the checkpoints and do nothing.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Make a thread of its own from a point of a thread's history.

    Its files come along; it waits to be resumed, and both can go on.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.forks import forked, listed

        return await (listed(settings, face, thread) if list else forked(settings, face, thread, at))

    _carry(body, env_file)


@app.command()
def demo(env_file: EnvFile = None) -> None:
    """Watch a small task being carried out.

    The models are recorded, everything else is real: no key and no network is needed.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.tasks import demonstrate

        return await demonstrate(settings, face)

    _carry(body, env_file)


@app.command()
def doctor(env_file: EnvFile = None) -> None:
    """Say what is found and what is missing.

    With the cure for each; exit code 5 if something essential is missing.
    """

    async def body(settings: "Settings", face: "Face") -> int:
        from server.doctor import examine

        return await examine(settings, face)

    _carry(body, env_file)


Body = Callable[["Settings", "Face"], Coroutine[Any, Any, int]]


def _carry(body: Body, env_file: Path | None, json: bool = False) -> None:
    """Read the settings, run a command's body, and leave with its exit code."""
    with stopping(leave):
        from server.entry import enter

        raise typer.Exit(enter(body, env_file, json))
