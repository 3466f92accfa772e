"""Compare the start-up time of `autocode --help` with that of typer and rich alone, and time other starts.

The others are the imports of a run and of a server, and a program in bubblewrap that does nothing.
`--check` exits 1 if `autocode --help` imports a package that only runs need.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
HELP = ["-m", "server.main", "--help"]
FLOOR = ["-c", "import typer, rich.console"]
IMPORTS = ("graph.supervisor", "server.app")
TOO_HEAVY = {
    "aiosqlite",
    "chromadb",
    "docker",
    "fastapi",
    "httpx2",
    "jsonschema",
    "langchain_community",
    "langchain_core",
    "langchain_litellm",
    "langchain_openai",
    "langgraph",
    "litellm",
    "mcp",
    "openai",
    "pygit2",
    "sqlalchemy",
    "unidiff",
}


def imported(arguments: list[str]) -> set[str]:
    """Return the top-level modules that a Python program imports."""
    lines = run(["-X", "importtime", *arguments]).splitlines()
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if line.startswith("import time:")}


def seconds(arguments: list[str]) -> float:
    """Return the shortest of five run times, in seconds."""
    run(arguments)  # the first run compiles modules and fills the file cache
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run(arguments)
        times.append(time.perf_counter() - start)
    return min(times)


async def sandbox_seconds() -> float:
    """Return the shortest of five times of `true` in bubblewrap, in seconds."""
    from sandbox.base import Limits
    from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap

    sandbox = await Bubblewrap.open(Path.home() / ".autocode", print)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        await sandbox.run([bytes(10_240)], ["true"], Limits())
        times.append(time.perf_counter() - start)
    await sandbox.aclose()
    return min(times)


def run(arguments: list[str]) -> str:
    """Run a Python program and return its stderr. Exit if it fails."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        sys.exit("\n".join([f"python {' '.join(arguments)} failed:", *errors]))
    return done.stderr


def check() -> None:
    """Exit 1 and name the heavy packages that `autocode --help` imports."""
    if heavy := imported(HELP) & TOO_HEAVY:
        sys.exit(f"autocode --help imports {', '.join(sorted(heavy))}; import them inside functions")
    print("autocode --help imports nothing heavy")


def compare() -> None:
    """Print the times."""
    ours, floor = seconds(HELP), seconds(FLOOR)
    print(f"autocode --help {ours:.3f} s, typer and rich {floor:.3f} s, ratio {ours / floor:.2f}")
    for module in IMPORTS:
        print(f"import {module} {seconds(['-c', f'import {module}']):.3f} s")
    print(f"a program in bubblewrap {asyncio.run(sandbox_seconds()):.3f} s")


if __name__ == "__main__":
    check() if sys.argv[1:] == ["--check"] else compare()
