"""Measure the first prompts of the agents, on a made-up repository and on commits of others.

    python bench/prompts.py [REPO@COMMIT ...] [--home DIR] [--without-tools] [--show DIR]

A commit is played as a task: its message is the task, its sources are the repair, its tests are the tester's.
The coder only adds a comment, so that the check is red and the debugger is asked. The script prints the
tokens of each agent's first prompt at 4 characters a token, without the task. `--home` keeps environments,
`--show` writes the prompts into a folder.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

from desk import Desk
from gitrepo import GitRepo
from runs import PASS, Bench, script

from nodes.check.runners.test_names import is_test_name

AGENTS = ("planner", "coder", "tester", "debugger", "critic")
MODULES = 300
CODE = re.compile(r"\.(?:py|pyx|[ch])$")


@dataclass(frozen=True)
class Case:
    """A task with its solution, in files by path. None deletes a file."""

    name: str
    task: str
    sources: Mapping[str, str | None]
    tests: Mapping[str, str | None]


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commits", nargs="*", metavar="REPO@COMMIT")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--without-tools", action="store_true")
    parser.add_argument("--show", type=Path)
    return parser.parse_args()


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its output."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def made_up(folder: Path) -> Case:
    """Make a repository of 300 modules with tests, and return a task on one of them."""
    files: dict[str, str | bytes] = {".autocode.toml": '[test]\nmutants = "off"\n'}
    for number in range(MODULES):
        functions = (
            f'def part_{number}_{place}(text, width=80):\n    """Fold part {place}."""\n'
            f"    lines = [text[at : at + width] for at in range(0, len(text), width)]\n"
            f"    return [line for line in lines if line.strip()][:{place + 1}]\n"
            for place in range(20)
        )
        files[f"parts/part_{number}.py"] = "\n\n".join(functions)
        if number % 3 == 0:
            files[f"tests/test_part_{number}.py"] = (
                f"from parts.part_{number} import part_{number}_0\n\n\n"
                f"def test_part_{number}():\n    assert part_{number}_0('12', 1) == ['1']\n"
            )
    GitRepo(folder).commit(files)
    path = "parts/part_42.py"
    right = str(files[path]).replace("text[at", "text.upper()[at", 1)
    test = (
        "from parts.part_42 import part_42_0\n\n\ndef test_upper():\n    assert part_42_0('ab') == ['AB']\n"
    )
    task = "Let `part_42_0` fold its text to upper case"
    return Case("made up", task, {path: right}, {"tests/test_upper.py": test})


def of_commit(repo: Path, commit: str, folder: Path) -> Case:
    """Clone a repository at the parent of a commit, and return the commit as a task."""
    repo = repo.absolute()
    git(repo, "clone", "-q", "--shared", "--no-checkout", str(repo), str(folder))
    git(folder, "checkout", "-q", "-B", "main", f"{commit}^")
    changed = git(folder, "diff", "--no-renames", "--name-status", f"{commit}^", commit).splitlines()
    files = {path: _content(folder, commit, path, status) for status, path in map(str.split, changed)}
    tests = {path: text for path, text in files.items() if is_test_name(path)}
    sources = {path: text for path, text in files.items() if path not in tests and CODE.search(path)}
    message = git(folder, "show", "-s", "--format=%B", commit)
    kept = [line for line in message.splitlines() if not re.match(r"(?i)[\w-]+-by:|-{3,}$", line)]
    return Case(f"{repo.parent.name} {commit[:8]}", "\n".join(kept).strip(), sources, tests)


def _content(folder: Path, commit: str, path: str, status: str) -> str | None:
    return None if status == "D" else git(folder, "show", f"{commit}:{path}")


def blocks(files: Mapping[str, str | None]) -> str:
    """Return a reply that writes files."""
    return "\n".join(
        f"### delete {path}" if text is None else f"### {path}\n``````\n{text}``````"
        for path, text in files.items()
    )


def commented(folder: Path, path: str) -> str:
    """Return a reply that adds a comment to a file."""
    text = (folder / path).read_text()
    return blocks({path: f"{text}\n{'//' if path.endswith(('.c', '.h')) else '#'} reviewed\n"})


async def prompts(case: Case, folder: Path, home: Path, options: argparse.Namespace) -> dict[str, str]:
    """Run a task and return the first prompt of each agent."""
    path = next(path for path in case.sources if (folder / path).exists())
    step = {"agent": "coder", "description": case.task.splitlines()[0], "file": path}
    repo = GitRepo.__new__(GitRepo)
    repo.path = folder
    with Desk() as desk:
        script(
            desk,
            planner=json.dumps({"explanation": "It is one step.", "steps": [step]}),
            coder=commented(folder, path),
            tester=blocks(case.tests),
            debugger=blocks(case.sources),
            critic=PASS,
        )
        settings = {"environment_approval": "auto", "max_agent_steps": 0 if options.without_tools else 25}
        await Bench(desk, home, repo).run(case.task, settings=settings, options={"auto_approve": True})
        return dict(_first_prompts(desk))


def _first_prompts(desk: Desk) -> Iterator[tuple[str, str]]:
    for agent in AGENTS:
        for request in desk.requests:
            if f"You are the {agent}" in request.prompt or f"You are a {agent}" in request.prompt:
                texts = [str(message["content"]) for message in request.messages]
                yield agent, "\n\n".join([*texts, json.dumps(request.body.get("tools", []))])
                break


async def main() -> None:
    """Measure and print."""
    options = parse()
    print(f"{'':28}" + "".join(f"{agent:>10}" for agent in AGENTS))
    with tempfile.TemporaryDirectory() as made:
        home = options.home or Path(made, "home")
        for number, commit in enumerate(["", *options.commits]):
            folder = Path(made, f"repo{number}")
            repo, _, name = commit.rpartition("@")
            case = of_commit(Path(repo), name, folder) if commit else made_up(folder)
            found = await prompts(case, folder, home, options)
            sizes = [
                (len(found[agent]) - len(case.task)) // 4 if agent in found else None for agent in AGENTS
            ]
            print(f"{case.name:28}" + "".join(f"{size or '-':>10}" for size in sizes), flush=True)
            for agent, text in found.items() if options.show else ():
                options.show.mkdir(parents=True, exist_ok=True)
                (options.show / f"{case.name.replace(' ', '-')}-{agent}.txt").write_text(text)


if __name__ == "__main__":
    asyncio.run(main())
