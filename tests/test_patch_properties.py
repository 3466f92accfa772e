"""Whatever two texts, their true diff; whatever bytes, a result or a PatchError, soon."""

import contextlib
import difflib
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.patch import PatchError, apply_patch, place_patch

QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
ALPHABET = "ab \t'\"{}-+@\\#…\r\x0b\x0c\x1c\x85\u2028\u2029\ufeffé"
FRAGMENTS = [
    "--- a/f\n",
    "+++ b/f\n",
    "--- /dev/null\n",
    "+++ /dev/null\n",
    "@@ -1,3 +1,3 @@\n",
    "@@\n",
    "@@ ... @@\n",
    "```diff\n",
    "```\n",
    "\\ No newline at end of file\n",
    "diff --git a/f b/f\n",
    "rename to ../f\n",
    "index 1234567..89abcde\n",
    "deleted file mode 100644\n",
    "*** Update File: f\n",
    " a\n",
    "-a\n",
    "+a\n",
    "...\n",
    "\n",
    "\r\n",
    "\ufeff",
]

line = st.text(st.sampled_from(ALPHABET), max_size=6)
text = st.builds(
    lambda lines, end: "\n".join(lines) + end, st.lists(line, max_size=12), st.sampled_from(["", "\n"])
)


def true_diff(before: str, after: str, context: int = 3) -> str:
    """What `git diff` prints: lines end at line feeds alone, a missing last one is marked."""
    old, new = ([f"{line}\n" for line in part.split("\n")] for part in (before, after))
    for lines in (old, new):
        lines[-1:] = [lines[-1][:-1]] * (lines[-1] != "\n")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(old, new, "a/f", "b/f", n=context)
    )


@QUICK
@given(text, text)
def test_the_true_diff_of_any_two_texts_is_carried_out_to_the_byte(before: str, after: str) -> None:
    if before != after:
        assert apply_patch({"f": before}, true_diff(before, after)) == {"f": after}


@QUICK
@given(st.lists(line, min_size=1, max_size=12), st.data())
def test_a_true_diff_of_a_few_lines_is_carried_out_to_the_byte(lines: list[str], data: st.DataObject) -> None:
    other = list(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(other)))
        other[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(line, max_size=2))
    before, after = "\n".join(lines) + "\n", "\n".join(other) + "\n"
    if before != after:
        assert apply_patch({"f": before}, true_diff(before, after)) == {"f": after}


@QUICK
@given(text, st.lists(st.one_of(st.sampled_from(FRAGMENTS), line), max_size=25))
def test_whatever_comes_in_the_answer_is_files_or_a_patch_error(before: str, parts: list[str]) -> None:
    files = {"f": before}
    try:
        patched = place_patch(files, "".join(parts))
    except PatchError as error:
        assert len(str(error)) > 12
    else:
        assert all(".." not in path for path in patched.files)
    assert files == {"f": before}


@QUICK
@given(text, text, st.integers(0, 400), st.sampled_from([*FRAGMENTS, "", "x", "-", "+", " "]))
def test_a_damaged_diff_never_raises_anything_else(before: str, after: str, at: int, piece: str) -> None:
    diff = true_diff(before, after)
    try:
        apply_patch({"f": before}, diff[:at] + piece + diff[at + 2 :])
    except PatchError as error:
        assert "\n" not in (error.path or "")


def test_large_and_repetitive_input_is_answered_in_bounded_time() -> None:
    many = "\n".join(f"line {i % 7}" for i in range(20_000)) + "\n"
    body = "".join(f" line {i % 7}\n" for i in range(400))
    diffs = [
        f"--- a/f\n+++ b/f\n@@ -1,400 +1,401 @@\n{body}-line 9\n+line 8\n",
        f"--- a/f\n+++ b/f\n@@\n{body}+line 8\n{body}",
        "--- a/f\n+++ b/f\n" + "@@ -1 +1 @@\n-line 1\n+line 2\n" * 300,
        "--- a/f\n+++ b/f\n" + "+x\n\n" * 3_000,
        "`" * 50_000 + "\n" + "```diff\n" * 3_000,
        "--- a/f\n" + "+++ b/f\n" * 5_000,
        "--- a/f\n+++ b/f\n@@\n ... " + "a " * 20_000 + "...\n+x\n",
    ]
    for diff in diffs:
        started = time.process_time()
        with contextlib.suppress(PatchError):
            apply_patch({"f": many}, diff)
        assert time.process_time() - started < 5
