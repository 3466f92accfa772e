"""Reasoning in a reply: what a model thought before or between the parts of its answer."""

import re

from nodes.llm.fences import FENCE

_NAMES = "think|thinking|thought|reasoning|reflection|seed:think"
# A tag in backticks is named, not used.
_TAG = re.compile(
    rf"(?<!`)(?:<(?P<end>/?)(?P<name>{_NAMES})>|\[(?P<square_end>/?)(?P<square>THINK)\]"
    r"|◁(?P<kimi_end>/?)think▷)(?!`)",
    re.IGNORECASE,
)
_FENCE = re.compile(FENCE.pattern, re.MULTILINE)
_EITHER = re.compile(f"{_FENCE.pattern}|{_TAG.pattern}", re.MULTILINE | re.IGNORECASE)
# The format of gpt-oss, which some servers pass on: the answer is the last message of the channel `final`.
_CHANNEL = re.compile(r"<\|channel\|>(\w+)[^<\n]{0,80}<\|message\|>")
_CONTROL = re.compile(r"<\|(?:start|end|return|message|channel)\|>")


def without_reasoning(text: str) -> str:
    """Remove what a model thought before or between the parts of its answer, as `<think>…</think>`.

    Tags inside fenced blocks are content. A block of reasoning that is never closed reaches to the end.
    """
    text = _after_orphan(_final_channel(text))
    kept: list[str] = []
    fence, tag, start, at = "", "", 0, 0
    while match := (_TAG if tag else _FENCE if fence else _EITHER).search(text, at):
        at = match.end()
        if not tag and match["fence"]:
            closes = bool(fence) and match["fence"].startswith(fence) and not match["info"].strip()
            fence = "" if closes else fence or match["fence"]
            continue
        name, closing = _kind(match)
        if not (tag or closing):
            kept.append(text[start : match.start()])
            tag = name
        elif closing and name == tag:
            tag, start = "", at
    return "".join([*kept, "" if tag else text[start:]])


def _kind(match: re.Match[str]) -> tuple[str, bool]:
    """Return the name of a tag, and whether it closes."""
    name = (match["name"] or match["square"] or "kimi").lower()
    return name, bool(match["end"] or match["square_end"] or match["kimi_end"])


def _after_orphan(text: str) -> str:
    """Remove what stands before a closing tag without an opening one. Some servers swallow the latter."""
    for match in _TAG.finditer(text):
        _, closing = _kind(match)
        if not closing or "```" in text[: match.start()]:
            return text
        return text[match.end() :]
    return text


def _final_channel(text: str) -> str:
    """Return the message of the last channel `final`, or the text itself if it has no channels."""
    channels = list(_CHANNEL.finditer(text))
    if not channels or "```" in text[: channels[0].start()]:
        return text
    finals = [match for match in channels if match[1].lower() == "final"]
    if not finals:
        return ""
    answer = text[finals[-1].end() :]
    control = _CONTROL.search(answer)
    return answer[: control.start()] if control else answer
