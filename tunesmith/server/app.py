"""The application: how the routes, the door before them and the worker are put together.

Does not know: what any of them does.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tunesmith.server import files, fine_tuning, graders, manual, models, permissions, uploads
from tunesmith.server.asking import completions, embeddings, responses, stored
from tunesmith.server.asking.askable import Models
from tunesmith.server.asking.chat import Chat
from tunesmith.server.batches import routes as batches
from tunesmith.server.batches.runner import BatchRunner
from tunesmith.server.door.asgi import PREFIX, Door
from tunesmith.server.door.auth import Auth
from tunesmith.server.engines import Engines
from tunesmith.server.errors import envelope, invalid
from tunesmith.server.evals import routes as evals
from tunesmith.server.evals.runner import EvalRunner
from tunesmith.server.health import Readiness
from tunesmith.server.health import router as health
from tunesmith.server.metrics import Load, Metrics
from tunesmith.server.metrics import router as read_metrics
from tunesmith.server.openapi import describe
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.store import Store
from tunesmith.work.supervisor import Supervisor
from tunesmith.work.worker import Worker

CHAT = f"{PREFIX}/chat/completions"


def make_app(
    settings: Settings,
    store: Store,
    blobs: Blobs,
    engines: Engines,
    *,
    worker: Worker | Supervisor | None = None,
    own_key: str | None = None,
) -> FastAPI:
    """The server. `worker`, where given, works while the application runs, and so do batches
    and evals; `own_key` is an admin key that only this process knows."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if worker is not None:
            worker.start()
            runner.start()
            eval_runner.start()
        yield
        if worker is not None:
            eval_runner.stop()
            runner.stop()
            worker.stop()
        engines.close()

    # FastAPI's own pages would load scripts from elsewhere; /docs is the manual's.
    app = FastAPI(
        title="Tunesmith", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None
    )
    runner = BatchRunner(settings, store, blobs, app)
    eval_runner = EvalRunner(settings, store, blobs, app)
    folders = models.Folders(settings, store)
    app.include_router(files.router(settings, store, blobs), prefix=PREFIX)
    app.include_router(uploads.router(settings, store, blobs), prefix=PREFIX)
    app.include_router(fine_tuning.router(settings, store), prefix=PREFIX)
    app.include_router(models.router(settings, store, folders, engines), prefix=PREFIX)
    app.include_router(embeddings.router(folders, engines.encoders), prefix=PREFIX)
    app.include_router(batches.router(store), prefix=PREFIX)
    app.include_router(permissions.router(store), prefix=PREFIX)
    askable = Models(folders, engines)
    app.include_router(stored.router(store), prefix=PREFIX)
    app.include_router(completions.router(askable), prefix=PREFIX)
    app.include_router(responses.router(askable, store), prefix=PREFIX)
    app.include_router(graders.router(), prefix=PREFIX)
    app.include_router(evals.router(askable, store), prefix=PREFIX)

    app.include_router(manual.router(manual.Manual(settings, engines.encoders, app)))

    metrics = Metrics(store.statistics, lambda: _load(engines, askable))
    app.include_router(read_metrics(metrics))
    is_working = worker.is_alive if worker is not None else None
    app.include_router(health(Readiness(settings, store, blobs, is_working=is_working)))
    app.add_exception_handler(HTTPException, _wrong_address)
    app.add_exception_handler(RequestValidationError, _wrong_query)
    auth = app.state.auth = Auth(store.keys, own_key=own_key)
    chat = Chat(askable, store)
    direct = {CHAT: chat}
    app.add_middleware(Door, settings=settings, auth=auth, metrics=metrics, direct=direct)
    description = functools.cache(lambda: describe(app))
    app.openapi = description  # type: ignore[method-assign]
    return app


def _load(engines: Engines, askable: Models) -> Load:
    return Load(
        classified_tokens=engines.encoders.answered_tokens,
        read_tokens=engines.writers.read_tokens,
        written_tokens=engines.writers.written_tokens,
        waiting=askable.waiting,
        writing=askable.writing,
    )


async def _wrong_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.scope['path']}"
    messages = {404: f"Invalid URL ({where})", 405: f"Not allowed ({where})"}
    return envelope(error.status_code, messages.get(error.status_code, str(error.detail)))


async def _wrong_query(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid(error.errors())
