import pytest

from tools.patch import PatchError, apply_patch, place_patch

GREET = "export function greet(name) {\n  return `Hello ${name}`;\n}\n"
DIFF = """--- a/src/greet.js
+++ b/src/greet.js
@@ -1,3 +1,3 @@
 export function greet(name) {
-  return `Hello ${name}`;
+  return `Good day ${name}`;
 }
"""
NEW = "--- /dev/null\n+++ {}\n@@ -0,0 +1 @@\n+echo owned\n"


def refusal(files: dict[str, str], diff: str) -> PatchError:
    given = dict(files)
    with pytest.raises(PatchError) as caught:
        apply_patch(given, diff)
    assert given == files
    return caught.value


def test_a_clean_diff_changes_only_what_it_says_and_leaves_its_input_alone() -> None:
    files = {"src/greet.js": GREET, "b.txt": "b"}
    patched = place_patch(files, DIFF)
    assert patched.files == {"src/greet.js": GREET.replace("Hello", "Good day"), "b.txt": "b"}
    assert patched.placed == {}
    assert files == {"src/greet.js": GREET, "b.txt": "b"}


def test_a_hunk_that_found_its_place_elsewhere_or_by_a_looser_comparison_says_so() -> None:
    moved = {"src/greet.js": "// one\n// two\n" + GREET.replace("  return", "\treturn")}
    patched = place_patch(moved, DIFF)
    assert patched.placed == {"src/greet.js": ["hunk 1: offset +2, fuzzy: indentation"]}
    assert patched.files["src/greet.js"].endswith("{\n\treturn `Good day ${name}`;\n}\n")


def test_a_change_that_is_there_already_is_skipped_and_named() -> None:
    done = {"src/greet.js": GREET.replace("Hello", "Good day")}
    patched = place_patch(done, DIFF)
    assert patched.files == done
    assert patched.placed == {"src/greet.js": ["hunk 1: already applied"]}


def test_an_error_names_file_hunk_and_first_differing_line_and_shows_the_nearest_text() -> None:
    error = refusal({"src/greet.js": "// say hello\n" + GREET.replace("Hello", "Hi")}, DIFF)
    assert (error.path, error.hunk) == ("src/greet.js", 1)
    assert "src/greet.js: hunk 1: the removed line `return `Hello ${name}`;` is not there" in str(error)
    assert "     3   return `Hi ${name}`;" in str(error)


def test_an_error_tells_how_the_other_hunks_were_placed() -> None:
    second = "@@ -9,2 +9,2 @@\n-const gone = 1;\n+const gone = 2;\n"
    error = refusal({"src/greet.js": "\n" + GREET}, DIFF + second)
    assert error.hunk == 2
    assert error.placed == ("hunk 1: offset +1",)
    assert "Nothing was written" in str(error)


def test_a_removed_line_that_differs_in_one_token_is_stale() -> None:
    refusal({"src/greet.js": GREET.replace("${name}", "${names}")}, DIFF)


def test_copies_that_nothing_tells_apart_are_refused_with_their_lines() -> None:
    twice = {"src/greet.js": GREET + "\n" + GREET}
    assert "2 times (lines 1, 5)" in str(refusal(twice, DIFF.replace("@@ -1,3 +1,3 @@", "@@ ... @@")))
    second = apply_patch(twice, DIFF.replace("-1,3 +1,3", "-5,3 +5,3"))
    assert second["src/greet.js"] == GREET + "\n" + GREET.replace("Hello", "Good day")


def test_one_file_that_does_not_fit_leaves_all_files_alone() -> None:
    refusal({"src/greet.js": GREET, "b.txt": "b\n"}, DIFF + "--- a/b.txt\n+++ b/b.txt\n@@ -1 +1 @@\n-c\n+d\n")


def test_two_hunks_that_change_one_line_differently_are_refused() -> None:
    error = refusal({"src/greet.js": GREET}, DIFF + DIFF.replace("Good day", "Bye"))
    assert "differently" in str(error)


def test_added_lines_without_any_context_have_no_place() -> None:
    diff = "--- a/a.rb\n+++ b/a.rb\n@@ -1,0 +2 @@\n+puts 2\n"
    assert "add context" in str(refusal({"a.rb": "puts 1\nputs 3\n"}, diff))


UNSAFE = ("../x", "b/../x", "b/src/../../x", "/etc/x", "~/.bashrc", "C:\\x.py", "b/.git/hooks/x", "b/a//x")


@pytest.mark.parametrize("path", UNSAFE)
def test_a_path_outside_the_tree_is_refused(path: str) -> None:
    assert "not allowed" in str(refusal({"a.py": "1\n"}, NEW.format(path)))


def test_a_new_file_is_never_written_over_an_existing_one() -> None:
    assert "exists" in str(refusal({"a.sh": "echo\n"}, NEW.format("b/a.sh")))
    assert apply_patch({}, NEW.format("b/c.sh")) == {"c.sh": "echo owned\n"}


def test_a_path_is_found_without_its_prefix_or_by_a_suffix_that_only_one_file_has() -> None:
    greeting = GREET.replace("Hello", "Good day")
    for name in ("src/greet.js", "greet.js", "./src/greet.js", "/src/greet.js", "web/src/greet.js"):
        diff = DIFF.replace("a/src/greet.js", name).replace("b/src/greet.js", name)
        assert apply_patch({"src/greet.js": GREET}, diff) == {"src/greet.js": greeting}
    both = {"src/greet.js": GREET, "old/greet.js": GREET}
    assert "several files" in str(refusal(both, DIFF.replace("src/", "")))


def test_a_folder_named_like_a_prefix_is_a_folder_where_the_tree_or_git_says_so() -> None:
    files = {"a/x.py": "1\n", "x.py": "1\n"}
    diff = "--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-1\n+2\n"
    assert apply_patch(files, diff.format("x.py")) == {"a/x.py": "1\n", "x.py": "2\n"}
    assert apply_patch(files, diff.format("a/x.py")) == {"a/x.py": "2\n", "x.py": "1\n"}
    assert apply_patch({}, NEW.format("b/b/x.sh")) == {"b/x.sh": "echo owned\n"}
    assert apply_patch({}, NEW.format("w/x.sh")) == {"w/x.sh": "echo owned\n"}


def test_files_are_deleted_and_renamed_only_as_they_were_shown() -> None:
    delete = "--- a/a.txt\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n"
    assert apply_patch({"a.txt": "one\ntwo\n", "b": ""}, delete) == {"b": ""}
    assert "does not show all" in str(refusal({"a.txt": "one\ntwo\nthree\n"}, delete))
    rename = "diff --git a/a.txt b/c/b.txt\nsimilarity index 100%\nrename from a.txt\nrename to c/b.txt\n"
    assert apply_patch({"a.txt": "one\n"}, rename) == {"c/b.txt": "one\n"}
    refusal({"a.txt": "one\n", "c/b.txt": "two\n"}, rename)
    assert "again" in str(refusal({"a.txt": "one\ntwo\n"}, delete + delete))


@pytest.mark.parametrize(
    "text", ["", "No change is needed.\n", "--- a/a\n+++ b/a\n", '{"edit": 1}', "```diff\n```\n"]
)
def test_what_is_no_diff_is_refused_with_what_to_write(text: str) -> None:
    assert "'@@'" in str(refusal({"a": "1\n"}, text))


def test_a_diff_that_breaks_off_is_not_applied_in_part() -> None:
    cut = "```diff\n--- a/a.ts\n+++ b/a.ts\n@@ -1,2 +1,4 @@\n const a = 1;\n+const b = 2;\n+const c"
    assert "breaks off" in str(refusal({"a.ts": "const a = 1;\nconst d = 4;\n"}, cut))


def test_removed_and_added_lines_that_look_like_headers_are_content() -> None:
    files = {"q.sql": "select 1;\n-- users\nselect 2;\n"}
    diff = "--- a/q.sql\n+++ b/q.sql\n@@ -1,3 +1,3 @@\n select 1;\n--- users\n+++ users\n select 2;\n"
    assert apply_patch(files, diff) == {"q.sql": "select 1;\n++ users\nselect 2;\n"}


def test_elided_context_bridges_lines_that_a_marker_stands_for() -> None:
    body = "".join(f"  step{i}();\n" for i in range(9))
    files = {"run.js": f"function run() {{\n  start();\n{body}  stop();\n  log();\n}}\n"}
    diff = (
        "--- a/run.js\n+++ b/run.js\n@@ -1,14 +1,14 @@\n function run() {\n-  start();\n"
        "+  begin();\n   step0();\n"
        "   // ... existing code ...\n   step8();\n-  stop();\n+  end();\n   log();\n }\n"
    )
    wanted = files["run.js"].replace("start()", "begin()").replace("stop()", "end()")
    patched = place_patch(files, diff)
    assert patched.files == {"run.js": wanted}
    assert patched.placed == {"run.js": ["hunk 1: fuzzy: context"]}


def test_a_context_line_that_the_file_lacks_beside_added_lines_is_not_dropped_unseen() -> None:
    diff = "--- a/a.go\n+++ b/a.go\n@@ -1,2 +1,4 @@\n a := 1\n+b := 2\n c := 3\n d := 4\n"
    refusal({"a.go": "a := 1\nd := 4\n"}, diff)


def test_byte_order_mark_line_ends_and_last_line_stay_as_the_file_has_them() -> None:
    file = "\ufeffimport a;\r\nimport c;\r\nrun();"
    diff = "--- a/a.ts\n+++ b/a.ts\n@@ -1,3 +1,4 @@\n import a;\n+import b;\n import c;\n run();\n"
    assert apply_patch({"a.ts": file}, diff) == {
        "a.ts": "\ufeffimport a;\r\nimport b;\r\nimport c;\r\nrun();"
    }


def test_lines_added_after_a_last_line_without_end_take_the_ends_of_those_before() -> None:
    diff = "--- a/a.js\n+++ b/a.js\n@@ -1,2 +1,4 @@\n a();\n b();\n+c();\n+d();\n"
    assert apply_patch({"a.js": "a();\r\nb();"}, diff) == {"a.js": "a();\r\nb();\r\nc();\r\nd();"}
