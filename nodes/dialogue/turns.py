"""The earlier tasks of a thread, as a state keeps them and as prompts tell of them."""

from collections.abc import Sequence

from nodes.dialogue.excerpts import CHARS_A_TOKEN, cut_end, cut_tokens
from nodes.dialogue.last_words import last_words
from nodes.dialogue.messages import TASK, Turn
from nodes.dialogue.prompts import fenced, section
from nodes.dialogue.results import line
from nodes.state import State, steps_of
from tools.workspace import Workspace, WorkspaceError

MOST_TURNS, MOST_NOTES, MOST_FILES, MOST_LACKS = 8, 10, 20, 4
TASK_LENGTH, TEXT_LENGTH, SHORT_LENGTH = 2_000, 600, 240
WORDS_TOKENS, CHANGE_TOKENS = 1_500, 3_000
"""Limits of what is kept: characters of a task and of a text, and tokens of an answer and of a change."""

BRIEF_TOKENS = 700
"""The most for agents that follow a planner, who has read it all."""

SHARE = 8
"""The part of a conversation's room that the earlier tasks may take."""

SHORT_TASK = 200
"""Characters of a task that may need the one before it to be found in the repository."""

TITLE = "Earlier on this thread, the oldest first"
ABOUT = """\
These tasks have ended. Do not carry them out again. They tell what the new task refers to, and what the user
wants or has refused."""
LEFT = "(earlier ones are left out)"


def turns_of(state: State, workspace: Workspace, notes: Sequence[str]) -> list[Turn]:
    """Return the thread's earlier tasks, with its last run as the newest one. Blocks.

    `state` is the one that the run left, however it ended. `notes` are the user's notes to it. To a fork, the
    state alone tells those of a run that had ended.
    """
    turns, run = list(state.get("turns") or []), state.get("run")
    task = state.get("asked") or _message(state, f"{run}{TASK}")
    if not run or not task or any(turn["run"] == run for turn in turns):
        return turns
    base, head, plan = state["base"], state["head"], state.get("plan")
    files, change = _change(workspace, base, head)
    planned = [plan["explanation"], *(step["description"] for step in steps_of(plan))] if plan else []
    words = last_words(state)
    newest = Turn(
        run=run,
        task=task[:TASK_LENGTH],
        notes=[note[:TEXT_LENGTH] for note in (notes or state.get("notes") or [])[-MOST_NOTES:]],
        plan=line(" ".join(planned), TEXT_LENGTH),
        refusals=[line(refusal["reason"], TEXT_LENGTH) for refusal in state.get("refusals") or []],
        end=_end(state),
        words=cut_end(state.get("answer") or (words["text"] if words else ""), WORDS_TOKENS),
        files=files,
        change=change,
        delivered=_is_delivered(state),
    )
    # Only the last result is kept in full.
    before = [_without_change(turn) for turn in turns]
    return [*before, newest][-MOST_TURNS:]


def earlier(turns: Sequence[Turn], room: int, brief: bool = False) -> str:
    """Return the section on the earlier tasks, for a conversation of `room` tokens.

    A `brief` one leaves out a change that the files hold.
    """
    tokens = min(room // SHARE, BRIEF_TOKENS if brief else CHANGE_TOKENS)
    if not turns:
        return ""
    *before, last = turns
    parts = [_shown(last, brief, tokens)]
    left = tokens * CHARS_A_TOKEN - len(parts[0])
    for turn in reversed(before):
        part = _shown(_short(turn), True, tokens // 4)
        left -= len(part)
        if left < 0:
            parts.insert(0, LEFT)
            break
        parts.insert(0, part)
    return section(TITLE, "\n\n".join([ABOUT, *parts]))


def search_words(state: State) -> str:
    """Return the words to search for: the task, and before a short one what it may refer to."""
    turns = state.get("turns") or []
    if not turns or len(state["task"]) > SHORT_TASK:
        return state["task"]
    files = (name.partition(" ")[0] for name in turns[-1]["files"])
    return " ".join([state["task"], line(turns[-1]["task"]), *files])


def _shown(turn: Turn, brief: bool, tokens: int) -> str:
    """Return one task: the user's words as they are, all other text as data."""
    said = [
        f"### {cut_tokens(turn['task'].strip(), tokens // 4)}",
        *(f"The user's note: {note.strip()}" for note in turn["notes"]),
        *(f"The user refused a plan: {reason}" for reason in turn["refusals"]),
    ]
    became = [
        f"Planned: {turn['plan']}" if turn["plan"] else "",
        f"Ended: {turn['end']}",
        f"Files: {', '.join(turn['files'])}" if turn["files"] else "",
        f"Said in the end: {turn['words']}" if turn["words"] else "",
    ]
    text = "\n".join(filter(None, became))
    parts = ["\n".join(said), fenced(cut_tokens(text, tokens // 2))]
    if turn["change"] and not (brief and turn["delivered"]):
        room = max(tokens // 4, tokens - len("\n".join(parts)) // CHARS_A_TOKEN)
        parts.append(fenced(cut_tokens(turn["change"], room), "diff"))
    return "\n".join(parts)


def _without_change(turn: Turn) -> Turn:
    return {**turn, "change": "", "words": line(turn["words"], SHORT_LENGTH)}


def _short(turn: Turn) -> Turn:
    """Return a task that is not the last one in a few lines."""
    return {
        **turn,
        "task": line(turn["task"], SHORT_LENGTH),
        "plan": line(turn["plan"], SHORT_LENGTH),
        "notes": [line(text, SHORT_LENGTH) for text in turn["notes"]],
        "refusals": [line(text, SHORT_LENGTH) for text in turn["refusals"]],
    }


def _change(workspace: Workspace, base: str, head: str) -> tuple[list[str], str]:
    """Return the files of a change with their counts, and its diff. Nothing of files that git has lost."""
    if base == head:
        return [], ""
    try:
        changes = workspace.changes(base, head)[:MOST_FILES]
        diff = workspace.diff(base, head)
    except WorkspaceError:
        return [], ""
    return [f"{each.path} (+{each.added} -{each.removed})" for each in changes], cut_tokens(
        diff, CHANGE_TOKENS
    )


def _end(state: State) -> str:
    if state.get("answer"):
        return "answered in text"
    lacks = [line(lack, SHORT_LENGTH) for lack in (state.get("missing") or [])[:MOST_LACKS]]
    if any(stop["kind"] == "cancelled" for stop in state.get("stops") or []):
        return f"nothing was changed: {'; '.join(lacks)}"
    if _is_delivered(state):
        return "verified; the files hold its change"
    apart = "; the files hold its change only if the user has applied it"
    apart = apart if state["base"] != state["head"] else ""
    if lacks:
        return f"not verified: {'; '.join(lacks)}{apart}"
    return f"stopped before it was done{apart}"


def _is_delivered(state: State) -> bool:
    return bool(state.get("branch")) and not state.get("missing")


def _message(state: State, id: str) -> str:
    """Return the text of a message. States of older versions have the task nowhere else."""
    return next((message["content"] for message in state.get("messages") or [] if message["id"] == id), "")
