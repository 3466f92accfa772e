"""How values read on a terminal; text from models and repositories is made harmless first."""

import re
from datetime import datetime

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNSEEN = re.compile(
    "[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


def sanitize(text: str) -> str:
    """Show control characters and direction overrides instead of obeying them; nothing is hidden.

    Colours are dropped; an escape reads `␛`, an unseen character `<U+202E>`. New lines and tabs stay.
    """
    text = _COLOURS.sub("", text.replace("\r\n", "\n"))
    text = _CONTROLS.sub(lambda found: _picture(ord(found[0])), text)
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def _picture(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"


def one_line(text: str) -> str:
    """Return all of `text` as one clean line."""
    return " ".join(sanitize(text).split())


def first_line(text: str, width: int = 100) -> str:
    """Return the first line of `text` that says anything, clean and cut to `width`."""
    lines = (one_line(part) for part in sanitize(text).splitlines())
    said = next((part for part in lines if part), "")
    return said if len(said) <= width else said[: width - 1].rstrip() + "…"


def format_duration(seconds: float) -> str:
    """Write a duration: `3.2s`, `2:05`, `1:02:03`."""
    if seconds < 60:
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: `1 step`, `2 steps`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_price(usd: float | None) -> str:
    """Write a price, fine enough that a cheap run is not free; None is an unknown one."""
    if usd is None:
        return "unknown"
    cents, fine = f"{usd:.2f}", f"{usd:.4f}".rstrip("0")
    return "$" + (cents if usd >= 1 else max(cents, fine, key=len))


def format_change(added: int, removed: int) -> str:
    """Write an edit's size: `+12 -3`."""
    return f"+{added} -{removed}"


def timestamp(ts: str) -> float:
    """Return the seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(ts).timestamp()
