"""Durations as people write them: `2h`, `45m`, `1h30m`, `90s`."""

import re

SECONDS = {"h": 3600, "m": 60, "s": 1}


class DurationError(ValueError):
    """A text that is no duration."""


def parse(text: str) -> int:
    """Return the seconds that `text` stands for."""
    parts = re.findall(r"(\d+)([hms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise DurationError(f"not a duration: {text!r}; write it like 1h30m")
    return sum(int(number) * SECONDS[unit] for number, unit in parts)
