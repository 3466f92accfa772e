"""A repository whose files become pipes between our look and libgit2's open."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from damage import loose
from gitrepo import GitRepo

ROOT = Path(__file__).parent.parent

OPENING = """
import json, os, sys, threading
from pathlib import Path
import tools.workspace.blocked_calls as blocked_calls
from tools.workspace import Workspace, WorkspaceError
import tools.workspace.workspace as opened

blocked_calls.SECONDS = 1
looked = opened.look

def look(path):  # the moment at which a swapper wins
    folder = looked(path)
    file = Path(sys.argv[1], ".git", sys.argv[2])
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    if len(sys.argv) > 3:
        os.open(file, os.O_RDWR)  # whoever writes to it lets readers wait for more
    return folder

opened.look = look
told = []

def use():
    try:
        workspace = Workspace.open(Path(sys.argv[1]))
        workspace.files(workspace.begin().snapshot)
        told.append("works")
    except WorkspaceError as error:
        told.append(str(error))

thread = threading.Thread(target=use)
thread.start()
thread.join()
print(json.dumps(told))
"""

SWAPPING = """
import os, random, sys, time
from pathlib import Path
from tools.workspace import Workspace, WorkspaceError
import tools.workspace.blocked_calls as blocked_calls

blocked_calls.SECONDS = 1
git, end, opened = Path(sys.argv[1], ".git"), time.monotonic() + 6, 0
text = {name: (git / name).read_bytes() for name in ("config", "HEAD", "index")}
swapper = os.fork()
while not swapper:
    name = random.choice([*text])
    new = git / f"new-{name}"
    if random.random() < 0.5:
        os.mkfifo(new)
        new.rename(git / name)
        time.sleep(random.random() / 2000)
    new.write_bytes(text[name])
    new.rename(git / name)
    time.sleep(random.random() / 2000)
while time.monotonic() < end:
    try:
        Workspace.open(git.parent).begin()
        opened += 1
    except WorkspaceError:
        pass
os.kill(swapper, 9)
os.waitpid(swapper, 0)
print("ended", opened)
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = GitRepo(tmp_path / "repo")
    repo.commit({"a.py": "a = 1\n", ".gitignore": "*.log\n"})
    repo.git("pack-refs", "--all")
    return repo.path


def run(program: str, *arguments: object) -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["config", "HEAD", "packed-refs", "index", "info/exclude"])
def test_a_file_that_becomes_a_pipe_after_the_look_is_an_error(repo: Path, name: str) -> None:
    (told,) = json.loads(run(OPENING, repo, name))
    assert str(repo) in told


def test_a_pipe_that_somebody_holds_open_is_an_error_too(repo: Path) -> None:
    file = loose(repo, "HEAD:a.py")
    (told,) = json.loads(run(OPENING, repo, file.relative_to(repo / ".git"), "held"))
    assert told.startswith(f"{file} is no regular file")


def test_whoever_swaps_files_for_pipes_cannot_hang_the_process(repo: Path) -> None:
    assert run(SWAPPING, repo).startswith("ended")
