"""Latency from the model to the readers of live runs, with lost and repeated events.

    python bench/streams.py [--readers 200] [--runs 10] [--tokens 1000] [--rate 100] [--beside]

Two loads run one after the other: many readers of one thread, then many runs with one reader each. Ten runs
are the default of MAX_CONCURRENT_RUNS, and the promise is a p99 of at most 150 ms there. More runs are the
job of more processes.

Model, server and readers are processes of their own. Each token carries the time at which the model sent it,
so its reader knows its age. The numbers of the events show gaps and repeats. Each line has p50, p99 and the
worst age in ms, the events read, faults, the server's memory before and at its peak, and how many processors
the host took from this machine meanwhile. With more than a twentieth of one, the ages say more of the host
than of the server. `--beside` reads the same graph under `langgraph dev`, which does not number its tokens.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from desk import Desk, Request
from gitrepo import GitRepo
from runs import CALC, PASS
from served import Served

STAMP = re.compile(rb"t(\d+\.\d+)n(\d+)")
PLAN = {"explanation": "", "steps": [{"agent": "coder", "description": "Write", "file": "notes.txt"}]}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--beside", action="store_true")
    return parser.parse_args()


def model(pipe: Connection, tokens: int, rate: float) -> None:
    """Serve a model that puts the time into its tokens, until the pipe closes."""

    def stamped(_: Request) -> str:
        start = time.monotonic()
        words = (f"t{start + (number + 4) / rate:.4f}n{number}" for number in range(tokens))
        return f"### notes.txt\n```\n{' '.join(words)}\n```"

    desk = Desk(tokens_per_second=rate)
    desk.on("You are the planner", json.dumps(PLAN)).on("You are a coder", stamped)
    desk.on("You are the critic", PASS)
    desk.on("You are", "NO TESTS: it is a bench")
    with desk:
        pipe.send(desk.url)
        pipe.poll(None)


@contextmanager
def modelling(tokens: int, rate: float) -> Iterator[str]:
    """Run the model, and yield its address."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=model, args=(theirs, tokens, rate))
    process.start()
    yield str(ours.recv())
    ours.send(None)
    process.join()


async def read(url: str, path: str, tokens: int, found: dict[str, Any], ready: asyncio.Barrier) -> None:
    """Read one stream to the run's last token, and add ages and faults to `found`."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n".encode())
    await reader.readline()
    await ready.wait()
    seq, last = 0, -1
    while last < tokens - 1:
        line = await reader.readline()
        if not line:
            found["faults"] += 1
            break
        if line.startswith(b"id: ") and b"-" not in line:
            found["events"] += 1
            found["faults"] += int(line[4:]) != seq + 1
            seq = int(line[4:])
        elif line.startswith(b"data: "):
            now = time.monotonic()
            for due, number in STAMP.findall(line):
                if int(number) > last:  # LangGraph repeats a message's whole text at its end
                    found["ages"].append(now - float(due))
                    found["faults"] += int(number) != last + 1
                    last = int(number)
    writer.close()


def read_all(url: str, paths: list[str], tokens: int, pipe: Connection) -> None:
    """Read all streams at once in one process, and send the figures."""
    found: dict[str, Any] = {"ages": [], "events": 0, "faults": 0}

    async def together() -> None:
        ready = asyncio.Barrier(len(paths) + 1)
        reading = asyncio.gather(*(read(url, path, tokens, found, ready) for path in paths))
        await ready.wait()
        pipe.send("ready")
        await reading

    asyncio.run(together())
    pipe.send(found)


def watch(
    server: int, url: str, paths: list[str], tokens: int, begin: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], float]:
    """Return the readers' figures and the server's peak memory in MB. Call `begin` once all read."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=read_all, args=(url, paths, tokens, theirs))
    process.start()
    assert ours.recv() == "ready", "a token is as old as its reader is late"
    began, taken = time.monotonic(), stolen()
    begin()
    most = 0.0
    while not ours.poll(0.2):
        most = max(most, memory(server))
    found: dict[str, Any] = ours.recv()
    found["stolen"] = (stolen() - taken) / (time.monotonic() - began)
    process.join()
    return found, most


def memory(server: int) -> float:
    """Return the resident memory in MB."""
    return float(psutil.Process(server).memory_info().rss) / 1e6


def stolen() -> float:
    """Return the seconds that the host took from the processors. Only Linux counts them."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def report(name: str, before: float, most: float, found: dict[str, Any]) -> None:
    """Print one line of figures."""
    ages = sorted(found["ages"]) or [0.0]
    p50, p99, worst = (1000 * ages[int(share * (len(ages) - 1))] for share in (0.5, 0.99, 1))
    print(
        f"{name:42} p50 {p50:5.0f}  p99 {p99:5.0f}  worst {worst:5.0f} ms   {len(ages):8,} tokens"
        f"  {found['events']:8,} events  {found['faults']} faults   {before:.0f} → {most:.0f} MB"
        f"   {found['stolen']:.2f} stolen"
    )


def ours(arguments: argparse.Namespace, url: str, home: Path, repo: Path) -> None:
    """Run both loads on `autocode serve`."""
    settings = {"MAX_CONCURRENT_RUNS": str(arguments.runs), "MAX_DEBUG_ROUNDS": "0"}
    for runs, readers in ((1, arguments.readers), (arguments.runs, 1)):
        desk: Any = type("Address", (), {"url": url})
        with Served(home, desk, **settings) as server, server.client() as client:
            assert server.process
            pid = server.process.pid
            warm_up(client, repo)
            before = memory(pid)
            threads = [client.post("/threads", json={}).json()["thread_id"] for _ in range(runs)]
            paths = [f"/api/threads/{thread}/events" for thread in threads for _ in range(readers)]

            def begin(client: httpx.Client = client, threads: list[str] = threads) -> None:
                for thread in threads:
                    body = {"task": "Write", "repo": str(repo), "thread_id": thread}
                    client.post("/api/threads", json=body).raise_for_status()

            found, most = watch(pid, server.url, paths, arguments.tokens, begin)
            report(f"autocode: {runs} runs, {readers} readers each", before, most, found)
            with server.client() as another:  # the first one's connection may have been idle for too long
                for thread in threads:
                    another.post(f"/api/threads/{thread}/cancel")


def warm_up(client: httpx.Client, repo: Path) -> None:
    """Run one task to its end, because bench/overhead.py measures the imports of the first run."""
    thread = client.post("/threads", json={}).json()["thread_id"]
    body = {"assistant_id": "autocode", "input": {"task": "Write", "repo": str(repo)}}
    run = client.post(f"/threads/{thread}/runs", json=body).json()["run_id"]
    client.get(f"/threads/{thread}/runs/{run}/join", timeout=120).raise_for_status()


def beside(arguments: argparse.Namespace, url: str, home: Path, repo: Path) -> None:
    """Run both loads on `langgraph dev`."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "AUTOCODE_HOME": str(home),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": url,
        "SANDBOX_BACKEND": "bubblewrap",
        "LANGSMITH_TRACING": "false",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    flags = [
        "--port",
        str(port),
        "--n-jobs-per-worker",
        str(arguments.runs),
        "--config",
        str(ROOT / "langgraph.json"),
    ]
    with (home / "langgraph.log").open("w") as log:
        server = subprocess.Popen(
            [*command, *flags],
            cwd=home,
            env={**os.environ, **own},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            while not _answers(client):
                time.sleep(0.2)
            for runs, readers in ((1, arguments.readers), (arguments.runs, 1)):
                warm_up(client, repo)
                before, paths = memory(server.pid), []
                for _ in range(runs):
                    thread = client.post("/threads", json={}).json()["thread_id"]
                    task = {"task": "Write", "repo": str(repo)}
                    body = {"assistant_id": "autocode", "input": task, "stream_mode": ["messages-tuple"]}
                    run = client.post(f"/threads/{thread}/runs", json=body).json()["run_id"]
                    path = f"/threads/{thread}/runs/{run}/stream?stream_mode=messages-tuple"
                    paths += [path] * readers
                found, most = watch(server.pid, address, paths, arguments.tokens)
                report(f"langgraph dev: {runs} runs, {readers} readers each", before, most, found)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ok").is_success
    except httpx.TransportError:
        return False


def main() -> None:
    """Measure and print."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder, modelling(arguments.tokens, arguments.rate) as url:
        repo = GitRepo(Path(folder, "repo"))
        repo.commit(dict(CALC))
        home = Path(folder, "home")
        home.mkdir()
        ours(arguments, url, home, repo.path)
        if arguments.beside:
            beside(arguments, url, home, repo.path)


if __name__ == "__main__":
    main()
