"""Answers to approval requests, from flags or asked on the terminal."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nodes.events import ApprovalRequired
from server.cli.exit_codes import UsageError
from server.cli.views import environment_prompts as environments
from server.cli.views import tool_prompts as tools
from server.cli.views.format import one_line, sanitize
from server.cli.views.terminal import group_bracket

ApprovalAnswer = dict[str, Any]
PendingRequests = Sequence[ApprovalRequired]


def answers_from_flags(
    pending: PendingRequests,
    approve: Iterable[str] = (),
    reject: Iterable[str] = (),
    reason: str | None = None,
    edit: tuple[str, str] | None = None,
    scope: str | None = None,
) -> dict[str, ApprovalAnswer]:
    """Turn flags into answers. Raise UsageError for an id that is not pending or is named twice."""
    requests = {approval.id: approval.request for approval in pending}
    approval = {"decision": "approve", **({"scope": scope} if scope else {})}
    answers: dict[str, ApprovalAnswer] = {id: dict(approval) for id in approve}
    answers |= {id: {"decision": "reject", "reason": reason} for id in reject}
    ids = [*approve, *reject, *([edit[0]] if edit else [])]
    for id in ids:
        if id not in requests:
            waiting = ", ".join(requests) or "nothing"
            raise UsageError(f"{one_line(id)} is not waiting for an answer; waiting: {waiting}")
        if ids.count(id) > 1:
            raise UsageError(f"{one_line(id)} has more than one answer; give each id once")
    if edit:
        answers[edit[0]] = edited_answer(requests[edit[0]], _read_flag(edit[1]))
    return answers


def edited_answer(request: Mapping[str, Any], text: str) -> ApprovalAnswer:
    """Return the answer that replaces the plan or parameters of a request by `text`, a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
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


def ask(console: Console, pending: PendingRequests) -> dict[str, ApprovalAnswer] | None:
    """Show and ask each request. Return None if the person leaves (Ctrl-C, end of input)."""
    answers: dict[str, ApprovalAnswer] = {}
    for approval in pending:
        show_request(console, approval)
        try:
            answers[approval.id] = _ask(console, approval.request)
        except (EOFError, KeyboardInterrupt):
            console.print()
            return None
    return answers


def confirm(console: Console, question: str) -> bool:
    """Ask a question that only a clear yes answers. Leaving (Ctrl-C, end of input) is a no."""
    try:
        answer = console.input(Text(f"{question} [y]es, [n]o? ", style="bold"))
    except (EOFError, KeyboardInterrupt):
        console.print()
        return False
    return answer.strip().lower() in ("y", "yes")


def show_request(console: Console, approval: ApprovalRequired) -> None:
    """Print a request that waits for an answer."""
    request = approval.request
    kind = one_line(str(request.get("kind", "")))
    about_environment = kind == "environment"
    title = f"YOUR APPROVAL: {kind}"
    if about_environment:
        title = environments.environment_title(request)
    elif kind == "tool":
        title = tools.tool_title(request)
    console.print()
    console.print(Text(f" {title} ", style="bold black on yellow"))
    # The problem of the question to go on is the question itself.
    problem = request.get("problem")
    if problem and (not about_environment or environments.asks_to_build(request)):
        console.print(Text(sanitize(str(problem)), style="red"))
    if about_environment:
        console.print(environments.render_environment(request))
    elif kind == "tool":
        console.print(tools.render_tool(request))
    elif kind == "plan" and isinstance(request.get("plan"), dict):
        console.print(_plan_table(request["plan"]))
    else:
        rest = {name: value for name, value in request.items() if name not in ("kind", "problem")}
        console.print(Text(sanitize(json.dumps(rest, indent=2, ensure_ascii=False))))


def _plan_table(plan: Mapping[str, Any]) -> Table:
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


def answer_flags(approval: ApprovalRequired) -> list[str]:
    """Return the flags of `resume` that answer a request."""
    id = approval.id
    if approval.request.get("kind") == "environment":
        return environments.environment_flags(id, approval.request)
    return [f"--approve {id}", f'--reject {id} --reason "…"', f"--edit {id} @FILE"]


def _ask(console: Console, request: Mapping[str, Any]) -> ApprovalAnswer:
    if request.get("kind") == "environment":
        return environments.ask_environment(console, request)
    is_tool = request.get("kind") == "tool"
    prompt = tools.tool_prompt(request) if is_tool else tools.PROMPT_AGAIN
    while True:
        choice = console.input(Text(prompt, style="bold")).strip().lower()
        if approval := tools.approval(choice, request):
            return approval
        if choice in ("r", "reject", "n", "no"):
            why = tools.WHY if is_tool else "why? (a reason has a plan made again, none ends the run) "
            return {"decision": "reject", "reason": console.input(Text(why)).strip() or None}
        if choice in ("e", "edit"):
            try:
                return edited_answer(request, _edit(request))
            except UsageError as error:
                console.print(Text(f"{error}; nothing was sent", style="red"))


def _edit(request: Mapping[str, Any]) -> str:
    """Open the plan or parameters of a request as JSON in $VISUAL or $EDITOR. Return the new text."""
    key = _editable_key(request)
    value = request.get(key) or {}
    content = planner_format(value) if key == "plan" else value
    before = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with TemporaryDirectory(prefix="autocode-") as folder:
        file = Path(folder, f"{key}.json")
        file.write_text(before, encoding="utf-8")
        try:
            # EDITOR may hold arguments ("code --wait").
            subprocess.run([*shlex.split(editor), str(file)], check=True)  # noqa: S603  # the user's editor
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise UsageError(f"the editor {editor!r} did not work ({error}); set EDITOR") from error
        after = file.read_text(encoding="utf-8", errors="replace")
    if after == before:  # saving nothing is how people leave an editor
        raise UsageError("nothing was changed")
    return after


def _editable_key(request: Mapping[str, Any]) -> str:
    return "plan" if request.get("kind") == "plan" else "params"


def _read_flag(text: str) -> str:
    """Return the JSON of --edit: the flag's own text, the content of `@FILE`, or standard input for `-`."""
    try:
        if text == "-":
            return sys.stdin.read()
        return Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the edit: {error}") from error
