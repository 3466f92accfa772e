"""Bounds of what comes from outside: JSON, TOML and INI files, and the replies that hold them."""

import math
from typing import Any

import pytest
from pydantic import Field, ValidationError

from memory.validation import ForeignModel, check_json, read_ini, read_json, read_toml
from nodes.dialogue.replies import Unusable, parse_json


class Body(ForeignModel):
    value: Any = None


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


UNSTORABLE = [
    *(nested(101), {"a": nested(100)}, 2**63, -(2**63), math.inf, math.nan, [{"a": -math.inf}]),
    *([0] * 100_000, {"a": [[]] * 50_000, "b": {number: [] for number in range(50_000)}}),
]


@pytest.mark.parametrize("value", UNSTORABLE, ids=lambda value: str(value)[:20])
def test_a_value_that_not_everything_can_store_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"nested|finite|64 bits|100,000 values"):
        check_json(value)
    with pytest.raises(ValidationError):
        Body(value=value)


@pytest.mark.parametrize(
    "value", [nested(98), {"a": [1.5, -(2**63) + 1, None, "x", True]}], ids=["deep", "flat"]
)
def test_an_ordinary_value_is_taken(value: Any) -> None:
    check_json(value)
    assert Body(value=value).value == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" + "[]," * 100_001,
        '{"a":' * 900 + "1" + "}" * 900,
        "9" * 5000,
        "1" + "0" * 20,
        "1e999",
        "NaN",
    ],
)
def test_json_that_cannot_be_stored_is_a_value_error_and_such_a_reply_is_asked_for_again(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)
    with pytest.raises(Unusable):
        parse_json(f'Here is it: {{"verdict": {text}}}')


class Steps(ForeignModel):
    steps: list[Body | str] = Field(default_factory=list)


@pytest.mark.parametrize("wrong", [{"steps": [[]] * 99_000}, {"steps": [{"other": 1}, 1] * 51}])
def test_faults_are_counted_where_they_are_too_many_to_be_read(wrong: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Steps.model_validate(wrong)
    assert refused.value.error_count() == 1 and "faults" in str(refused.value)
    with pytest.raises(ValidationError) as refused:
        Steps.model_validate({"steps": [[]]})
    assert refused.value.error_count() == 2


@pytest.mark.parametrize("text", ["a" * 300_000, "a." * 600 + "b = 1", "a = " + "[" * 100_000, "a"])
def test_toml_that_would_take_long_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_toml(text)


@pytest.mark.parametrize("text", ["[a]\nb" + " " * 200_000 + "c", "a", "[a\n"])
def test_an_ini_file_that_would_take_long_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_ini(text)
    assert read_ini("[a]\nb = c\n")["a"]["b"] == "c"
