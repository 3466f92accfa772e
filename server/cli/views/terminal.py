"""The live view of a run: finished rows scroll away, what is at work stays at the bottom and moves."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nodes.events import Event
from nodes.state import Options, Plan
from server.cli.views.format import first_line, format_duration, format_price, one_line, pluralize
from server.cli.views.row import Look, Row
from server.cli.views.run_view import RunView

GLYPHS: dict[Look, tuple[str, str, str]] = {
    "planned": ("·", ".", "dim"),
    "running": ("▸", ">", "cyan"),
    "done": ("✓", "+", "green"),
    "failed": ("✗", "x", "red"),
    "asks": ("?", "?", "bold yellow"),
    "stopped": ("■", "#", "yellow"),
}
"""A look's sign, its sign where only ASCII can be written, and its style."""


class Terminal:
    """Shows a run as it goes, on a terminal that can move its cursor. `tick` moves the clock."""

    def __init__(self, console: Console, progress: RunView, options: Options | None = None) -> None:
        self.progress = progress
        self._console = console
        self._titled = False
        self._printed: set[Row] = set()
        self._spinner = Spinner("dots" if not console.options.ascii_only else "line", style="cyan")
        self.frame = Frame(self.progress, options or Options(), self._spinner, self._printed)
        self._live = self._new_live()

    def _new_live(self) -> Live:
        return Live(self.frame, console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Terminal":
        self._live = self._new_live()
        self._live.start()
        self._entitle()
        return self

    def __exit__(self, *error: object) -> None:
        self._settle(leaving=True)
        self._live.stop()

    def show(self, event: Event) -> None:
        """Take in one event; the next tick draws it."""
        self.progress.apply(event)
        self._entitle()
        self._settle()

    def _entitle(self) -> None:
        """Print once what is being done, as soon as that is known."""
        if self.progress.run and not self._titled:
            self._titled = True
            name = one_line(self.progress.thread)
            task = Text(first_line(self.progress.task, self._console.width - len(name) - 2), style="bold")
            self._console.print(Text.assemble((name, "cyan"), "  ", task))

    def tick(self, now: float) -> None:
        """Draw the newest state, at the wall clock's time."""
        self.progress.now = max(now, self.progress.now)
        self._live.refresh()

    def say(self, text: str) -> None:
        """Print a notice above what moves."""
        self._console.print(Text(text, style="bold yellow"))

    def _settle(self, leaving: bool = False) -> None:
        """Print for good the rows at the top that are over; on leaving, every row that has begun."""
        for row in self.progress.rows:
            if row in self._printed:
                continue
            if row.over:
                self._printed.add(row)
            elif not leaving:
                break
            if row.shown and (row.look != "planned" or row.outcome):
                self._console.print(render_row(row, self.progress))


class Frame:
    """What moves: the rows that are not over, and a line of sums below them."""

    def __init__(self, progress: RunView, options: Options, spinner: Spinner, printed: set[Row]) -> None:
        self._progress, self._options, self._spinner, self._printed = progress, options, spinner, printed

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [row for row in self._progress.rows if row not in self._printed and row.shown]
        room = max(options.size.height - 3, 3)
        rows, hidden = _fit(rows, room)
        tails = _share(rows, room - len(rows))
        for row in rows:
            yield render_row(row, self._progress, self._spinner, tails.get(row, 0))
        if hidden:
            yield Text(f"             … and {pluralize(hidden, 'more step')}", style="dim")
        yield from self._sums()

    def _sums(self) -> Iterator[RenderableType]:
        progress, limits = self._progress, self._options
        if not progress.run:
            yield Text("  starting …", style="dim")
            return
        spent, tokens = progress.now - progress.started, f"{progress.tokens:,}"
        price = "price unknown" if progress.unpriced and not progress.cost else format_price(progress.cost)
        parts = [
            format_duration(spent) + _of(limits.max_run_seconds and format_duration(limits.max_run_seconds)),
            tokens + _of(limits.max_tokens and f"{limits.max_tokens:,}") + " tokens",
            price + _of(limits.max_cost_usd and format_price(limits.max_cost_usd)),
        ]
        if progress.retries:
            parts.append(pluralize(progress.retries, "retry", "retries"))
        yield Text("  " + " · ".join(parts), style="dim", no_wrap=True, overflow="ellipsis")
        if progress.waiting:
            yield Text(" WAITING FOR YOUR ANSWER ", style="bold black on yellow")


def spent(progress: RunView) -> str:
    """Return what the run has cost so far, as far as prices are known."""
    if not progress.unpriced:
        return format_price(progress.cost)
    return f"{format_price(progress.cost)} and more, a price is unknown" if progress.cost else "price unknown"


def _of(limit: object) -> str:
    return f" of {limit}" if limit else ""


def _fit(rows: list[Row], room: int) -> tuple[list[Row], int]:
    """Keep the rows that matter most when there are more than fit: those at work before those that wait."""
    if len(rows) <= room:
        return rows, 0
    wanted = sorted(rows, key=lambda row: row.look == "planned")[: room - 1]
    return [row for row in rows if row in wanted], len(rows) - len(wanted)


def _share(rows: list[Row], room: int) -> dict[Row, int]:
    """Share out the lines left over: two for each streaming row if they fit, else one, else none."""
    streaming = [row for row in rows if row.look == "running" and row.tail.strip()]
    notes = sum(min(len(row.notes), 2) for row in rows)
    each = min(2, max(room - notes, 0) // len(streaming)) if streaming else 0
    return {row: each for row in streaming}


def render_row(row: Row, progress: RunView, spinner: Spinner | None = None, tail: int = 0) -> RenderableType:
    """Draw one row: sign, bracket of its group, agent, what it does, what came of it, how long it took."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(width=1, style="dim")
    grid.add_column(width=8, no_wrap=True, overflow="ellipsis")
    grid.add_column(ratio=1)
    grid.add_column(width=7, justify="right", style="dim", no_wrap=True)
    running = row.look == "running"
    seconds = progress.now - row.started if running else row.seconds
    style = GLYPHS[row.look][2]
    sign: RenderableType = spinner if running and spinner else _Sign(row.look)
    name = Text(row.node, style="bold" if running else "dim" if row.look == "planned" else "")
    time = format_duration(seconds) if seconds is not None else ""
    grid.add_row(sign, group_bracket(progress.plan, row.step), name, _Deed(row, style), time)
    for note in row.notes[-2:] if spinner else row.notes[:12]:
        grid.add_row(
            "", "", "", Text(note, style="red" if row.look == "failed" else "yellow", overflow="fold"), ""
        )
    if len(row.notes) > 12 and not spinner:
        more = Text(f"… and {len(row.notes) - 12} more", style="dim")
        grid.add_row("", "", "", more, "")
    for said in row.last_lines(tail) if tail else []:
        streamed = Text(f"│ {said}", style="dim", no_wrap=True, overflow="ellipsis")
        grid.add_row("", "", "", streamed, "")
    return grid


class _Sign:
    def __init__(self, look: Look) -> None:
        self._look = look

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sign, plain, style = GLYPHS[self._look]
        yield Text(plain if options.ascii_only else sign, style=style)


class _Deed:
    """What a row does and what came of it, on one line; of two long ones the outcome gets a third."""

    def __init__(self, row: Row, style: str) -> None:
        self._row, self._style = row, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        row, width = self._row, options.max_width
        outcome = Text(row.outcome, style=self._style)
        if not row.title:
            outcome.truncate(width, overflow="ellipsis")
            yield outcome
            return
        title = Text(row.title, style="dim" if row.look == "planned" else "")
        if row.outcome:
            outcome.truncate(max(width // 3, width - title.cell_len - 2), overflow="ellipsis")
            title.truncate(width - outcome.cell_len - 2, overflow="ellipsis")
            yield Text.assemble(title, "  ", outcome)
            return
        title.truncate(width, overflow="ellipsis")
        yield title


def group_bracket(plan: Plan | None, step: str | None) -> str:
    """Return the piece of the bracket that holds together the steps which run at once."""
    steps = plan["steps"] if plan else []
    group = next((one["group"] for one in steps if one["id"] == step), None)
    members = [one["id"] for one in steps if one["group"] == group]
    if step is None or len(members) < 2 or step not in members:
        return ""
    return "┌" if step == members[0] else "└" if step == members[-1] else "│"
