"""Title and text of a pull request, from a run's task, steps and proof.

Models, reporters and repositories wrote much of it. It is quoted, and can mention nobody and close nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from graph.delivery import Delivery
from nodes.proof import ResultSummary
from tools.hosting import PullRequestText, inert_line, quoted

TITLE_CHARACTERS = 120
POINTS = 15
"""Steps and weaknesses that are listed."""


@dataclass(frozen=True)
class Account:
    """A run's own account: its task, steps, and result."""

    run: str
    task: str
    steps: tuple[str, ...] = ()
    summary: ResultSummary | None = None
    missing: tuple[str, ...] = ()


def pull_request_text(
    account: Account, delivery: Delivery, closes: str = "", issue: str = ""
) -> PullRequestText:
    """Return the text for a delivery. `closes` is the issue of the same project that the task came from.

    Only a verified result closes it. An unverified result is a draft.
    """
    task = account.task.strip() or "Change by AutoCodeAI"
    title = inert_line(task.partition("\n")[0], TITLE_CHARACTERS)
    if not delivery.verified:
        title = f"[UNVERIFIED] {title}"
    parts = [
        *_result(account, delivery),
        f"### Task\n\n{quoted(task)}",
        _listed("Steps", account.steps),
        f"Branch `{delivery.branch}`, commit {delivery.commit}. Made by AutoCodeAI, for your review.",
        _origin(delivery, closes, issue),
    ]
    return PullRequestText(title, "\n\n".join(filter(None, parts)) + "\n", draft=not delivery.verified)


def _result(account: Account, delivery: Delivery) -> Iterator[str]:
    summary = account.summary
    if not delivery.verified:
        yield "> [!WARNING]\n> **This result is NOT VERIFIED.** Check it yourself before you merge it."
        yield _listed("Missing for a proof", account.missing)
    yield "### Result"
    if summary:
        if delivery.verified:
            yield f"**{inert_line(summary.headline)}.**"
        yield inert_line(summary.figures, 500)
        yield _listed("Weak points", tuple(summary.weaknesses))


def _listed(title: str, points: tuple[str, ...]) -> str:
    if not points:
        return ""
    lines = [f"- {inert_line(point, 400)}" for point in points[:POINTS]]
    if len(points) > POINTS:
        lines.append(f"- and {len(points) - POINTS} more")
    return f"{title}:\n\n" + "\n".join(lines)


def _origin(delivery: Delivery, closes: str, issue: str) -> str:
    """Name the issue that the task came from. The user named it, no model did."""
    if closes:
        return f"Fixes {closes}" if delivery.verified else f"For {closes}"
    return f"For {issue}" if issue else ""
