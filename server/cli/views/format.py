"""Formatting of values for people. Text of models and repositories is made harmless."""

import re
from datetime import datetime

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROLS = {code: f"<U+{code:04X}>" for code in range(0x80, 0xA0)} | {0x7F: "\u2421"}
# Unicode's control pictures are in the order of ASCII's controls.
_CONTROLS |= {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"}
# Direction marks and overrides, zero-width characters, line separators, lone surrogates, tags.
_INVISIBLE = re.compile(
    "[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]+"
)


def sanitize(text: str) -> str:
    """Replace control and invisible characters with visible signs, and drop colours.

    An escape becomes `␛`, an invisible character `<U+202E>`. Newlines and tabs stay.
    """
    text = _COLOURS.sub("", text.replace("\r\n", "\n"))
    text = text.translate(_CONTROLS)
    return _INVISIBLE.sub(lambda match: "".join([f"<U+{ord(sign):04X}>" for sign in match[0]]), text)


def one_line(text: str) -> str:
    """Join all lines of `text` into one sanitized line."""
    return " ".join(sanitize(text).split())


def first_line(text: str, width: int = 100) -> str:
    """Return the first line of `text` that is not blank, sanitized and cut to `width`."""
    lines = (one_line(part) for part in sanitize(text).splitlines())
    first = next((part for part in lines if part), "")
    return first if len(first) <= width else first[: width - 1].rstrip() + "…"


def first_fault(text: str, width: int = 100) -> str:
    """Return the first line of `text`, and the next one if the first announces a list."""
    lines = [line for line in map(one_line, sanitize(text).splitlines()) if line]
    is_heading = len(lines) > 1 and lines[0].endswith(":")
    return first_line(f"{lines[0]} {lines[1].removeprefix('- ')}" if is_heading else text, width)


def format_duration(seconds: float) -> str:
    """Format a duration: `3.2s`, `2:05`, `1:02:03`."""
    if seconds < 60:
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_age(seconds: float) -> str:
    """Format the time since something happened: `just now`, `5 minutes`, `3 hours`, `12 days`."""
    for length, noun in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return pluralize(int(seconds / length), noun)
    return "just now"


def format_megabytes(size: float) -> str:
    """Format a size that is given in MiB: `812 MB`, `1.4 GB`."""
    return f"{size / 1024:.1f} GB" if size >= 1024 else f"{size:.0f} MB"


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun: `1 step`, `2 steps`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_price(usd: float | None) -> str:
    """Format a price in USD. Prices below a dollar get up to four decimals, None is `unknown`."""
    if usd is None:
        return "unknown"
    # The longer form: $0.50 rather than $0.5, but $0.0012 rather than $0.00.
    cents, fine = f"{usd:.2f}", f"{usd:.4f}".rstrip("0")
    return "$" + (cents if usd >= 1 else max(cents, fine, key=len))


def format_total(usd: float, unpriced: bool, estimated: bool) -> str:
    """Format the price of several calls. Without some prices it is a lower bound, without all `unknown`."""
    if unpriced:
        return f"over {format_price(usd)}" if usd else "price unknown"
    return ("≈" if estimated and usd else "") + format_price(usd)


def format_change(added: int, removed: int) -> str:
    """Format the size of an edit in lines: `+12 -3`."""
    return f"+{added} -{removed}"


def timestamp(ts: str) -> float:
    """Return the seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(ts).timestamp()
