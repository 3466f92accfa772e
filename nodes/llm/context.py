"""The room that a model's context leaves for a reply."""

from memory.calls.budget import LEAST_OUTPUT
from nodes.llm.model_settings import ModelError

PROMPT_MARGIN, FRAME_TOKENS = 1.25, 64
"""Tokenizers differ from the estimate by up to this factor, and servers add tokens of their own."""


def output_limit(longest: int, window: int | None, estimate: int, counted: int | None, place: str) -> int:
    """Return the tokens that a reply may have: `longest`, or what the prompt leaves of `window`.

    `counted` are the prompt's tokens as the server counted them. Raises ModelError if the prompt itself does
    not fit. `place` opens its message.
    """
    if window is None:
        return longest
    prompt = max(counted or 0, estimate)
    # An exact count needs no margin for another tokenizer.
    room = window - FRAME_TOKENS - (prompt if counted else int(PROMPT_MARGIN * estimate))
    least = min(LEAST_OUTPUT, longest)
    if window - prompt < least:
        raise ModelError(
            f"{place}: the prompt of about {prompt} tokens leaves no room for a reply in the context of "
            f"{window} tokens; set CONTEXT_TOKENS if the context is larger, or choose a model with a larger "
            "one, or name fewer context files"
        )
    return max(least, min(longest, room))
