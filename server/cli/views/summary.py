"""What a person reads when a run has ended: the diff, the proof, the cost, and the commands to go on with."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from nodes.events import AgentUsage, RunFinished
from nodes.proof import Proof
from server.cli.views.format import format_duration, format_price, one_line, pluralize, sanitize
from server.cli.views.run_view import RunView

DIFF_LINES = 300
"""A longer diff is cut at the end of a run; `autocode diff` shows it whole."""

HEADLINES = {
    "verified": ("Verified", "bold green"),
    "unverified": ("NOT verified", "bold red"),
    "waiting": ("Waiting for your answer", "bold yellow"),
    "cancelled": ("Stopped", "bold yellow"),
    "failed": ("Failed", "bold red"),
    "budget": ("Budget spent, NOT verified", "bold red"),
}


def print_summary(console: Console, progress: RunView, applied: bool = False) -> None:
    """Print the end of a run; a result that is `applied` anyway needs no command for that."""
    finished = progress.finished
    if finished is None:
        return
    proof = Proof.model_validate(finished.proof) if finished.proof else None
    console.print()
    console.print(_headline(finished, proof, progress))
    console.print(_columns(_facts(finished, proof, progress), "dim"))
    if finished.usage:
        console.print()
        console.print(cost_table(finished.usage))
    console.print()
    console.print(_columns(next_commands(progress, applied), "bold cyan", gap=3))


def _columns(rows: Iterable[tuple[str, RenderableType]], style: str, gap: int = 2) -> Table:
    table = Table.grid(padding=(0, gap))
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), text)
    return table


def render_diff(diff: str, thread: str = "", limit: int | None = DIFF_LINES) -> RenderableType:
    """Return a diff in the terminal's own colours, cut to `limit` lines."""
    lines = sanitize(diff).splitlines()
    shown = "\n".join(lines[:limit])
    syntax = Syntax(shown, "diff", theme="ansi_dark", background_color="default", word_wrap=True)
    if limit is None or len(lines) <= limit:
        return syntax
    more = f"… {pluralize(len(lines) - limit, 'more line')}: autocode diff {thread}"
    return Group(syntax, Text(more, style="bold yellow"))


def _headline(finished: RunFinished, proof: Proof | None, progress: RunView) -> Text:
    words, style = HEADLINES[finished.status]
    if finished.status == "waiting" and not progress.waiting:
        words = "Waiting to go on"
    text = Text(words, style=style)
    if finished.branch:
        text.append(f"  {one_line(finished.branch)}", style="bold")
    if proof and proof.grade == "tests":
        text.append(f"  {proof.passed} of {proof.total} passed", style="")
    return text


def _facts(
    finished: RunFinished, proof: Proof | None, progress: RunView
) -> Iterator[tuple[str, RenderableType]]:
    if finished.reason and finished.reason != "stopped":
        yield "reason", Text(sanitize(finished.reason), style="yellow")
    for missing in (one for one in finished.missing if one != finished.reason):
        yield "missing", Text(one_line(missing), style="red")
    for error in progress.errors if finished.status in ("failed", "unverified") else []:
        yield "error", Text(sanitize(error.message), style="red")
    if proof:
        yield from proof_rows(proof)


def proof_rows(proof: Proof) -> Iterator[tuple[str, RenderableType]]:
    """Say what a proof rests on, its weaknesses loudly."""
    yield "command", Text(one_line(" ".join(proof.command)))
    state = "green" if proof.green else "RED"
    yield "check", Text(f"{state}, exit code {proof.exit_code}, {_counts(proof)}")
    image, backend = one_line(proof.image), one_line(proof.backend)
    yield "where", Text(image if image.startswith(backend) else f"{backend}, {image}", style="dim")
    yield "tree", Text(f"{one_line(proof.tree)} (base {one_line(proof.base)[:12]})", style="dim")
    if cases := proof.fail_to_pass:
        yield "proves", _cases(cases, "fails without the change, passes with it", "green")
    if proof.untestable:
        yield "no test", Text(f"the tester wrote none: {one_line(proof.untestable)}", style="bold yellow")
    if proof.vacuous:
        yield "VACUOUS", _cases(proof.vacuous, "passes without the change too, proves nothing", "bold yellow")
    if proof.contradicted:
        yield (
            "CONTRADICTED",
            _cases(proof.contradicted, "edited; its old text fails on the change", "bold red"),
        )
    if proof.sensitive:
        yield (
            "SENSITIVE",
            _cases(proof.sensitive, "steers the tests themselves; read its diff", "bold yellow"),
        )
    if proof.baseline == "unknown":
        yield "BASELINE", Text("unknown: the base's own run did not finish in time", style="bold yellow")
    if proof.scope == "affected":
        yield (
            "scope",
            Text("only tests that the change can reach; the whole suite was not run", style="yellow"),
        )
    for problem in proof.problems:
        yield "problem", Text(sanitize(problem).strip(), style="red")
    for failure in proof.failures[:5]:
        yield "failed", Text(f"{one_line(failure.id)}\n{_tail(failure.text)}".strip(), style="red")
    if proof.verdict:
        style = "green" if proof.verdict == "PASS" else "bold red"
        yield (
            "critic",
            Text(": ".join(filter(None, [proof.verdict, one_line(" · ".join(proof.reasons))])), style=style),
        )


def _counts(proof: Proof) -> str:
    if proof.grade == "exit code":
        return "judged by the exit code alone"
    words = f"{proof.passed} of {proof.total} passed"
    skipped = sum(case.head == "skipped" for case in proof.cases)
    return words + (f", {skipped} skipped" if skipped else "")


def _cases(names: Sequence[str], meaning: str, style: str, limit: int = 12) -> Text:
    text = Text("\n".join(one_line(name) for name in names[:limit]), style=style)
    if len(names) > limit:
        text.append(f"\n… and {len(names) - limit} more")
    return text.append(f"\n({meaning})", style="dim not bold")


def _tail(text: str, limit: int = 12) -> str:
    lines = sanitize(text).strip().splitlines()
    return "\n".join(f"  {said}" for said in lines[-limit:])


def cost_table(usage: Sequence[AgentUsage]) -> Table:
    """Return what each agent used, as a table with its sums."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim", show_footer=len(usage) > 1)
    known = sum(one.cost_usd or 0 for one in usage)
    unpriced = any(one.cost_usd is None for one in usage)
    table.add_column("agent", "total", no_wrap=True)
    table.add_column("model", overflow="fold")
    sums: list[tuple[str, Any]] = [
        ("calls", f"{sum(one.calls for one in usage):,}"),
        ("input", f"{sum(one.input_tokens for one in usage):,}"),
        ("output", f"{sum(one.output_tokens for one in usage):,}"),
        (
            "cost",
            (f"over {format_price(known)}" if known else "unknown") if unpriced else format_price(known),
        ),
        ("time", format_duration(sum(one.seconds for one in usage))),
    ]
    for name, total in sums:
        table.add_column(name, total, justify="right", no_wrap=True)
    for one in usage:
        numbers = [f"{n:,}" for n in (one.calls, one.input_tokens, one.output_tokens)]
        table.add_row(
            one_line(one.agent),
            one_line(one.model),
            *numbers,
            format_price(one.cost_usd),
            format_duration(one.seconds),
        )
    return table


def next_commands(progress: RunView, applied: bool = False) -> list[tuple[str, Text]]:
    """Return the commands that make sense now, and what each does."""
    finished, thread = progress.finished, progress.thread
    if finished is None:
        return []
    commands = []
    if finished.branch and finished.status == "verified":
        commands.append((f"git merge {finished.branch}", "bring it into your branch"))
        if not applied:
            commands.append((f"autocode apply {thread}", "bring it into your checkout, uncommitted"))
    elif finished.branch:
        commands.append((f"autocode diff {thread}", "read what there is"))
    if is_resumable(finished):
        commands.append((f"autocode resume {thread}", "go on where it stopped"))
    commands.append((f"autocode show {thread}", "see the whole run again"))
    return [(command, Text(meaning, style="dim")) for command, meaning in commands]


def is_resumable(finished: RunFinished) -> bool:
    """True for a run that can go on: it fell or was stopped, and no human refused it."""
    return finished.status in ("failed", "waiting") or (
        finished.status == "cancelled" and not finished.missing
    )
