"""Runs the server in this process: `serve`.

Knows: sockets, logging, how the parts are put together, when to stop.
Does not know: the terminal; what is to be told goes through `announce`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from tunesmith.errors import ConfigError
from tunesmith.server.app import make_app
from tunesmith.server.door import logs
from tunesmith.server.door.auth import Auth
from tunesmith.server.door.protocol import Protocol
from tunesmith.server.engines import Engines
from tunesmith.serving.pool import EnginePool
from tunesmith.serving.writers import Writers
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.keys import new_key
from tunesmith.store.store import Store, open_store
from tunesmith.work.supervisor import Supervisor

Announce = Callable[[str, str], None]
"""Called with the base URL and a key ("" when there is none to tell) once the server listens."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What pages are clients of."""

    settings: Settings
    store: Store
    app: FastAPI
    """The API."""
    auth: Auth
    base_url: str
    """Of the API, as this machine reaches it."""


Extend = Callable[[Served], ASGIApp]


def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    with_parent: bool = False,
    announce: Announce,
    extend: Extend | None = None,
) -> None:
    """Serve until told to stop. Port 0: any free one.

    `with_parent`: stop when standard input ends, and accept a throw-away key, which `announce` is
    told. Otherwise `announce` is told an admin key on the very first start only.
    `extend` makes the application that is served, from the one that serves the API.

    Raises: ConfigError when the address cannot be used; StorageError; MissingExtra.
    """
    with _listen(host, port) as listener:
        logs.set_up(settings, to_terminal=not with_parent)
        store = open_store(settings)
        blobs = Blobs(settings.blobs)
        workers = Supervisor(settings)
        engines = Engines(
            encoders=EnginePool(
                max_loaded=settings.max_loaded_models,
                max_batch_tokens=settings.max_batch_tokens,
                threads=settings.threads,
            ),
            writers=Writers(max_loaded=settings.max_loaded_models, threads=settings.threads),
        )
        own_key = new_key() if with_parent else None
        key = own_key or _first_key(store)
        app = make_app(settings, store, blobs, engines, worker=workers, own_key=own_key)
        base_url = f"http://{_shown(listener)}/v1"
        auth = app.state.auth
        served = Served(settings=settings, store=store, app=app, auth=auth, base_url=base_url)
        site = extend(served) if extend else app
        server = Server(site, base_url, lambda url: announce(url, key))
        if with_parent:
            threading.Thread(target=_wait_for_parent, args=(workers, server), daemon=True).start()
        server.run(sockets=[listener])
        store.close()
        if with_parent:
            logging.shutdown()
            os._exit(0)  # all is stored; Python would take a second more to unload torch


class Server(uvicorn.Server):
    """A uvicorn server that says when it listens."""

    def __init__(self, app: Any, base_url: str, announce: Callable[[str], None]) -> None:
        config = uvicorn.Config(
            app,
            http=Protocol,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="on",
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self._announce = announce
        self.base_url = base_url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce(self.base_url)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port that is taken is known before anything starts."""
    if not 0 <= port < 65536:
        raise ConfigError(f"{port} is no port.", fix="Give one from 1 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Connections inherit it; without it a reply in two pieces can wait 40 ms for the second.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} on {host} is in use by another program.",
                fix=f"Stop it, or give another port: tunesmith serve --port {port + 1}",
            ) from None
        raise ConfigError(
            f"The server cannot listen on {host}, port {port}: {error.strerror}.",
            fix="Use --host 127.0.0.1 for this machine only, --host 0.0.0.0 for the network, and a "
            "port above 1023.",
        ) from None


def _shown(listener: socket.socket) -> str:
    """Host and port under which this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _first_key(store: Store) -> str:
    """An admin key when there is no key at all yet, else nothing."""
    return "" if store.keys.all() else store.keys.create("admin", role="admin")[0]


def _wait_for_parent(workers: Supervisor, server: uvicorn.Server) -> None:
    """Stop training, then the server, when standard input ends."""
    with contextlib.suppress(PermissionError):  # we lead a group already
        os.setpgid(0, 0)  # Ctrl-C is for the parent, which then ends our input
    while os.read(0, 65536):
        pass
    server.should_exit = True
    workers.stop()  # at once: the server may have connections to wait for
