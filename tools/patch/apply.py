"""A whole diff onto a whole set of files: everything or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from tools.patch import paths
from tools.patch.errors import PatchError
from tools.patch.parse import FilePatch, parse
from tools.patch.place import place
from tools.patch.source import Source, plain
from tools.patch.write import write


@dataclass(frozen=True)
class Patched:
    """The new files, and for each path how hunks that did not fit exactly found their place."""

    files: dict[str, str]
    placed: dict[str, list[str]]


def apply_patch(files: Mapping[str, str], diff: str) -> dict[str, str]:
    """Return the files as the diff wants them, or raise PatchError when it does not fit."""
    return place_patch(files, diff).files


def place_patch(files: Mapping[str, str], diff: str) -> Patched:
    """Like apply_patch, and tell how each hunk was placed."""
    result, placed = dict(files), dict[str, list[str]]()
    for patch in _joined(files, parse(diff)):
        _file(files, result, patch, placed)
    return Patched(result, placed)


def _joined(files: Mapping[str, str], patches: list[FilePatch]) -> list[FilePatch]:
    """One patch a file, hunks of repeated headers together."""
    joined: dict[str | None, FilePatch] = {}
    for patch in patches:
        if patch.old is not None and patch.new is not None and not patch.renamed:
            name = _existing(files, patch)
            if name in joined:
                joined[name].hunks += patch.hunks
                continue
            joined[name] = patch
        else:
            joined[f"{patch.old}\0{patch.new}\0{len(joined)}"] = patch
    return list(joined.values())


def _existing(files: Mapping[str, str], patch: FilePatch) -> str:
    """The file that a patch changes."""
    if not patch.old and not patch.new:
        if len(files) == 1:
            return next(iter(files))
        raise PatchError("the diff names no file: write '--- a/path' and '+++ b/path' above the hunks")
    for name in (patch.new, patch.old):
        found = paths.find(name, files) if name else None
        if found is not None:
            return found
    raise PatchError("no such file; for a new file write '--- /dev/null'", patch.new or patch.old)


def _file(
    files: Mapping[str, str], result: dict[str, str], patch: FilePatch, placed: dict[str, list[str]]
) -> None:
    if patch.old is None or patch.created:
        _create(files, result, patch)
        return
    name = _existing(files, patch)
    source = Source(files[name])
    try:
        spots = place(source, patch.hunks)
        text = write(source, spots)
    except PatchError as error:
        raise PatchError(error.reason, name, error.hunk, error.placed) from None
    notes = [f"hunk {spot.hunk.number}: {spot.note}" for spot in spots if spot.note]
    if notes:
        placed[name] = notes
    if patch.new is None or patch.deleted:
        if plain(text):
            raise PatchError("the diff deletes this file, but does not show all its lines", name)
        del result[name]
    elif patch.renamed:
        target = paths.new(patch.new or "")
        if target in files:
            raise PatchError("a file is renamed to this path, but it exists", target)
        del result[name]
        result[target] = text
    else:
        result[name] = text


def _create(files: Mapping[str, str], result: dict[str, str], patch: FilePatch) -> None:
    target = paths.new(patch.new or patch.old or "")
    lines = [line for hunk in patch.hunks for line in hunk.lines if line.kind != "-"]
    text = "\n".join(line.text for line in lines) + ("" if not lines or lines[-1].end else "\n")
    if target in result and result[target] != text:
        raise PatchError(
            "the diff calls this file new, but it exists; write a diff against its lines", target
        )
    result[target] = text
