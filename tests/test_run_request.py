"""Requests for runs: what completes them, and what is refused."""

from typing import Any

import pytest

from graph.errors import InputError
from graph.run_request import check_thread_id, complete_request, run_options
from graph.settings import Settings

SETTINGS = Settings(max_tokens=1000, max_debug_rounds=5, enable_parallel_execution=False)
HUMAN = {"role": "user", "content": "Add mul"}
STEP = {"agent": "coder", "description": "Add mul"}


@pytest.mark.parametrize(
    ("given", "task", "repo"),
    [
        ({"task": "Add mul", "repo": "/r"}, "Add mul", "/r"),
        ({"task": "Add mul"}, "Add mul", "/threads"),
        ({"task": "Add mul", "repo": None, "options": None}, "Add mul", "/threads"),
        ({"messages": [{"role": "user", "content": "Hello"}, HUMAN]}, "Add mul", "/threads"),
        ({"task": " ", "messages": [HUMAN]}, "Add mul", "/threads"),
        ({"task": "Add mul", "messages": [{"role": "user", "content": "Hello"}]}, "Add mul", "/threads"),
    ],
)
def test_a_request_is_completed(given: dict[str, Any], task: str, repo: str) -> None:
    completed = complete_request(given, SETTINGS, "/threads")
    assert (completed["task"], completed["repo"]) == (task, repo)
    assert complete_request(completed, SETTINGS) == completed


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"task": ""}, "the task is empty"),
        ({"messages": []}, "the task is empty"),
        ({"task": "x" * 100_001}, "longer than 100000 characters; put the rest into a file"),
        ({"task": "x", "unknown": 1}, "unknown: Extra inputs"),
        ({"task": "x", "options": {"unknown": 1}}, "unknown: Extra inputs"),
        ({"task": "x", "options": {"max_tokens": 0}}, "max_tokens: Input should be greater than 0"),
        ({"task": "x", "context_files": [{"path": "a"}]}, "context_files"),
        ({"task": "x", "steps": [{**STEP, "description": " "}]}, "description"),
    ],
)
def test_an_unusable_request_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        complete_request(given, SETTINGS, "/threads")
    with pytest.raises(InputError, match="names no repository"):
        complete_request({"task": "x"}, SETTINGS)


@pytest.mark.parametrize(
    ("given", "tokens", "rounds", "parallel"),
    [
        ({}, 1000, 5, False),
        ({"max_tokens": None}, 1000, 5, False),
        ({"max_tokens": 7, "max_debug_rounds": 0, "parallel": True}, 7, 0, True),
    ],
)
def test_options_fall_back_to_the_settings(
    given: dict[str, Any], tokens: int, rounds: int, parallel: bool
) -> None:
    options = run_options(given, SETTINGS)
    assert (options.max_tokens, options.max_debug_rounds, options.parallel) == (tokens, rounds, parallel)


@pytest.mark.parametrize(
    ("id", "usable"),
    [
        ("a", True),
        ("7f3a12", True),
        ("A-b_C", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("-a", False),
        ("../t", False),
        ("a b", False),
        ("a\n", False),
        ("ä", False),
    ],
)
def test_a_thread_id_can_name_a_branch(id: str, usable: bool) -> None:
    if usable:
        assert check_thread_id(id) == id
    else:
        with pytest.raises(InputError, match="letters, digits"):
            check_thread_id(id)
