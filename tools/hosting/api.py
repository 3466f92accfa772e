"""Calls to the API of a hosting site: limited in size and time, repeated where that is safe."""

import asyncio
import json
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from memory.secrets import MASK, mask
from memory.validation import check_length, valid_text
from tools.hosting.errors import HostingError
from tools.hosting.sites import Site

SECONDS = 20.0
TOTAL_SECONDS = 60.0
ANSWER_BYTES = 4 << 20
_ATTEMPTS = 3
_LONGEST_WAIT = 4.0
_REDIRECTS = 3
_BUSY = (429, 502, 503, 504)
_ANSWER_SHOWN = 300
_AGENT = "AutoCodeAI"


class HostingApi:
    """The API of one site. Its token goes to this site alone."""

    def __init__(self, site: Site) -> None:
        self.site = site
        # What is compressed has no limit: httpx unpacks a piece as a whole.
        headers = {"User-Agent": _AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
        if site.kind == "github":
            headers |= {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        if site.token:
            headers["Authorization"] = f"Bearer {site.token}"
        # httpx would follow to any host. Redirects are followed here, within the site only.
        self._client = httpx.AsyncClient(headers=headers, timeout=SECONDS, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: str | int) -> Any:
        """Return what the API has at `path`. Raises HostingError."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(0.5, _LONGEST_WAIT),
            reraise=True,
        )
        return await retrying(self._call, "GET", path, query, None)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send an object once, because a lost answer does not mean that nothing was done."""
        return await self._call("POST", path, {}, body)

    async def _call(
        self, method: str, path: str, query: dict[str, str | int], body: dict[str, Any] | None
    ) -> Any:
        url = f"{self.site.api}/{path}"
        params = {name: str(value) for name, value in query.items()} or None
        for _ in range(_REDIRECTS):
            try:
                async with asyncio.timeout(TOTAL_SECONDS):  # httpx limits each silence alone
                    status, headers, data = await self._send(method, url, params, body)
            except TimeoutError as error:
                raise HostingError(f"{self.site.name} did not answer within {TOTAL_SECONDS:g} s") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason = str(error) or type(error).__name__
                raise HostingError(f"{self.site.name} cannot be reached: {reason}") from error
            if status not in (301, 302, 307, 308) or method != "GET":
                return self._read(status, data)
            # GitHub redirects to the new name of a project.
            url, params = urljoin(url, headers.get("location", "")), None
            if _origin(url) != _origin(self.site.api):
                raise HostingError(f"{self.site.name} led to another host, which gets nothing: {url[:100]}")
        raise HostingError(f"{self.site.name} led in a circle")

    async def _send(
        self, method: str, url: str, params: dict[str, str] | None, body: dict[str, Any] | None
    ) -> tuple[int, httpx.Headers, bytes]:
        data = bytearray()
        async with self._client.stream(method, url, params=params, json=body) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise HostingError(f"{self.site.name} sent a compressed answer, which was not asked for")
            async for piece in response.aiter_raw(65536):
                data += piece
                if len(data) > ANSWER_BYTES:
                    raise HostingError(f"{self.site.name} sent more than {ANSWER_BYTES >> 20} MB")
        return response.status_code, response.headers, bytes(data)

    def _read(self, status: int, data: bytes) -> Any:
        try:
            check_length(data.decode())
            answer = json.loads(data)
        except (ValueError, RecursionError) as error:
            answer = None
            if 200 <= status < 300:
                raise HostingError(f"{self.site.name} answered with something other than JSON") from error
        if 200 <= status < 300:
            return answer
        problem = {
            401: f"it does not accept the token: {self.site.advice}",
            403: "it does not allow this",
            404: "there is nothing there, or you may not see it",
        }.get(status, f"status {status}")
        if status in (403, 404) and not self.site.token:
            problem += f"; {self.site.advice}"
        message = self._shown(answer)
        raise HostingError(f"{self.site.name}: {problem}{f' ({message})' if message else ''}", status)

    def _shown(self, answer: Any) -> str:
        """Return the message of a refusal as one short line, without secrets."""
        if not isinstance(answer, dict):
            return ""
        parts = [answer.get("message") or answer.get("error") or "", answer.get("errors") or ""]
        texts = [part if isinstance(part, str) else json.dumps(part) for part in parts if part]
        text = " ".join(valid_text("; ".join(texts))[: 4 * _ANSWER_SHOWN].split())
        if self.site.token:
            text = text.replace(self.site.token, MASK)
        return mask(text)[:_ANSWER_SHOWN]


def _is_passing(error: BaseException) -> bool:
    """Return whether the same call may succeed a moment later."""
    unreachable = isinstance(error.__cause__, httpx.TransportError)
    return isinstance(error, HostingError) and (error.status in _BUSY or unreachable)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
