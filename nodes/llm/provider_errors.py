"""Errors of model providers, sorted into those worth a retry and those that a person must fix.

`Models` in models.py retries and waits. Errors are recognised by their attributes and class names, so that no
client library is imported for this.
"""

import json
import re
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from memory.secrets import masked
from memory.validation import MOST
from nodes.llm.model_settings import ModelError

RETRIED_STATUSES = {408, 409, 425, 429}
CONNECTION_ERRORS = {"APIError", "APIConnectionError", "TransportError", "TimeoutError", "OSError"}
UNREACHED = {"ConnectError", "ConnectTimeout", "ConnectionRefusedError"}
"""Errors of httpx that mean that no connection was made."""

UNREACHED_BY_AIOHTTP = {"ClientConnectorError", "ConnectionTimeoutError", "ConnectionRefusedError"}
"""The same errors in aiohttp, which LiteLLM uses."""

TOO_LONG = re.compile(
    r"context.{0,10}(length|window|size)|maximum context|prompt is too long|too many tokens", re.I
)

NO_TOOLS = re.compile(
    r"support (?:tools\b|tool[ _-]?(?:use|call)|function[ _-]?call|the provided 'tool_choice'"
    r"|parameters: \[[^\]]{0,40}'tools')"
    r"|(?<!parallel )(?:tools|tool[ _-]?(?:use|calls?|calling)|function[ _-]?calls?|function calling)"
    r"['\"`]{0,2} (?:is|are) (?:unsupported|not (?:supported|enabled|available))"
    r"|tool choice requires|tools param requires",
    re.I,
)
"""Refusals of tools by Ollama ("does not support tools"), DeepSeek, xAI and Bedrock, OpenRouter ("No
endpoints found that support tool use"), Groq and DeepInfra ("tool calling is not supported with this model"),
Gemini ("Function calling is not enabled for"), vLLM ("tool choice requires --enable-auto-tool-choice") and
llama.cpp ("tools param requires --jinja flag", with the status 500).
"""

TIMEOUTS = {"TimeoutException", "APITimeoutError", "Timeout", "TimeoutError"}
"""Time-outs of httpx, openai, LiteLLM and asyncio."""

WINDOW = re.compile(r"(?:context|n_ctx)\D{0,60}?(\d{3,8})", re.I)
OWN_TOKENS = re.compile(
    r"(\d{1,8}) (?:tokens )?(?:in|of|from) (?:the|your) (?:messages|prompt|input)|(\d{1,8}) input tokens",
    re.I,
)
MOST_OUTPUT = re.compile(r"at most (\d{2,8}) completion tokens", re.I)

STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "overloaded_error": 503,
    "server_error": 500,
}
"""HTTP statuses of the codes and types in error objects of OpenAI's protocol."""


class ProviderError(Exception):
    """A failure that a retry or another model may get past.

    `billed` is true if the provider may have read the prompt. `retries` limits the retries that make sense.
    `limited` is true if the provider is healthy but wants to be asked later, after `retry_after` seconds.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_after: float | None = None,
        billed: bool = True,
        retries: int | None = None,
        limited: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.billed = reason, retry_after, billed
        self.retries, self.limited = retries, limited


class ToolsRefused(Exception):
    """A model takes no tools, and nothing was spent. The call can be made again without tools."""

    def __init__(self, model: str, cause: str) -> None:
        super().__init__(f"{model} calls no tools: {cause}")
        self.model = model


class StreamedError(Exception):
    """An error object in a response whose status is 200. It has the attributes of OpenAI's own errors."""

    def __init__(self, body: dict[str, Any], response: Any) -> None:
        super().__init__(str(body.get("message") or body))
        self.body, self.response = body, response
        code = str(body.get("code") or body.get("status"))
        number = int(code) if re.fullmatch("[45][0-9][0-9]", code) else None
        named = STATUS_OF_CODE.get(code) or STATUS_OF_CODE.get(str(body.get("type")))
        self.status_code = number or named


class PromptTooLong(ModelError):
    """Prompt and output limit do not fit the model. The numbers are those that the server named."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        window, own, output = (pattern.search(cause) for pattern in (WINDOW, OWN_TOKENS, MOST_OUTPUT))
        self.window = int(window[1]) if window else None
        self.prompt_tokens = int(own[1] or own[2]) if own else None
        self.output = int(output[1]) if output else None


def classify(
    error: Exception, agent: str, model: str, secrets: Sequence[str], timeout: float
) -> ProviderError | ModelError:
    """Convert whatever a chat model raised. `timeout` is LLM_TIMEOUT."""
    if isinstance(error, ProviderError | ModelError):
        return error
    status = getattr(error, "status_code", None)
    cause = _cause(error, secrets)
    names = _names(error)
    if (
        names & TIMEOUTS
        and not names & {"ConnectTimeout", "ConnectionTimeoutError"}
        and status in (None, 408)
    ):
        reason = f"no data came for {timeout:g} s; raise LLM_TIMEOUT if the model needs longer"
        return ProviderError(f"{type(error).__name__}: {reason}", billed=_was_sent(error))
    if isinstance(status, int):
        if status in RETRIED_STATUSES or status >= 500:
            # 408: the provider gave up while it worked. LiteLLM gives a broken connection the status 500.
            broken = "TransportError" in names
            wait = _retry_after(error)
            spent = _body(error).get("code") == "insufficient_quota"  # a 429 that no wait ends
            return ProviderError(
                f"HTTP {status}: {cause}",
                retry_after=wait,
                billed=status == 408 or (broken and _was_sent(error)),
                retries=0 if spent else None,
                limited=not spent and (status == 429 or (status == 503 and bool(wait))),
            )
        message = _refusal(status, cause, agent, model)
        fits_not = TOO_LONG.search(cause) or MOST_OUTPUT.search(cause)
        return PromptTooLong(message, cause) if fits_not else ModelError(message)
    if isinstance(error, StreamedError):
        return ProviderError(f"the server reported an error: {cause}")
    # OpenAI's client raises JSONDecodeError for a chunk that a broken stream cut in half.
    if {kind.__name__ for kind in type(error).__mro__} & CONNECTION_ERRORS or isinstance(
        error, json.JSONDecodeError
    ):
        return ProviderError(f"{type(error).__name__}: {cause}", billed=_was_sent(error))
    return ModelError(f"{agent}: the reply of {model} cannot be read ({type(error).__name__}: {cause})")


def refuses_tools(failure: ProviderError | ModelError) -> bool:
    """Return whether a provider refused a call because of its tools. The status differs between providers."""
    return bool(NO_TOOLS.search(str(failure)))


def _refusal(status: int, cause: str, agent: str, model: str) -> str:
    setting = f"{agent.upper()}_MODEL or LLM_MODEL"
    if TOO_LONG.search(cause):
        advice = (
            "prompt and reply are longer than its context; set CONTEXT_TOKENS to its size, lower "
            f"LLM_MAX_OUTPUT_TOKENS, or set {setting} to a model with a larger one"
        )
    elif status in (401, 403):
        advice = "the key was refused; check the provider's API key"
    elif status == 404:
        advice = f"the provider does not know it; check {setting}, and LOCAL_LLM_URL in local mode"
    else:
        advice = f"the request was refused; check {setting}"
    return f"{agent}: {model}: {advice} (HTTP {status}: {cause})"


def _cause(error: Exception, secrets: Sequence[str]) -> str:
    """Return the provider's message as one short printable line without secrets."""
    message = str(_body(error).get("message") or error or type(error).__name__)
    text = str(masked(message, tuple(secrets)))
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= 300 else line[:300] + "…"


def _body(error: Exception) -> dict[str, Any]:
    """Return the `error` object of OpenAI's protocol. Clients of other providers imitate it."""
    body = getattr(error, "body", None)
    return body if isinstance(body, dict) else {}


def _retry_after(error: Exception) -> float | None:
    """Return the seconds that the headers ask to wait, None if they say nothing usable."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    headers = headers or getattr(error, "litellm_response_headers", None) or {}
    if milliseconds := _seconds(headers.get("retry-after-ms")):
        return milliseconds / 1000
    if value := headers.get("retry-after"):
        return _seconds(value)
    waits = [
        _duration(headers.get(f"x-ratelimit-reset-{kind}"))
        for kind in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0"
    ]
    return max(filter(None, waits), default=None)


def _seconds(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds a number or a date."""
    try:
        seconds = float(value or "nan")
        return min(max(0.0, seconds), MOST) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _duration(value: str | None) -> float | None:
    """Return the seconds of a duration such as `6m0s` or `20ms`."""
    parts = re.fullmatch(
        r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,6}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?", value or ""
    )
    if parts is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _was_sent(error: Exception) -> bool:
    """Return whether the prompt may have reached the provider."""
    names = _names(error)
    # LiteLLM reports a reset of an open connection as httpx's ConnectError, so aiohttp's own error decides.
    return not names & (UNREACHED_BY_AIOHTTP if "ClientConnectionError" in names else UNREACHED)


def _names(error: BaseException | None) -> set[str]:
    """Return the class names of an error and its causes, base classes included."""
    names: set[str] = set()
    # The fallback is called while the first model's error is handled, and that one does not count here.
    while error is not None and not isinstance(error, ProviderError):
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or error.__context__
    return names
