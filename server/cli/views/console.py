"""Where a command writes and what it can ask: a terminal, a file, or a program that reads JSON."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, RenderableType
from rich.text import Text

from nodes.events import Event
from nodes.state import Options
from server.cli.views.format import sanitize
from server.cli.views.plain_output import JsonLines, PlainLines
from server.cli.views.run_view import RunView
from server.cli.views.terminal import Terminal

FILE_WIDTH = 120
"""How wide tables are where no terminal says so."""


class RunDisplay(Protocol):
    """Shows a run's events as they come, between `__enter__` and `__exit__`."""

    progress: RunView

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: Event) -> None: ...

    def tick(self, now: float) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class CliConsole:
    """Standard output and error; with `json`, standard output carries events and nothing else."""

    out: Console
    err: Console
    json: bool = False

    @classmethod
    def open(cls, json: bool = False) -> "CliConsole":
        """Take the process's own streams; what they cannot encode is written as `?`."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        return cls(_console(stderr=False), _console(stderr=True), json)

    @property
    def can_redraw(self) -> bool:
        """True where a cursor can be moved."""
        return self.out.is_terminal and not self.out.is_dumb_terminal and not self.json

    @property
    def can_ask(self) -> bool:
        """True where somebody can answer a question."""
        return sys.stdin.isatty() and self.out.is_terminal and not self.json

    def display(self, progress: RunView, options: Options) -> RunDisplay:
        """Return the view that suits the streams."""
        if self.json:
            return JsonLines(self._emit, self.say, progress)
        if self.can_redraw:
            return Terminal(self.out, progress, options)
        return PlainLines(self.write, self.write, progress)

    def say(self, text: str) -> None:
        """Write a notice: to standard error, or on a terminal above whatever moves there."""
        (self.out if self.can_redraw else self.err).print(Text(sanitize(text)), soft_wrap=True)

    def write(self, text: str) -> None:
        """Write one plain line to standard output."""
        self.out.print(Text(text), soft_wrap=True)

    @contextmanager
    def page(self) -> Iterator[Console]:
        """Collect what is printed; off a terminal it comes without the blanks that fill up columns."""
        if self.out.is_terminal:
            yield self.out
            return
        with self.out.capture() as printed:
            yield self.out
        for text in printed.get().splitlines():
            self.write(text.rstrip())

    def print(self, *parts: RenderableType) -> None:
        """Print to standard output, unless a program reads it."""
        if not self.json:
            with self.page() as console:
                for part in parts:
                    console.print(part)

    def data(self, text: str) -> None:
        """Write text to standard output byte for byte, as a program would read it."""
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()

    def _emit(self, text: str) -> None:
        self.data(text + "\n")


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    return console
