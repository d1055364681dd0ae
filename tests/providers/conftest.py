"""A small chat file, the real embedded server, and a server that answers as it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from wire_servers import OwnServer, running

from tunesmith.data.chat.files import write_classification
from tunesmith.providers.embedded import EmbeddedServer
from tunesmith.settings import Settings


@pytest.fixture(scope="session")
def examples(tmp_path_factory) -> tuple[list[str], list[str]]:
    texts = [f"my parcel number {i} is late" for i in range(8)]
    texts += [f"I forgot password number {i}" for i in range(8)]
    return texts, ["shipping"] * 8 + ["account"] * 8


@pytest.fixture(scope="session")
def chat_file(tmp_path_factory, examples) -> Path:
    path = tmp_path_factory.mktemp("files") / "train.jsonl"
    write_classification(path, zip(*examples, strict=True))
    return path


@pytest.fixture(scope="session")
def embedded(tmp_path_factory) -> Iterator[EmbeddedServer]:
    """The real server, started once for all tests that only talk to it."""
    server = EmbeddedServer(Settings(data_dir=tmp_path_factory.mktemp("data")))
    yield server
    server.close()


@pytest.fixture(scope="session")
def own_server(tmp_path_factory) -> Iterator[OwnServer]:
    """A separate server that many tests talk to."""
    with running(tmp_path_factory.mktemp("elsewhere")) as server:
        yield server


Reply = tuple[int, Any]


class Scripted:
    """An HTTP server whose `answer(method, path)` each test writes. Remembers what was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str], Reply] = lambda method, path: (404, {})
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers.get("content-length") or 0)))
                outer.asked.append((self.command, self.path))
                status, body = outer.answer(self.command, self.path)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.send_header("x-should-retry", "false")
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()
