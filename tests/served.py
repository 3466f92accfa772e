"""A real `autocode serve` for tests: its process, and how one talks to it."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from desk import Desk
from forking import MAIN, Forked

COMMAND = Path(sys.executable).parent / "autocode"


class Served:
    """A server on a free port over one AUTOCODE_HOME; it can be ended and started again."""

    def __init__(self, home: Path, desk: Desk, **environment: str) -> None:
        self.home = home
        self.environment = {
            "AUTOCODE_HOME": str(home),
            "LLM_MODE": "local",
            "LOCAL_LLM_URL": desk.url,
            "SANDBOX_BACKEND": "bubblewrap",
            **environment,
        }
        self.url = ""
        self.process: subprocess.Popen[str] | Forked | None = None

    def start(self, *arguments: str) -> "Served":
        """Start it, and wait until it says where it listens."""
        words = ["serve", *(arguments or ("--port", "0"))]
        with (self.home / "server.log").open("a") as log:
            self.process = self._begin(words, {**os.environ, **self.environment}, log.fileno())
        assert self.process.stdout
        said = self.process.stdout.readline()
        found = re.search(r"http://\S+", said)
        assert found, said + (self.home / "server.log").read_text()
        self.url = found[0]
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal, and give its exit code."""
        assert self.process
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()
        self.process = None
        return code

    def client(self) -> httpx.Client:
        """A client of it."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, verify=False)

    def __enter__(self) -> "Served":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.end(signal.SIGKILL)

    def _begin(
        self, words: Sequence[str], env: Mapping[str, str], log: int
    ) -> "subprocess.Popen[str] | Forked":
        return subprocess.Popen(
            [COMMAND, *words], env=env, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=log
        )


class ForkedServer(Served):
    """A server that is forked, which starts in a fraction of the time. It may replay recordings."""

    def __init__(self, home: Path, desk: Desk, *, replay: Path | None = None, **environment: str) -> None:
        super().__init__(home, desk, **environment)
        self.replay = replay

    def _begin(self, words: Sequence[str], env: Mapping[str, str], log: int) -> Forked:
        return Forked(
            [MAIN, *words], env=env, start_new_session=True, stdout=subprocess.PIPE, stderr=log,
            replay=self.replay,
        )  # fmt: skip


def messages(response: httpx.Response) -> Iterator[dict[str, str]]:
    """Read Server-Sent Events as a browser does."""
    message: dict[str, str] = {}
    data: list[str] = []
    for line in response.iter_lines():
        if not line:
            if data:
                yield {"event": "message", **message, "data": "\n".join(data)}
            message, data = {}, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name:
            message[name] = value


class Reader:
    """Follows a thread's log in the background, as a page does, until it breaks off."""

    def __init__(self, url: str, thread: str, after: int = 0) -> None:
        self.seen: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._at = f"{url}/api/threads/{thread}/events"
        self._after = after
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def until(self, type: str) -> list[dict[str, Any]]:
        """The events up to the next of this type, or up to the end of the stream."""
        found: list[dict[str, Any]] = []
        while (event := self.seen.get(timeout=60)) is not None:
            found.append(event)
            if event["type"] == type:
                break
        return found

    def _read(self) -> None:
        headers = {"Last-Event-ID": str(self._after)} if self._after else {}
        try:
            with httpx.stream(
                "GET", self._at, headers=headers, timeout=60, trust_env=False, verify=False
            ) as response:
                for message in messages(response):
                    self.seen.put(json.loads(message["data"]))
        except httpx.TransportError:
            pass
        self.seen.put(None)
