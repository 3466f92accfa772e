"""A git server over HTTP for tests: real repositories, and paths that do harm."""

import os
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

Answer = Callable[[BaseHTTPRequestHandler], None]


class GitHost:
    """Serves the bare repositories in a folder. `answers` replaces what a first part of a path does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheme = "http"
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.serve(self)

            def do_POST(self) -> None:
                host.serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def encrypt(self, folder: Path) -> Path:
        """Speak https from now on. Return the certificate, which names 127.0.0.1."""
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*made, *files], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https"
        return certificate

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port."""
        return ("127.0.0.1", self.server.server_address[1])

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"{self.scheme}://127.0.0.1:{self.endpoint[1]}/{path}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer with what was agreed for the path, else as git does."""
        self.requests.append((handler.command, handler.path, dict(handler.headers)))
        first = handler.path.split("/")[1]
        with suppress(OSError):  # the client has had enough
            self.answers.get(first, self._git)(handler)

    def _git(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": handler.command,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "somebody",
            "REMOTE_ADDR": "127.0.0.1",
        }
        data = _body(handler)
        done = subprocess.run(["git", "http-backend"], env=variables, input=data, capture_output=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        handler.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") == "chunked":
        data = b""
        while size := int(handler.rfile.readline(), 16):
            data += handler.rfile.read(size)
            handler.rfile.readline()
        return data
    return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))


def redirect(target: str) -> Answer:
    """An answer that sends the client elsewhere."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        query = urlsplit(handler.path)
        suffix = query.path.partition("/info/refs")
        handler.send_response(302)
        handler.send_header("Location", f"{target}{suffix[1]}?{query.query}")
        handler.end_headers()

    return answer


def endless(start: bytes, piece: bytes, kind: str = "application/x-git-upload-pack-advertisement") -> Answer:
    """An answer that never ends."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(start)
        while True:
            handler.wfile.write(piece)

    return answer


def silent(handler: BaseHTTPRequestHandler) -> None:
    """Wait until the client goes."""
    handler.connection.settimeout(30)
    handler.rfile.read(1)
