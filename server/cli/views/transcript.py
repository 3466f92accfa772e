"""The prompts and replies of a run as text."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from server.cli.views.format import format_price, one_line, sanitize


def transcript(exchanges: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the text of each call: agent, model and usage, then its messages and the reply.

    A conversation is sent again with every call, so a later call shows the messages that are new.
    """
    shown: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
    for exchange in exchanges:
        key = exchange["agent"], exchange["step"]
        messages, before = exchange["messages"], shown.get(key, ())
        shown[key] = messages
        known = len(before) if list(messages[: len(before)]) == list(before) else 0
        parts = [_title(exchange)]
        if known:
            parts.append(f"({known} earlier messages)")
        parts += [_part(str(message.get("role", "")), _text(message)) for message in messages[known:]]
        parts.append(_part("reply", _text({**exchange, "content": exchange["reply"]})))
        yield "\n\n".join(parts) + "\n\n"


def _title(exchange: Mapping[str, Any]) -> str:
    usage, step = exchange["usage"], exchange["step"]
    author = " ".join(filter(None, (exchange["agent"], step if step != exchange["agent"] else "")))
    tokens = f"{usage['input_tokens']:,} + {usage['output_tokens']:,} tokens"
    cost = f"cost {format_price(usage['cost_usd'])}"
    about = f"call {exchange['ordinal'] + 1}, {exchange['model']}, {tokens}, {cost}"
    return f"=== {one_line(author)}: {one_line(about)} ==="


def _part(name: str, text: str) -> str:
    return f"--- {one_line(name)} ---\n{sanitize(text).rstrip()}"


def _text(message: Mapping[str, Any]) -> str:
    """Return a message's content, and the tool calls in it as JSON."""
    content, calls = message.get("content"), message.get("tool_calls")
    texts = (
        [content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)] if content else []
    )
    return "\n".join([*texts, *([json.dumps(calls, ensure_ascii=False)] if calls else [])])
