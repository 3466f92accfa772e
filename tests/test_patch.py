import pytest

from tools.patch import PatchError, apply_patch, place_patch

FILES = {"src/greet.js": "export function greet(name) {\n  return `Hello ${name}`;\n}\n"}
DIFF = """--- a/src/greet.js
+++ b/src/greet.js
@@ -1,3 +1,3 @@
 export function greet(name) {
-  return `Hello ${name}`;
+  return `Good day ${name}`;
 }
"""


def test_a_clean_diff_changes_only_what_it_says_and_leaves_its_input_alone() -> None:
    files = dict(FILES)
    assert apply_patch(files, DIFF) == {
        "src/greet.js": "export function greet(name) {\n  return `Good day ${name}`;\n}\n"
    }
    assert files == FILES


def test_a_hunk_that_found_its_place_elsewhere_says_so() -> None:
    moved = {"src/greet.js": "// one\n// two\n" + FILES["src/greet.js"]}
    assert place_patch(moved, DIFF).placed == {"src/greet.js": ["hunk 1: offset +2"]}


def test_a_diff_that_does_not_fit_names_file_and_hunk() -> None:
    with pytest.raises(PatchError, match=r"src/greet\.js: hunk 1: "):
        apply_patch({"src/greet.js": "something else\n"}, DIFF)
