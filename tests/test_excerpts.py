"""Excerpts of files: cut in the middle, or shown around what a step names."""

from pathlib import Path

import pytest
from gitrepo import GitRepo

from nodes.dialogue.excerpts import around, cut, named_places
from nodes.dialogue.nearby import near_tests
from tools.outline import definitions
from tools.workspace import Workspace

METHODS = "".join(f"    def other_{n}(self):\n        return {n}\n\n" for n in range(400))
CLASS = f"class Store:\n{METHODS}    def __setstate__(self, state):\n        self.state = state\n\n{METHODS}"


def test_a_method_that_is_named_is_shown_wherever_it_stands_in_its_class() -> None:
    known = definitions({"store.py": CLASS})["store.py"]
    text = around(CLASS, named_places(CLASS, "Mend Store.__setstate__", known), 600, known)
    assert "class Store:\n" in text and "        self.state = state\n" in text
    assert len(text) < 3_000 and text.count(" left out …]") == 2


def test_a_long_method_that_is_named_is_shown_whole_below_its_class() -> None:
    body = "".join(f"        total += {n}\n" for n in range(150))
    code = f"class Store:\n{METHODS}    def add_up(self, total):\n{body}        return total\n\n{METHODS}"
    known = definitions({"store.py": code})["store.py"]
    text = around(code, named_places(code, "Let `add_up` be quick", known), 1_200, known)
    assert text.startswith("class Store:\n[… lines 2 to ") and body in text and len(text) < 5_000


def test_a_class_method_that_no_file_defines_finds_its_uses() -> None:
    text = "from other import load_all\n\n\ndef main():\n    load_all()\n"
    assert named_places(text, "Let `load_all` be quick") == [range(1, 2), range(5, 6)]


@pytest.mark.parametrize(("head", "first", "last"), [(0.5, 43, 957), (1 / 3, 29, 943), (2 / 3, 57, 971)])
def test_a_long_text_is_cut_where_it_may_be(head: float, first: int, last: int) -> None:
    text = "".join(f"{n:9}\n" for n in range(1, 1001))
    short = cut(text, 860, head)
    assert f"[… lines {first + 1} to {last} of 1000 left out" in short and len(short) < 960


def test_tests_near_a_step_are_those_that_share_its_words(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path)
    names = ["test_open", "test_pickle_state", "test_close", "test_read", "test_write", "test_seek"]
    tests = "from store import Store\n\n\n" + "\n\n".join(f"def {n}(s):\n    assert s.x\n" for n in names)
    other = "def test_more():\n    assert True\n"
    snapshot = repo.commit({"tests/test_store.py": tests, "tests/test_other.py": other})
    workspace = Workspace.open(tmp_path)
    query = "A Store cannot be pickled: `Store.__setstate__` forgets its pickle"
    files = ["tests/test_other.py", "tests/test_store.py"]
    near = near_tests(workspace, snapshot, files, ["Store"], ["store.py"], 2, query)
    assert list(near) == ["tests/test_store.py"]
    line = tests.splitlines().index("def test_pickle_state(s):") + 1
    assert near["tests/test_store.py"][0] == range(line, line + 2)


def test_the_tests_of_a_class_are_found_by_its_name_and_not_by_their_number(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path)
    yaml = "class YAMLTests:\n    def test_export(self):\n        assert Set([1]).yaml == 'a: 1'\n"
    many = "".join(f"def test_set_{n}():\n    assert Set([{n}]).rows == [{n}]\n\n\n" for n in range(40))
    sets = f"from sets import Set\n\n\n{many}{yaml}\n\ndef test_last():\n    assert Set([]).rows == []\n"
    other = "".join(f"def test_line_{n}():\n    assert Set([{n}]).line({n})\n\n\n" for n in range(99))
    snapshot = repo.commit({"tests/test_sets.py": sets, "tests/test_lines.py": other})
    files = ["tests/test_lines.py", "tests/test_sets.py"]
    query = "Keep the order of columns in the YAML export. `Set.yaml` sorts them"
    near = near_tests(Workspace.open(tmp_path), snapshot, files, ["Set"], ["yaml.py"], 2, query)
    line = sets.splitlines().index("    def test_export(self):") + 1
    assert near == {"tests/test_sets.py": [range(line, line + 2), range(1, 2)]}  # the test, and the imports
