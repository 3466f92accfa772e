"""What a provider's failure means: try again, or tell a person. Read by shape: no client is imported."""

import json
import re
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from nodes.llm.model_settings import ModelError

LONGEST_WAIT = 60.0
"""Seconds of Retry-After beyond which another model is asked instead."""

RETRIED = {408, 409, 425, 429}
LOST = {"APIError", "APIConnectionError", "TransportError", "TimeoutError", "OSError"}
UNREACHED = {"ConnectError", "ConnectTimeout", "ConnectionRefusedError"}
BENEATH = {"ClientConnectorError", "ConnectionTimeoutError", "ConnectionRefusedError"}
"""The same in aiohttp's words. Its adapter for httpx calls whatever breaks a connection a ConnectTimeout."""

TOO_LONG = re.compile(
    r"context.{0,10}(length|window)|maximum context|prompt is too long|too many tokens", re.I
)


class Trouble(Exception):
    """A failure that another attempt, or another model, may mend.

    `billed` when the provider may have read the prompt; `hopeless` when waiting for this model is no use.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, billed: bool = True, hopeless: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.billed = reason, retry_after, billed
        self.hopeless = hopeless or (retry_after or 0.0) > LONGEST_WAIT


def understood(error: Exception, agent: str, model: str, secrets: Sequence[str]) -> Trouble | ModelError:
    """What a chat model raised, as one of the two."""
    if isinstance(error, Trouble | ModelError):
        return error
    status = getattr(error, "status_code", None)
    cause = _cause(error, secrets)
    if isinstance(status, int):
        if status in RETRIED or status >= 500:
            return Trouble(
                f"HTTP {status}: {cause}",
                retry_after=_retry_after(error),
                billed=status == 408,
                hopeless=_body(error).get("code") == "insufficient_quota",
            )
        return ModelError(_refusal(status, cause, agent, model))
    if _names(error) & LOST or isinstance(error, json.JSONDecodeError):
        return Trouble(f"{type(error).__name__}: {cause}", billed=_reached(_chain_names(error)))
    return ModelError(f"{agent}: the answer of {model} cannot be read ({type(error).__name__}: {cause})")


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
    """The provider's own words: one short printable line without secrets."""
    text = str(_body(error).get("message") or error or type(error).__name__)
    for secret in secrets:
        text = text.replace(secret, "***")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= 300 else line[:300] + "…"


def _body(error: Exception) -> dict[str, Any]:
    """The `error` object of OpenAI's wire, which other providers' clients imitate."""
    body = getattr(error, "body", None)
    return body if isinstance(body, dict) else {}


def _retry_after(error: Exception) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or a date."""
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


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _reached(names: set[str]) -> bool:
    """Whether the prompt may have arrived, by the names of all kinds of error in the chain."""
    return not names & (BENEATH if "ClientConnectionError" in names else UNREACHED)


def _chain_names(error: BaseException | None) -> set[str]:
    """The names of all kinds of error in a chain of causes."""
    names: set[str] = set()
    while error is not None:
        names |= _names(error)
        error = error.__cause__ or error.__context__
    return names
