"""Commands that read their arguments more leniently than typer does, or say better what is wrong."""

from collections.abc import Iterator
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand

ONLY_REQUEST = ""
"""The id of an answer that names none: it is for the only request that waits."""

_ID_FLAGS = ("--approve", "--reject")


class TaskCommand(TyperCommand):
    """A command whose task is one argument. Several words need quotes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments. Words after the task are a usage error that shows the quotes."""
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args:
            task = " ".join([ctx.params["task"], *ctx.args])
            ctx.fail(f'The task is one argument. Put it in quotes: autocode run "{task}"')
        return rest


class AnswerCommand(TyperCommand):
    """A command whose answers may leave out the id of the request, if only one waits."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, with ONLY_REQUEST in the place of ids that are left out."""
        return super().parse_args(ctx, list(_with_ids(args)))


def above_zero(value: float | None) -> float | None:
    """Return the value of a limit. Raises BadParameter, which names the flag, for 0 and less."""
    if value is not None and not value > 0:
        raise BadParameter(f"{value:g} is no limit; give a number above 0, or leave the flag out")
    return value


def _with_ids(args: list[str]) -> Iterator[str]:
    for arg, value in zip(args, [*args[1:], None], strict=True):
        yield arg
        if arg == "--edit":  # an id is never JSON, the name of a file, or standard input
            is_id = value is not None and not value.startswith(("{", "@", "-"))
        else:
            is_id = arg not in _ID_FLAGS or (value is not None and not value.startswith("-"))
        if not is_id:
            yield ONLY_REQUEST
