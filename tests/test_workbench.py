"""The tools of agents, in a real session: what they show, what they refuse, and what becomes of the files."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nodes.agent.workbench import Workbench
from sandbox.base import Limits, Sandbox
from tools.workspace import Workspace

pytestmark = [pytest.mark.bubblewrap]

FILES = {
    "calc.py": "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n",
    "test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "long.txt": "".join(f"line {number}\n" for number in range(1, 3_001)),
    "data.bin": "\0\1",
    ".gitignore": "*.log\n",
}

CALC = {"file_path": "calc.py"}


@asynccontextmanager
async def opened(folder: Path, sandbox: Sandbox) -> AsyncIterator[Workbench]:
    (folder / "repo").mkdir()
    workspace = Workspace.init(folder / "repo")
    base = workspace.write(workspace.begin().snapshot, FILES, "First\n")

    async def place() -> tuple[Sandbox, Limits]:
        return sandbox, Limits(seconds=5)

    bench = Workbench(workspace, base, base, "coder s1", place)
    yield bench
    await bench.aclose()


@pytest.fixture
async def bench(tmp_path: Path, bubblewrap: Sandbox) -> AsyncIterator[Workbench]:
    async with opened(tmp_path, bubblewrap) as bench:
        yield bench


async def says(bench: Workbench, name: str, **arguments: Any) -> str:
    return (await bench.call(name, arguments)).text


def changed(bench: Workbench) -> dict[str, str]:
    return {each.path: each.status for each in bench.workspace.changes(bench.base, bench.snapshot)}


async def test_commands_keep_their_files_and_tell_how_they_ended(bench: Workbench) -> None:
    assert await says(bench, "execute", command="echo one; echo two >&2; echo three") == "one\ntwo\nthree"
    assert await says(bench, "execute", command="[[ -n x ]] && exit 3") == "[exit code 3]"
    assert await says(bench, "execute", command="true") == "(no output)"
    assert "1 passed" in await says(bench, "execute", command="python -m pytest -q")
    assert changed(bench) == {}  # what the tests leave behind is no edit
    text = await says(
        bench, "execute", command="echo x > new.txt; echo y > debug.log; rm calc.py; chmod +x long.txt"
    )
    assert "[new file: new.txt. Delete what is not meant to be part of your edit]" in text
    assert changed(bench) == {"new.txt": "added", "calc.py": "deleted", "long.txt": "modified"}
    assert "new.txt" not in await says(bench, "execute", command="true")  # a new file is told of once
    assert bench.workspace.is_executable(bench.snapshot, "long.txt")
    outcome = await bench.call("execute", {"command": "sleep 60 & sleep 60"})
    assert "ended after 5 s" in outcome.text and outcome.ending == "timed out after 5 s"
    text = await says(bench, "execute", command="head -c 5000 /dev/urandom; sleep 60 &")
    assert "of binary output" in text and "[1 process that it left running, now ended]" in text


async def test_a_long_output_is_cut_in_the_middle_and_says_what_is_missing(bench: Workbench) -> None:
    text = await says(bench, "execute", command="cat long.txt")
    assert text.startswith("line 1\n") and text.endswith("line 3000")
    assert len(text) < 10_200 and "[… lines 5" in text and "of 3000 left out" in text
    one = await says(bench, "execute", command="printf '%050000d' 7")
    assert len(one) < 10_200 and one.endswith("7") and "characters left out" in one


async def test_files_are_read_by_lines(bench: Workbench) -> None:
    assert await says(bench, "read_file", file_path="calc.py", offset=4) == (
        "     5\tdef sub(a, b):\n     6\t    return a - b\n"
    )
    text = await says(bench, "read_file", file_path="/workspace/long.txt", limit=2)
    assert text.endswith("     2\tline 2\n[2998 more lines; go on with offset 2]")
    assert await says(bench, "read_file", file_path="calc.py", offset=10) == "(the file has 6 lines)"


@pytest.mark.parametrize(
    ("name", "arguments", "says_what"),
    [
        ("read_file", {"file_path": "none.py"}, "there is no file none.py"),
        ("read_file", {"file_path": "data.bin", "offset": -1}, "offset"),
        ("read_file", {"path": "calc.py"}, "It takes file_path, offset (optional), limit (optional)"),
        ("write_file", {"file_path": ".git/config", "content": ""}, "git's own files cannot be written"),
        ("remove", {}, "there is no tool remove. The tools are execute, read_file"),
        ("edit_file", CALC | {"old_string": "return", "new_string": "x"}, "2 times in calc.py (lines 2, 6)"),
        ("edit_file", CALC | {"old_string": "retrun", "new_string": "x"}, "is not in calc.py"),
        ("edit_file", CALC | {"old_string": "a", "new_string": "a"}, "the same"),
        ("write_file", {"file_path": "../x", "content": ""}, "outside of the repository"),
        ("write_file", {"file_path": "/etc/passwd", "content": ""}, "outside of the repository"),
        ("write_file", {"file_path": "calc.py", "content": "# ... rest unchanged ...\n"}, "not whole"),
        ("search", {"query": "add"}, "no index"),
    ],
)  # fmt: skip
async def test_a_call_that_cannot_be_carried_out_says_why(
    bench: Workbench, name: str, arguments: dict[str, Any], says_what: str
) -> None:
    outcome = await bench.call(name, arguments)
    assert outcome.text.startswith("Error: ") and says_what in outcome.text and outcome.exit_code is None
    assert changed(bench) == {}


async def test_edits_tolerate_white_space_and_nothing_else(bench: Workbench) -> None:
    await says(bench, "edit_file", file_path="calc.py", old_string="a - b", new_string="b - a")
    lines = {"old_string": "def add(a, b):\n  return a + b", "new_string": "def add(a, b):\n  return b + a"}
    await says(bench, "edit_file", file_path="/workspace/calc.py", **lines)
    await says(
        bench, "edit_file", file_path="calc.py", old_string="def ", new_string="def my_", replace_all=True
    )
    text = bench.workspace.text(bench.snapshot, "calc.py")
    assert text == "def my_add(a, b):\n    return b + a\n\n\ndef my_sub(a, b):\n    return b - a\n"
    assert (
        await says(bench, "write_file", file_path="docs/a.md", content="one\ntwo\n")
        == "docs/a.md has 2 lines now"
    )
    assert changed(bench) == {"calc.py": "modified", "docs/a.md": "added"}


async def test_an_edit_shows_what_it_changed_and_doubles_no_blank_line(bench: Workbench) -> None:
    without_blanks = "    return a + b\ndef sub(a, b):\n    return a - b"
    new = without_blanks.replace("\ndef", "\n\n\ndef").replace("a - b", "b - a")
    text = await says(bench, "edit_file", file_path="calc.py", old_string=without_blanks, new_string=new)
    assert (
        text.startswith("calc.py: +1 -1\n@@ -4,3 +4,3 @@") and "-    return a - b\n+    return b - a" in text
    )
    assert bench.workspace.text(bench.snapshot, "calc.py") == FILES["calc.py"].replace("a - b", "b - a")


async def test_git_shows_the_base_and_the_change_so_far_and_nothing_of_the_user(bench: Workbench) -> None:
    await says(bench, "execute", command="echo new >> calc.py")
    assert "First" in await says(bench, "execute", command="git log --oneline")
    assert "+new" in await says(bench, "execute", command="git diff")
    assert "First" not in await says(bench, "execute", command="git blame -s calc.py | tail -1")
    assert await says(bench, "execute", command="git remote -v; git branch | cat") == "* main"
    await says(bench, "execute", command="rm -rf .git")
    assert "First" in await says(bench, "execute", command="git log --oneline")
    assert changed(bench) == {"calc.py": "modified"}


async def test_what_cannot_be_kept_is_told(bench: Workbench) -> None:
    text = await says(bench, "execute", command="ln -s /etc/passwd leak; mkfifo pipe; echo x > 'a\tb'")
    assert "[not kept: leak: links cannot be written]" in text and "cannot be printed" in text
    assert changed(bench) == {}


async def test_many_names_that_cannot_be_kept_take_no_longer_than_others(bench: Workbench) -> None:
    command = "for n in $(seq 500); do echo > $n; echo > $n$'\\t'; done"
    began = time.monotonic()
    text = await says(bench, "execute", command=command)
    assert "[not kept: 492 more]" in text and len(changed(bench)) == 500
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("is_warm", [False, True])
async def test_a_later_workbench_goes_on_with_the_files_of_the_snapshot(
    bench: Workbench, is_warm: bool
) -> None:
    await says(bench, "write_file", file_path="one.py", content="x = 1\n")
    after = Workbench(bench.workspace, bench.base, bench.base, "coder s1", bench.place)
    if is_warm:
        await after.warm()
    await after.resume(bench.snapshot)  # as the stored results of a resumed run do
    assert "interrupted before" in await says(after, "execute", command="echo 'y = 2' >> one.py")
    assert "+x = 1" in await says(after, "execute", command="git add -AN; git diff")
    assert bench.workspace.text(after.snapshot, "one.py") == "x = 1\ny = 2\n"
    await after.aclose()


async def test_the_tools_of_the_place_are_there_and_none_of_the_machine_installs(bench: Workbench) -> None:
    assert await says(bench, "execute", command="rg -c return") == "calc.py:2"
    assert "nothing can be installed here" in await says(bench, "execute", command="pip install requests")


async def test_files_that_are_no_files_of_the_repository_are_neither_read_nor_written(
    bench: Workbench,
) -> None:
    odd = "ln -s /etc/passwd out; ln -s .. up; mkfifo pipe; ln -s /dev/zero zero; echo x > $'a\\nb\\e[31m'"
    text = await says(bench, "execute", command=f"{odd}; echo x > $'\\xff'")
    assert "\x1b" not in text and text.count("[not kept: ") == 5
    read = [await says(bench, "read_file", file_path=path) for path in ("pipe", "zero", "/dev/zero", ".")]
    assert all(answer.startswith("Error: cannot read") for answer in read), read
    assert "sandbox:x:" in await says(bench, "read_file", file_path="out")  # the sandbox's own
    for path in ("out", "up/x", "pipe", "zero"):
        assert (await says(bench, "write_file", file_path=path, content="y")).startswith("Error"), path
    assert changed(bench) == {}


async def test_a_hostile_output_stays_short_and_the_session_goes_on(bench: Workbench) -> None:
    line = "head -c 100000000 /dev/zero | tr '\\0' x"
    text = await says(bench, "execute", command=line)
    assert len(text) < 10_500 and "its rest was dropped" in text
    text = await says(bench, "execute", command="f() { f | f & }; f; sleep 1; head -c 2G /dev/zero > big")
    assert len(text) < 10_500 and "Error" not in (await says(bench, "execute", command="rm -f big; ls"))
    assert changed(bench) == {}


async def test_git_in_a_session_runs_what_the_agent_configures_nowhere_else(bench: Workbench) -> None:
    hooks = "git config core.fsmonitor 'touch /tmp/ran; false'; git status; ls /tmp/ran"
    assert "/tmp/ran" in await says(bench, "execute", command=hooks)
    await says(bench, "write_file", file_path="new.py", content="x = 1\n")
    assert changed(bench) == {"new.py": "added"}


@pytest.mark.docker
async def test_docker_contains_and_tells_the_same(tmp_path: Path, docker: Sandbox) -> None:
    async with opened(tmp_path, docker) as bench:
        assert await says(bench, "execute", command="rg -c return") == "calc.py:2"
        assert "First" in await says(bench, "execute", command="git log --oneline")
        text = await says(bench, "execute", command="rm -rf .git; head -c 2G /dev/zero > big; sleep 60 &")
        assert "No space left on device" in text and "nothing of this call is kept so far" in text
        text = await says(
            bench, "execute", command="rm big; mkfifo pipe; ln -s /etc/passwd out; cat /etc/shadow"
        )
        assert "Permission denied" in text and "[not kept: out: links cannot be written]" in text
        assert (await says(bench, "read_file", file_path="pipe")).startswith("Error: cannot read")
        assert changed(bench) == {}
