"""Model replies: what is taken, what is forgiven, and what goes back with a precise reason."""

from contextlib import suppress

import pytest

from nodes.dialogue.replies import Unusable, join_cut, no_edit_reason, parse_edits, parse_json
from nodes.dialogue.verdicts import parse_verdict
from nodes.llm.reasoning import without_reasoning
from tools.patch import apply_patch


def test_diffs_whole_files_and_deletions_are_told_apart() -> None:
    reply = parse_edits(
        "I change two things.\n```diff\n--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n```\n"
        "### pkg/new.py\n```python\nprint('hi')\n```\n\n### delete old.py\n"
    )
    assert reply.diffs == ("--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n",)
    assert reply.files == {"pkg/new.py": "print('hi')\n"}
    assert reply.deleted == ("old.py",)


def test_a_longer_fence_holds_shorter_ones_verbatim() -> None:
    reply = parse_edits("### README.md\n````markdown\n# Use\n```sh\nrun\n```\n````\n")
    assert reply.files == {"README.md": "# Use\n```sh\nrun\n```\n"}


def test_white_space_and_control_characters_of_a_whole_file_stay() -> None:
    reply = parse_edits("### a.txt\n```\n\ttab\x0cfeed  \r\n\n```")
    assert reply.files == {"a.txt": "\ttab\x0cfeed  \r\n\n"}


def test_an_empty_block_is_an_empty_file() -> None:
    assert parse_edits("### pkg/__init__.py\n```python\n```\n").files == {"pkg/__init__.py": ""}


@pytest.mark.parametrize(
    "heading", ["### `src/a.py`", "### **src/a.py**", "## src/a.py", "### File: src/a.py", "### src/a.py\n"]
)
def test_headings_are_forgiven_their_decoration(heading: str) -> None:
    assert parse_edits(f"{heading}\n```python\nx = 1\n```\n").files == {"src/a.py": "x = 1\n"}


def test_a_heading_in_prose_above_an_example_is_no_path() -> None:
    reply = parse_edits("### How to use it\n\n```sh\nrun\n```\n")
    assert reply.files == {} and reply.loose == ("run\n",)


def test_a_bare_diff_and_a_diff_in_an_unnamed_fence_count() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    assert parse_edits(f"Here it is:\n{diff}").diffs == (diff,)
    assert parse_edits(f"```\n{diff}```").diffs == (diff,)


def test_a_block_that_was_cut_off_is_sent_back() -> None:
    with pytest.raises(Unusable, match="never closed"):
        parse_edits("### a.py\n```python\nx = 1\n")


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'Sure!\n```json\n{"a": 1}\n```\nDone.',
        'The plan {as asked}: {"a": 1} and more',
        '{"a": 1,}{"a": 1}',
    ],
)
def test_one_json_object_is_found_wherever_it_stands(text: str) -> None:
    assert parse_json(text) == {"a": 1}


def test_broken_json_is_named_with_its_place() -> None:
    with pytest.raises(Unusable, match="line 1, column 7"):
        parse_json('{"a": oops}')
    with pytest.raises(Unusable, match="no JSON object"):
        parse_json("I cannot do that.")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"verdict": "PASS", "reasons": []}', (True, [])),
        ('```json\n{"verdict": "FAIL", "reasons": ["a.py: off by one"]}\n```', (False, ["a.py: off by one"])),
        ("PASS", (True, [])),
        ("FAIL: the edge is missing", (False, ["the edge is missing"])),
        ("**FAIL**\n- one\n- two", (False, ["one", "two"])),
    ],
)
def test_verdicts_are_read_as_json_or_as_a_bare_word(text: str, verdict: tuple[bool, list[str]]) -> None:
    review = parse_verdict(text)
    assert (review.passed, review.reasons) == verdict


@pytest.mark.parametrize(
    "text", ["I would PASS this.", '{"verdict": "pass-ish"}', '{"verdict": "FAIL"}', "PASSWORD leaked", ""]
)
def test_anything_else_is_no_verdict(text: str) -> None:
    with pytest.raises(Unusable):
        parse_verdict(text)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<think>\nPASS?\n</think>\nFAIL: no", "\nFAIL: no"),
        ("<think>a</think>b<think>c</think>d", "bd"),
        ("<thinking>never closed\n### a.py\n```\nX\n```\n", ""),
        ("the server dropped the tag\n</think>\nanswer", "\nanswer"),
        ("<think>\n```python\ndraft\n```\n</think>\nanswer", "\nanswer"),
        ("first\n<think>\nthen</think>\nlast", "first\n\nlast"),
        (
            "### a.html\n```html\n<think>kept</think>\n```\n",
            "### a.html\n```html\n<think>kept</think>\n```\n",
        ),
        ("no tags at all", "no tags at all"),
    ],
)
def test_reasoning_is_no_part_of_an_answer(reply: str, answer: str) -> None:
    assert without_reasoning(reply) == answer


@pytest.mark.parametrize("worst", ["<think>", "<think>\n", "```\n<think>\n", "</think>", "<think>a</think>"])
def test_a_megabyte_of_tags_is_read_at_once(worst: str) -> None:
    assert len(without_reasoning(worst * 60_000)) <= len(worst) * 60_000


@pytest.mark.parametrize(
    "heading",
    [
        "### 1. `src/a.py`",
        "### 2) src/a.py",
        "### src/a.py (new file)",
        "### src/a.py [modified]",
        "### `src/a.py`:",
        "### **`src/a.py`**",
        "### Create src/a.py",
        "### New file: `src/a.py`",
        "# src/a.py",
        "### Update `src/a.py` (new)",
        "### ./src/a.py",
    ],
)
def test_a_heading_is_understood_where_its_path_is_certain(heading: str) -> None:
    reply = parse_edits(f"{heading}\n```python\nx = 1\n```\n")
    assert (reply.files, reply.words) == ({"src/a.py": "x = 1\n"}, ())


@pytest.mark.parametrize(
    "heading", ["### The code for src/a.py follows", "### a.py and b.py", "### 2.0", "###"]
)
def test_a_heading_that_is_no_clean_path_leaves_its_block_without_one(heading: str) -> None:
    reply = parse_edits(f"{heading}\n```python\nx = 1\n```\n")
    assert reply.files == {} and reply.loose == ("x = 1\n",)


def test_two_blocks_for_one_file_go_back() -> None:
    with pytest.raises(Unusable, match=r"two blocks for a\.py"):
        parse_edits("### a.py\n```\n1\n```\n### a.py\n```\n2\n```\n")


def test_a_rename_in_a_heading_goes_back_with_the_way_to_write_it() -> None:
    with pytest.raises(Unusable, match="rename from OLD"):
        parse_edits("### Rename src/a.py to src/b.py\n### c.py\n```\nx\n```\n")


def test_a_diff_beside_fenced_edits_goes_back() -> None:
    with pytest.raises(Unusable, match="outside of a fenced block"):
        parse_edits("### a.py\n```\n1\n```\n--- a/b.py\n+++ b/b.py\n@@ -1 +1 @@\n-1\n+2\n")


INNER = "# Tool\n\n```sh\npip install tool\n```\n\nMIT\n"


def test_inner_fences_with_a_language_are_understood_by_structure() -> None:
    assert parse_edits(f"### README.md\n```markdown\n{INNER}```\n").files == {"README.md": INNER}
    both = parse_edits(f"### README.md\n```markdown\n{INNER}```\n\n### a.py\n```python\nx = 1\n```\n")
    assert both.files == {"README.md": INNER, "a.py": "x = 1\n"}
    docstring = '"""Use it:\n\n```python\nrun()\n```\n"""\n'
    assert parse_edits(f"### a.py\n```python\n{docstring}```\n").files == {"a.py": docstring}


def test_bare_inner_fences_are_not_guessed() -> None:
    bare = INNER.replace("```sh", "```")
    reply = parse_edits(f"### README.md\n```markdown\n{bare}```\n")
    assert reply.loose == ("\nMIT\n",)


def test_deeper_fences_belong_to_a_list_or_to_the_context_of_a_diff() -> None:
    steps = "1. Install:\n\n   ```\n   pip install tool\n   ```\n\n2. Run it.\n"
    assert parse_edits(f"### README.md\n```markdown\n{steps}```\n").files == {"README.md": steps}
    diff = "--- a/README.md\n+++ b/README.md\n@@ -1,3 +1,3 @@\n ```\n-run\n+go\n ```\n"
    assert parse_edits(f"```diff\n{diff}```\n").diffs == (diff,)


def test_an_indented_fence_keeps_the_indentation_of_its_content_right() -> None:
    listed = "1. The file:\n\n   ### a.py\n   ```python\n   def f():\n       return 1\n   ```\n"
    assert parse_edits(listed).files == {"a.py": "def f():\n    return 1\n"}
    diff = "--- a/a.yml\n+++ b/a.yml\n@@ -1,2 +1,3 @@\n a:\n   b: 1\n+  c: 2\n"
    assert parse_edits(f"- The file:\n\n     ```diff\n{diff}     ```\n").diffs == (diff,)
    wanted = {"a.yml": "a:\n  b: 1\n  c: 2\n"}
    assert apply_patch({"a.yml": "a:\n  b: 1\n"}, f"  ```diff\n{diff}  ```\n") == wanted


@pytest.mark.parametrize(
    "worst", ["{", '{"a":', "[" * 3 + "{", "```\n", "### a\n", "\n", " ", "NO", "NO TESTS "]
)
def test_a_megabyte_of_anything_is_read_at_once(worst: str) -> None:
    text = worst * (1_000_000 // len(worst))
    for read in (parse_edits, parse_json, lambda text: no_edit_reason(text, "NO TESTS")):
        with suppress(Unusable):
            read(text)


def test_objects_that_python_cannot_hold_go_back() -> None:
    with pytest.raises(Unusable, match="too deeply"):
        parse_json('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(Unusable, match="digits"):
        parse_json('{"a": ' + "9" * 5000 + "}")


@pytest.mark.parametrize(
    ("cut", "rest", "whole"),
    [
        ("### a.py\n```\nx = 1\ny =", " 2\n```\n", "### a.py\n```\nx = 1\ny = 2\n```\n"),
        ("### a.py\n```\nx = 1\ny = ", "y = 2\n```\n", "### a.py\n```\nx = 1\ny = 2\n```\n"),
        (
            "```\nlong_name = 100\n",
            "long_name = 100\ny = 2\n```",
            "```\nlong_name = 100\ny = 2\n```",
        ),
        (
            "### a.py\n```python\nx = 1\n",
            "```python\ny = 2\n```\n",
            "### a.py\n```python\nx = 1\ny = 2\n```\n",
        ),
        ("### a.py\n```\nx = 1\n", "```\ndone", "### a.py\n```\nx = 1\n```\ndone"),
        ("f {\n}\n", "}\n", "f {\n}\n}\n"),
        ("I do it.\n### a.py\n```\nx", "I do it.\n### a.py\n```\nx\n```", "I do it.\n### a.py\n```\nx\n```"),
        ("```\na\n", "<think>where was I?</think>b\n```", "```\na\nb\n```"),
    ],
)
def test_the_rest_of_a_cut_reply_is_joined_without_what_it_repeats(cut: str, rest: str, whole: str) -> None:
    assert join_cut(cut, rest) == whole


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("[THINK]PASS?[/THINK]FAIL: no", "FAIL: no"),
        ("◁think▷PASS?◁/think▷FAIL: no", "FAIL: no"),
        ("<Thought>PASS?</Thought>FAIL: no", "FAIL: no"),
        (
            "<|channel|>analysis<|message|>PASS?<|end|>"
            "<|start|>assistant<|channel|>final<|message|>FAIL: no<|return|>",
            "FAIL: no",
        ),
        ("<|channel|>analysis<|message|>PASS", ""),
        ("The tag `<think>` is named.\nFAIL: no", "The tag `<think>` is named.\nFAIL: no"),
    ],
)
def test_reasoning_of_other_families_is_taken_off(reply: str, answer: str) -> None:
    assert without_reasoning(reply) == answer


@pytest.mark.parametrize(
    ("cut", "rest"),
    [
        ("Sure.\n### a.py\n```\nx =", "Sorry, again:\n### a.py\n```\nx = 1\n```\n"),
        ("### a.py\n```\nX = 1\n```\n", "```diff\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n```\n"),
        (
            "Sure.\n```diff\n--- a/x\n+++ b/x\n@@ -1 +1",
            "Again:\n```diff\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n```\n",
        ),
    ],
)
def test_a_rest_that_begins_a_part_anew_goes_back(cut: str, rest: str) -> None:
    with pytest.raises(Unusable, match="anew"):
        join_cut(cut, rest)
