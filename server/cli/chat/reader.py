"""Lines that the user types: at a prompt, below a run at work, or from a pipe."""

import asyncio
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from memory.secrets import masked_tokens

PROMPT = "> "


class PipeReader:
    """Reads a line for each task from standard input that is no terminal."""

    async def line(self) -> str | None:
        """Return the next line, None at the end."""
        return (await asyncio.to_thread(sys.stdin.readline)) or None


class TerminalReader:
    """Reads from a terminal, with a history. A paste of several lines is one text."""

    def __init__(self, history: Path, secrets: Sequence[str], commands: Sequence[str]) -> None:
        history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        history.touch(mode=0o600)
        shared = _MaskedHistory(str(history), secrets)
        words = WordCompleter([f"/{name}" for name in commands], sentence=True)
        session = partial(PromptSession[str], history=shared, completer=words, complete_while_typing=False)
        # Room for a menu would be missing to a frame of the screen's height.
        session = partial(session, key_bindings=self._keys(), reserve_space_for_menu=0)
        self._asking, self._steering = session(), session(erase_when_done=True)
        self._draft = ""
        self._is_steering = False
        self._modes = termios.tcgetattr(sys.stdin)

    async def line(self) -> str | None:
        """Return the next text, None if the user leaves."""
        draft, self._draft = self._draft, ""
        try:
            return await self._asking.prompt_async(PROMPT, default=draft, handle_sigint=False)
        except EOFError:
            return None

    @asynccontextmanager
    async def beside(
        self, frame: Callable[[], str], typed: Callable[[str], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        """Draw `frame` above an input, and pass to `typed` what is sent. The rest begins the next text."""
        self._is_steering = True
        with patch_stdout(raw=True):
            listening = asyncio.create_task(self._listen(lambda: ANSI(frame() + PROMPT), typed))
            try:
                yield
            finally:
                self._is_steering = False
                if self._steering.app.is_running:
                    self._draft = self._steering.default_buffer.text
                    self._steering.app.exit(exception=EOFError)
                await asyncio.wait((listening,))
        if not listening.cancelled() and (error := listening.exception()):
            raise error

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def refresh(self) -> None:
        """Draw the frame again."""
        self._steering.app.invalidate()

    def restore(self) -> None:
        """Give the terminal its modes back, before the process ends at once."""
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._modes)

    async def _listen(self, message: Callable[[], ANSI], typed: Callable[[str], Awaitable[bool]]) -> None:
        with suppress(EOFError):  # the run has ended, or the terminal is gone
            while self._is_steering:
                draft, self._draft = self._draft, ""
                text = await self._steering.prompt_async(message, default=draft, handle_sigint=False)
                if text.strip() and not await typed(text):
                    self._draft = text

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        def _stop(event: KeyPressEvent) -> None:
            """Stop the run as Ctrl-C does elsewhere. At the prompt, clear the text or leave."""
            if self._is_steering:
                signal.raise_signal(signal.SIGINT)
            elif event.current_buffer.text:
                event.current_buffer.reset()
            else:
                event.app.exit(exception=EOFError)

        keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
        # Ctrl-D would close the input while the run goes on.
        keys.add("c-d", filter=Condition(lambda: self._is_steering))(lambda event: None)
        return keys


class _MaskedHistory(FileHistory):
    """A history in a file that holds no known keys."""

    def __init__(self, filename: str, secrets: Sequence[str]) -> None:
        super().__init__(filename)
        self._secrets = tuple(secrets)

    def store_string(self, string: str) -> None:
        """Append a text to the file."""
        super().store_string(masked_tokens(string, self._secrets))
