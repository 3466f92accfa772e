"""The command index --watch, as it is typed and stopped."""

import os
import signal
import subprocess
from pathlib import Path

from forking import MAIN, Forked
from gitrepo import GitRepo
from typer.testing import CliRunner

from server.cli.app import app


def heard(process: Forked, what: str) -> str:
    """Read lines up to one that says it."""
    assert process.stdout
    for text in process.stdout:
        if what in text:
            return text
    raise EOFError(what)


def test_a_watched_folder_tells_what_changes_until_it_is_stopped(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "repo")
    repo.commit({"cart.py": "def total_price(items):\n    return sum(items)\n", "login.py": "x = 1\n"})
    (tmp_path / "empty.env").touch()
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHROMA")},
        "AUTOCODE_ENV_FILE": str(tmp_path / "empty.env"),
        "AUTOCODE_HOME": str(tmp_path / "home"),
        "REPO_INDEX_PATH": "",
        "EMBEDDINGS": "hash",
    }
    command = [MAIN, "index", repo.path, "--watch", "--search", "quokka smile"]
    with Forked(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        heard(process, "vectors 100 %")
        repo.put("zoo.py", "def quokka_smile():\n    return 1\n")
        assert heard(process, "+ ").startswith("+ 1 file, 0 gone; 3 files, ")
        assert "similarity" in heard(process, "zoo.py:1-2  quokka_smile")
        (repo.path / "zoo.py").unlink()
        assert heard(process, "+ ").startswith("+ 0 files, 1 gone; 2 files, ")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr and "Traceback" not in process.stderr.read()


def test_a_folder_that_does_not_exist_cannot_be_watched(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["index", str(tmp_path / "gone"), "--watch"])
    assert done.exit_code == 2 and "there is no folder" in done.stderr
