"""Edits of a request's plan or parameters, from a flag or in the user's editor."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nodes.events import ApprovalRequired
from server.cli.exit_codes import UsageError
from server.cli.views.format import one_line, sanitize
from server.cli.views.terminal import group_bracket


def edited_answer(request: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the answer that replaces the plan or parameters of a request by `text`, a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the edit is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("the edit must be a JSON object")
    key = _editable_key(request)
    return {"decision": "edit", key: planner_format(value) if key == "plan" else value}


def planner_format(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan as planners write it: groups as `parallel_group`, without step ids."""
    steps, given = [], plan.get("steps") or []
    if not isinstance(given, list) or not all(isinstance(step, dict) for step in given):
        raise UsageError("the steps of the plan must be a list of JSON objects")
    for step in given:
        planned = {name: value for name, value in step.items() if name not in ("id", "group")}
        if "files" in planned:
            planned.pop("file", None)  # it is the first of them, and whoever edits them sees them once
        if "group" in step:
            planned.setdefault("parallel_group", step["group"])
        steps.append(planned)
    return {"explanation": str(plan.get("explanation", "")), "steps": steps}


def read_flag(text: str) -> str:
    """Return the JSON of --edit: the flag's own text, the content of `@FILE`, or standard input for `-`."""
    try:
        if text == "-":
            return sys.stdin.read()
        return Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the edit: {error}") from error


def edit_request(console: Console, approval: ApprovalRequired) -> dict[str, Any] | None:
    """Let the user edit a request until the edit can be used. Return None if nothing is to be sent.

    The text stays in its file until it is used, so that no mistake loses it. An edited plan is shown as it
    was read, and runs only after a yes.
    """
    key = _editable_key(approval.request)
    value = approval.request.get(key) or {}
    content = planner_format(value) if key == "plan" else value
    before = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    handle, name = mkstemp(prefix="autocode-", suffix=f"-{key}.json")
    file = Path(name)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(before)
    while True:
        _open_editor(console, file)
        text = file.read_text(encoding="utf-8", errors="replace")
        if text == before:  # saving nothing is how people leave an editor
            file.unlink()
            console.print(Text("Nothing was changed, and nothing was sent.", style="red"))
            return None
        answer = _read_edit(console, approval, text)
        choice = "r" if answer and key != "plan" else _choose(console, file, can_run=answer is not None)
        if answer and choice in ("r", "run", "y", "yes"):
            file.unlink()
            return answer
        if choice in ("c", "cancel"):
            return None


def plan_table(plan: Mapping[str, Any]) -> Table:
    """Return a plan as a table: number, bracket of the parallel group, agent, description."""
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("", "", "", Text(sanitize(str(plan.get("explanation", ""))), style="italic"))
    for number, step in enumerate(plan.get("steps", []), 1):
        description = Text(sanitize(str(step.get("description", "")))).append(_about(step), style="dim")
        bracket = group_bracket(plan, step.get("id"))  # type: ignore[arg-type]  # the plan came as JSON
        table.add_row(f"{number}", bracket, one_line(str(step.get("agent", ""))), description)
    return table


def _about(step: Mapping[str, Any]) -> str:
    """Return in brackets the call of a tool step, or the files that a step edits, and those that it reads."""
    if step.get("tool_name"):
        params = (step.get("tool_params") or {}).items()
        given = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in params)
        return f"  ({one_line(' '.join([str(step['tool_name']), *given]))})"
    edited, read = step.get("files") or [step.get("file")], step.get("context_files") or []
    parts = [", ".join(one_line(str(file)) for file in edited if file)]
    parts += [f"reads {', '.join(one_line(str(file)) for file in read)}"] if read else []
    text = "; ".join(filter(None, parts))
    return f"  ({text})" if text else ""


def _read_edit(console: Console, approval: ApprovalRequired, text: str) -> dict[str, Any] | None:
    """Return the answer that an edit means and show its plan. None, with its fault shown, if it has one."""
    from graph.approvals import check_answer  # imports LangGraph, which `show` does not need
    from graph.errors import InputError
    from nodes.planning.plan_reply import read_plan

    try:
        answer = edited_answer(approval.request, text)
        check_answer(approval.id, answer, approval.request)
    except (UsageError, InputError) as error:
        console.print(Text(sanitize(str(error)), style="red"))
        return None
    if "plan" in answer:
        console.print(Text("Your plan, as it will run:", style="bold"))
        console.print(plan_table(read_plan(answer["plan"])))
    return answer


def _choose(console: Console, file: Path, can_run: bool) -> str:
    console.print(Text(f"Your text is kept in {file}", style="dim"))
    question = f"{'[r]un it, ' if can_run else ''}[e]dit it again, [c]ancel? "
    return console.input(Text(question, style="bold")).strip().lower()


def _open_editor(console: Console, file: Path) -> None:
    """Open a file in $VISUAL or $EDITOR, and wait until it is closed."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        # EDITOR may hold arguments ("code --wait").
        subprocess.run([*shlex.split(editor), str(file)], check=True)  # noqa: S603  # the user's editor
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        console.print(Text(f"The editor {editor!r} did not work ({error}). Set EDITOR.", style="red"))


def _editable_key(request: Mapping[str, Any]) -> str:
    return "plan" if request.get("kind") == "plan" else "params"
