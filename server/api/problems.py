"""Errors over HTTP: problem details (RFC 9457) that name the cure; here alone an error gets its status."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from graph.errors import AnsweredApproval, InputError, RunnerError, UnknownApproval, UnknownThread
from memory.records.database import JournalError
from memory.records.threads import ThreadBusy
from nodes.check import NoSuite
from nodes.llm.model_settings import ModelError
from sandbox.base import SandboxError
from server.cli.exit_codes import UsageError
from tools.workspace import WorkspaceError

MEDIA_TYPE = "application/problem+json"

ERRORS: dict[type[Exception], tuple[int, str]] = {
    UnknownThread: (404, "Unknown thread"),
    UnknownApproval: (404, "Unknown approval"),
    AnsweredApproval: (409, "Already answered"),
    InputError: (422, "Invalid request"),
    RunnerError: (409, "Not possible on this thread"),
    ThreadBusy: (409, "Thread busy"),
    JournalError: (503, "Database unavailable"),
    ModelError: (503, "Model unavailable"),
    NoSuite: (422, "No tests to run"),
    UsageError: (409, "Not possible"),
    SandboxError: (503, "Sandbox unavailable"),
    WorkspaceError: (422, "Repository unusable"),
}
"""Status and title of what other folders raise; their message is the detail."""

CURES = {
    404: "there is nothing at this address; GET /openapi.json describes what there is",
    405: "this address does not take that method; GET /openapi.json says which it takes",
}
"""What to do about what the router refuses by itself."""


class ProblemDetails(BaseModel):
    """An error on the wire: `detail` says what happened and what to do about it."""

    type: str
    title: str
    status: int
    detail: str


class Problem(HTTPException):
    """A request that cannot be carried out; `title` names the kind, `detail` the case and its cure."""

    def __init__(
        self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.title = title

    def details(self) -> ProblemDetails:
        """The body that is sent."""
        kind = re.sub(r"\W+", "-", self.title.lower()).strip("-")
        return ProblemDetails(
            type=f"urn:autocode:{kind}", title=self.title, status=self.status_code, detail=self.detail
        )

    def response(self) -> JSONResponse:
        """The response that tells it."""
        return JSONResponse(self.details().model_dump(), self.status_code, self.headers, MEDIA_TYPE)


def problem_of(error: BaseException) -> Problem:
    """Any error as a problem; of one that nobody foresaw, nothing is told but where to look."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem(422, "Invalid request", _faults(error))
    if isinstance(error, StarletteHTTPException):
        title = HTTPStatus(error.status_code).phrase
        detail = CURES.get(error.status_code) or str(error.detail)
        return Problem(error.status_code, title, detail, error.headers)
    if known := next((ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS), None):
        return Problem(*known, str(error))
    detail = "something went wrong that nobody foresaw; the server's errors.log has the details"
    return Problem(500, "Internal error", detail)


def handle_problems(app: FastAPI) -> None:
    """Answer every foreseen error of the routes with problem details."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return problem_of(error).response()

    for kind in (StarletteHTTPException, RequestValidationError, *ERRORS):
        app.add_exception_handler(kind, answer)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document problems for OpenAPI: those that every route may answer with, and `statuses`."""
    always = (400, 401, 403, 413, 415, 422, 431, 500, 503)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "model": ProblemDetails, "content": content}
        for status in sorted({*always, *statuses})
    }


def _faults(error: RequestValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
