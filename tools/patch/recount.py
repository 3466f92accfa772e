"""The final change as a unified diff with correct lines and counts, parsed by unidiff."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from unidiff.patch import PatchedFile, PatchSet


def recount(
    lines: Sequence[str], gone: AbstractSet[int], added: Mapping[int, Sequence[str]]
) -> PatchedFile | None:
    """Build the change that removes lines of a file and adds others before them. None for no change."""
    touched = sorted(gone | added.keys())
    text: list[str] = ["--- a/file", "+++ b/file"]
    shift = k = 0
    while k < len(touched):
        start = end = touched[k]
        body: list[str] = []
        while k < len(touched) and touched[k] == end:
            body += [f"+{line}" for line in added.get(end, ())]
            k += 1
            if end in gone:
                body.append(f"-{lines[end]}")
                end += 1
        new = sum(line[0] == "+" for line in body)
        old = end - start
        # A hunk without old or new lines names the line before it, hence the two conditions.
        text += [f"@@ -{start + (old > 0)},{old} +{start + shift + (new > 0)},{new} @@", *body]
        shift += new - old
    return PatchSet("\n".join(text) + "\n")[0] if touched else None


def apply_change(lines: Sequence[str], patch: PatchedFile | None) -> list[str]:
    """Return a file's lines after a recounted change."""
    result: list[str] = []
    at = 0
    for hunk in patch or ():
        start = hunk.source_start - (hunk.source_length > 0)
        result += lines[at:start]
        result += [line.value.removesuffix("\n") for line in hunk.target_lines()]
        at = start + hunk.source_length
    return [*result, *lines[at:]]
