"""Questions to a human: from flags, or asked on the terminal; an answer is what the interrupt expects."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nodes.events import ApprovalRequired
from server.cli.exit_codes import UsageError
from server.cli.views.format import one_line, sanitize
from server.cli.views.terminal import group_bracket

ApprovalAnswer = dict[str, Any]
PendingRequests = Sequence[ApprovalRequired]

EDITABLE = {"plan": "plan", "tool": "params"}
"""What of a request an edit replaces, by the request's kind."""


def approve_all(pending: PendingRequests) -> dict[str, ApprovalAnswer]:
    """Approve everything."""
    return {one.id: {"decision": "approve"} for one in pending}


def answers_from_flags(
    pending: PendingRequests,
    approve: Iterable[str] = (),
    reject: Iterable[str] = (),
    reason: str | None = None,
    edit: tuple[str, str] | None = None,
) -> dict[str, ApprovalAnswer]:
    """Turn flags into answers. Raises Usage for an id that waits for nothing, naming those that do."""
    requests = {one.id: one.request for one in pending}
    answers: dict[str, ApprovalAnswer] = {id: {"decision": "approve"} for id in approve}
    answers |= {id: {"decision": "reject", "reason": reason} for id in reject}
    ids = [*approve, *reject, *([edit[0]] if edit else [])]
    for id in ids:
        if id not in requests:
            waiting = ", ".join(requests) or "nothing"
            raise UsageError(f"{one_line(id)} is not waiting for an answer; waiting: {waiting}")
        if ids.count(id) > 1:
            raise UsageError(f"{one_line(id)} was given more than one answer")
    if edit:
        answers[edit[0]] = edited_answer(requests[edit[0]], _given(edit[1]))
    return answers


def edited_answer(request: Mapping[str, Any], text: str) -> ApprovalAnswer:
    """Return the answer that puts `text`, a JSON object, in the place of what was asked about."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the edit is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("the edit must be a JSON object")
    key = EDITABLE.get(str(request.get("kind")), "plan")
    return {"decision": "edit", key: planner_format(value) if key == "plan" else value}


def planner_format(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan as planners write it: groups as `parallel_group`, without our step ids."""
    steps = []
    for step in plan.get("steps") or []:
        if not isinstance(step, dict):
            raise UsageError("every step of the plan must be a JSON object")
        wire = {name: value for name, value in step.items() if name not in ("id", "group")}
        if "group" in step:
            wire.setdefault("parallel_group", step["group"])
        steps.append(wire)
    return {"explanation": str(plan.get("explanation", "")), "steps": steps}


def ask(console: Console, pending: PendingRequests) -> dict[str, ApprovalAnswer] | None:
    """Show each request and ask; None when the human leaves (Ctrl-C, end of input)."""
    answers: dict[str, ApprovalAnswer] = {}
    for one in pending:
        show_request(console, one)
        try:
            answers[one.id] = _ask(console, one.request)
        except (EOFError, KeyboardInterrupt):
            console.print()
            return None
    return answers


def show_request(console: Console, asked: ApprovalRequired) -> None:
    """Show what waits for an answer."""
    request = asked.request
    console.print()
    console.print(
        Text(f" YOUR APPROVAL: {one_line(str(request.get('kind', '')))} ", style="bold black on yellow")
    )
    if problem := request.get("problem"):
        console.print(Text(sanitize(str(problem)), style="red"))
    if request.get("kind") == "plan" and isinstance(request.get("plan"), dict):
        console.print(_plan(request["plan"]))
    else:
        rest = {name: value for name, value in request.items() if name not in ("kind", "problem")}
        console.print(Text(sanitize(json.dumps(rest, indent=2, ensure_ascii=False))))


def _plan(plan: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("", "", "", Text(sanitize(str(plan.get("explanation", ""))), style="italic"))
    for number, step in enumerate(plan.get("steps", []), 1):
        file = f"  ({one_line(str(step['file']))})" if step.get("file") else ""
        deed = Text(sanitize(str(step.get("description", ""))))
        where = group_bracket(plan, step.get("id"))  # type: ignore[arg-type]  # a plan that came as JSON
        table.add_row(
            f"{number}", where, one_line(str(step.get("agent", ""))), deed.append(file, style="dim")
        )
    return table


def _ask(console: Console, request: Mapping[str, Any]) -> ApprovalAnswer:
    while True:
        choice = console.input(Text("[a]pprove, [e]dit, [r]eject? ", style="bold")).strip().lower()
        if choice in ("a", "approve", "y", "yes"):
            return {"decision": "approve"}
        if choice in ("r", "reject", "n", "no"):
            return {"decision": "reject", "reason": console.input(Text("why? ")).strip() or None}
        if choice in ("e", "edit"):
            try:
                return edited_answer(request, _in_editor(request, _open_editor))
            except UsageError as error:
                console.print(Text(f"{error}; nothing was sent", style="red"))


def _in_editor(request: Mapping[str, Any], open_editor: Callable[[Path], None]) -> str:
    """Let the human change what was asked about, as JSON, in $VISUAL or $EDITOR."""
    key = EDITABLE.get(str(request.get("kind")), "plan")
    value = request.get(key) or {}
    before = (
        json.dumps(planner_format(value) if key == "plan" else value, indent=2, ensure_ascii=False) + "\n"
    )
    with TemporaryDirectory(prefix="autocode-") as folder:
        file = Path(folder, f"{key}.json")
        file.write_text(before, encoding="utf-8")
        open_editor(file)
        after = file.read_text(encoding="utf-8", errors="replace")
    if after == before:
        raise UsageError("nothing was changed")
    return after


def _open_editor(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        subprocess.run([*shlex.split(editor), str(file)], check=True)  # noqa: S603  # the user's own editor
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise UsageError(f"the editor {editor!r} did not work ({error}); set EDITOR") from error


def _given(text: str) -> str:
    """Return the JSON that a flag gives: itself, `@file`, or `-` for standard input."""
    try:
        if text == "-":
            return sys.stdin.read()
        return Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the edit: {error}") from error
