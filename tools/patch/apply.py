"""Application of a whole diff to a set of files: all changes or none."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tools.patch import paths
from tools.patch.errors import PatchError
from tools.patch.parse import FilePatch, parse
from tools.patch.place import place
from tools.patch.readings import created
from tools.patch.source import Source, plain
from tools.patch.write import write


@dataclass(frozen=True)
class Patched:
    """The new files, and for each path notes on hunks that did not fit exactly.

    `executable` holds the files whose mode the diff sets. `moved` maps new names to the former ones.
    """

    files: dict[str, str]
    placed: dict[str, list[str]]
    executable: dict[str, bool] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)


def apply_patch(files: Mapping[str, str], diff: str) -> dict[str, str]:
    """Return the files with the diff applied. Raises PatchError when it does not fit."""
    return place_patch(files, diff).files


def place_patch(files: Mapping[str, str], diff: str) -> Patched:
    """Apply the diff as `apply_patch` does, and return how each hunk was placed."""
    result = Patched(dict(files), {})
    for patch in _joined(files, parse(diff)):
        _file(files, result, patch)
    return result


def _joined(files: Mapping[str, str], patches: list[FilePatch]) -> list[FilePatch]:
    """Join the patches of each file, for a diff may repeat a file's header."""
    joined: dict[str, FilePatch] = {}
    for patch in patches:
        _recognise(files, patch)
        key = _target(files, patch) if _changes(patch) else f"\0{len(joined)}"
        if key in joined:
            joined[key].mode = patch.mode or joined[key].mode
            known = joined[key].hunks
            known += [replace(hunk, number=len(known) + k) for k, hunk in enumerate(patch.hunks, 1)]
        else:
            joined[key] = patch
    return list(joined.values())


def _changes(patch: FilePatch) -> bool:
    """Return whether a patch changes a file in place."""
    elsewhere = patch.renamed or patch.copied
    return not (patch.old is None or patch.new is None or patch.created or patch.deleted or elsewhere)


def _recognise(files: Mapping[str, str], patch: FilePatch) -> None:
    """Mark a patch that creates its file although its header does not say so."""
    only_added = all(line.kind == "+" or line.bare for hunk in patch.hunks for line in hunk.lines)
    name = patch.new or patch.old
    if _changes(patch) and patch.hunks and only_added and name and paths.exact(name, files) is None:
        patch.created = not any(hunk.start for hunk in patch.hunks)


def _target(files: Mapping[str, str], patch: FilePatch) -> str:
    """Find the file that a patch changes, deletes or renames."""
    if not patch.old and not patch.new:
        if len(files) == 1:
            return next(iter(files))
        raise PatchError("the diff names no file: write '--- a/path' and '+++ b/path' above the hunks")
    names = [name for name in (patch.old, patch.new) if name]
    if names[0].startswith("a/") and names[-1].startswith("b/") and names[0][2:] in files:
        return names[0][2:]
    for find in (paths.exact, paths.similar) if _changes(patch) else (paths.exact,):
        for name in names:
            path = find(name, files)
            if path is not None:
                return path
    raise PatchError("there is no such file; to create one write '--- /dev/null'", names[0])


def _file(files: Mapping[str, str], result: Patched, patch: FilePatch) -> None:
    if patch.old is None or patch.created:
        path = _create(result.files, patch)
        _set_mode(result, patch, path)
        return
    name = _target(files, patch)
    if name not in result.files:
        raise PatchError("the diff deletes or renames this file, and then changes it again", name)
    if _changes(patch):
        _check_names(files, patch, name)
    marked = any(line.text.startswith("\ufeff") for hunk in patch.hunks for line in hunk.lines)
    source = Source(files[name], bom_is_text=marked)
    try:
        spots = place(source, patch.hunks)
        text = write(source, spots)
    except PatchError as error:
        raise PatchError(error.reason, name, error.hunk, error.placed) from None
    notes = [f"hunk {spot.hunk.number}: {spot.note}" for spot in spots if spot.note]
    if notes:
        result.placed[name] = notes
    if patch.new is None or patch.deleted:
        if patch.hunks and plain(text):
            raise PatchError("the diff deletes this file, but does not show all its lines", name)
        del result.files[name]
        return
    path = name
    if patch.renamed or patch.copied:
        path = _move(result, name, paths.new(patch.new), copy=patch.copied)
    result.files[path] = text
    _set_mode(result, patch, path)


def _check_names(files: Mapping[str, str], patch: FilePatch, name: str) -> None:
    """Refuse a header with two different files. It may be a rename, or a mistake."""
    other = patch.new or ""
    if name != paths.exact(patch.old or "", files) or paths.exact(other, files) == name:
        return
    if patch.old and not paths.alike(patch.old, other):
        raise PatchError(
            f"the header names another file below it, {other}: write one path twice, or to rename the file "
            "'diff --git a/OLD b/NEW', 'rename from OLD' and 'rename to NEW'",
            name,
        )


def _set_mode(result: Patched, patch: FilePatch, path: str) -> None:
    if not patch.mode:
        return
    if patch.mode not in ("100644", "100755"):
        raise PatchError(f"the mode {patch.mode} cannot be set: use 100644 or 100755", path)
    result.executable[path] = patch.mode == "100755"


def _move(result: Patched, name: str, target: str, copy: bool) -> str:
    if target in result.files and target != name:
        raise PatchError("a file is to be renamed to this path, but it exists", target)
    if not copy:
        del result.files[name]
    result.moved[target] = name
    return target


def _create(result: dict[str, str], patch: FilePatch) -> str:
    target = paths.new(patch.new or patch.old or "")
    lines = [line for hunk in patch.hunks for line in created(hunk)]
    text = "\n".join(line.text for line in lines) + ("" if not lines or lines[-1].end else "\n")
    if target in result and result[target] != text:
        raise PatchError("the diff calls this file new, but it exists: change the lines it has", target)
    result[target] = text
    return target
