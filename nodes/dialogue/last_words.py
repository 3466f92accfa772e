"""The last words of a run: what its last agent tells the user, beside the facts that are ours."""

import re

from nodes.state import Agent, LastWords, State, latest

_CODE = re.compile(r"(`[^`\n]+`)")
_MARKUP = {ord(sign): f"\\{sign}" for sign in "\\`*_[]<>#|~!"}


def last_words(state: State) -> LastWords | None:
    """Return the critic's summary, or what the last agent before it said. None if nobody said anything."""
    if any(stop["kind"] == "cancelled" for stop in state["stops"]):
        return None
    if verdict := state["verdict"]:
        text = verdict.get("summary", "")
        return LastWords(agent="critic", text=text) if text else None
    if state.get("not_the_change"):  # it stands among the facts
        return None
    if mends := state.get("mends"):
        return _words("debugger", mends[-1]["how"])
    if remark := state.get("tester_remark"):
        return LastWords(agent="tester", text=remark)
    remarks = [result["remark"] for result in latest(state["results"]).values() if result.get("remark")]
    return _words("coder", " ".join(remarks))


def _words(agent: Agent, text: str) -> LastWords | None:
    return LastWords(agent=agent, text=text) if text.strip() else None


def as_markdown(text: str) -> str:
    """Return a line of a model's text as Markdown that shows it as it is. Spans of code stay code."""
    parts = _CODE.split(text)
    return "".join(part if _CODE.fullmatch(part) else part.translate(_MARKUP) for part in parts)
