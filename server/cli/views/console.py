"""Console output for terminals, pipes and `--json`."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from nodes.state import Options
from server.cli.views.format import sanitize
from server.cli.views.plain_output import JsonLines, PlainLines
from server.cli.views.run_view import RunView
from server.cli.views.terminal import Terminal

FILE_WIDTH = 120
"""Width of tables that go to a file or a pipe."""


RunDisplay = Terminal | PlainLines | JsonLines


@dataclass(frozen=True)
class CliConsole:
    """Standard output and standard error. With `json`, standard output carries data only."""

    out: Console
    err: Console
    json: bool = False

    @classmethod
    def open(cls, json: bool = False) -> "CliConsole":
        """Open the process's own streams. Characters that they cannot encode are written as `?`."""
        for stream in (sys.stdout, sys.stderr):
            # Replaced streams, such as a test's StringIO, cannot be reconfigured.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        return cls(_rich_console(stderr=False), _rich_console(stderr=True), json)

    @property
    def can_redraw(self) -> bool:
        """True if output can be drawn over: a terminal with a movable cursor."""
        return self.out.is_terminal and not self.out.is_dumb_terminal and not self.json

    @property
    def can_ask(self) -> bool:
        """True if a person can answer questions."""
        return sys.stdin.isatty() and self.out.is_terminal and not self.json

    def display(self, run: RunView, options: Options) -> RunDisplay:
        """Return the display that suits the streams."""
        if self.json:
            return JsonLines(lambda line: self.write_raw(f"{line}\n"), self.notify, run)
        if self.can_redraw:
            return Terminal(self.out, run, options)
        return PlainLines(self.write, self.write, run)

    @asynccontextmanager
    async def live(self, display: RunDisplay) -> AsyncIterator[None]:
        """Show a run inside the `async with` block."""
        with display:
            yield

    def notify(self, text: str) -> None:
        """Write a notice: to standard error, or on a terminal above the part that is redrawn."""
        (self.out if self.can_redraw else self.err).print(Text(sanitize(text)), soft_wrap=True)

    def write(self, text: str) -> None:
        """Write one plain line to standard output."""
        self.out.print(Text(text), soft_wrap=True)

    @contextmanager
    def page(self) -> Iterator[Console]:
        """Yield a rich console whose output goes to standard output."""
        if self.out.is_terminal:
            yield self.out
            return
        with self.out.capture() as printed:
            yield self.out
        # rich pads table columns with blanks to the full width, which clutters files and diffs.
        lines = [f"{line.rstrip()}\n" for line in printed.get().splitlines()]
        # A `write` for each line of a long diff would take longer than all else.
        self.out.print(Segments([Segment("".join(lines))]), soft_wrap=True, end="")

    def print(self, *parts: RenderableType, style: str | None = None) -> None:
        """Print to standard output. With `json`, print nothing."""
        if not self.json:
            with self.page() as console:
                for part in parts:
                    console.print(part, style=style)

    def write_raw(self, text: str) -> None:
        """Write text to standard output byte for byte."""
        sys.stdout.flush()
        # Patches may hold bytes that are not UTF-8. surrogateescape gives them back unchanged.
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()


def list_table(*names: str, **ratios: int) -> Table:
    """Return a table without lines. The columns in `ratios` share the width that the others leave."""
    table = Table(box=None, expand=bool(ratios), pad_edge=False, padding=(0, 1), header_style="dim")
    for name in names:
        table.add_column(name, ratio=ratios.get(name), no_wrap=True)
    return table


def _rich_console(stderr: bool) -> Console:
    # No markup, highlighting or emoji: text of models and repositories must never be interpreted.
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    return console
