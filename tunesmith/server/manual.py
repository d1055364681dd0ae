"""GET /docs/…: the documentation as pages, as Markdown, and its answers to questions.

No key is needed: nothing in it is anybody's. A question is a few words, answers that were given are
remembered, and few are found at once, so that asking costs others little.
Does not know: how passages are found, how a model writes.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from pydantic_core import to_json
from starlette.types import ASGIApp

from tunesmith import catalog
from tunesmith.errors import NotFound
from tunesmith.manual import answering, pages, shown
from tunesmith.manual.answering import Answer
from tunesmith.manual.pages import Page
from tunesmith.manual.passages import passages
from tunesmith.manual.ranking import Embed, Index, Vectors
from tunesmith.server.door.auth import Caller
from tunesmith.server.inside import ask
from tunesmith.serving.pool import EnginePool
from tunesmith.settings import Settings
from tunesmith.store.rows import DEFAULT_PROJECT

PREFIX = "/docs"
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
MARKDOWN = "text/markdown; charset=utf-8"
AT_ONCE = 2
"""Questions whose answers are found, and worded, at the same time; others wait."""
REMEMBERED = 256
"""Answers."""
MOST_TOKENS = 400
"""Of an answer that a model words."""
KINDS = ("text/html", "application/json", "text/markdown")
PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}


class Manual:
    """The documentation of this server, read when it is first asked for."""

    def __init__(self, settings: Settings, pool: EnginePool, app: ASGIApp) -> None:
        self._settings = settings
        self._pool = pool
        self._app = app
        self._room = asyncio.Semaphore(AT_ONCE)
        self._reading = asyncio.Lock()
        self._index: Index | None = None
        self._known: OrderedDict[str, Answer] = OrderedDict()

    @functools.cached_property
    def folder(self) -> Path:
        """Where the pages lie. Raises: NotFound."""
        return pages.folder()

    @functools.cached_property
    def pages(self) -> tuple[Page, ...]:
        """All pages, in the order of reading. Raises: NotFound."""
        return pages.read(self.folder)

    async def answer(self, question: str) -> Answer:
        """What the documentation says. Raises: NotFound; ProviderError."""
        question = answering.asked(question)
        if question in self._known:
            self._known.move_to_end(question)
            return self._known[question]
        async with self._room:
            index = await self._ready()
            found = await run_in_threadpool(answering.answer, question, index, self.pages)
            if found.is_documented and self._settings.docs_model:
                found = await self._worded(found, self._settings.docs_model)
        self._known[question] = found
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    async def _ready(self) -> Index:
        async with self._reading:  # the first question has all passages embedded, once
            if self._index is None:
                self._index = await run_in_threadpool(self._read)
            return self._index

    def _read(self) -> Index:
        return Index(passages(self.pages), self._encoder(), self._settings.manual_dir)

    def _encoder(self) -> Embed | None:
        """The bundled encoder, as /v1/embeddings has it; None where it is not installed."""
        name, pool = catalog.DEFAULT, self._pool
        try:
            folder = catalog.catalog()[name].files()
        except NotFound:
            return None

        def embed(texts: Sequence[str]) -> Vectors:
            answers = pool.embed(name, folder, list(texts)).result()
            rows = b"".join(answer.vector for answer in answers)
            return np.frombuffer(rows, "<f4").reshape(len(answers), -1)

        return embed

    async def _worded(self, found: Answer, model: str) -> Answer:
        """As a model of this server words it; as it is, where that cannot be."""
        request = {
            "model": model,
            "messages": answering.prompt(found),
            "temperature": 0,
            "max_completion_tokens": MOST_TOKENS,
        }
        caller = Caller(id="docs", role="reader", project=DEFAULT_PROJECT)
        reply = await ask(self._app, caller, "/v1/chat/completions", to_json(request))
        if reply["status_code"] != 200:
            return found
        text = reply["body"]["choices"][0]["message"]["content"] or ""
        return answering.worded(found, text, model)


def router(manual: Manual) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix=PREFIX, include_in_schema=False)

    @routes.get("")
    def to_the_first_page() -> Response:
        return RedirectResponse(f"{PREFIX}/", 308)

    @routes.get("/")
    async def first_page(request: Request) -> Response:
        return await _page(manual, request, pages.FIRST)

    @routes.get("/style.css")
    def style() -> Response:
        return PlainTextResponse(shown.STYLE, media_type="text/css", headers=HEADERS)

    @routes.get("/llms.txt")
    def overview() -> Response:
        return PlainTextResponse(pages.overview(manual.pages), headers=HEADERS)

    @routes.get("/{name:path}")
    async def any_page(request: Request, name: str) -> Response:
        if Path(name).suffix in PICTURES:
            return _picture(manual, name)
        return await _page(manual, request, name)

    return routes


async def _page(manual: Manual, request: Request, name: str) -> Response:
    """A page, or the answer to the question that its address asks, in the form that is accepted."""
    page = pages.find(manual.pages, name.removesuffix(".md"))
    question = request.query_params.get("ask", "").strip()
    kind = _kind(request, is_markdown=name.endswith(".md"))
    if not question:
        if kind == "text/html":
            return HTMLResponse(shown.page_html(page, manual.pages), headers=HEADERS)
        if kind == "application/json":
            return JSONResponse(asdict(page), headers=HEADERS)
        return PlainTextResponse(page.text, media_type=MARKDOWN, headers=HEADERS)
    found = await manual.answer(question)
    if kind == "text/html":
        return HTMLResponse(shown.answer_html(found, manual.pages), headers=HEADERS)
    if kind == "application/json":
        return JSONResponse(asdict(found), headers=HEADERS)
    told = answering.as_markdown(found)
    return PlainTextResponse(told, media_type=MARKDOWN, headers=HEADERS)


def _kind(request: Request, *, is_markdown: bool) -> str:
    """What the client would have: what it names first; else what the address stands for.

    A browser names HTML, and gets the Markdown of an address that ends so nevertheless.
    """
    named = [
        kind.partition(";")[0].strip() for kind in request.headers.get("accept", "").split(",")
    ]
    known = [kind for kind in named if kind in ("text/html", "application/json", "text/markdown")]
    asks = "ask" in request.query_params
    if known and not (is_markdown and known[0] == "text/html" and not asks):
        return known[0]
    return "text/markdown" if is_markdown else "text/html"


def _picture(manual: Manual, name: str) -> Response:
    """Raises: NotFound."""
    root = manual.folder.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise NotFound(f"There is no picture {name!r}.")
    return FileResponse(path, media_type=PICTURES[path.suffix], headers=HEADERS)
