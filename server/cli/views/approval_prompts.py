"""Answers to approval requests, from flags or asked on the terminal."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from nodes.events import ApprovalRequired
from server.cli.arguments import ONLY_REQUEST
from server.cli.exit_codes import UsageError
from server.cli.views import environment_prompts as environments
from server.cli.views import tool_prompts as tools
from server.cli.views.editing import edit_request, edited_answer, plan_table, read_flag
from server.cli.views.format import one_line, sanitize

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
    approve, reject = ([_named(id, requests) for id in ids] for ids in (approve, reject))
    edit = (_named(edit[0], requests), edit[1]) if edit else None
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
        answers[edit[0]] = edited_answer(requests[edit[0]], read_flag(edit[1]))
    return answers


def _named(id: str, requests: Mapping[str, object]) -> str:
    """Return the id, or that of the only request where a flag names none."""
    if id != ONLY_REQUEST:
        return id
    if len(requests) == 1:
        return next(iter(requests))
    if requests:
        raise UsageError(f"{len(requests)} requests wait; name the one to answer: {', '.join(requests)}")
    raise UsageError("no request waits for an answer; leave out --approve, --reject and --edit")


def ask(console: Console, pending: PendingRequests) -> dict[str, ApprovalAnswer] | None:
    """Show and ask each request. Return None if the person leaves (Ctrl-C, end of input)."""
    answers: dict[str, ApprovalAnswer] = {}
    for approval in pending:
        show_request(console, approval)
        try:
            answers[approval.id] = _ask(console, approval)
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
        console.print(plan_table(request["plan"]))
    else:
        rest = {name: value for name, value in request.items() if name not in ("kind", "problem")}
        console.print(Text(sanitize(json.dumps(rest, indent=2, ensure_ascii=False))))


def answer_flags(approval: ApprovalRequired) -> list[str]:
    """Return the flags of `resume` that answer a request."""
    id = approval.id
    if approval.request.get("kind") == "environment":
        return environments.environment_flags(id, approval.request)
    return [f"--approve {id}", f'--reject {id} --reason "…"', f"--edit {id} @FILE"]


def _ask(console: Console, approval: ApprovalRequired) -> ApprovalAnswer:
    request = approval.request
    if request.get("kind") == "environment":
        return environments.ask_environment(console, request)
    is_tool = request.get("kind") == "tool"
    prompt = tools.tool_prompt(request) if is_tool else tools.PROMPT_AGAIN
    while True:
        choice = console.input(Text(prompt, style="bold")).strip().lower()
        if approved := tools.approval(choice, request):
            return approved
        if choice in ("r", "reject", "n", "no"):
            why = tools.WHY if is_tool else "why? (a reason has a plan made again, none ends the run) "
            return {"decision": "reject", "reason": console.input(Text(why)).strip() or None}
        if choice in ("e", "edit") and (edited := edit_request(console, approval)):
            return edited
