"""The table `[test]` of `.autocode.toml`, where a repository says how its tests run."""

import shlex
import tomllib
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, PositiveFloat, ValidationError, field_validator

from memory.validation import faults_of, read_toml
from sandbox.collect import is_pattern

CONFIG = ".autocode.toml"


class NoSuite(Exception):
    """The repository does not say how its tests run. The message says what to write in `.autocode.toml`."""


def _without_nul(word: str) -> str:
    if "\0" in word:
        raise ValueError("it holds a NUL character, which no program can be given")
    return word


_Argument = Annotated[str, AfterValidator(_without_nul)]


class TestTable(BaseModel, extra="forbid"):
    """The table `[test]` of `.autocode.toml`."""

    command: list[_Argument] | None = Field(default=None, min_length=1)
    report: list[_Argument] = Field(default_factory=list)
    scope: Literal["auto", "all", "affected"] = "auto"
    timeout: PositiveFloat | None = Field(default=None, le=86_400)
    mutants: Literal["on", "off"] = "on"

    @field_validator("command", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        words = shlex.split(value)
        if any(word in ("&&", "||", ";", "|", ">", "<") for word in words):
            raise ValueError(f'a shell is not used; write ["sh", "-c", {value!r}] if you want one')
        return words

    @field_validator("report", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("report")
    @classmethod
    def _inside(cls, patterns: list[str]) -> list[str]:
        if not all(map(is_pattern, patterns)):
            raise ValueError("a report is a path or pattern below the repository's root")
        return patterns


class _ConfigFile(BaseModel):
    test: TestTable = TestTable()
    mutants: Literal["on", "off"] = "on"


def read_config(text: str | None) -> TestTable:
    """Return the table `[test]` of a configuration file, its defaults without one. Raises NoSuite."""
    if text is None:
        return TestTable()
    try:
        config = _ConfigFile.model_validate(read_toml(text))
    except tomllib.TOMLDecodeError as error:
        raise NoSuite(f"{CONFIG} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise NoSuite(f"{CONFIG}: {'; '.join(faults_of(error))}") from error
    except ValueError as error:  # nested without end, or a number of thousands of digits
        raise NoSuite(f"{CONFIG} is not usable TOML: {str(error)[:200]}") from error
    return config.test if config.mutants == "on" else config.test.model_copy(update={"mutants": "off"})
