"""/runs/…/files/…: files of a run's folder, for its own project.

Reports are pages with scripts of their own, and show texts of others: they are sandboxed, so that
nothing in them can act for who reads them.
Does not know: what is in the files.
"""

from __future__ import annotations

import mimetypes

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from tunesmith.errors import NotFound
from tunesmith.web.visit import Visit

FILES = {
    "config.toml": "config.toml",
    "data-report.html": "01-prepare/report.html",
    "findings.jsonl": "01-prepare/findings.jsonl",
    "receipt.parquet": "01-prepare/receipt.parquet",
    "review.csv": "01-prepare/review.csv",
    "train.jsonl": "01-prepare/train.jsonl",
    "validation.jsonl": "01-prepare/validation.jsonl",
    "test.jsonl": "01-prepare/test.jsonl",
    "metrics.csv": "03-train/metrics.csv",
    "report.html": "05-evaluate/report.html",
    "predictions.parquet": "05-evaluate/predictions.parquet",
    "log.txt": "process.log",
}
"""Name in the address → place in the run's folder. Nothing else is handed out."""
SANDBOX = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'"
)


def routes() -> list[Route]:
    """The routes."""

    async def file(request: Request) -> Response:
        visit, name = request.scope["visit"], request.path_params["name"]
        assert isinstance(visit, Visit)
        try:
            row = await visit.run(request.path_params["run_id"])
        except NotFound:
            return PlainTextResponse("There is no such run.", 404)
        path = visit.runs.folder(row) / FILES.get(name, "-")
        if not await run_in_threadpool(path.is_file):
            return PlainTextResponse("There is no such file.", 404)
        is_page = name.endswith(".html") and "download" not in request.query_params
        return FileResponse(
            path,
            media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            filename=name,
            content_disposition_type="inline" if is_page else "attachment",
            headers={
                "content-security-policy": SANDBOX,
                "x-frame-options": "SAMEORIGIN",
                "cache-control": "no-store",
            },
        )

    return [Route("/runs/{run_id}/files/{name}", file, methods=["GET"])]
