"""The process behind `autocode serve`: listens, serves, and parks its runs when it stops."""

import asyncio
import ipaddress
import logging
import os
import re
import resource
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from logging.handlers import RotatingFileHandler

import uvicorn

from graph.settings import Settings
from graph.supervisor import Supervisor
from memory.vectors import VectorsUnavailable, load
from server.api.guard import HEADER_BYTES, is_loopback, log
from server.app import create_app
from server.blocked_loop import watch_loop
from server.cli.exit_codes import ExitCode, SetupError, UsageError
from server.cli.signals import exit_now, on_stop
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line
from server.connection import ConnectionLimits, Network, limited_connections

GRACE_SECONDS = 2
"""Time for responses in progress once the server stops. Their runs are parked by then."""

EXIT_SECONDS = 4.5
"""Time until a stopping process exits even if something hangs. The database is crash-safe."""

LOG_BYTES = 10_000_000
"""Size at which errors.log becomes errors.log.1, because a client may provoke any number of errors."""

OWN_FILES = 1024
"""Open files that the server needs beside its connections."""

DEAD_READER_MILLISECONDS = 60_000
"""Time until the kernel closes the connection of a client that acknowledges nothing."""


async def serve(settings: Settings, console: CliConsole) -> ExitCode:
    """Serve until SIGTERM or Ctrl-C. Raises UsageError if that is unsafe, SetupError for a taken port."""
    check_exposure(settings)
    app = create_app(settings, say=console.notify)
    proxies = trusted_proxies(settings)
    limits = ConnectionLimits(reader_seconds=settings.reader_timeout, proxies=proxies)
    allow_files(settings.max_connections + limits.idle + OWN_FILES)
    config = uvicorn.Config(
        app,
        lifespan="off",  # the supervisor must open before the port is announced
        http=limited_connections(limits),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),  # any client could send X-Forwarded-For
        forwarded_allow_ips=[str(network) for network in proxies],
        h11_max_incomplete_event_size=HEADER_BYTES,
        ws_max_size=settings.max_request_bytes,
        # The guard answers 503 with problem details before uvicorn would answer with plain text.
        limit_concurrency=settings.max_connections + limits.idle + 64,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    loop = asyncio.get_running_loop()
    with closing(listen(settings.autocode_host, settings.autocode_port)) as listening, _error_log(settings):
        async with watch_loop(), app.router.lifespan_context(app):
            server = _Server(config, app.state.supervisor.aclose)
            # A signal handler runs between any two instructions, so the loop must do the work.
            with on_stop(lambda: loop.call_soon_threadsafe(_stop, server, console)):
                console.write(_address(settings, listening.getsockname()[1]))
                # A thread, because imports would block the loop for seconds.
                threading.Thread(target=_import_ahead, args=(app.state.supervisor,), daemon=True).start()
                await server.serve([listening])
    return ExitCode.VERIFIED


def check_exposure(settings: Settings) -> None:
    """Raise UsageError if other machines can reach the server without a key, or every folder."""
    host = settings.autocode_host
    if is_loopback(host):
        return
    missing = []
    if not (settings.autocode_api_key and settings.autocode_api_key.get_secret_value().strip()):
        missing.append("AUTOCODE_API_KEY (clients send it with every request)")
    if not settings.autocode_repos.strip(f"{os.pathsep} "):
        missing.append("AUTOCODE_REPOS (the folders whose repositories may be used)")
    if missing:
        names = " and ".join(missing)
        raise UsageError(f"other machines can reach {one_line(host)}; set {names}, or listen on 127.0.0.1")


def trusted_proxies(settings: Settings) -> tuple[Network, ...]:
    """Return the networks of the proxies whose X-Forwarded-For counts. Raises UsageError."""
    words = re.split(r"[,\s]+", settings.autocode_trusted_proxies)
    try:
        return tuple(ipaddress.ip_network(word) for word in words if word)
    except ValueError as error:
        advice = "write addresses or networks such as 10.0.0.0/8, separated by commas"
        raise UsageError(f"AUTOCODE_TRUSTED_PROXIES: {one_line(str(error))}; {advice}") from error


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on host and port. Raises SetupError."""
    try:
        info = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = info[0][0], info[0][4]
        # As a bare socket would, `::` accepts IPv4 as well where the system can do both.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listening = socket.create_server(address[:2], family=family, backlog=512, dualstack_ipv6=both)
    except OSError as error:
        reason = str(error.strerror).partition(" (while ")[0]  # create_server repeats the address
        cause = f"cannot listen on {one_line(host)} port {port}: {reason}"
        raise SetupError(f"{cause}; stop the program that uses it, or choose another --port") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only; connections inherit it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_READER_MILLISECONDS)
    return listening


def allow_files(count: int) -> None:
    """Raise this process's limit of open files to `count`, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to `serve` and parks the runs before it closes connections."""

    def __init__(self, config: uvicorn.Config, park: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._park = park

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Park the runs, which ends all streams, and close."""
        await self._park()
        await super().shutdown(sockets)


def _import_ahead(supervisor: Supervisor) -> None:
    """Import the libraries of a run, so that the first one starts without a delay of seconds."""
    resources = supervisor.resources
    resources.agents.models.preload()
    if resources.memory:
        with suppress(VectorsUnavailable):  # the first search reports it
            load()


def _stop(server: _Server, console: CliConsole) -> None:
    """Stop the server. Exit at once if it is stopping already."""
    if server.should_exit:
        exit_now()
    console.notify("Stopping. Unfinished runs continue when the server starts again.")
    server.handle_exit(0, None)
    # A timer thread fires even if the loop hangs. As a daemon it does not delay the exit itself.
    last = threading.Timer(EXIT_SECONDS, os._exit, (ExitCode.VERIFIED,))
    last.daemon = True
    last.start()


def _address(settings: Settings, port: int) -> str:
    host = settings.autocode_host
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"AutoCodeAI listens on http://{shown}:{port} (API: /openapi.json)"


@contextmanager
def _error_log(settings: Settings) -> Iterator[None]:
    """Write internal errors to standard error and to errors.log, which only its owner can read."""
    path = settings.home / "errors.log"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    kept = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    handlers: list[logging.Handler] = [kept, logging.StreamHandler()]
    # uvicorn logs tracebacks of its own, with secrets unmasked.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    log.propagate = False
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
