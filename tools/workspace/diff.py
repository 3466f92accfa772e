"""The text of a unified diff, with its own headers, because a git config can change those of libgit2."""

import json

import pygit2
from pygit2.enums import DeltaStatus


def unified(path: str, patch: pygit2.Patch) -> str:
    """Return one file's patch, with a/ and b/ before its names."""
    lines = [f"diff --git {_name('a', path)} {_name('b', path)}", *_modes(patch.delta)]
    old, new = patch.delta.old_file, patch.delta.new_file
    if old.id != new.id:
        lines.append(f"index {str(old.id)[:7]}..{str(new.id)[:7]}")
        lines += _body(path, patch)
    return "\n".join(lines) + "\n"


def _name(side: str, path: str) -> str:
    shown = f"{side}/{path}".encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    plain = shown.isprintable() and '"' not in shown and "\\" not in shown
    return shown if plain else json.dumps(shown, ensure_ascii=False)


def _modes(delta: pygit2.DiffDelta) -> list[str]:
    old, new = delta.old_file.mode, delta.new_file.mode
    if delta.status == DeltaStatus.ADDED:
        return [f"new file mode {new:06o}"]
    if delta.status == DeltaStatus.DELETED:
        return [f"deleted file mode {old:06o}"]
    return [f"old mode {old:06o}", f"new mode {new:06o}"] if old != new else []


def _body(path: str, patch: pygit2.Patch) -> list[str]:
    old = "/dev/null" if patch.delta.status == DeltaStatus.ADDED else _name("a", path)
    new = "/dev/null" if patch.delta.status == DeltaStatus.DELETED else _name("b", path)
    start = patch.data.find(b"\n@@ ")
    if start >= 0:
        hunks = patch.data[start + 1 :].decode("utf-8", "replace").removesuffix("\n")
        return [f"--- {old}", f"+++ {new}", hunks]
    empty = patch.delta.status in (DeltaStatus.ADDED, DeltaStatus.DELETED) and not patch.delta.is_binary
    return [] if empty else [f"Binary files {old} and {new} differ"]
