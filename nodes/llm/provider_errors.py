"""Errors of model providers, sorted into those worth a retry and those that a person must fix.

`Models` in models.py retries and waits. Errors are recognised by their attributes and class names, so that no
client library is imported for this.
"""

import json
import re
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from memory.secrets import masked
from nodes.llm.model_settings import ModelError

LONGEST_WAIT = 60.0
"""Seconds of Retry-After beyond which the fallback model is called instead."""

RETRIED_STATUSES = {408, 409, 425, 429}
CONNECTION_ERRORS = {"APIError", "APIConnectionError", "TransportError", "TimeoutError", "OSError"}
UNREACHED = {"ConnectError", "ConnectTimeout", "ConnectionRefusedError"}
"""Errors of httpx that mean that no connection was made."""

UNREACHED_BY_AIOHTTP = {"ClientConnectorError", "ConnectionTimeoutError", "ConnectionRefusedError"}
"""The same errors in aiohttp, which LiteLLM uses."""

TOO_LONG = re.compile(
    r"context.{0,10}(length|window)|maximum context|prompt is too long|too many tokens", re.I
)


class ProviderError(Exception):
    """A failure that a retry or another model may get past.

    `billed` is true if the provider may have read the prompt. `hopeless` is true if a retry would not help.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, billed: bool = True, hopeless: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.billed = reason, retry_after, billed
        self.hopeless = hopeless or (retry_after or 0.0) > LONGEST_WAIT


def classify(error: Exception, agent: str, model: str, secrets: Sequence[str]) -> ProviderError | ModelError:
    """Convert whatever a chat model raised."""
    if isinstance(error, ProviderError | ModelError):
        return error
    status = getattr(error, "status_code", None)
    cause = _cause(error, secrets)
    if isinstance(status, int):
        if status in RETRIED_STATUSES or status >= 500:
            # 408: the provider gave up while it worked. LiteLLM gives a broken connection the status 500.
            broken = "TransportError" in _names(error)
            return ProviderError(
                f"HTTP {status}: {cause}",
                retry_after=_retry_after(error),
                billed=status == 408 or (broken and _was_sent(error)),
                hopeless=_body(error).get("code") == "insufficient_quota",  # a 429 that no wait ends
            )
        return ModelError(_refusal(status, cause, agent, model))
    # OpenAI's client raises JSONDecodeError for a chunk that a broken stream cut in half.
    if {kind.__name__ for kind in type(error).__mro__} & CONNECTION_ERRORS or isinstance(
        error, json.JSONDecodeError
    ):
        return ProviderError(f"{type(error).__name__}: {cause}", billed=_was_sent(error))
    return ModelError(f"{agent}: the reply of {model} cannot be read ({type(error).__name__}: {cause})")


def _refusal(status: int, cause: str, agent: str, model: str) -> str:
    setting = f"{agent.upper()}_MODEL or LLM_MODEL"
    if TOO_LONG.search(cause):
        advice = f"the prompt is longer than its context; set {setting} to a model with a larger one"
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
    """Return the seconds of a Retry-After header, which holds a number or a date."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    value = (headers or getattr(error, "litellm_response_headers", None) or {}).get("retry-after")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


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
