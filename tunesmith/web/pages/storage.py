"""/storage: what takes how much room on the disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nicegui import background_tasks

from tunesmith.settings import Settings
from tunesmith.store.rows import DEFAULT_PROJECT
from tunesmith.web.archives import bytes_of
from tunesmith.web.controls import clear, link, panel, table, tag, text, waiting
from tunesmith.web.layout import page
from tunesmith.web.lists import size
from tunesmith.web.visit import Visit, off


@dataclass(frozen=True)
class Part:
    """Something that takes room."""

    name: str
    num_bytes: int
    says: str
    to: str = ""
    number: int | None = None


@page("/storage", "Storage used")
async def storage(visit: Visit) -> None:
    """What the project uses, and for those who look after the server what all of it does."""
    with panel("Your project"):
        mine = tag("div", aria_live="polite")
    whole = None
    if visit.caller.role == "admin" and visit.caller.project == DEFAULT_PROJECT:
        with panel("The whole server"):
            whole = tag("div", aria_live="polite")

    async def count() -> None:
        parts = await off(_of_project, visit)
        with clear(mine):
            _table(parts, "What your project uses")
        if whole is not None:
            parts, free = await off(_of_server, visit.desk.settings)
            with clear(whole):
                _table(parts, "What the server uses")
                text(f"{size(free)} are free on the disk.", "quiet")

    for box in filter(None, (mine, whole)):
        with box:
            waiting("Counting the files.")
    background_tasks.create(count())


def _table(parts: list[Part], caption: str) -> None:
    total = sum(part.num_bytes for part in parts) or 1

    def name(part: Part) -> None:
        if part.to:
            link(part.name, part.to)
        else:
            tag("span", part.name)

    def share(part: Part) -> None:
        with tag("span", kind="track", aria_hidden="true"):
            tag("span", style=f"width: {100 * part.num_bytes / total:.1f}%")

    table(
        ("What", "Number", "Size", "Share", "Holds"),
        [
            (
                partial(name, part),
                part.number,
                size(part.num_bytes),
                partial(share, part),
                part.says,
            )
            for part in parts
        ],
        caption=caption,
        kind="storage",
    )
    text(f"{size(total)} together.", "quiet")


def _of_project(visit: Visit) -> list[Part]:
    settings, store = visit.desk.settings, visit.store
    folders = store.models.folders()
    files = store.files.totals().values()
    num_runs = sum(store.runs.counts().values())
    return [
        Part("Models", sum(bytes_of(settings.models_dir / folder) for folder in folders),
             "Tuned models and their checkpoints", "/models", len(folders)),
        Part("Runs", bytes_of(settings.data_dir / "runs" / visit.caller.project),
             "Tables, prepared rows, results and reports", "/", num_runs),
        Part("Files", sum(bytes_ for _, bytes_ in files),
             "Training rows, batches and their answers", "/data?show=files",
             sum(number for number, _ in files)),
        Part("Tables for predictions", bytes_of(settings.data_dir / "many" / visit.caller.project),
             "Tables dropped in the playground", "/playground/batches"),
    ]  # fmt: skip


def _of_server(settings: Settings) -> tuple[list[Part], int]:
    """All projects together, and the bytes that are free."""
    data = settings.data_dir
    database = 0
    if not settings.database_url:
        database = sum(path.stat().st_size for path in data.glob("tunesmith.db*"))
    blobs = 0 if "://" in settings.blobs else bytes_of(Path(settings.blobs))
    parts = [
        Part("Database", database, "Everything but files" if database else "On another server"),
        Part("Blobs", blobs, "Contents of files" if blobs else "In another place, or none"),
        Part("Models", bytes_of(settings.models_dir), "Of all projects"),
        Part("Base models", bytes_of(settings.base_models_dir), "Those that were fetched"),
        Part("Runs", bytes_of(data / "runs"), "Of all projects"),
        Part("Jobs", bytes_of(settings.jobs_dir), "Logs, and what trainings work with"),
        Part("Indexes and exports", sum(bytes_of(data / n) for n in ("tables", "exports", "many")),
             "Made anew when needed"),
    ]  # fmt: skip
    return parts, shutil.disk_usage(data).free
