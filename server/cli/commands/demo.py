"""The command `demo`: a packaged task, carried out with recorded models."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from server.cli.commands.tasks import read_input, start_run
from server.cli.entry import command

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.exit_codes import ExitCode
    from server.cli.views.console import CliConsole

DEMO = Path(__file__).parent.parent.parent / "demo"

WORDS_PER_SECOND = 200.0
"""Pace of the recorded models, so that a person can follow."""


@command
async def demo(settings: "Settings", console: "CliConsole") -> "ExitCode":
    """Watch a small task being carried out.

    The model replies are recorded, everything else is real. Needs no key and no network.
    """
    repo = settings.home / "scratch" / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    shutil.copytree(DEMO / "repository", repo)
    _commit(repo)
    replay = {
        "llm_mode": "replay",
        "llm_cassette": DEMO / "cassette.jsonl",
        "llm_replay_pace": WORDS_PER_SECOND,
        # Both would change the prompts, and recorded replies are looked up by their prompts.
        "enable_memory": False,
        "mcp_servers": {},
    }
    settings = settings.model_copy(update=replay)
    console.notify(f"A small repository, copied to {repo}\n")
    task = (DEMO / "task.txt").read_text(encoding="utf-8").strip()
    return await start_run(settings, console, read_input(settings, task, repo))


def _commit(folder: Path) -> None:
    """Turn a folder into a repository with one commit."""
    import pygit2

    repository = pygit2.init_repository(folder, initial_head="main")
    repository.index.add_all()
    repository.index.write()
    author = pygit2.Signature("Demo", "demo@example.com")
    tree = repository.index.write_tree()
    repository.create_commit("HEAD", author, author, "Read a log of working time", tree, [])
