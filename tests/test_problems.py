"""Problem details: the status, title and advice of every error that a route can raise."""

import re

import pytest
from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError

from graph.errors import (
    AnsweredApproval,
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
from nodes.check import NoSuite
from nodes.llm.model_settings import ModelError
from sandbox.base import SandboxError
from server.api.problems import Problem, problem_of
from tools.workspace import NotARepository, WorkspaceError

FAULT = {"loc": ("body", "task"), "msg": "Field required"}


@pytest.mark.parametrize(
    ("error", "status", "title", "detail"),
    [
        (UnknownThread("no thread t"), 404, "Unknown thread", "no thread t; GET /api/threads"),
        (UnknownRun("no run r"), 404, "Unknown thread", "no run r; GET /threads/ID/runs"),
        (UnknownCheckpoint("no such"), 404, "Unknown thread", "no such; POST /threads/ID/history"),
        (UnknownApproval("no approval a"), 404, "Unknown approval", "no approval a"),
        (AnsweredApproval("answered"), 409, "Already answered", "answered"),
        (InputError("the task is empty"), 422, "Invalid request", "the task is empty"),
        (RunnerError("nothing to resume"), 409, "Not possible on this thread", "nothing to resume"),
        (ThreadBusy("t", "o"), 409, "Thread busy", "t"),
        (RunUnfinished("t", "r", "waiting"), 409, "Thread busy", "(r, waiting); resume or cancel it first"),
        (JournalError("locked"), 503, "Database unavailable", "locked"),
        (ModelError("no key"), 503, "Model unavailable", "no key"),
        (NoSuite("no tests"), 422, "No tests to run", "no tests"),
        (SandboxError("no Docker"), 503, "Sandbox unavailable", "no Docker"),
        (WorkspaceError("no folder"), 422, "Repository unusable", "no folder"),
        (NotARepository("not one"), 422, "Repository unusable", "not one; name a git repository"),
        (Problem(418, "Teapot", "short and stout"), 418, "Teapot", "short and stout"),
        (HTTPException(404), 404, "Not Found", "GET /openapi.json"),
        (HTTPException(405), 405, "Method Not Allowed", "GET /openapi.json"),
        (HTTPException(400, "bad JSON"), 400, "Bad Request", "bad JSON"),
        (RequestValidationError([FAULT]), 422, "Invalid request", "body.task: Field required"),
        (ValueError("the key is 123"), 500, "Internal error", "errors.log"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_has_its_status_title_and_advice(
    error: Exception, status: int, title: str, detail: str
) -> None:
    problem = problem_of(error).details()
    assert (problem.status, problem.title) == (status, title)
    assert detail in problem.detail and "the key" not in problem.detail
    assert problem.type == "urn:autocode:" + title.lower().replace(" ", "-")
    assert not re.search(r"`autocode|--[a-z]", problem.detail), "a web client cannot type a command"
