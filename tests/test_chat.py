import asyncio
import re

import pytest
from desk import Rule
from runs import Bench, script
from terminals import PASTE, TerminalProgram
from typer.testing import CliRunner

from server.cli.app import app

ENDED = r"/show +show the whole run again"


@pytest.fixture
def env(bench: Bench) -> dict[str, str]:
    """Script the model, and return the settings of a command that uses it."""
    (bench.home / "empty.env").touch()
    script(bench.desk)
    return {
        "AUTOCODE_HOME": str(bench.home),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": bench.desk.url,
        "SANDBOX_BACKEND": "bubblewrap",
        "AUTOCODE_ENV_FILE": str(bench.home / "empty.env"),
    }


def begin(bench: Bench, env: dict[str, str], *arguments: str) -> TerminalProgram:
    chat = TerminalProgram("chat", *arguments, env=env, cwd=bench.repo.path)
    chat.expect(r"Thread \w+ in .*Type a task, or /help")
    return chat


def test_a_conversation_runs_applies_counts_and_is_continued(bench: Bench, env: dict[str, str]) -> None:
    chat = begin(bench, env)
    chat.type(PASTE.format("Add mul\nto calc.py") + "\r")
    shown = chat.expect(ENDED)
    assert "Verified" in shown and "/apply" in shown and "autocode apply" not in shown
    assert "Add mul\nto calc.py" in bench.desk.prompts("You are the planner")[0]
    chat.type("diff\r")
    chat.expect(r"did you mean /diff\?")
    chat.type("/apply\r")
    chat.expect(r"Apply this to (.|\n)*\[y\]es, \[n\]o\? ")
    chat.type("n\n")
    chat.expect("Nothing was applied")
    chat.type("/aply\r")
    chat.expect(r"there is no /aply; did you mean /apply\?")
    chat.type("/apply --yes --nope\r")
    chat.expect("No such option: --nope")
    chat.type("/apply --yes --file calc.py\r")
    chat.expect(r"Applied 1 file: calc.py(.|\n)*`/diff` shows what is left")
    chat.type("/apply --yes\r")
    chat.expect("Applied 1 file: tests/test_mul.py")
    assert "def mul" in (bench.repo.path / "calc.py").read_text()
    chat.type("/cost\r")
    chat.expect(r"critic +deepseek-coder +1")
    chat.type("/quit\r")
    assert chat.close() == 0
    answer = '{"explanation": "It multiplies.", "steps": [], "answer": "It multiplies."}'
    bench.desk.rules.insert(0, Rule("You are the planner", answer))
    asked = bench.autocode("run", "What does mul do?", "--thread", "last")
    assert "It multiplies." in asked.stdout
    assert len(bench.autocode("threads", "--json").stdout.split('"id"')) == 2


def test_a_run_is_steered_stopped_and_resumed(bench: Bench, env: dict[str, str]) -> None:
    slow = next(rule for rule in bench.desk.rules if "coder" in rule.match)
    slow.delay = 30.0
    chat = begin(bench, env)
    chat.type("Add mul\r")
    chat.expect("coder +Add mul")
    chat.type("Without recursion\r")
    chat.expect("you: Without recursion")
    chat.type("/apply\r")
    chat.expect("/apply has to wait")
    chat.type("half a tho")
    chat.expect("half a tho")
    chat.press("\x03", "Stopped")
    slow.delay = 0.0
    chat.expect("half a tho")  # what was not sent yet is kept
    chat.type("\x15/resume\r")
    assert "has read your note" in chat.expect(ENDED)
    assert "Without recursion" in bench.desk.prompts("You are the tester")[-1]
    assert chat.close("\x03") == 0


def test_an_approval_is_asked_in_place_and_an_error_ends_nothing(bench: Bench, env: dict[str, str]) -> None:
    chat = begin(bench, env, "--approve-plan")
    chat.type("Add mul\r")
    chat.expect(r"\[a\]pprove, \[e\]dit, \[r\]eject\? ")
    chat.type("\x04")
    chat.expect(r"It waits for your answer: /resume asks again(.|\n)*>")
    chat.type("/thread zzz\r")
    chat.expect(r"there is no thread zzz(.|\n)*>")
    chat.type("/quit\r")
    assert chat.close() == 0
    chat = begin(bench, env, "--thread", "last")
    chat.expect(r"Add mul to calc.py(.|\n)*It waits for your answer(.|\n)*>")
    chat.type("/resume\r")
    chat.expect(r"\[a\]pprove, \[e\]dit, \[r\]eject\? ")
    chat.type("a\n")
    chat.expect(ENDED + r"(.|\n)*>")
    assert chat.close("\x04") == 0


def test_a_fork_is_made_and_told_something_else(bench: Bench, env: dict[str, str]) -> None:
    asyncio.run(bench.run(thread="t1"))
    chat = begin(bench, env, "--thread", "t1")
    chat.type("/plan\r")
    chat.expect("The next plans wait for your approval")
    chat.type("/plan off\r")
    chat.expect("The next plans run at once")
    chat.type("/fork\r")
    listed = chat.expect("/fork N goes on from checkpoint N in a new thread")
    assert "\nAdd mul\nnumber" in listed and "the start" in listed and "the end" in listed
    number = re.findall(r"(?m)^(\d+) .* coder ", listed)[0]
    chat.type(f"/fork {number}\r")
    chat.expect(r"New thread \w+, with the files of that checkpoint(.|\n)*/resume goes on with it")
    chat.type("Call it times\r")
    chat.expect(ENDED)
    assert "Call it times" in bench.desk.prompts("You are a coder")[-1]
    assert len(bench.desk.prompts("You are the planner")) == 1
    chat.type("/model coder big\r")
    chat.expect("The next task's coder uses big")
    chat.type("/model nobody big\r")
    chat.expect("nobody(.|\n)*>")
    chat.type("/forget\r")
    chat.expect(r"Forget it\? \[y\]es, \[n\]o\?")
    chat.type("y\n")
    chat.expect(r"is forgotten(.|\n)*New thread")
    chat.type("/quit\r")
    assert chat.close() == 0


def test_each_line_of_a_pipe_is_a_task(bench: Bench, env: dict[str, str]) -> None:
    done = CliRunner().invoke(
        app, ["chat", "--repo", str(bench.repo.path)], input="/nonsense\nAdd mul\n", env=env
    )
    assert "there is no /nonsense; /help lists all" in done.stderr
    assert "Verified" in done.stdout and done.exit_code == 2, "the code is that of the first fault"
