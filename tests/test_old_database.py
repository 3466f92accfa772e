"""A database with schema 2, as released code wrote it: its threads list, show and resume.

`done` has delivered a verified branch, `asked` waits for the approval of its plan, and `stopped` failed at
the critic, whose provider refused the key. Database and repository are in `data/schema_2`.
"""

import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from desk import Desk
from gitrepo import GitRepo
from runs import PASS, script
from typer.testing import CliRunner

from graph.settings import Settings
from graph.supervisor import Supervisor
from nodes.events import RunFinished
from server.cli.app import app

DATA = Path(__file__).parent / "data" / "schema_2"
RECORDED = "/" + "r" * 159
"""Path of the repository in the database. Checkpoints hold its length, so a test's path is as long."""


@pytest.fixture
def old(tmp_path: Path, home: Path) -> GitRepo:
    repo = GitRepo(Path(f"{tmp_path}/".ljust(len(RECORDED), "r")))
    repo.git("fetch", "-q", "--update-head-ok", str(DATA / "repository.bundle"), "refs/*:refs/*")
    repo.git("reset", "-q", "--hard", "main")
    dump = gzip.decompress((DATA / "database.sql.gz").read_bytes()).decode()
    for place, path in ((RECORDED, str(repo.path)), (_hex(RECORDED), _hex(str(repo.path)))):
        dump = dump.replace(place, path)
    database = sqlite3.connect(home / "autocode.db")
    database.executescript(dump)
    database.close()
    return repo


def _hex(text: str) -> str:
    return text.encode().hex().upper()


def settings(home: Path, desk: Desk) -> Settings:
    return Settings.load(
        autocode_home=home,
        llm_mode="local",
        local_llm_url=desk.url,
        sandbox_backend="bubblewrap",
        enable_memory=False,
    )


def test_its_threads_are_listed_and_shown(old: GitRepo, home: Path) -> None:
    env = {"AUTOCODE_HOME": str(home), "AUTOCODE_ENV_FILE": ""}
    listed = CliRunner().invoke(app, ["threads", "--json"], env=env)
    assert {row["id"]: row["status"] for row in json.loads(listed.stdout)} == {
        "stopped": "failed",
        "asked": "waiting",
        "done": "verified",
    }
    shown = CliRunner().invoke(app, ["show", "done"], env=env)
    assert shown.exit_code == 0 and "autocode/done" in shown.stdout
    assert "autocode resume asked" in CliRunner().invoke(app, ["show", "asked"], env=env).stdout
    diff = CliRunner().invoke(app, ["diff", "done"], env=env)
    assert "+def mul(a, b):" in diff.stdout


async def test_its_approval_is_answered_and_its_run_goes_on(old: GitRepo, home: Path, desk: Desk) -> None:
    script(desk)
    async with Supervisor.open(settings(home, desk)) as supervisor:
        (asked,) = await supervisor.pending("asked")
        assert asked.request["plan"]["steps"][0]["file"] == "calc.py"
        run = await supervisor.resume("asked", {asked.id: {"decision": "approve"}})
        assert (await supervisor.wait(run.id)).status == "verified"
    assert "def mul" in old.git("show", "autocode/asked:calc.py")
    assert not desk.prompts("You are the planner")


async def test_its_failed_run_resumes_at_the_failed_step(old: GitRepo, home: Path, desk: Desk) -> None:
    desk.on("You are the critic", PASS)
    async with Supervisor.open(settings(home, desk)) as supervisor:
        before = await supervisor.journal.events.read("stopped")
        run = await supervisor.resume("stopped")
        assert (await supervisor.wait(run.id)).status == "verified"
        events = await supervisor.journal.events.read("stopped", before[-1].seq)
        assert isinstance(events[-1].data, RunFinished) and events[-1].data.branch == "autocode/stopped"
        assert len(await supervisor.history.states("done")) == 1
    assert "def mul" in old.git("show", "autocode/stopped:calc.py")
    assert len(desk.requests) == len(desk.prompts("You are the critic")) == 1
