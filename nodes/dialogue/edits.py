"""Edits: an agent's reply applied to a snapshot, wholly or not at all."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from memory.secrets import HIDDEN
from nodes.dialogue.elisions import elision
from nodes.dialogue.replies import EditReply, Unusable, explanation, parse_edits
from tools.patch import PatchError, place_patch
from tools.workspace import PathError, Workspace

REMARK_LENGTH = 600
"""Characters of a remark that others read."""


@dataclass(frozen=True)
class Edit:
    """An applied reply. `digest` identifies it, `placed` describes hunks that did not match exactly.

    `paths` are the files that the reply writes or deletes, `remark` is what its author says beside it.
    """

    base: str
    snapshot: str
    digest: str
    placed: Mapping[str, list[str]] = field(default_factory=dict)
    paths: Collection[str] = ()
    remark: str = ""


@dataclass(frozen=True)
class _Contents:
    """The new contents of files, None for one that is deleted, with their modes and notes on their hunks."""

    texts: dict[str, str | None]
    modes: dict[str, int] = field(default_factory=dict)
    placed: dict[str, list[str]] = field(default_factory=dict)


def write_edit(
    workspace: Workspace, base: str, text: str, author: str, file: str | None = None, lenient: bool = False
) -> Edit:
    """Apply the reply `text` to the snapshot `base`.

    `file` is the path of a single block without one. With `lenient` further blocks without a path are taken
    for examples. Raises Unusable if there is no edit, a block has no
    path, a diff does not apply, or a path is forbidden.
    """
    reply = parse_edits(text)
    if lenient and not reply.is_empty:
        reply = replace(reply, loose=())
    contents = _whole_files(workspace, base, reply, file)
    for diff in reply.diffs:
        _patch(workspace, base, contents, diff)
    paths = contents.texts.keys() | contents.modes.keys()
    message = f"{author}: {', '.join(sorted(paths))[:200]}"
    try:
        snapshot = workspace.write(base, contents.texts, message, contents.modes)
    except PathError as error:
        raise Unusable(str(error)) from error
    return Edit(base, snapshot, sha256(repr(reply).encode()).hexdigest(), contents.placed, paths)


def finish_edit(
    workspace: Workspace, base: str, worked: str, text: str, author: str, file: str | None = None
) -> Edit:
    """Return what the tools did, which is the snapshot `worked`, with the blocks of the answer `text` on top.

    The prose of the answer is the edit's remark. Raises Unusable if neither changes anything, and for
    unusable blocks.
    """
    remark = explanation(text)[:REMARK_LENGTH]
    if worked == base:
        return replace(write_edit(workspace, base, text, author, file), remark=remark)
    edit = Edit(worked, worked, digest="", remark=remark)
    if not parse_edits(text).is_empty:
        edit = replace(write_edit(workspace, worked, text, author, file, lenient=True), remark=remark)
    paths = {change.path for change in workspace.changes(base, edit.snapshot)}
    return replace(edit, base=base, digest=workspace.tree(edit.snapshot), paths=paths)


def check_whole(path: str, text: str, old: str | None) -> None:
    """Raise Unusable if a file leaves parts of it out, holds search-and-replace markers, or lacks a key."""
    if HIDDEN in text and HIDDEN not in (old or ""):
        raise Unusable(
            f"{path} would hold `{HIDDEN}`, which stands for a key of the user that nobody shows you.",
            "Change the other lines alone, with edit_file or a ```diff block.",
        )
    if line := elision(text, old):
        raise Unusable(
            f"{path} is not whole: `{line}` stands for other lines.",
            "Write the whole file, or a ```diff block with the lines that change.",
        )


def _whole_files(workspace: Workspace, base: str, reply: EditReply, file: str | None) -> _Contents:
    """Return the files that the reply writes or deletes as a whole."""
    texts: dict[str, str | None] = dict(reply.files)
    if len(reply.loose) == 1 and reply.is_empty and file and workspace.size(base, file) is None:
        texts = {file: reply.loose[0]}  # the file of a step can only be meant
    elif reply.loose:
        raise _without_path(reply.loose[0])
    elif reply.is_empty:
        raise Unusable(
            "It holds no edit.",
            "Change an existing file with a ```diff block, or write a whole file as a line "
            "`### path/to/file` followed by a fenced block.",
        )
    for word in reply.words:
        if word != file and workspace.size(base, word) is None:
            raise Unusable(
                f"`{word}` stands above a block as if it were a path.",
                f"If it is a new file, write its path as `./{word}` in the heading. If it is not, leave the "
                "block out.",
            )
    for path, text in texts.items():
        check_whole(path, text or "", workspace.text(base, path))
    for path in reply.deleted:
        if workspace.size(base, path) is None:
            raise Unusable(f"There is no file {path} to delete.")
    return _Contents(texts | {path: None for path in reply.deleted})


def _patch(workspace: Workspace, base: str, contents: _Contents, diff: str) -> None:
    """Apply a diff on top of the earlier blocks. A file that one of them deleted cannot be patched."""
    texts = _mentioned(workspace, base, diff) | contents.texts
    files = {path: text for path, text in texts.items() if text is not None}
    try:
        result = place_patch(files, diff)
    except PatchError as error:
        first, _, rest = str(error).partition("\n")
        fault = f"A diff does not apply; no part of the reply was kept.\n{first}"
        raise Unusable(fault, f"\n{rest}") from error
    changed = {path: text for path, text in result.files.items() if files.get(path) != text}
    for path, text in changed.items():
        check_whole(path, text, files.get(path))
    contents.texts.update(changed)
    contents.texts.update({path: None for path in files if path not in result.files})
    executable = {new: workspace.is_executable(base, old) for new, old in result.moved.items()}
    executable |= result.executable
    contents.modes.update({path: 0o755 if runs else 0o644 for path, runs in executable.items()})
    contents.placed.update({path: list(how) for path, how in result.placed.items()})


def _without_path(block: str) -> Unusable:
    """Return the error for a block that no path belongs to."""
    first = next((line.strip() for line in block.splitlines() if line.strip()), "")
    return Unusable(
        f"A block has no path: it begins with `{first[:80]}`.",
        "If it is a file, write `### path/to/file` on the line above it. If it belongs to a file that has "
        "fences of its own, put that whole file into a fence of four backticks. If it is an example, leave "
        "it out.",
    )


def _mentioned(workspace: Workspace, base: str, diff: str) -> dict[str, str | None]:
    """Return the texts of files that a header line of the diff may mean, by the last part of their path."""
    headers = [
        line
        for line in diff.splitlines()
        if line.startswith(("---", "+++", "diff ", "***", "rename", "copy"))
    ]
    words = {word.strip("\"'`").rpartition("/")[2] for line in headers for word in line.split()}
    names = [
        path
        for path in workspace.files(base)
        if (name := path.rpartition("/")[2]) in words
        or (" " in path and any(name in line for line in headers))  # splitting the line split the name
    ]
    return {path: workspace.text(base, path) for path in names}
