"""/runs/…/result/…: what a finished run has left, to take along: report, tables, the model.

Does not know: what is in the files, how a model's folder is packed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tunesmith.errors import NotFound, TunesmithError
from tunesmith.store.rows import RunRow
from tunesmith.web import archives, run_files
from tunesmith.web.downloads import SANDBOX
from tunesmith.web.results.asking import PREDICTIONS, pieces
from tunesmith.web.visit import Visit


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Something to take along. `bytes`: its size, where it is known before it is made."""

    title: str
    meaning: str
    name: str
    bytes: int | None


def routes() -> list[Route]:
    """The routes."""

    async def table(request: Request) -> Response:
        row = await _run(request)
        if isinstance(row, Response):
            return row
        folder = _visit(request).runs.folder(row)
        if not await run_in_threadpool((folder / PREDICTIONS).is_file):
            return PlainTextResponse("There are no predictions.", 404)
        question = {"what": "csv", "folder": str(folder)}
        return _sent(pieces(question), "text/csv; charset=utf-8", f"{_name(row)}-predictions.csv")

    async def review(request: Request) -> Response:
        row = await _run(request)
        if isinstance(row, Response):
            return row
        folder = _visit(request).runs.folder(row)
        result = await run_in_threadpool(run_files.result, folder, "evaluate") or {}
        place = folder / str(result.get("review") or "-")
        if not await run_in_threadpool(place.is_file):
            return PlainTextResponse("No labels were suspected in this run.", 404)
        headers = {"content-security-policy": SANDBOX, "cache-control": "no-store"}
        return FileResponse(place, filename="review.csv", headers=headers)

    return [
        Route("/runs/{run_id}/result/predictions.csv", table, methods=["GET"]),
        Route("/runs/{run_id}/result/review.csv", review, methods=["GET"]),
    ]


def offers(visit: Visit, row: RunRow) -> list[Offer]:
    """All that the run has left, in the order in which people want it."""
    folder = visit.runs.folder(row)
    result = run_files.result(folder, "evaluate") or {}
    files = f"/runs/{row.id}/files"
    made = f"/runs/{row.id}/result"
    found = [
        ("The report", "one file, to be read without a network", f"{files}/report.html?download",
         folder / "05-evaluate" / "report.html"),
        ("Predictions, CSV", "for a spreadsheet", f"{made}/predictions.csv", None),
        ("Predictions, Parquet", "with all probabilities", f"{files}/predictions.parquet",
         folder / PREDICTIONS),
        ("Suspect labels, CSV", "to decide on in a spreadsheet", f"{made}/review.csv",
         folder / str(result.get("review") or "-")),
        ("Settings", "config.toml, for the command line", f"{files}/config.toml",
         folder / "config.toml"),
        ("Numbers of training", "loss by step", f"{files}/metrics.csv",
         folder / "03-train" / "metrics.csv"),
    ]  # fmt: skip
    offered = [
        Offer(title=title, meaning=meaning, name=name, bytes=_size(path))
        for title, meaning, name, path in found
        if path is None or path.is_file()
    ]
    if place := model_folder(visit, row):
        meaning = "its folder, in the usual layout (safetensors)"
        if (place / archives.ADAPTER).is_file():
            base = row.summary.get("base_model")
            meaning = f"an adapter in PEFT’s layout, to be put on {base}"
        name = f"/models/{quote(str(row.summary['model']))}/download"
        size = archives.bytes_of(place)
        offered.append(Offer(title="The model", meaning=meaning, name=name, bytes=size))
    return offered


def model_folder(visit: Visit, row: RunRow) -> Path | None:
    """Where the run's model is kept, if it is the caller's and still there."""
    model = visit.store.models.own(str(row.summary.get("model") or ""))
    if model is None:
        return None
    folder = visit.desk.settings.models_dir / model.folder
    return folder if folder.is_dir() else None


def _size(path: Path | None) -> int | None:
    return path.stat().st_size if path else None


def _visit(request: Request) -> Visit:
    visit = request.scope["visit"]
    assert isinstance(visit, Visit)
    return visit


async def _run(request: Request) -> RunRow | Response:
    """The run that is asked for, or the refusal."""
    try:
        return await _visit(request).run(request.path_params["run_id"])
    except NotFound:
        return PlainTextResponse("There is no such run.", 404)
    except TunesmithError as error:
        return PlainTextResponse(str(error), 503)


def _sent(content: AsyncIterator[bytes], kind: str, name: str) -> Response:
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-security-policy": SANDBOX,
        "cache-control": "no-store",
    }
    return StreamingResponse(content, media_type=kind, headers=headers)


def _name(row: RunRow) -> str:
    return _safe(row.name) or "run"


def _safe(name: str) -> str:
    """What can stand in a header and in any file system."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)[:80]
