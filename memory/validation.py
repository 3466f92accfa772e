"""Validation of what comes from outside: readable messages for faults, valid Unicode, and bounded JSON."""

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator

DEEPEST = 100
"""Levels of lists and objects in JSON from outside. Libraries that copy or store a value recurse."""

MOST_VALUES = 100_000
"""The most values of JSON from outside. Ten times as many would keep the interpreter busy for seconds."""

MOST_FAULTS = 100
"""The most faults that are listed. Each costs a hundred times what the value did."""

LONGEST_TOML, MOST_DOTS = 256_000, 500
"""The most characters of a TOML file, and dots of a key, whose square tomllib's work grows with."""

MOST = 1_000_000_000
"""The largest number of a setting: 30 years of seconds."""

LONGEST_INI, INI_WORK = 256_000, 50_000_000
"""The most characters of an INI file, and the most that the squares of its lines add up to."""

LARGEST = 2**63
"""Integers from here on fit neither a database nor a checkpoint."""

# A comma or an opening bracket begins a value, unless it is in a string. One without an end reaches to that
# of the text.
_NEXT_VALUE = re.compile(r'(?:[^",\[{]++|"(?:[^"\\]++|\\.?)*+"?)*+(?:[,\[{]|\Z)', re.DOTALL)


class HasErrors(Protocol):
    """A ValidationError of pydantic, or FastAPI's RequestValidationError."""

    def errors(self) -> Sequence[Any]: ...


def faults_of(error: HasErrors) -> list[str]:
    """Return one `path.to.field: message` for each fault."""
    return [
        ": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"]))) for fault in error.errors()
    ]


def valid_text(text: str) -> str:
    """Join surrogate pairs, and replace halves without a partner. No file or database can store them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_json(text: str, *, strict: bool = True) -> Any:
    """Return a JSON value that everything can store.

    Raises ValueError for what is no JSON, is nested too deeply, holds too many values, or a number that is
    too large.
    """
    check_length(text)
    try:
        value = json.loads(text, strict=strict, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    check_json(value)
    return value


def read_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML file. Raises ValueError if it is no TOML, or takes too long to read."""
    if len(text) > LONGEST_TOML:
        raise ValueError(f"it has {len(text):,} characters, and at most {LONGEST_TOML:,} are read")
    if any(part.count(".") > MOST_DOTS for line in text.splitlines() for part in line.split("=")):
        raise ValueError(f"a line has more than {MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_ini(text: str) -> RawConfigParser:
    """Return an INI file. Raises ValueError if it is none, or takes too long to read."""
    if len(text) > LONGEST_INI:
        raise ValueError(f"it has {len(text):,} characters, and at most {LONGEST_INI:,} are read")
    if sum(len(line) ** 2 for line in text.splitlines()) > INI_WORK:
        raise ValueError("its lines are too long")
    parser = RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except ConfigParserError as error:
        raise ValueError(str(error)) from error
    return parser


def refuse_constant(name: str) -> NoReturn:
    """Raise ValueError for `NaN` and `Infinity`, which Python's parser accepts."""
    raise ValueError(f"{name} is no JSON")


def check_length(text: str) -> None:
    """Raise ValueError for JSON that holds too many values, before it is parsed."""
    if text.count(",") + text.count("[") + text.count("{") <= MOST_VALUES:
        return
    # Most of them may be in strings, such as the text of a file.
    if any(True for _ in islice(_NEXT_VALUE.finditer(text), MOST_VALUES, None)):
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")


def check_json(value: Any) -> None:
    """Raise ValueError for a value that is too large to be stored, or too deep."""
    level, values = [value], 1
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        values += len(level)
        if values > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES:,} values")
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _inside(value: Any) -> Iterable[Any]:
    """Return the values in a list or an object. Raises ValueError for a number that cannot be stored."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ValueError("a whole number has more than 64 bits")
    return value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()


def check_setting(value: Any) -> Any:
    """Return a setting. Raises ValueError for numbers that no clock takes, and text that no program takes."""
    if isinstance(value, int | float) and value > MOST:
        raise ValueError(f"write a number of at most {MOST:,}")
    if isinstance(value, str | Path) and ("\0" in str(value) or valid_text(str(value)) != str(value)):
        raise ValueError("it holds a NUL character, or bytes that are not UTF-8")
    return value


class ForeignModel(BaseModel):
    """A model of data from clients. Half surrogate pairs in its texts, at any depth, are replaced first.

    Its faults are listed only if they are few.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _repair(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        check_json(value)
        try:
            return validate(_valid(value))
        except ValidationError as error:
            if error.error_count() > MOST_FAULTS:
                raise ValueError(f"it has {error.error_count():,} faults") from None
            raise


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {_valid(key): _valid(inner) for key, inner in value.items()}
    return [_valid(inner) for inner in value] if isinstance(value, list) else value
