"""Errors over HTTP as problem details (RFC 9457): the status, title and advice of each error type."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pygit2
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from graph.errors import (
    AnsweredApproval,
    BudgetNotRaised,
    InputError,
    RunnerError,
    UnknownApproval,
    UnknownCheckpoint,
    UnknownRun,
    UnknownThread,
)
from memory.records.database import JournalError
from memory.records.runs import RunUnfinished
from memory.records.threads import ThreadBusy
from memory.validation import faults_of
from nodes.check import NoSuite
from nodes.llm.model_settings import ModelError
from sandbox.base import SandboxError
from tools.remote import RemoteError
from tools.workspace import CheckoutConflict, NotARepository, Outdated, OutsideBounds, WorkspaceError

MEDIA_TYPE = "application/problem+json"

# The message of an error serves the command line too, so only the advice may name routes.
ERRORS: dict[type[Exception], tuple[int, str, str]] = {
    UnknownThread: (404, "Unknown thread", "GET /api/threads lists the threads"),
    UnknownRun: (404, "Unknown thread", "GET /threads/ID/runs lists the runs of a thread"),
    UnknownCheckpoint: (404, "Unknown thread", "POST /threads/ID/history lists the checkpoints"),
    UnknownApproval: (404, "Unknown approval", ""),
    AnsweredApproval: (409, "Already answered", ""),
    BudgetNotRaised: (409, "Budget spent", 'send {"options": {"max_cost_usd": …}} with a larger limit'),
    InputError: (422, "Invalid request", ""),
    RunnerError: (409, "Not possible on this thread", ""),
    RunUnfinished: (409, "Thread busy", "resume or cancel it first, or choose another multitask_strategy"),
    ThreadBusy: (409, "Thread busy", ""),
    JournalError: (503, "Database unavailable", ""),
    ModelError: (503, "Model unavailable", ""),
    NoSuite: (422, "No tests to run", ""),
    SandboxError: (503, "Sandbox unavailable", ""),
    WorkspaceError: (422, "Repository unusable", ""),
    pygit2.GitError: (422, "Repository unusable", "it may be damaged: `git fsck` shows where"),
    CheckoutConflict: (409, "Checkout has changed", ""),
    Outdated: (409, "Outdated changes", "GET /api/threads/ID/changes has the present ones"),
    RemoteError: (409, "Remote not usable", ""),
    OutsideBounds: (403, "Repository not allowed", ""),
    NotARepository: (422, "Repository unusable", "name a git repository, or leave `repo` out"),
}
"""Status, title and advice for the errors of other folders. Their messages state the facts."""

ROUTER_DETAILS = {
    404: "there is nothing at this address; GET /openapi.json describes the routes",
    405: "this address does not support this method; GET /openapi.json describes the routes",
}
"""Details of errors that the router itself raises."""


class ProblemDetails(BaseModel):
    """An error on the wire. `detail` says what happened and what to do."""

    type: str
    title: str
    status: int
    detail: str


class Problem(HTTPException):
    """A request that fails. `title` names the kind of error, `detail` the case and the remedy."""

    def __init__(
        self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.title = title

    def details(self) -> ProblemDetails:
        """Return the body of the response."""
        # A URN, because there is no page that a URL could point to.
        kind = re.sub(r"\W+", "-", self.title.lower()).strip("-")
        return ProblemDetails(
            type=f"urn:autocode:{kind}", title=self.title, status=self.status_code, detail=self.detail
        )

    def response(self) -> JSONResponse:
        """Return the response."""
        return JSONResponse(self.details().model_dump(), self.status_code, self.headers, MEDIA_TYPE)


def problem_of(error: BaseException) -> Problem:
    """Convert any error to a problem. An unknown error reveals nothing but the place of its log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem(422, "Invalid request", "; ".join(faults_of(error)))
    if isinstance(error, StarletteHTTPException):
        title = HTTPStatus(error.status_code).phrase
        detail = ROUTER_DETAILS.get(error.status_code) or str(error.detail)
        return Problem(error.status_code, title, detail, error.headers)
    # The most specific type decides, as in an except clause.
    if known := next((ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS), None):
        status, title, advice = known
        return Problem(status, title, f"{error}; {advice}" if advice else str(error))
    return Problem(500, "Internal error", "internal error in the request handler; errors.log has the details")


def handle_problems(app: FastAPI) -> None:
    """Answer every known error of the routes with problem details."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return problem_of(error).response()

    for kind in (StarletteHTTPException, RequestValidationError, *ERRORS):
        app.add_exception_handler(kind, answer)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of problems: those of every route, and `statuses`."""
    always = (400, 401, 403, 413, 415, 422, 431, 500, 503)
    # FastAPI would document `model` as application/json.
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "model": ProblemDetails, "content": content}
        for status in sorted({*always, *statuses})
    }
