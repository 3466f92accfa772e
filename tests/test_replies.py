"""Model replies: what is taken, what is forgiven, and what goes back with a precise reason."""

import pytest

from nodes.dialogue.replies import Unusable, parse_edits, parse_json, parse_verdict, without_reasoning


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
    assert parse_verdict(text) == verdict


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
