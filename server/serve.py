"""`autocode serve`: checks what may be exposed, listens, and ends within seconds with its runs parked."""

import asyncio
import gc
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress

import uvicorn

from graph.settings import Settings
from graph.supervisor import Supervisor
from memory.vectors import VectorsUnavailable, load
from server.api.guard import HEADER_BYTES, log
from server.app import create_app
from server.cli.exit_codes import ExitCode, SetupError, UsageError
from server.cli.signals import exit_now, on_stop
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line

SWEEPS = (10_000, 20, 50)
"""When Python looks for garbage in cycles: with fifty runs at work, a whole sweep halts them for 0.1 s."""

GRACE_SECONDS = 2
"""How long answers that are under way may take once the server ends; their runs are parked by then."""

LAST_SECONDS = 4.5
"""When the process ends whatever hangs: what is on disk is as good as after a crash, and that is enough."""

DEAD_READER_MILLISECONDS = 60_000
"""How long the kernel keeps what a vanished reader has not acknowledged."""


async def serve(settings: Settings, face: CliConsole) -> ExitCode:
    """Serve until SIGTERM or Ctrl-C. Raises UsageError if that is unsafe, SetupError for a taken port."""
    check_exposure(settings)
    app = create_app(settings, say=face.say)
    config = uvicorn.Config(
        app,
        lifespan="off",
        http="h11",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        ws_max_size=settings.max_request_bytes,
        limit_concurrency=settings.max_connections + 64,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    loop = asyncio.get_running_loop()
    with closing(listener(settings.autocode_host, settings.autocode_port)) as listening, _logged(settings):
        async with app.router.lifespan_context(app):
            server = _Server(config, app.state.supervisor.aclose)
            with on_stop(lambda: loop.call_soon_threadsafe(_end, server, face)):
                face.write(_greeting(settings, listening.getsockname()[1]))
                threading.Thread(target=_warm, args=(app.state.supervisor,), daemon=True).start()
                await server.serve([listening])
    return ExitCode.VERIFIED


def check_exposure(settings: Settings) -> None:
    """Raise UsageError if other machines can reach the server without a key, or every folder."""
    host = settings.autocode_host
    if is_loopback(host):
        return
    lacks = []
    if not (settings.autocode_api_key and settings.autocode_api_key.get_secret_value().strip()):
        lacks.append("AUTOCODE_API_KEY, the key that every request must carry")
    if not settings.autocode_repos.strip(f"{os.pathsep} "):
        lacks.append("AUTOCODE_REPOS, the folders below which repositories may lie")
    if lacks:
        wanted = " and ".join(lacks)
        raise UsageError(f"other machines can reach {one_line(host)}; set {wanted}, or listen on 127.0.0.1")


def is_loopback(host: str) -> bool:
    """True for a name or number that only this machine reaches."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listener(host: str, port: int) -> socket.socket:
    """Listen on host and port; SetupError says why that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_READER_MILLISECONDS)
            listening.bind(address)
            listening.listen(512)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        cure = "stop what listens there, or choose another with --port"
        raise SetupError(
            f"cannot listen on {one_line(host)} port {port}: {error.strerror}; {cure}"
        ) from error
    return listening


class _Server(uvicorn.Server):
    """uvicorn, but signals are ours and runs are parked before readers are let go."""

    def __init__(self, config: uvicorn.Config, park: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._park = park

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `serve`."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Park the runs, which ends their readers' streams, then close."""
        await self._park()
        await super().shutdown(sockets)


def _warm(supervisor: Supervisor) -> None:
    """Import what runs need before the first one comes, and let the garbage collector pass it over.

    Its sweeps through the libraries would halt all readers for 0.4 s every few seconds.
    """
    resources = supervisor.runner.resources
    resources.models.preload()
    if resources.memory:
        with suppress(VectorsUnavailable):  # whoever searches is told
            load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SWEEPS)


def _end(server: _Server, face: CliConsole) -> None:
    """Begin to end; when asked for a second time, leave at once."""
    if server.should_exit:
        exit_now()
    face.say("Stopping; runs that are not done go on with the next start.")
    server.handle_exit(0, None)
    last = threading.Timer(LAST_SECONDS, os._exit, (ExitCode.VERIFIED,))
    last.daemon = True
    last.start()


def _greeting(settings: Settings, port: int) -> str:
    host = settings.autocode_host
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"AutoCodeAI listens on http://{shown}:{port} (the API: /openapi.json)"


@contextmanager
def _logged(settings: Settings) -> Iterator[None]:
    """Internal errors go to standard error and to errors.log, which only its owner reads."""
    place = settings.home / "errors.log"
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a")
    handlers = [logging.StreamHandler(stream) for stream in (opened, sys.stderr)]
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    log.propagate = False
    with opened:
        for handler in handlers:
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            log.addHandler(handler)
        try:
            yield
        finally:
            for handler in handlers:
                log.removeHandler(handler)
