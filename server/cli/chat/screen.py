"""The console of a conversation: a run's live display with a line for input below it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console

from nodes.state import Options
from server.cli.chat.reader import TerminalReader
from server.cli.chat.slash import in_conversation
from server.cli.views.console import CliConsole, RunDisplay
from server.cli.views.run_view import RunView
from server.cli.views.terminal import Redraw, Terminal


class ChatTerminal(Terminal):
    """Shows a run above a line for input."""

    def __init__(self, console: Console, run: RunView, options: Options, reader: TerminalReader) -> None:
        self._reader = reader
        super().__init__(console, run, options)

    def _new_live(self) -> Redraw:
        return self._reader

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._reader.restore()

    def drawn(self) -> str:
        """Return the redrawn part as text with colours."""
        with self._console.capture() as drawn:
            self._console.print(self.frame)
        return drawn.get()


@dataclass(frozen=True)
class ChatConsole(CliConsole):
    """A console whose runs can be steered. `typed` receives what the user types while a run is at work."""

    reader: TerminalReader | None = None
    typed: Callable[[str], Awaitable[bool]] | None = None

    def notify(self, text: str) -> None:
        """Write a notice, which names the commands as a conversation has them."""
        super().notify(in_conversation(text))

    def display(self, run: RunView, options: Options) -> RunDisplay:
        """Return the display that suits the streams."""
        if self.reader:
            return ChatTerminal(self.out, run, options, self.reader)
        return super().display(run, options)

    @asynccontextmanager
    async def live(self, display: RunDisplay) -> AsyncIterator[None]:
        """Show a run inside the `async with` block, and read what is typed."""
        if not (isinstance(display, ChatTerminal) and self.reader and self.typed):
            async with super().live(display):
                yield
            return
        async with self.reader.beside(display.drawn, self.typed):
            with display:
                yield
