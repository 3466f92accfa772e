"""A model's whole message, checked and read: its text, its tool calls, and why it ended."""

from typing import Any

from langchain_core.messages import AIMessage

from memory.calls.reply import Answer
from memory.validation import valid_text
from nodes.llm.prompt import REASONING, Prompt, ReplyListener
from nodes.llm.provider_errors import ProviderError
from nodes.llm.reasoning import without_reasoning
from nodes.llm.tool_calls import valid_json, with_ids
from nodes.llm.wire import UNKNOWN_END
from nodes.llm.written_calls import written_calls

MOST_CALLS = 64
"""Calls of a reply that are read. The model is not shown that it wrote more."""

CUT = {"length", "max_tokens", "model_length"}
BROKEN = {"content_filter", "error", "abort", "cancelled", "canceled"}
"""Reasons of the end of a reply that is not the answer, in lower case."""


def check_end(message: AIMessage) -> None:
    """Raise ProviderError for a reply that is not the answer."""
    end = _end_of(message)
    if not end and not message.usage_metadata:
        raise ProviderError("the stream broke off")
    if end == "content_filter":
        raise ProviderError("the provider's content filter stopped the reply", retries=1)
    if end in BROKEN:
        raise ProviderError(f"the server ended the reply early (finish_reason {end})")


def is_cut(message: AIMessage, at_limit: bool) -> bool:
    """Return whether a reply ended at the limit of tokens. `at_limit` says that it has as many."""
    end = _end_of(message)
    return end in CUT or (
        end == UNKNOWN_END and at_limit
    )  # a server that gives no reason may have stopped there


def read_answer(message: AIMessage, listener: ReplyListener, prompt: Prompt, place: str, cut: bool) -> Answer:
    """Return the parts of a reply. `place` is that of the call, for the ids that tool calls lack."""
    text = valid_text(str(message.text))
    if not prompt.tools:
        return Answer(text, cut)
    calls = listener.calls.calls(cut)
    if not calls:
        rest, written = written_calls(without_reasoning(text), prompt.tools)
        text, calls = (rest, list(written)) if written else (text, [])
    return Answer(
        text, cut, with_ids(calls[:MOST_CALLS], place), _reasoning(message, "".join(listener.thoughts))
    )


def _reasoning(message: AIMessage, thoughts: str) -> dict[str, Any]:
    """Return the first kind of reasoning that a message has, as its provider takes it back."""
    kinds = {name: message.additional_kwargs.get(name) for name in REASONING}
    kinds["reasoning_content"] = kinds["reasoning_content"] or thoughts
    # LiteLLM gives the same thoughts twice for Claude, of which the signed blocks count.
    return next(({name: valid_json(value)} for name, value in kinds.items() if value), {})


def _end_of(message: AIMessage) -> str:
    """Return the reason of the end of a reply, in lower case."""
    return str(message.response_metadata.get("finish_reason") or "").lower()
