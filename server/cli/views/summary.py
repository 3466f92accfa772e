"""The summary at the end of a run: the diff, the proof, the cost, and the next commands."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from nodes.check.runners.test_names import shown_case
from nodes.dialogue import results
from nodes.event_parts import AgentUsage
from nodes.events import RunFinished
from nodes.proof import Proof, Suspicion
from server.cli.views.format import format_duration, format_price, format_total, one_line, pluralize, sanitize
from server.cli.views.run_view import RunView

DIFF_LINES = 300
"""Longest diff that is shown whole at the end of a run. `autocode diff` shows longer ones."""

COLOURED = 250_000
"""Characters of a diff up to which it is coloured. A megabyte would take ten seconds."""

CASES = 12
"""Number of cases, and of lines of a failure, that are shown."""

FLAGS = {"seconds": "--max-seconds S", "tokens": "--max-tokens N"}
"""Flags that raise a limit, by a word of the reason that names it."""

HEADLINES = {
    "verified": ("Verified", "bold green"),
    "answered": ("Answered. No file was changed.", "bold green"),
    "unverified": ("NOT verified", "bold red"),
    "waiting": ("Waiting for your answer", "bold yellow"),
    "cancelled": ("Stopped", "bold yellow"),
    "failed": ("Failed", "bold red"),
    "budget": ("Budget spent, NOT verified", "bold red"),
}


def print_summary(
    console: Console, run: RunView, applied: bool = False, shown: bool = False, in_chat: bool = False
) -> None:
    """Print the summary of a finished run, without the commands that the user has just carried out.

    `applied`: it is in the checkout. `shown`: `autocode show` prints it. `in_chat`: with slash commands.
    """
    finished = run.finished
    if finished is None:
        return
    proof = Proof.model_validate(finished.proof) if finished.proof else None
    console.print()
    console.print(_headline(finished, proof, run))
    if run.answer:
        console.print(Text(f"\n{run.answer}"))
    console.print(_columns(_facts(finished, proof, run), "dim"))
    if finished.usage:
        console.print()
        console.print(cost_table(finished.usage))
    console.print()
    commands = _next_commands(finished, proof, run.thread_id, applied, shown)
    if in_chat:
        commands = _slash_commands(commands, run.thread_id)
    console.print(_columns(commands, "bold cyan", gap=3))


def suspicious_places(suspicious: Iterable[Suspicion]) -> list[str]:
    """Return suspicious places, each as `file:line`."""
    return [f"{one_line(place.file)}:{place.line}" for place in suspicious]


def _columns(rows: Iterable[tuple[str, RenderableType]], style: str, gap: int = 2) -> Table:
    table = Table.grid(padding=(0, gap))
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), text)
    return table


def render_diff(diff: str, command: str = "", limit: int | None = DIFF_LINES) -> RenderableType:
    """Render a diff in the terminal's own colours, cut to `limit` lines. `command` shows all of it."""
    lines = sanitize(diff).splitlines()
    shown = "\n".join(lines[:limit])
    if len(shown) > COLOURED:
        part: RenderableType = Text(shown)
    else:
        # The ansi theme uses the palette of the terminal, which suits dark and light backgrounds.
        part = Syntax(shown, "diff", theme="ansi_dark", background_color="default", word_wrap=True)
    if limit is None or len(lines) <= limit:
        return part
    more = f"… {pluralize(len(lines) - limit, 'more line')}{f': {command}' if command else ''}"
    return Group(part, Text(more, style="bold yellow"))


def _headline(finished: RunFinished, proof: Proof | None, run: RunView) -> Text:
    words, style = HEADLINES[finished.status]
    # A run that SIGTERM parks is waiting too, but for a resume, not for a person.
    if finished.status == "waiting" and not run.waiting:
        words = "Waiting to go on"
    if finished.status == "unverified" and proof and proof.missing_environment:
        words = f"{words}: the environment is missing"
    if finished.status == "verified":
        words = results.headline(proof, verified=True)
        style = style if words == "Verified" else "bold yellow"
    text = Text(words, style=style)
    if finished.branch:
        text.append(f"  {one_line(finished.branch)}", style="bold")
    if proof:
        text.append(f"  {_counts(proof)}", style="")
    return text


def _facts(finished: RunFinished, proof: Proof | None, run: RunView) -> Iterator[tuple[str, RenderableType]]:
    """Yield the last agent's words, the cause, then what is weak, then what to do, then the evidence."""
    if finished.summary and finished.summary.words:
        yield "summary", Text(one_line(finished.summary.words))
    if finished.reason and finished.reason != "stopped":
        yield "reason", Text(sanitize(finished.reason), style="yellow")
    for missing in finished.missing:
        if missing != finished.reason:
            yield "missing", Text(one_line(missing), style="red")
    if proof:
        yield from _weak_rows(proof, finished.missing)
    over = finished.status in ("verified", "unverified", "budget")
    if over and (advice := results.advice(proof, finished.missing)):
        yield "next", Text(advice)
    for error in run.errors if finished.status in ("failed", "unverified") else []:
        yield "error", Text(sanitize(error.message), style="red")
    if proof:
        yield from _proof_rows(proof, finished.missing)


def _weak_rows(proof: Proof, missing: Sequence[str]) -> Iterator[tuple[str, RenderableType]]:
    for name, weaknesses in groupby(results.weaknesses(proof, missing), key=lambda weakness: weakness.name):
        style = "bold red" if name in ("contradicted", "environment") else "bold yellow"
        text = "\n".join(one_line(weakness.text) for weakness in weaknesses)
        yield name.upper(), Text(text, style=style)


def _proof_rows(proof: Proof, missing: Sequence[str]) -> Iterator[tuple[str, RenderableType]]:
    """Yield the evidence of a proof, without the problems that stand in `missing`."""
    yield "command", Text(one_line(" ".join(proof.command)))
    state = "green" if proof.green else "RED"
    yield "check", Text(f"{state}, exit code {proof.exit_code}, {_evidence(proof)}")
    image, backend = one_line(proof.image), one_line(proof.backend)
    yield "where", Text(image if image.startswith(backend) else f"{backend}, {image}", style="dim")
    if places := results.environments(proof):
        yield "", Text(one_line(places), style="dim")
    yield "tree", Text(f"{one_line(proof.tree)} (base {one_line(proof.base)[:12]})", style="dim")
    if cases := proof.fail_to_pass:
        text = Text("\n".join(one_line(shown_case(case)) for case in cases[:CASES]), style="green")
        text.append(f"\n… and {len(cases) - CASES} more" if len(cases) > CASES else "")
        yield "proves", text.append("\n(fails without the change, passes with it)", style="dim not bold")
    for problem in proof.problems:
        if problem not in missing:
            yield "problem", Text(sanitize(problem).strip(), style="red")
    for failure in proof.failures[:5]:
        lines = [one_line(shown_case(failure.id)), *sanitize(failure.text).strip().splitlines()[-CASES:]]
        yield "failed", Text("\n  ".join(lines), style="red")
    if proof.verdict:
        style = "green" if proof.verdict == "PASS" else "bold red"
        reasons = one_line(" · ".join(proof.reasons))
        yield "critic", Text(f"{proof.verdict}: {reasons}" if reasons else proof.verdict, style=style)


def _evidence(proof: Proof) -> str:
    """Return the figures behind the colour of a check."""
    if proof.grade == "exit code":
        return "judged by the exit code alone"
    skipped = sum(case.head == "skipped" for case in proof.cases)
    parts = [_counts(proof), *([f"{skipped} skipped"] if skipped else [])]
    if proof.strength and proof.strength.tried:
        strength = proof.strength
        parts.append(f"{strength.share} mutants of the change noticed{strength.rest}")
    return ", ".join(parts)


def _counts(proof: Proof) -> str:
    """Return the counts of cases, or the exit code of a suite without cases."""
    if proof.grade == "exit code":
        return f"exit code {proof.exit_code}"
    if not proof.cases:
        return f"no test ran, exit code {proof.exit_code}"
    counts = f"{proof.passed} of {proof.total} passed"
    return counts + (
        f", {pluralize(len(proof.uncollected), 'module')} not imported" if proof.uncollected else ""
    )


def cost_table(usage: Sequence[AgentUsage]) -> Table:
    """Return a table of each agent's usage, with totals."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim", show_footer=len(usage) > 1)
    estimated = any(agent.estimated for agent in usage)
    about = "≈" if estimated else ""
    cost = sum(agent.cost_usd or 0 for agent in usage)
    unpriced = any(agent.cost_usd is None for agent in usage)
    cached = sum(agent.cached_tokens for agent in usage)
    totals = {
        "calls": f"{sum(agent.calls for agent in usage):,}",
        "input": f"{about}{sum(agent.input_tokens for agent in usage):,}",
        **({"cached": f"{cached:,}"} if cached else {}),
        "output": f"{about}{sum(agent.output_tokens for agent in usage):,}",
        "cost": format_total(cost, unpriced, estimated).removeprefix("price "),
        "time": format_duration(sum(agent.seconds for agent in usage)),
    }
    table.add_column("agent", "total", no_wrap=True)
    table.add_column("model", overflow="fold")
    for name, total in totals.items():
        table.add_column(name, total, justify="right", no_wrap=True)
    for agent in usage:
        table.add_row(
            one_line(agent.agent),
            one_line(agent.model),
            f"{agent.calls:,}",
            f"{'≈' if agent.estimated else ''}{agent.input_tokens:,}",
            *([f"{agent.cached_tokens:,}"] if cached else []),
            f"{'≈' if agent.estimated else ''}{agent.output_tokens:,}",
            format_price(agent.cost_usd),
            format_duration(agent.seconds),
        )
    return table


def _next_commands(
    finished: RunFinished, proof: Proof | None, thread: str, applied: bool, shown: bool
) -> Iterator[tuple[str, Text]]:
    """Yield the commands that make sense now, each with its meaning."""
    commands = {}
    weak = results.advice(proof, finished.missing)
    if finished.branch and (finished.status != "verified" or weak):
        commands[f"autocode diff {thread}"] = "read the changes"
    if finished.branch and finished.status == "verified" and not applied:
        commands[f"git merge {finished.branch}"] = "merge the result into your branch"
        commands[f"autocode apply {thread}"] = "apply the result to your checkout, uncommitted"
    elif finished.status == "answered":
        commands[f'autocode run "…" --thread {thread}'] = "ask more, or give a task"
    elif finished.status == "unverified":
        commands[f'autocode run "…" --thread {thread}'] = "say what should be different"
    # A cancelled run with `missing` was refused by a person, so resuming it would only ask again.
    if finished.status in ("failed", "waiting") or (finished.status == "cancelled" and not finished.missing):
        commands[f"autocode resume {thread}"] = "continue where the run stopped"
    if finished.status == "budget":
        flag = next((flag for word, flag in FLAGS.items() if word in (finished.reason or "")), "--budget USD")
        commands[f"autocode resume {thread} {flag}"] = "continue where the budget was spent, with more"
    if not shown:
        commands[f"autocode show {thread}"] = "show the whole run again"
    for command, meaning in commands.items():
        yield command, Text(meaning, style="dim")


def _slash_commands(commands: Iterable[tuple[str, Text]], thread: str) -> Iterator[tuple[str, Text]]:
    """Yield the commands as a conversation has them. A new task needs none there."""
    for command, meaning in commands:
        if not command.startswith("autocode run"):
            yield command.replace("autocode ", "/", 1).replace(f" {thread}", "", 1), meaning
