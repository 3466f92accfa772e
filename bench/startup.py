"""How long `autocode --help` takes beside its floor; `--check`: that it imports nothing heavy."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HELP = ["-m", "server.main", "--help"]
FLOOR = ["-c", "import typer, rich.console"]
TOO_HEAVY = {
    "aiosqlite",
    "chromadb",
    "docker",
    "fastapi",
    "langchain_community",
    "langchain_core",
    "langchain_litellm",
    "langchain_openai",
    "langgraph",
    "litellm",
    "openai",
    "pygit2",
    "sqlalchemy",
    "unidiff",
}


def imported(arguments: list[str]) -> set[str]:
    """The top-level modules that a Python program imports."""
    lines = run(["-X", "importtime", *arguments]).splitlines()
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if line.startswith("import time:")}


def seconds(arguments: list[str]) -> float:
    """The least of five runs, after one that fills the caches."""
    run(arguments)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run(arguments)
        times.append(time.perf_counter() - start)
    return min(times)


def run(arguments: list[str]) -> str:
    """What a Python program writes to stderr; it must succeed."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        sys.exit("\n".join([f"python {' '.join(arguments)} failed:", *said]))
    return done.stderr


def check() -> None:
    """Fail, naming them, if `autocode --help` imports what only a run needs."""
    if heavy := imported(HELP) & TOO_HEAVY:
        sys.exit(f"autocode --help imports {', '.join(sorted(heavy))}; import them where they are used")
    print("autocode --help imports nothing heavy")


def compare() -> None:
    """Print both times and their ratio."""
    ours, floor = seconds(HELP), seconds(FLOOR)
    print(f"autocode --help {ours:.3f} s, typer and rich {floor:.3f} s, ratio {ours / floor:.2f}")


if __name__ == "__main__":
    check() if sys.argv[1:] == ["--check"] else compare()
