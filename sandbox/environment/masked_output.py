"""The output of a build: whole lines, with passwords masked before anybody sees them."""

from collections.abc import Callable

_MAX_LINE = 8_192
_MAX_TEXT = 400_000


class MaskedOutput:
    """Passes whole lines on and keeps the last part of the text for the diagnosis.

    A password can come in two pieces, so nothing is passed on before its line ends.
    """

    def __init__(self, mask: Callable[[str], str], on_output: Callable[[str], None]) -> None:
        self._mask = mask
        self._on_output = on_output
        self._line = ""
        self._pieces: list[str] = []
        self._length = 0

    @property
    def text(self) -> str:
        """Return the last part of the masked output."""
        return "".join(self._pieces)[-_MAX_TEXT:]

    def feed(self, text: str) -> None:
        """Take a piece of output."""
        whole, newline, rest = (self._line + text).rpartition("\n")
        self._line = rest
        if newline:
            self._pass_on(whole + newline)
        if len(self._line) > _MAX_LINE:
            self.flush()  # a program could fill our memory with one endless line

    def flush(self) -> None:
        """Pass the unfinished line on."""
        if self._line:
            self._pass_on(self._line + "\n")
            self._line = ""

    def _pass_on(self, text: str) -> None:
        masked = self._mask(text)
        self._pieces.append(masked)
        self._length += len(masked)
        if self._length > 2 * _MAX_TEXT:
            self._pieces = [self.text]
            self._length = len(self._pieces[0])
        self._on_output(masked)
