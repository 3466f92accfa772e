"""What may be written: secrets are masked, and what is too large for an event is cut."""

import json
from collections.abc import Mapping
from typing import Any

LARGEST = 64 * 1024
"""Characters of JSON that an event's data may have."""

SHORTEST = 256
"""No text is cut to fewer characters: ids and paths stay whole."""


def masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """`value` with every secret in its texts, keys included, replaced by ***."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, Mapping):
        return {masked(key, secrets): masked(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, secrets) for item in value]
    return value


def shortened(data: Mapping[str, Any], size: int) -> dict[str, Any]:
    """`data` of `size` characters within LARGEST: long texts lose their middle, long lists their end."""
    limit = LARGEST // 4
    while size > LARGEST and limit >= SHORTEST:
        data = _cut(data, limit, max(limit // 64, 4))
        size = len(json.dumps(data))
        limit //= 2
    return dict(data)


def _cut(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, str) and len(value) > characters:
        half = characters // 2
        left_out = len(value) - 2 * half
        return f"{value[:half]}\n[… {left_out} characters left out …]\n{value[-half:]}"
    if isinstance(value, Mapping):
        return {key: _cut(item, characters, items) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, characters, items) for item in value[:items]]
    return value
