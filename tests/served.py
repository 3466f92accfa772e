"""A real server process for tests: started, killed, started again on the same port and the same home."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from socket import socket

import httpx
from desk import Desk

PROGRAM = """
import uvicorn
from graph.settings import Settings
from server.app import create_app

settings = Settings.load()
host, port = settings.autocode_host, settings.autocode_port
uvicorn.run(create_app(settings), host=host, port=port, log_level="warning")
"""


class Served:
    """One installation behind a port."""

    def __init__(self, desk: Desk, home: Path, **settings: str) -> None:
        self.desk, self.home = desk, home
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Served":
        """Start the process and wait until it answers."""
        settings = {
            "AUTOCODE_HOME": str(self.home),
            "AUTOCODE_PORT": str(self.port),
            "LLM_MODE": "local",
            "LOCAL_LLM_URL": self.desk.url,
            "SANDBOX_BACKEND": "bubblewrap",
            **self._settings,
        }
        with (self.home / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM], env={**os.environ, **settings}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/ok", trust_env=False).is_success:
                    return self
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not start:\n{(self.home / 'server.log').read_text()}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process."""
        assert self._process
        self._process.send_signal(how)
        self._process.wait(20)
