"""Servers for tests over real HTTP: a Tunesmith server of its own that can be restarted, a front in
Azure's form, and a proxy between client and server that makes trouble."""

from __future__ import annotations

import http.client
import itertools
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Kept:
    """A link to a server that several tests share: closing it stops nothing."""

    def __init__(self, link: Any) -> None:
        self._link = link

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def close(self) -> None:
        """The server goes on."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class OwnServer:
    """`tunesmith serve` as a process of its own, with a key, at a port that stays."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self._environ = {**os.environ, "TUNESMITH_DATA_DIR": str(data_dir)}
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        made = self._command("keys", "create", "test", "--role", "admin")
        self.key = subprocess.run(
            made, env=self._environ, check=True, capture_output=True, text=True
        ).stdout.strip()
        self.starts = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.starts += 1
        with (self.data_dir / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("serve", "--port", str(self.port), "--no-web"),
                env=self._environ,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.data_dir / "serve.log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tunesmith", *arguments]


class Front:
    """An HTTP server before another one: passes each request on, as `through` wants it."""

    def __init__(self, port: int) -> None:
        self.port = port
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.through(self, body)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def through(self, asked: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request."""
        answer(asked, *self.passed_on(asked, asked.path, body, dict(asked.headers)))

    def passed_on(
        self, asked: BaseHTTPRequestHandler, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """What the server says: status, headers, body. 502 where it does not answer."""
        ahead = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            ahead.request(asked.command, path, body or None, headers)
            reply = ahead.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        except OSError:
            said = b'{"error": {"message": "Bad gateway", "type": "server_error"}}'
            return 502, {"content-type": "application/json"}, said
        finally:
            ahead.close()


def answer(
    asked: BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    body: bytes,
    *,
    cut: bool = False,
) -> None:
    """Send a reply; `cut`: only the first half of its body."""
    asked.send_response(status)
    for name, value in headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
            asked.send_header(name, value)
    asked.send_header("content-length", str(len(body)))
    if cut:
        asked.send_header("connection", "close")
    asked.end_headers()
    asked.wfile.write(body[: len(body) // 2] if cut else body)
    asked.wfile.flush()
    if cut:
        asked.close_connection = True
        asked.connection.shutdown(socket.SHUT_RDWR)


class Troubled(Front):
    """Every `nth` request fails: by turns answered 429, 500, cut in mid-answer after it was done,
    and answered 500 after it was done."""

    def __init__(self, port: int, nth: int = 7) -> None:
        super().__init__(port)
        self._number = itertools.count(1)
        self._kind = itertools.cycle(("429", "500", "cut", "lost"))
        self._nth = nth
        self._guard = threading.Lock()
        self.faults: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        """Method and path of what came through to the server."""
        self.before: Callable[[str, str], None] = lambda method, path: None
        """Called with method and path before a request is passed on."""

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def through(self, asked: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._guard:
            fault = next(self._kind) if next(self._number) % self._nth == 0 else ""
            self.faults.update([fault] if fault else [])
        method, path = asked.command, asked.path.partition("?")[0]
        self.before(method, path)
        later = {"content-type": "application/json", "retry-after-ms": "20"}
        said = b'{"error": {"message": "Trouble", "type": "x", "code": null, "param": null}}'
        if fault in ("429", "500"):
            answer(asked, int(fault), later, said)
            return
        status, headers, content = self.passed_on(asked, asked.path, body, dict(asked.headers))
        with self._guard:
            self.asked[f"{method} {path}"] += status < 400
        if fault == "lost":
            answer(asked, 500, later, said)
        else:
            answer(asked, status, headers, content, cut=fault == "cut")


class AzureForm(Front):
    """Speaks as Azure does: `api-key`, `api-version`, deployments in the path."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.wrong: list[str] = []
        """What no Azure would take."""

    def through(self, asked: BaseHTTPRequestHandler, body: bytes) -> None:
        parts, headers = urlsplit(asked.path), {k.lower(): v for k, v in asked.headers.items()}
        key = headers.pop("api-key", "")
        said = b'{"error": {"message": "Wrong form", "code": "x"}}'
        if "authorization" in headers or not key or "api-version" not in parse_qs(parts.query):
            self.wrong.append(f"{asked.command} {asked.path} {sorted(headers)}")
            answer(asked, 401, {"content-type": "application/json"}, said)
            return
        found = re.fullmatch(r"/openai(?:/deployments/(?P<model>[^/]+))?(?P<rest>/.*)", parts.path)
        is_asking = bool(found) and found["rest"] in ("/chat/completions", "/embeddings")
        if found is None or is_asking != bool(found["model"]):
            self.wrong.append(f"{asked.command} {asked.path}")
            answer(asked, 404, {"content-type": "application/json"}, said)
            return
        headers["authorization"] = f"Bearer {key}"
        path = f"/v1{found['rest']}?{parts.query}"
        answer(asked, *self.passed_on(asked, path, body, headers))


@contextmanager
def running(data_dir: Path) -> Iterator[OwnServer]:
    """A server of its own, stopped in the end."""
    data_dir.mkdir(parents=True, exist_ok=True)
    server = OwnServer(data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()
