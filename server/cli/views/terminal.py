"""The live display of a run: finished rows scroll up, unfinished rows are redrawn at the bottom."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nodes.events import Event, MessageAdded
from nodes.state import Options, Plan
from server.cli.views.format import (
    first_line,
    format_duration,
    format_price,
    format_total,
    one_line,
    pluralize,
    sanitize,
)
from server.cli.views.run_view import Row, RowState, RunView

SIGNS: dict[RowState, tuple[str, str, str]] = {
    "planned": ("·", ".", "dim"),
    "running": ("▸", ">", "cyan"),
    "done": ("✓", "+", "green"),
    "failed": ("✗", "x", "red"),
    "asks": ("?", "?", "bold yellow"),
    "stopped": ("■", "#", "yellow"),
}
"""For each state of a row: sign, sign on terminals that are limited to ASCII, style."""

LABELS = {"environment": "build", "go_on": "go on", "tryout": "sandbox"}
"""Names of rows whose node has another name."""


class Redraw(Protocol):
    """The part of a display that is drawn again and again."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def refresh(self) -> None: ...


class Terminal:
    """Shows a run on a terminal with a movable cursor. `tick` redraws."""

    def __init__(self, console: Console, run: RunView, options: Options | None = None) -> None:
        self.run = run
        self._console = console
        self._titled = False
        self._printed: set[Row] = set()
        spinner = Spinner("dots" if not console.options.ascii_only else "line", style="cyan")
        self.frame = Frame(run, options or Options(), spinner, self._printed)
        self._live = self._new_live()

    def _new_live(self) -> Redraw:
        # No auto-refresh: rich would draw in a thread of its own, while events change the rows.
        return Live(self.frame, console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Terminal":
        self._live = self._new_live()  # a stopped Live cannot be started again
        self._live.start()
        self._print_title()
        return self

    def __exit__(self, *error: object) -> None:
        self._print_rows(leaving=True)
        self._live.stop()

    def show(self, event: Event) -> None:
        """Apply one event. The next tick draws it."""
        self.run.apply(event)
        self._print_title()
        self._print_rows()
        if isinstance(event.data, MessageAdded) and event.data.role == "user":
            note = f"you: {first_line(event.data.text, 300)}  (sent)"
            self._console.print(Text(note, style="cyan"))

    def tick(self, now: float) -> None:
        """Redraw the frame. `now` is the wall clock's time in seconds since 1970."""
        if not self.run.finished:  # a run that is resumed stands still until its first event
            self.run.now = max(now, self.run.now)  # events of another machine may be ahead of this clock
        self._live.refresh()

    def notify(self, text: str) -> None:
        """Print a notice above the frame."""
        self._console.print(Text(text, style="bold yellow"))

    def _print_title(self) -> None:
        """Print thread and task once, as soon as they are known."""
        if self.run.run_id and not self._titled:
            self._titled = True
            name = one_line(self.run.thread_id)
            task = first_line(self.run.task, self._console.width - len(name) - 2)
            self._console.print(Text.assemble((name, "cyan"), "  ", (task, "bold")))

    def _print_rows(self, leaving: bool = False) -> None:
        """Print finished rows above the frame, in order. With `leaving`, print every started row."""
        for row in self.run.rows:
            if row in self._printed:
                continue
            if row.over:
                self._printed.add(row)
            elif not leaving:
                break
            if row.shown and (row.state != "planned" or row.outcome):
                self._console.print(render_row(row, self.run))


@dataclass
class Frame:
    """The redrawn part: unfinished rows, and a line with time, tokens and cost."""

    run: RunView
    limits: Options
    spinner: Spinner
    printed: set[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [row for row in self.run.rows if row not in self.printed and row.shown]
        # rich cuts a frame that is higher than the screen, and the cut part would be the newest.
        height = max(options.size.height - 3, 3)
        rows, hidden = _fit(rows, height)
        tail_lines = _tail_lines(rows, height - len(rows))
        for row in rows:
            yield render_row(row, self.run, self.spinner, tail_lines.get(row, 0))
        if hidden:
            yield Text(f"             … and {pluralize(hidden, 'more step')}", style="dim")
        yield from self._totals()

    def _totals(self) -> Iterator[RenderableType]:
        run, limits = self.run, self.limits
        if not run.run_id:
            yield Text("  starting …", style="dim")
            return
        price = format_total(run.cost, run.unpriced, run.estimated)
        parts = [
            format_duration(run.now - run.started)
            + _of(limits.max_run_seconds and format_duration(limits.max_run_seconds)),
            ("≈" if run.estimated else "")
            + f"{run.tokens:,}"
            + _of(limits.max_tokens and f"{limits.max_tokens:,}")
            + " tokens",
            price + _of(limits.max_cost_usd and format_price(limits.max_cost_usd)),
        ]
        if run.retries:
            parts.append(pluralize(run.retries, "retry", "retries"))
        yield Text("  " + " · ".join(parts), style="dim", no_wrap=True, overflow="ellipsis")
        if run.waiting:
            yield Text(" WAITING FOR YOUR ANSWER ", style="bold black on yellow")


def _of(limit: object) -> str:
    return f" of {limit}" if limit else ""


def _fit(rows: list[Row], height: int) -> tuple[list[Row], int]:
    """Return the rows that fit, running ones first, and the number of hidden ones."""
    if len(rows) <= height:
        return rows, 0
    kept = sorted(rows, key=lambda row: row.state == "planned")[: height - 1]
    return [row for row in rows if row in kept], len(rows) - len(kept)


def _tail_lines(rows: list[Row], height: int) -> dict[Row, int]:
    """Return how many lines each streaming row may show of its reply: two if they fit, else one or none."""
    streaming = [row for row in rows if row.state == "running" and row.tail.strip()]
    notes = sum(min(len(row.notes), 2) for row in rows)
    lines = min(2, max(height - notes, 0) // len(streaming)) if streaming else 0
    return {row: lines for row in streaming}


def render_row(row: Row, run: RunView, spinner: Spinner | None = None, tail: int = 0) -> RenderableType:
    """Render a row: sign, bracket of its group, agent, title and outcome, duration, notes, `tail` lines."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(width=1, style="dim")
    grid.add_column(width=8, no_wrap=True, overflow="ellipsis")
    grid.add_column(ratio=1)
    grid.add_column(width=7, justify="right", style="dim", no_wrap=True)
    running = row.state == "running"
    seconds = run.now - row.started if running else row.seconds
    sign: RenderableType = spinner if running and spinner else _Sign(row.state)
    name = Text(
        LABELS.get(row.node, row.node), style="bold" if running else "dim" if row.state == "planned" else ""
    )
    duration = format_duration(seconds) if seconds is not None else ""
    grid.add_row(sign, group_bracket(run.plan, row.step), name, _TitleAndOutcome(row), duration)
    if not spinner:
        for call in row.calls:
            grid.add_row("", "", "", Text(call, style="dim", no_wrap=True, overflow="ellipsis"), "")
    note_style = "red" if row.state == "failed" else "yellow"
    notes = row.notes[-2:] if spinner else row.notes[:12]
    details = [Text(note, style=note_style, overflow="fold") for note in notes]
    if len(row.notes) > 12 and not spinner:
        details.append(Text(f"… and {len(row.notes) - 12} more", style="dim"))
    if running and (left := row.again - run.now) >= 1:
        details.append(Text(f"asks again in {left:.0f}s", style="bold yellow"))
    lines = [line.rstrip() for line in sanitize(row.tail).expandtabs(4).splitlines() if line.strip()]
    for line in lines[-tail:] if tail else []:
        details.append(Text(f"│ {line}", style="dim", no_wrap=True, overflow="ellipsis"))
    for detail in details:
        grid.add_row("", "", "", detail, "")
    return grid


@dataclass
class _Sign:
    state: RowState

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sign, ascii_sign, style = SIGNS[self.state]
        yield Text(ascii_sign if options.ascii_only else sign, style=style)


@dataclass
class _TitleAndOutcome:
    """A row's title and outcome on one line. If both are long, the outcome gets a third of the width."""

    row: Row

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        row, width = self.row, options.max_width
        title = Text(row.title, style="dim" if row.state == "planned" else "")
        outcome = Text(row.outcome, style=SIGNS[row.state][2])
        gap = "  " if row.title and row.outcome else ""
        if gap:
            outcome.truncate(max(width // 3, width - title.cell_len - 2), overflow="ellipsis")
            title.truncate(width - outcome.cell_len - 2, overflow="ellipsis")
        line = Text.assemble(title, gap, outcome)
        line.truncate(width, overflow="ellipsis")
        yield line


def group_bracket(plan: Plan | None, step: str | None) -> str:
    """Return the part of the bracket around a parallel group that belongs to a step."""
    steps = plan["steps"] if plan else []
    group = next((each["group"] for each in steps if each["id"] == step), None)
    members = [each["id"] for each in steps if each["group"] == group]
    if step is None or len(members) < 2 or step not in members:
        return ""
    return "┌" if step == members[0] else "└" if step == members[-1] else "│"
