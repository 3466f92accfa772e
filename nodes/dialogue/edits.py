"""Edits: an agent's reply applied to a snapshot, wholly or not at all."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from nodes.dialogue.replies import EditReply, Unusable, parse_edits
from tools.patch import PatchError, place_patch
from tools.workspace import PathError, Workspace

MARKER_CHARACTERS = 200
_MARKER = re.compile(
    r"\s*(?:<{5,} ?SEARCH|>{5,} ?REPLACE"
    r"|\W{0,8}(?:\.\.\.|…)\W{0,4}(?:the )?(?:rest|remaining|existing|previous|other|same)\b.*"
    r"|\W{1,8}(?:the )?(?:rest of|remaining|existing)\b.*(?:\.\.\.|…|unchanged|the same|as before)\W*$)",
    re.IGNORECASE,
)
"""Lines by which models stand for what they leave out, and the markers of search and replace."""


@dataclass(frozen=True)
class Edit:
    """An applied reply. `digest` identifies it, `placed` describes hunks that did not match exactly.

    `paths` are the files that the reply writes or deletes.
    """

    base: str
    snapshot: str
    digest: str
    placed: Mapping[str, list[str]] = field(default_factory=dict)
    paths: Collection[str] = ()


def write_edit(workspace: Workspace, base: str, text: str, author: str, file: str | None = None) -> Edit:
    """Apply the reply `text` to the snapshot `base`.

    `file` is the path of a single block without one. Raises Unusable if there is no edit, a diff does not
    apply, or a path is forbidden.
    """
    reply = parse_edits(text)
    changes, placed = _changes(workspace, base, reply, file)
    try:
        snapshot = workspace.write(base, changes, f"{author}: {', '.join(sorted(changes))[:200]}")
    except PathError as error:
        raise Unusable(str(error)) from error
    return Edit(base, snapshot, sha256(repr(reply).encode()).hexdigest(), placed, changes.keys())


def _changes(
    workspace: Workspace, base: str, reply: EditReply, file: str | None
) -> tuple[dict[str, str | None], dict[str, list[str]]]:
    changes: dict[str, str | None] = dict(reply.files)  # None deletes
    changes |= {path: None for path in reply.deleted}
    if not changes and not reply.diffs:
        if len(reply.loose) == 1 and file and workspace.read(base, file) is None:
            return {file: reply.loose[0]}, {}
        raise Unusable(
            "It holds no edit. Change an existing file with a ```diff block, or write a whole file as a line "
            "`### path/to/file` followed by a fenced block."
        )
    for path, text in reply.files.items():
        _check_whole(path, text, workspace.text(base, path) or "")
        if reply.loose and path.endswith((".md", ".mdx", ".rst", ".txt")):
            raise Unusable(
                f"A block without a path follows {path}. If its own fences ended that file too early, put it "
                "into a fence of four backticks. Else leave the block out."
            )
    for path in reply.deleted:
        if workspace.read(base, path) is None:
            raise Unusable(f"There is no file {path} to delete.")
    placed: dict[str, list[str]] = {}
    for diff in reply.diffs:
        # Each diff applies on top of the earlier blocks. A file that one of them deleted cannot be patched.
        texts = _mentioned(workspace, base, diff) | changes
        files = {path: text for path, text in texts.items() if text is not None}
        try:
            result = place_patch(files, diff)
        except PatchError as error:
            raise Unusable(f"A diff does not apply; no part of the reply was kept.\n{error}") from error
        changes |= {path: text for path, text in result.files.items() if files.get(path) != text}
        changes |= {path: None for path in files if path not in result.files}
        placed |= {path: list(how) for path, how in result.placed.items()}
    return changes, placed


def _check_whole(path: str, text: str, old: str) -> None:
    """Raise Unusable if a whole file leaves parts of it out, or holds search-and-replace markers."""
    for line in text.splitlines():
        if len(line) < MARKER_CHARACTERS and _MARKER.match(line) and line not in old:
            raise Unusable(
                f"{path} is not whole: `{line.strip()}` stands for other lines. Write the whole file, or a "
                "```diff block with the lines that change."
            )


def _mentioned(workspace: Workspace, base: str, diff: str) -> dict[str, str | None]:
    """Return the texts of files that a header line of the diff may mean, by the last part of their path."""
    headers = [
        line for line in diff.splitlines() if line.startswith(("---", "+++", "diff ", "***", "rename"))
    ]
    words = {word.strip("\"'`").rpartition("/")[2] for line in headers for word in line.split()}
    names = [
        path
        for path in workspace.files(base)
        if (name := path.rpartition("/")[2]) in words
        or (" " in path and any(name in line for line in headers))  # splitting the line split the name
    ]
    return {path: workspace.text(base, path) for path in names}
