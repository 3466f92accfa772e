"""Questions about environments on the terminal: whether to build one, and whether to go on without it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from server.cli.views.format import one_line, sanitize
from server.cli.views.summary import render_diff

APPROVE: dict[str, Any] = {"decision": "approve"}
REJECT: dict[str, Any] = {"decision": "reject"}


def asks_to_build(request: Mapping[str, Any]) -> bool:
    """Return True if a request asks to build an environment, False if it asks to go on without it."""
    return bool(request.get("commands"))


def environment_title(request: Mapping[str, Any]) -> str:
    """Return the heading of a request."""
    return "YOUR APPROVAL: environment" if asks_to_build(request) else "YOUR ANSWER: no environment"


def render_environment(request: Mapping[str, Any]) -> RenderableType:
    """Render a request, without its heading and its choices."""
    return Group(*(_build(request) if asks_to_build(request) else _going_on(request)))


def environment_choices(request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the answers that a person can type for a request, by the words for them."""
    if not asks_to_build(request):
        return {"y": APPROVE, "yes": APPROVE, "n": REJECT, "no": REJECT}
    words = {"a": APPROVE, "approve": APPROVE, "y": APPROVE, "yes": APPROVE}
    words |= {"r": REJECT, "reject": REJECT, "n": REJECT, "no": REJECT}
    for number, path in enumerate(offered_venvs(request), 1):
        use: dict[str, Any] = {"decision": "edit", "params": {"venv": path}}
        words |= dict.fromkeys((_key(number), f"use {path}", path), use)
        words.setdefault("use", use)  # the first one, as for its letter
    return words


def environment_prompt(request: Mapping[str, Any]) -> str:
    """Return the line that asks for one of the choices."""
    if not asks_to_build(request):
        return "Go on without it? [y]es, [n]o? "
    uses = [f"[{_key(number)}]se {one_line(path)}" for number, path in enumerate(offered_venvs(request), 1)]
    return ", ".join(["[a]pprove", "[r]eject", *uses]) + "? "


def ask_environment(console: Console, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask until an answer is one of the choices. Raises EOFError if the person leaves."""
    choices = environment_choices(request)
    while True:
        typed = console.input(Text(environment_prompt(request), style="bold")).strip()
        if answer := choices.get(typed) or choices.get(typed.lower()):
            return dict(answer)


def environment_flags(id: str, request: Mapping[str, Any]) -> list[str]:
    """Return the flags of `resume` that answer a request."""
    edits = (json.dumps({"venv": path}, ensure_ascii=False) for path in offered_venvs(request))
    return [f"--approve {id}", f"--reject {id}", *(f"--edit {id} {shlex.quote(edit)}" for edit in edits)]


def offered_venvs(request: Mapping[str, Any]) -> list[str]:
    """Return the virtual environments that a request offers instead of a build."""
    return [str(path) for path in request.get("at_hand") or []]


def _key(number: int) -> str:
    return "u" if number == 1 else f"u{number}"


def _build(request: Mapping[str, Any]) -> Iterator[RenderableType]:
    sources = ", ".join(one_line(str(source)) for source in request.get("sources") or [])
    yield Text(f"The tests need an environment{f', made from {sources}' if sources else ''}.")
    for reason in request.get("reasons") or []:
        yield _listed("-", str(reason))
    if packages := request.get("packages"):
        yield _listed("-", f"system packages: {', '.join(map(str, packages))}")
    yield Text("These commands run once, in the sandbox, with network and without your keys:")
    for command in request["commands"]:
        yield Padding(_listed("$", str(command), "bold"), (0, 0, 0, 2))
    if difference := request.get("difference"):
        yield Text("The change alters what the environment is made from:")
        yield render_diff("\n".join(map(str, difference)), limit=None)
    if venvs := offered_venvs(request):
        named = " or ".join(map(one_line, venvs))
        yield Text(f"Instead, {named} can be used as it is, read-only. Then nothing is installed.")


def _going_on(request: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield the problem. The lines that it quotes are indented and stay so when they are folded."""
    for line in sanitize(str(request.get("problem", ""))).strip().splitlines():
        quoted = line.startswith((" ", "\t"))
        text = Text(line.strip(), style="dim" if quoted else "red", overflow="fold")
        yield Padding(text, (0, 0, 0, 4 if quoted else 0))
    yield Text("Without it, the result cannot be verified.", style="bold")


def _listed(sign: str, text: str, style: str = "") -> Table:
    """Return a line with a sign before it. Folded lines stay beside the sign."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold", style=style)
    grid.add_row(sign, Text(sanitize(text).strip()))
    return grid
