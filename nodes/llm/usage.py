"""Token counts that servers report, some of them wrongly, and the estimates that replace them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

BYTES_PER_TOKEN = 4
"""The usual estimate, for prompts that no provider has counted yet, and for replies that broke off."""

MOST_TOKENS = 10_000_000
"""The largest count that is believed of a model whose context is unknown."""

CHARACTERS_A_TOKEN = 200
"""More characters than any tokenizer puts into one token. Fewer tokens than that are not believed."""


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of one call as a server reported them. None if it did not, or not as a number.

    `cached` are input tokens that the provider had in its cache, and `written` those that it put there.
    """

    input: int | None = None
    output: int | None = None
    cached: int = 0
    written: int = 0

    @classmethod
    def of(cls, usage: Any) -> "TokenCounts | None":
        """Read a usage object of OpenAI's protocol, DeepSeek or LangChain. None if it holds no count."""
        if not isinstance(usage, Mapping):
            return None
        details = usage.get("prompt_tokens_details") or usage.get("input_token_details")
        details = details if isinstance(details, Mapping) else {}
        read = (details.get("cached_tokens"), details.get("cache_read"), usage.get("prompt_cache_hit_tokens"))
        written = (details.get("cache_write_tokens"), details.get("cache_creation"))
        counts = cls(
            _number(usage.get("prompt_tokens", usage.get("input_tokens"))),
            _number(usage.get("completion_tokens", usage.get("output_tokens"))),
            max(_number(count) or 0 for count in read),
            max(_number(count) or 0 for count in written),
        )
        return counts if (counts.input, counts.output) != (None, None) else None


@dataclass(frozen=True)
class CallUsage:
    """Tokens of one call. `estimated` is true if a count was missing or could not be true."""

    input: int
    output: int
    cached: int
    estimated: bool
    written: int = 0


def total(reports: Sequence[TokenCounts]) -> TokenCounts | None:
    """Return the counts of a whole reply from all reports in its stream, None without any.

    Most servers report once, at the end. Some repeat a running total, of which the last counts. A sequence
    that falls holds the counts of single pieces, which are added.
    """
    if not reports:
        return None
    inputs = [report.input for report in reports if report.input is not None]
    outputs = [report.output for report in reports if report.output is not None]
    grows = all(before <= after for before, after in pairwise(outputs))
    output = (outputs[-1] if grows else sum(outputs)) if outputs else None
    cached, written = max(report.cached for report in reports), max(report.written for report in reports)
    return TokenCounts(max(inputs, default=None), output, cached, written)


def checked(reported: TokenCounts | None, prompt_tokens: int, text: str, window: int | None) -> CallUsage:
    """Return the reported counts. Those that are missing or cannot be true become estimates.

    `prompt_tokens` is the estimate of the prompt, and `window` the model's context, if it is known.
    """
    counts, most = reported or TokenCounts(), 4 * window if window else MOST_TOKENS
    input, output = counts.input, counts.output
    if input is None or not 0 < input <= most:
        input = None
    cached = counts.cached if 0 <= counts.cached <= (input or 0) else 0
    written = counts.written if 0 <= counts.written <= (input or 0) - cached else 0
    if output is None or not len(text) / CHARACTERS_A_TOKEN <= output <= most or (text and not output):
        output = None
    return CallUsage(
        prompt_tokens if input is None else input,
        estimate(text) if output is None else output,
        cached,
        estimated=input is None or output is None,
        written=written,
    )


def estimate(text: str) -> int:
    """Return about as many tokens as a tokenizer would."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)  # rounds up


def _number(value: Any) -> int | None:
    """Return a count, None if the value is no number. A server may send it as text or as a fraction."""
    try:
        return int(float(value)) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):  # text, NaN, infinity
        return None
