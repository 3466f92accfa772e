"""A GitHub and a GitLab for tests: issues, comments and pull requests over their APIs."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from githost import GitHost


class FakeSite:
    """Answers for the API of a GitHost. `token` is the only one that it accepts, if it is set."""

    def __init__(self, host: GitHost, token: str = "") -> None:
        self.host, self.token = host, token
        self.issues: dict[str, dict[str, Any]] = {}
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.tokens: list[str] = []
        self.broken: list[tuple[int, Any]] = []
        """Answers that come before the right ones."""
        host.answers["api"] = self.answer

    @property
    def url(self) -> str:
        """The address of the site."""
        return self.host.url("").rstrip("/")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one call."""
        sent = handler.headers.get("Authorization", "")
        self.tokens.append(sent)
        parts = urlsplit(handler.path)
        self.calls.append((handler.command, parts.path))
        size = int(handler.headers.get("Content-Length", 0))
        body = json.loads(handler.rfile.read(size)) if size else {}
        if self.broken:
            status, answer = self.broken.pop(0)
        elif sent and sent != f"Bearer {self.token}":
            status, answer = 401, {"message": "Bad credentials"}
        else:
            status, answer = self._route(handler.command, parts.path, parse_qs(parts.query), body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        if status in (301, 302, 307):
            handler.send_header("Location", answer)
        if data.startswith(b"\x1f\x8b"):
            handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _route(
        self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, Any]:
        github = path.startswith("/api/v3/repos/")
        rest = path.removeprefix("/api/v3/repos/").removeprefix("/api/v4/projects/")
        parts = rest.split("/")
        project, inner = ("/".join(parts[:2]), parts[2:]) if github else (unquote(parts[0]), parts[1:])
        match inner:
            case []:
                return 200, {"default_branch": "main"}
            case ["issues", issue] if f"{project}#{issue}" in self.issues:
                return 200, self.issues[f"{project}#{issue}"]
            case ["issues", issue, "comments" | "notes"] if f"{project}#{issue}" in self.issues:
                return 200, self.comments.get(f"{project}#{issue}", [])
            case ["pulls" | "merge_requests"] if method == "GET":
                branch = query["head"][0].partition(":")[2] if github else query["source_branch"][0]
                name = "head" if github else "source_branch"
                return 200, [item for item in self.requests if item[name] == branch]
            case ["pulls" | "merge_requests"]:
                number = len(self.requests) + 1
                self.requests.append(
                    body | {"number": number, "iid": number, "html_url": "http://evil.example"}
                )
                return 201, self.requests[-1]
        return 404, {"message": "Not Found"}
