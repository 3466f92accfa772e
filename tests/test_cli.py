import asyncio
import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
from desk import Rule
from forking import MAIN, Forked
from gitrepo import GitRepo
from pygit2 import GitError
from runs import MUL, Bench, block, script
from served import COMMAND
from story import PENDING, PLAN, PROOF, Story, episode, verified, waiting
from typer.testing import CliRunner, Result

from graph.errors import RunnerError, UnknownThread
from memory.calls.budget import BudgetSpent
from memory.records.database import Database, JournalError
from memory.records.episodes import Episodes
from memory.records.journal import Journal
from memory.records.threads import ThreadBusy, Threads
from memory.repo_index import RepoIndexError
from nodes.check import NoSuite
from nodes.events import EVENT, Event, RunFinished
from nodes.llm.model_settings import ModelError
from nodes.publish import Draft
from sandbox.base import SandboxError
from sandbox.environment.machine import Machine
from server.cli.app import app
from server.cli.arguments import ONLY_REQUEST
from server.cli.commands.tasks import read_context
from server.cli.exit_codes import ERRORS, STATUSES, SetupError, UsageError, exit_code_of
from server.cli.views import approval_prompts as approvals
from tools.hosting.errors import HostingError
from tools.remote.errors import GitMissing, RemoteError
from tools.workspace import Workspace, WorkspaceError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "repo")
    made.commit({"calc.py": "def double(n):\n    return n + n\n", "kept.py": "x = 1\n"})
    return made


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a home of this test's own, and unset outside settings."""
    for name in ("AUTOCODE_ENV_FILE", "DATABASE_URL", "AUTOCODE_DEBUG", "LLM_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTOCODE_HOME", str(tmp_path / "place"))
    (tmp_path / "empty.env").touch()
    monkeypatch.setenv("AUTOCODE_ENV_FILE", str(tmp_path / "empty.env"))
    return tmp_path / "place"


def autocode(*arguments: str | Path, input: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], input=input)


def keep(place: Path, repo: Path, events: Iterable[Event], thread: str = "7f3a12") -> None:
    """Store a run in the journal as the runner does."""

    async def write() -> None:
        journal = await Journal.open(f"sqlite:///{place / 'autocode.db'}", EVENT.validate_python)
        await journal.threads.acquire(thread, str(repo), "test")
        task = {"task": "Let --timeout take durations", "repo": str(repo)}
        run = f"run-{thread}"
        await journal.runs.start(run, thread, task)
        for event in events:
            draft = Draft(event.data, event.node, event.step_id)
            if isinstance(event.data, RunFinished):
                await journal.runs.end(thread, run, draft, event.data.status, event.data.branch)
            else:
                await journal.events.write(thread, run, [draft])
        await journal.threads.release(thread, "test")
        await journal.aclose()

    asyncio.run(write())


def delivered(place: Path, repo: GitRepo, status: str = "verified") -> Workspace:
    """Store a thread whose run changed calc.py and added a file."""
    workspace = Workspace.open(repo.path)
    base = workspace.begin().snapshot
    changed = workspace.write(
        base, {"calc.py": "def double(n):\n    return 2 * n\n", "new.py": "y = 2\n"}, "edit"
    )
    commit = workspace.deliver("autocode/7f3a12", changed, base, "Double by two")
    proof = {**PROOF, "base": base, "head": changed, "tree": workspace.tree(commit)}
    story = Story()
    keep(
        place,
        repo.path,
        [story.begin(), *story.plan(), story.end(status, branch="autocode/7f3a12", proof=proof)],
    )
    return workspace


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, server.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())
    assert not loaded & {
        "langgraph",
        "langchain_core",
        "litellm",
        "openai",
        "pydantic",
        "pygit2",
        "sqlalchemy",
        "docker",
    }


def test_every_command_has_help_and_the_exit_codes_are_told() -> None:
    shown = autocode("--help").output
    for command in [
        "run",
        "resume",
        "threads",
        "show",
        "diff",
        "apply",
        "verify",
        "cancel",
        "serve",
        "note",
        "fork",
        "memory",
        "demo",
        "doctor",
        "environments",
        "index",
    ]:
        assert f"  {command} " in shown
        assert autocode(command, "--help").exit_code == 0
    assert "3 waiting for an approval" in shown


CODES: dict[type[Exception], int] = {
    UsageError: 2,
    RunnerError: 2,
    WorkspaceError: 2,
    RemoteError: 2,
    HostingError: 2,
    GitMissing: 5,
    GitError: 2,
    ThreadBusy: 2,
    BudgetSpent: 4,
    JournalError: 5,
    RepoIndexError: 5,
    ModelError: 5,
    NoSuite: 5,
    SandboxError: 5,
    SetupError: 5,
}


@pytest.mark.parametrize(
    ("kind", "code"),
    [*CODES.items(), (UnknownThread, 2), (ZeroDivisionError, 6), (OSError, 6), (KeyError, 6)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_error_of_ours_has_its_code_and_any_other_is_internal(kind: type[Exception], code: int) -> None:
    assert exit_code_of(kind.__new__(kind)) == code


def test_the_table_of_exit_codes_names_only_errors_that_exist() -> None:
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in CODES}
    assert names == set(ERRORS)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("verified", 0),
        ("answered", 0),
        ("unverified", 1),
        ("cancelled", 1),
        ("waiting", 3),
        ("budget", 4),
        ("failed", 6),
    ],
)
def test_every_status_of_a_run_has_its_code(status: str, code: int) -> None:
    assert STATUSES[status] == code


def test_the_statuses_with_a_code_are_those_of_the_event() -> None:
    assert set(STATUSES) == set(get_args(RunFinished.model_fields["status"].annotation))


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "task", "--budget", "much"],
        ["run", "task", "--repo", "/nowhere/at/all"],
        ["run", "task", "--repo", "."],
        ["run", " ", "--repo", "REPO"],
        ["run", "task", "--repo", "REPO", "--budget", "-1"],
        ["run", "task", "--repo", "REPO", "--max-tokens", "0"],
        ["run", "task", "--repo", "REPO", "--context", "absent.txt"],
        ["run", "task", "--repo", "REPO", "--thread", "../x"],
        ["run", "task", "--repo", "REPO", "--env-file", "absent.env"],
        ["show", "nothread"],
        ["diff", "nothread"],
        ["apply", "nothread"],
        ["verify", "HEAD", "--repo", "REPO"],
        ["verify", "nobranch", "--repo", "REPO"],
    ],
)
def test_what_cannot_be_done_as_typed_is_a_usage_error_in_one_line(
    arguments: list[str], repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = autocode(*(str(repo.path) if one == "REPO" else one for one in arguments))
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "Add", "mul"], 'Put it in quotes: autocode run "Add mul"'),
        (["run", "x", "--budget", "-1"], "'--budget': -1 is no limit; give a number above 0"),
        (["run", "x", "--max-tokens", "0"], "'--max-tokens': 0 is no limit"),
        (["show", "7"], "7 names 2 threads: 7f3a13, 7f3a12; add letters"),
        (["show", "8"], "the newest are 7f3a13, 7f3a12"),
        (["threads", "--repo", ".", "--all"], "give one of them"),
    ],
)
def test_a_usage_error_says_what_to_type(arguments: list[str], said: str, place: Path, repo: GitRepo) -> None:
    keep(place, repo.path, waiting(), "7f3a12")
    keep(place, repo.path, verified(), "7f3a13")
    refused = autocode(*arguments)
    assert refused.exit_code == 2 and said in refused.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert autocode("--version").stdout == f"autocode {version('autocode-ai')}\n"


def test_an_answer_without_an_id_is_for_the_only_request() -> None:
    only = ONLY_REQUEST
    assert approvals.answers_from_flags(PENDING, approve=[only]) == {"i-1": {"decision": "approve"}}
    assert approvals.answers_from_flags(PENDING, edit=(only, json.dumps(PLAN)))["i-1"]["decision"] == "edit"
    several = [PENDING[0], PENDING[0].model_copy(update={"id": "i-2"})]
    with pytest.raises(UsageError, match="2 requests wait; name the one to answer: i-1, i-2"):
        approvals.answers_from_flags(several, reject=[only])
    with pytest.raises(UsageError, match="no request waits"):
        approvals.answers_from_flags([], approve=[only])


def test_a_wrong_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_DEBUG_ROUNDS", "sk-verysecret")
    done = autocode("threads")
    assert done.exit_code == 2
    assert "MAX_DEBUG_ROUNDS" in done.stderr
    assert "verysecret" not in done.stderr


def test_what_nobody_foresaw_is_internal_and_keeps_its_trace_in_a_private_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fall(self: object) -> None:
        raise KeyError("boom [bold]")

    monkeypatch.setattr(Threads, "all", fall)
    done = autocode("threads")
    assert done.exit_code == 6
    assert "internal error: KeyError: 'boom [bold]'" in done.stderr
    assert "Traceback" not in done.stderr
    log = place / "errors.log"
    assert "boom" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("AUTOCODE_DEBUG", "1")
    assert "Traceback" in autocode("threads").stderr


def test_no_program_of_the_current_folder_runs(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = repo.put("python3.19", f"#!/bin/sh\ntouch {tmp_path}/sprung\n", executable=True)
    monkeypatch.chdir(repo.path)
    for path in (f"{os.environ['PATH']}:", f".:{os.environ['PATH']}", "bin::/usr/bin"):
        monkeypatch.setenv("PATH", path)
        assert shutil.which(trap.name) or path.startswith("bin")
        Machine.find({"PATH": path}, tmp_path)
        assert autocode("threads").exit_code == 0
        assert all(map(os.path.isabs, os.environ["PATH"].split(":")))
    assert not (tmp_path / "sprung").exists()


def test_a_database_that_cannot_be_opened_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////proc/no/such.db")
    assert autocode("threads").exit_code == 5


def test_no_threads_are_an_empty_list() -> None:
    assert json.loads(autocode("threads", "--json").stdout) == []
    assert "no threads yet" in autocode("threads").stderr


def test_threads_are_listed_newest_first_in_the_agreed_shape(place: Path, repo: GitRepo) -> None:
    keep(place, repo.path, verified(), "older")
    keep(place, repo.path, waiting(), "newer")
    found = json.loads(autocode("threads", "--json").stdout)
    assert [one["id"] for one in found] == ["newer", "older"]
    assert found[1] == {
        "id": "older",
        "task": "Let --timeout take durations",
        "status": "verified",
        "repo": str(repo.path),
        "branch": "autocode/7f3a12",
    }
    assert found[0]["branch"] is None
    table = autocode("threads", "--all").stdout
    assert table.index("newer") < table.index("older")


def test_threads_of_other_repositories_are_counted_and_listed_on_request(
    place: Path, repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(place, repo.path, verified(), "here")
    keep(place, tmp_path / "elsewhere", verified(), "there")
    (inside := repo.path / "src").mkdir()
    monkeypatch.chdir(inside)
    listed = autocode("threads")
    assert "here" in listed.stdout and "there" not in listed.stdout
    assert "1 thread of another repository not listed; --all lists it." in listed.stderr
    everything = autocode("threads", "--all")
    assert "here" in everything.stdout and "there" in everything.stdout and not everything.stderr
    assert len(json.loads(autocode("threads", "--json").stdout)) == 2
    assert len(json.loads(autocode("threads", "--json", "--repo", ".").stdout)) == 1
    monkeypatch.chdir(tmp_path)
    assert "there" in autocode("threads").stdout


def test_show_prints_the_newest_runs_events(place: Path, repo: GitRepo) -> None:
    keep(place, repo.path, verified())
    told = [EVENT.validate_json(line) for line in autocode("show", "7f3a12", "--json").stdout.splitlines()]
    assert told[0].type == "run.started" and told[-1].type == "run.finished"


def test_show_tells_plan_steps_checks_verdict_proof_and_cost(place: Path, repo: GitRepo) -> None:
    keep(place, repo.path, verified())
    shown = autocode("show", "7f3a12").stdout
    for piece in (
        PLAN["explanation"],
        "Document --timeout",
        "3 passed, 1 failed",
        "PASS",
        "python -m pytest",
        "VACUOUS",
        "deepseek/deepseek-chat",
        "git merge autocode/7f3a12",
    ):
        assert piece in shown
    assert "\x1b" not in shown
    assert not any(one.endswith(" ") for one in shown.splitlines())


def test_show_tells_what_waits_for_an_answer(place: Path, repo: GitRepo) -> None:
    keep(place, repo.path, waiting())
    shown = autocode("show", "7f3a12").stdout
    assert "YOUR APPROVAL: plan" in shown
    assert "Read --timeout through parse_duration in src/cli.py" in shown
    assert "autocode resume 7f3a12" in shown


def test_show_of_a_run_that_died_says_how_to_go_on(place: Path, repo: GitRepo) -> None:
    keep(place, repo.path, list(verified())[:12])
    assert "nobody runs it; go on with: autocode resume 7f3a12" in autocode("show", "7f3a12").stdout


def test_a_piped_diff_is_a_valid_patch(place: Path, repo: GitRepo) -> None:
    delivered(place, repo)
    patch = autocode("diff", "7f3a12").stdout_bytes
    subprocess.run(["git", "apply", "--check"], input=patch, cwd=repo.path, check=True)
    assert b"+    return 2 * n" in patch


def test_apply_brings_the_change_and_nothing_else(place: Path, repo: GitRepo) -> None:
    delivered(place, repo)
    head = repo.git("rev-parse", "HEAD")
    done = autocode("apply", "7f3a12", "--yes")
    assert done.exit_code == 0, done.output
    assert (repo.path / "calc.py").read_text() == "def double(n):\n    return 2 * n\n"
    assert (repo.path / "new.py").read_text() == "y = 2\n"
    assert repo.git("rev-parse", "HEAD") == head


def test_apply_without_an_answer_applies_nothing(place: Path, repo: GitRepo) -> None:
    delivered(place, repo)
    before = repo.fingerprint()
    assert autocode("apply", "7f3a12").exit_code == 2
    assert repo.fingerprint() == before


def test_apply_takes_an_unverified_result_only_when_told_to(place: Path, repo: GitRepo) -> None:
    delivered(place, repo, "unverified")
    before = repo.fingerprint()
    refused = autocode("apply", "7f3a12", "--yes")
    assert refused.exit_code == 1
    assert "not verified" in refused.stderr
    assert repo.fingerprint() == before
    assert autocode("apply", "7f3a12", "--yes", "--unverified").exit_code == 0


def test_a_branch_that_moved_since_its_proof_is_not_verified(place: Path, repo: GitRepo) -> None:
    workspace = delivered(place, repo)
    tip = workspace.resolve("autocode/7f3a12")
    moved = workspace.write(tip, {"evil.py": "pass\n"}, "on top")
    repo.git("update-ref", "refs/heads/autocode/7f3a12", moved)
    assert autocode("apply", "7f3a12", "--yes").exit_code == 1


def test_apply_refuses_to_overwrite_work(place: Path, repo: GitRepo) -> None:
    delivered(place, repo)
    repo.put("calc.py", "mine\n")
    done = autocode("apply", "7f3a12", "--yes")
    assert done.exit_code == 2
    assert "calc.py" in done.stderr
    assert (repo.path / "calc.py").read_text() == "mine\n"


def test_context_files_go_by_path_inside_the_repository_and_by_value_from_outside(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "notes.txt"
    outside.write_text("remember\n")
    monkeypatch.chdir(repo.path)
    found = read_context(repo.path, [Path("calc.py"), outside])
    assert found == ["calc.py", {"path": "notes.txt", "content": "remember\n"}]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large").write_text("x" * 300_000)
    for bad in ("binary", "large", "absent"):
        with pytest.raises(UsageError, match=bad):
            read_context(repo.path, [tmp_path / bad])


def test_answers_are_checked_against_what_waits() -> None:
    assert approvals.answers_from_flags(PENDING, approve=["i-1"]) == {"i-1": {"decision": "approve"}}
    refused = approvals.answers_from_flags(PENDING, reject=["i-1"], reason="too much")
    assert refused == {"i-1": {"decision": "reject", "reason": "too much"}}
    with pytest.raises(UsageError, match="i-9 is not waiting for an answer; waiting: i-1"):
        approvals.answers_from_flags(PENDING, approve=["i-9"])
    with pytest.raises(UsageError, match="more than one"):
        approvals.answers_from_flags(PENDING, approve=["i-1"], reject=["i-1"])


def test_an_edit_keeps_its_groups_in_the_planners_own_words(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(PLAN))
    answer = approvals.answers_from_flags(PENDING, edit=("i-1", f"@{file}"))["i-1"]
    assert answer["decision"] == "edit"
    assert [step["parallel_group"] for step in answer["plan"]["steps"]] == [1, 1, 2]
    for bad in ("{", "[]", '{"steps": [1]}', '{"steps": 3}', "@/nowhere"):
        with pytest.raises(UsageError):
            approvals.answers_from_flags(PENDING, edit=("i-1", bad))


def on_a_terminal(code: str, typed: bytes) -> str:
    """Return what a Python program shows on a terminal while this is typed."""
    ours, theirs = pty.openpty()
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "TERM": "xterm",
        "NO_COLOR": "1",
    }
    child = Forked(["-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    child.wait(timeout=20)
    return shown.decode()


ASK = """
from story import PENDING
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole
print("ANSWER", approvals.ask(CliConsole.open().out, PENDING))
"""


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"a\n", "{'decision': 'approve'}"),
        (b"what\nr\ntoo much\n", "{'decision': 'reject', 'reason': 'too much'}"),
        (b"\x04", "ANSWER None"),
        (b"e\nr\n", "'parallel_group': 7"),
    ],
)
def test_a_human_can_approve_refuse_edit_or_leave(
    typed: bytes, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/"parallel_group": 2/"parallel_group": 7/\' "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    shown = on_a_terminal(ASK, typed)
    assert "YOUR APPROVAL: plan" in shown
    assert "┌ coder Add parse_duration()" in shown
    assert answer in shown


KEPT = re.compile(r"Your text is kept in\s+(\S+\.json)")


def test_a_typo_in_a_plan_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor, count = tmp_path / "editor", tmp_path / "count"
    # The first edit is no JSON, the second no plan, the third mends both.
    edits = ['s/"steps"/steps"/; s/group": 2/group": 7/', 's/steps"/"stepz"/', "s/stepz/steps/"]
    editor.write_text(
        "#!/bin/sh\n"
        + f"echo x >> {count}\ncase $(wc -l < {count}) in\n"
        + "".join(f" {number}) sed -i '{edit}' \"$1\" ;;\n" for number, edit in enumerate(edits, 1))
        + "esac\n"
    )
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    shown = on_a_terminal(ASK, b"e\ne\ne\nr\n")
    assert "the edit is not JSON" in shown and "Your text is kept in" in shown
    assert "Your plan, as it will run:" in shown and "'parallel_group': 7" in shown
    (used,) = set(KEPT.findall(shown))
    assert not Path(used).exists()
    count.unlink()
    cancelled = on_a_terminal(ASK, b"e\nc\n\x04")
    (kept,) = KEPT.findall(cancelled)
    assert '"parallel_group": 7' in Path(kept).read_text()
    Path(kept).unlink()


@pytest.mark.parametrize("arguments", [["threads", "--json"], ["threads", "--all"], ["show", "7f3a12"]])
def test_a_reader_that_left_is_met_with_silence(arguments: list[str], place: Path, repo: GitRepo) -> None:
    keep(place, repo.path, waiting())
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Forked([MAIN, *arguments], stdout=writer, stderr=subprocess.PIPE, env=env) as done:
        os.close(writer)
        assert done.communicate() == ("", "")
        assert done.returncode == 1


def test_the_installed_script_meets_a_reader_that_left_with_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.stderr, done.returncode) == (b"", 1)


@pytest.fixture
def ready(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Prepare the command line with a scripted model that solves the task."""
    monkeypatch.setenv("AUTOCODE_HOME", str(bench.home))
    monkeypatch.setenv("LLM_MODE", "local")
    monkeypatch.setenv("LOCAL_LLM_URL", bench.desk.url)
    monkeypatch.setenv("SANDBOX_BACKEND", "bubblewrap")
    script(bench.desk)
    bench.name_thread("t1")
    return bench


def run(bench: Bench, *more: str) -> Result:
    return autocode("run", "Add mul", "--repo", bench.repo.path, "--thread", "t1", *more)


def events_of(done: Result) -> list[Event]:
    return [EVENT.validate_json(one) for one in done.stdout.splitlines()]


def test_a_verified_run_shows_its_proof_and_can_be_looked_at_verified_and_applied(ready: Bench) -> None:
    before = ready.repo.fingerprint()
    done = run(ready)
    assert done.exit_code == 0, done.output
    assert "Verified  autocode/t1  2 of 2 passed" in done.stdout
    assert "tests.test_mul::test_mul" in done.stdout
    assert "git merge autocode/t1" in done.stdout
    assert ready.repo.fingerprint() == before
    assert "critic" in autocode("show", "t1").stdout
    held = autocode("verify", "autocode/t1", "--repo", ready.repo.path)
    assert held.exit_code == 0, held.output
    assert "holds" in held.stdout
    transcript = autocode("show", "t1", "--transcript").stdout
    assert "=== planner: call 1, " in transcript and "=== coder s1: " in transcript
    assert "Add mul to calc.py" in transcript and "--- reply ---" in transcript
    assert "autocode apply t1" in autocode("show", "last").stdout
    assert autocode("apply", "t1", "--yes").exit_code == 0
    assert "def mul" in (ready.repo.path / "calc.py").read_text()
    after = autocode("show", "t1").stdout
    assert "autocode apply" not in after and "git merge" not in after and "autocode show" not in after
    assert autocode("resume", "t1").exit_code == 2


def test_a_note_that_leaves_out_what_tells_against_it_does_not_hold(ready: Bench) -> None:
    flask = "import flask\n\nfrom calc import add\n\n\ndef test_app():\n    assert flask and add\n"
    ready.repo.commit({"tests/test_app.py": flask})
    assert run(ready).exit_code == 1
    branch = "autocode/t1-unverified"
    note = json.loads(ready.repo.git("notes", "--ref=autocode", "show", branch))
    forged = {key: value for key, value in note.items() if key not in ("gaps", "uncollected", "suspicious")}
    forged |= {"missing": [], "verdict": "PASS"}
    ready.repo.git("notes", "--ref=autocode", "add", "-f", "-m", json.dumps(forged), branch)
    refused = autocode("verify", branch, "--repo", ready.repo.path)
    assert refused.exit_code == 1, refused.output
    assert "flask" in refused.stdout and "is not verified by what ran now" in refused.stdout


def test_json_carries_every_event_once_and_nothing_else(ready: Bench) -> None:
    done = run(ready, "--json", "--apply")
    assert done.exit_code == 0, done.output
    told = events_of(done)
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert told[-1].type == "run.finished"
    assert "def mul" in (ready.repo.path / "calc.py").read_text()


@pytest.fixture
def doubtful(ready: Bench) -> Bench:
    """Let the change hold a conftest.py, and the critic explain it."""
    explained = '{"verdict": "PASS", "reasons": [], "suspicions": {"1": "It only sorts the tests."}}'
    sorting = block("conftest.py", "def pytest_collection_modifyitems(items):\n    items.sort(key=str)")
    ready.desk.rules.insert(0, Rule("You are a coder", f"{MUL}\n{sorting}"))
    ready.desk.rules.insert(0, Rule("You are the critic", explained))
    return ready


def test_a_result_with_suspicions_is_not_applied_without_asking(doubtful: Bench) -> None:
    before = doubtful.repo.fingerprint()
    done = run(doubtful, "--apply", "--yes")
    assert done.exit_code == 0, done.output
    assert "Verified, with 1 suspicion" in done.stdout
    assert "conftest.py:1: " in done.stdout and "It only sorts the tests." in done.stdout
    assert "Not applied: look at conftest.py:1, then `autocode apply t1`" in done.stderr
    assert doubtful.repo.fingerprint() == before


def test_a_later_task_does_not_apply_an_earlier_ones_suspicions_without_asking(doubtful: Bench) -> None:
    before = doubtful.repo.fingerprint()
    assert run(doubtful).exit_code == 0
    half = block("half.py", "def half(n):\n    return n / 2")
    test = block("tests/test_half.py", "from half import half\n\n\ndef test_half():\n    assert half(4) == 2")
    doubtful.desk.rules.insert(0, Rule("You are a coder", half))
    doubtful.desk.rules.insert(0, Rule("You are the tester", test))
    done = run(doubtful, "--apply", "--yes")
    assert done.exit_code == 0, done.output
    assert "suspicion" not in done.stdout
    assert "Not applied: look at conftest.py:1, then `autocode apply t1`" in done.stderr
    assert doubtful.repo.fingerprint() == before


CONFIRM = """
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole
print("ANSWERS", [approvals.confirm(CliConsole.open().out, "Apply it?") for _ in range(5)])
"""


def test_only_a_clear_yes_confirms() -> None:
    shown = on_a_terminal(CONFIRM, b"y\n YES \nn\n\n\x04")
    assert "Apply it? [y]es, [n]o?" in shown
    assert "ANSWERS [True, True, False, False, False]" in shown


@pytest.mark.parametrize(("typed", "applied"), [(b"y\n", True), (b"\x04", False)])
def test_a_person_decides_whether_a_result_with_suspicions_is_applied(
    doubtful: Bench, typed: bytes, applied: bool
) -> None:
    arguments = ["run", "Add mul", "--repo", str(doubtful.repo.path), "--thread", "t1", "--apply"]
    code = f"import sys\nfrom server.main import main\nsys.argv[1:] = {arguments!r}\nmain()"
    shown = on_a_terminal(code, typed)
    assert "Apply it with its suspicions (conftest.py:1)?" in shown
    assert ("Not applied" not in shown) is applied
    assert ("def mul" in (doubtful.repo.path / "calc.py").read_text()) is applied


def test_a_plan_without_a_human_parks_and_the_printed_command_goes_on(ready: Bench) -> None:
    parked = run(ready, "--approve-plan")
    assert parked.exit_code == 3
    printed = next(one for one in parked.stderr.splitlines() if "--approve" in one).split()
    assert printed[:3] == ["autocode", "resume", "t1"]
    assert "more than one answer" in autocode("resume", "t1", "--approve", "--reject").stderr
    assert "the edit is not JSON" in autocode("resume", "t1", "--edit", '{"steps": [}').stderr
    unknown = autocode("resume", "t1", "--approve", "nosuch")
    assert unknown.exit_code == 2
    assert printed[-1] in unknown.stderr
    assert autocode("resume", "t1").exit_code == 3
    done = autocode(*printed[1:-1], "--json")
    assert done.exit_code == 0, done.output
    assert {event.type for event in events_of(done)} >= {"approval.resolved", "run.finished"}
    assert autocode("resume", "t1", "--approve", printed[-1]).exit_code == 2


def test_yes_approves_what_would_ask(ready: Bench) -> None:
    assert run(ready, "--approve-plan", "--yes").exit_code == 0


def asked(parked: Result) -> str:
    """Return the id of the approval that a parked run printed."""
    return next(one for one in parked.stderr.splitlines() if "--approve" in one).split()[-1]


def test_a_refused_plan_ends_the_run_and_is_not_offered_again(ready: Bench) -> None:
    done = autocode("resume", "t1", "--reject", asked(run(ready, "--approve-plan")))
    assert done.exit_code == 1
    assert "the plan was rejected" in done.stdout
    assert "autocode resume" not in done.stdout and "no step" not in done.stdout
    again = autocode("resume", "t1")
    assert again.exit_code == 2 and "the plan was rejected; give it a new task" in again.stderr
    assert len(ready.desk.requests) == 1


def test_a_plan_refused_with_a_reason_is_made_again_and_an_edit_is_what_runs(ready: Bench) -> None:
    refused = asked(run(ready, "--approve-plan"))
    again = autocode("resume", "t1", "--reject", refused, "--reason", "not like this")
    assert again.exit_code == 3 and asked(again) != refused
    assert "not like this" in ready.desk.prompts("You are the planner")[-1]
    bad = autocode("resume", "t1", "--edit", asked(again), '{"steps": [}')
    assert bad.exit_code == 2 and "the edit is not JSON" in bad.stderr
    empty = autocode("resume", "t1", "--edit", asked(again), '{"steps": []}')
    assert empty.exit_code == 2 and "steps" in empty.stderr
    plan = (
        '{"explanation": "Mine", "steps": [{"agent": "coder", "description": "Add mul my way", "group": 0}]}'
    )
    done = autocode("resume", "t1", "--edit", asked(again), plan)
    assert done.exit_code == 0, done.output
    assert [prompt for prompt in ready.desk.prompts("You are a coder") if "Step: Add mul my way" in prompt]
    assert not ready.desk.prompts("Step: Add mul to calc.py")


def test_a_note_to_a_waiting_thread_is_the_answer(ready: Bench) -> None:
    run(ready, "--approve-plan")
    noted = autocode("note", "t1", "Without recursion, please")
    assert noted.exit_code == 0 and "Answered. Go on with: autocode resume t1" in noted.stderr
    assert autocode("resume", "t1").exit_code == 3
    assert "Without recursion" in ready.desk.prompts("You are the planner")[-1]
    assert autocode("note", "t1", "Looks good!").exit_code == 0
    done = autocode("resume", "t1")
    assert done.exit_code == 0, done.output
    refused = run(ready)
    assert refused.exit_code == 3, "the thread asks for its next plan as well"
    other = run(ready)
    assert other.exit_code == 2 and "unfinished run" in other.stderr


def test_a_spent_budget_and_a_missing_model_have_codes_of_their_own(
    ready: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(ready, "--max-tokens", "10").exit_code == 4
    monkeypatch.setenv("LOCAL_LLM_URL", "http://127.0.0.1:1/v1")
    missing = run(ready, "--json")
    assert missing.exit_code == 5
    assert missing.stdout == ""
    assert "LOCAL_LLM_URL" in missing.stderr


@pytest.mark.parametrize("how", ["INT", "TERM", "cancel"])
def test_a_stopped_run_says_how_to_go_on_and_goes_on(ready: Bench, how: str) -> None:
    ready.desk.rules[1].delay = 30.0
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [MAIN, "run", "Add mul", "--repo", ready.repo.path, "--thread", "t1", "--json"]
    told = []
    with Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as child:
        try:
            assert child.stdout
            for said in child.stdout:
                told.append(EVENT.validate_json(said))
                if told[-1].node == "coder":
                    break
            if how == "cancel":
                assert autocode("resume", "t1").exit_code == 2
                cancelled = autocode("cancel", "t1")
                assert (cancelled.exit_code, "Cancelled. Go on with" in cancelled.stderr) == (0, True)
                assert (
                    "cancelled" in autocode("threads", "--all").stdout
                )  # told once it is so, not when it is asked for
            else:
                child.send_signal(signal.Signals[f"SIG{how}"])
            rest, complaint = child.communicate(timeout=20)
        finally:
            child.kill()
    told += [EVENT.validate_json(said) for said in rest.splitlines()]
    assert child.returncode == 1
    assert isinstance(told[-1].data, RunFinished)
    assert told[-1].data.status == "cancelled"
    assert "autocode resume t1" in complaint
    assert "Traceback" not in complaint
    ready.desk.rules[1].delay = 0.0
    assert autocode("resume", "t1").exit_code == 0


def test_the_demo_is_red_then_green_with_a_current_tape(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCODE_HOME", str(home))
    monkeypatch.setenv("SANDBOX_BACKEND", "bubblewrap")
    shown = autocode("demo")
    assert shown.exit_code == 0
    told = shown.stdout + shown.stderr
    assert "RED: 21 passed, 2 failed" in told and "green: 23 passed, 0 failed" in told
    assert "warning" not in told and "23 of 23 passed" in told


def learn(place: Path, *tasks: str) -> None:
    """Store episodes, as verified runs do."""

    async def store() -> None:
        database = await Database.open(f"sqlite:///{place / 'autocode.db'}")
        for task in tasks:
            await Episodes(database, ()).store(episode(task, task=task))
        await database.aclose()

    asyncio.run(store())


def test_what_is_remembered_is_listed_searched_and_forgotten(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDINGS", "hash")
    monkeypatch.setenv("COLUMNS", "160")
    assert "Nothing is remembered yet" in autocode("memory", "list").stderr
    learn(place, "Let --timeout take durations", "Add a Dutch translation", "Bump the version")
    listed = autocode("memory", "list").stdout.splitlines()
    assert [next(word for word in ("durations", "Dutch", "Bump") if word in row) for row in listed[1:]] == [
        "Bump",
        "Dutch",
        "durations",
    ]
    found = json.loads(autocode("memory", "search", "accept a duration as --interval", "--json").stdout)
    assert found[0]["task"] == "Let --timeout take durations" and found[0]["similarity"] > 0.35
    assert found[0]["mends"][0]["how"] == "The operator is wrong." and len(found) == 3
    shown = autocode("memory", "search", "duration").stdout.splitlines()
    assert "durations" in shown[1] and "calc.py" in shown[1]
    refused = autocode("memory", "forget", found[0]["id"], "nonsense")
    assert refused.exit_code == 2 and "there is no episode nonsense" in refused.stderr
    for wrong in ([], [found[0]["id"], "--all"]):
        assert autocode("memory", "forget", *wrong).exit_code == 2
    assert autocode("memory", "forget", found[0]["id"]).exit_code == 0
    with closing(sqlite3.connect(place / "chroma" / "chroma.sqlite3")) as chroma:
        assert chroma.execute("SELECT count(*) FROM embeddings").fetchone() == (2,)
    assert autocode("memory", "forget", "--all").exit_code == 0
    assert json.loads(autocode("memory", "list", "--json").stdout) == []
