"""A consistent copy of all that a server keeps, made while it works, and the way back.

The database is copied first, as it is at one moment, then the contents that its rows name. These
are written before their rows and never changed, so each is there, or was deleted since; then the
copy does without its row, too. The folders in which jobs train are not copied: jobs that are under
way begin anew. Nor are those of runs that were begun on the page, which are left out, as are tables
to be labelled whose rows have yet to come in.
Does not know: the server that works meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, Connection, Table, delete, func, insert, select, update

from tunesmith.errors import ConfigError, NotFound, StorageError, storage_errors
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs, link_or_copy
from tunesmith.store.database import Database
from tunesmith.store.paging import add
from tunesmith.store.rows import EventRow
from tunesmith.store.store import open_database
from tunesmith.store.tables import (
    BATCHES,
    EVAL_RUNS,
    EVENTS,
    FILES,
    JOBS,
    KEYS,
    LABELLING_ANSWERS,
    LABELLING_HANDOUTS,
    LABELLING_ROWS,
    LABELLING_TASKS,
    METADATA,
    MODELS,
    PARTS,
    PERMISSIONS,
    RUNS,
    SESSIONS,
)
from tunesmith.wire import TERMINAL

DATABASE = "tunesmith.db"
MANIFEST = "manifest.json"
"""Written last: a folder without it is no backup."""
VERSION = 1
ROWS_AT_ONCE = 5000
AGAIN = "This job was under way when the server was backed up; it begins anew."


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds."""

    rows: Mapping[str, int]
    """By table."""
    bytes: int
    deleted: list[str]
    """Files, parts and models that were deleted meanwhile; their rows are left out."""
    damaged: list[str]
    """Those of which the server itself has no more than the row, or another content."""


def back_up(settings: Settings, folder: Path) -> Backup:
    """Copy everything to `folder`, which must be empty or not exist.

    Raises: ConfigError when it is not; StorageError.
    """
    _check_empty(folder, "Give a new folder for each backup.")
    blobs = Blobs(settings.blobs)
    with storage_errors(folder), closing(open_database(settings)) as live:
        (folder / "blobs").mkdir(parents=True)
        (folder / "models").mkdir()
        with closing(_sqlite(folder / DATABASE)) as copied:
            if live.is_sqlite:
                live.copy_file(folder / DATABASE)
            else:
                copied.migrate()
                copy_rows(live, copied)
            with copied.write() as connection:
                _begin_anew(connection)
                deleted, damaged = _contents(settings, live, connection, blobs, folder)
                rows = {t.name: _count(connection, t) for t in METADATA.sorted_tables}
                hashes = _pairs(connection, FILES.c.id, FILES.c.sha256)
        (folder / f"{DATABASE}.lock").unlink(missing_ok=True)
        found = {name: _digest(folder / name) for name in _names(folder)}
        damaged += [id for id, sha256 in hashes.items() if found[f"blobs/{id}"]["sha256"] != sha256]
        manifest = {"version": VERSION, "made_at": int(time.time()), "rows": rows, "files": found}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    size = sum(file["bytes"] for file in found.values())
    return Backup(rows=rows, bytes=size, deleted=sorted(deleted), damaged=sorted(damaged))


def restore(settings: Settings, folder: Path) -> Mapping[str, int]:
    """Put back what the backup in `folder` holds; how many rows of each table that is.

    Raises: ConfigError when the data folder or the database is not empty, or `folder` holds no
    backup; StorageError when the backup is damaged, before anything is put back.
    """
    manifest = _manifest(folder)
    _check_empty(settings.data_dir, "A backup is restored to an empty one: TUNESMITH_DATA_DIR.")
    if settings.database_url:
        _check_no_rows(settings)
    _verify(folder, manifest["files"])
    blobs = Blobs(settings.blobs)
    with storage_errors(settings.data_dir):
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        for path in (folder / "blobs").iterdir():
            with path.open("rb") as content:
                blobs.put(path.name, content)
        shutil.copytree(folder / "models", settings.models_dir)
        own = settings.data_dir / DATABASE
        shutil.copyfile(folder / DATABASE, own)
        if settings.database_url:
            _move_rows(own, settings)
        with closing(open_database(settings)):
            pass  # which brings the tables of an older version up to date
    rows: Mapping[str, int] = manifest["rows"]
    return rows


def copy_rows(source: Database, target: Database) -> None:
    """Copy every row of one moment, into a database that has the same tables."""
    with source.read() as reading, target.write() as writing:
        for table in reversed(METADATA.sorted_tables):
            writing.execute(delete(table))
        for table in METADATA.sorted_tables:
            query = select(table).order_by(table.c.seq)
            found = reading.execution_options(yield_per=ROWS_AT_ONCE).execute(query).mappings()
            for rows in found.partitions():
                writing.execute(insert(table), [dict(row) for row in rows])
            target.count_on(writing, table)


# --- the database ---------------------------------------------------------------------------------


def _begin_anew(connection: Connection) -> None:
    """In the copy nobody works on anything or is logged in, and no job or run has a folder."""
    connection.execute(delete(SESSIONS))
    connection.execute(delete(RUNS))
    connection.execute(delete(LABELLING_HANDOUTS))
    unfinished = select(LABELLING_TASKS.c.id).where(LABELLING_TASKS.c.state != "ready")
    for table in (LABELLING_ANSWERS, LABELLING_ROWS):
        connection.execute(delete(table).where(table.c.task_id.in_(unfinished)))
    connection.execute(delete(LABELLING_TASKS).where(LABELLING_TASKS.c.state != "ready"))
    running = select(JOBS.c.id).where(JOBS.c.status == "running")
    job_ids = connection.execute(running).scalars().all()
    events = [EventRow(job_id=job_id, message=AGAIN, level="warn") for job_id in job_ids]
    add(connection, EVENTS, events)
    nobody: dict[str, Any] = {"worker": None, "heartbeat_at": 0.0}
    fresh = {**nobody, "events_offset": 0, "deaths": 0, "plan": {}, "progress": {}}
    under_way = update(JOBS).where(JOBS.c.status.not_in(TERMINAL))
    connection.execute(under_way.values(**fresh, estimated_finish=None))
    connection.execute(update(JOBS).where(JOBS.c.id.in_(job_ids)).values(status="queued"))
    connection.execute(update(BATCHES).values(nobody))
    connection.execute(update(EVAL_RUNS).values(nobody))


def _check_no_rows(settings: Settings) -> None:
    with closing(open_database(settings)) as live, live.read() as connection:
        if any(_count(connection, table) for table in (KEYS, FILES, JOBS)):
            raise ConfigError(
                f"The database {live.place} is not empty.",
                fix="A backup is restored to an empty one: TUNESMITH_DATABASE_URL.",
            )


def _move_rows(own: Path, settings: Settings) -> None:
    """From the SQLite file `own`, which is removed, to the database of the settings."""
    with closing(_sqlite(own)) as copied, closing(open_database(settings)) as live:
        copied.migrate()
        copy_rows(copied, live)
    for path in own.parent.glob(f"{DATABASE}*"):
        path.unlink()


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


# --- contents -------------------------------------------------------------------------------------


def _contents(
    settings: Settings, live: Database, connection: Connection, blobs: Blobs, folder: Path
) -> tuple[list[str], list[str]]:
    """Copy what the rows of the copied database name, and remove those whose content is not there;
    the names of what was deleted meanwhile, and of what is damaged."""
    missing: set[str] = set()
    for name in _ids(connection, FILES, PARTS):
        try:
            blobs.copy_out(name, folder / "blobs" / name)
        except NotFound:
            missing.add(name)
    models = _pairs(connection, MODELS.c.id, MODELS.c.folder)
    for name, place in models.items():
        try:
            _copy_folder(settings.models_dir / place, folder / "models" / place)
        except FileNotFoundError:
            missing.add(name)
    with live.read() as now:
        there = _ids(now, FILES, PARTS, MODELS)
    # A model that is deleted by now may have been copied in part.
    deleted, damaged = (missing | set(models)) - there, missing & there
    for name in deleted | damaged:
        for table in (FILES, PARTS, MODELS):
            connection.execute(delete(table).where(table.c.id == name))
        connection.execute(delete(PERMISSIONS).where(PERMISSIONS.c.model_id == name))
        if name in models:
            shutil.rmtree(folder / "models" / models[name], ignore_errors=True)
    return list(deleted), list(damaged)


def _pairs(connection: Connection, *columns: Column[Any]) -> dict[str, str]:
    return {key: value for key, value in connection.execute(select(*columns))}


def _ids(connection: Connection, *tables: Table) -> set[str]:
    return {id for table in tables for id in connection.execute(select(table.c.id)).scalars()}


def _copy_folder(source: Path, target: Path) -> None:
    """Raises: FileNotFoundError when it is gone, or goes meanwhile."""
    if not source.is_dir():
        raise FileNotFoundError(source)
    for path in source.rglob("*"):
        if not path.is_dir():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, copy)


# --- folders and manifests ------------------------------------------------------------------------


def _check_empty(folder: Path, fix: str) -> None:
    with storage_errors(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is not empty.", fix=fix)


def _names(folder: Path) -> list[str]:
    """Every file below the folder, by its path in there."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": sha256}


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ConfigError(
            f"{folder} holds no complete backup: its {MANIFEST} is missing or damaged.",
            fix="Give a folder that `tunesmith admin backup` has filled.",
        ) from None
    if manifest["version"] > VERSION:
        raise ConfigError(
            f"The backup in {folder} was made by a newer version of Tunesmith.",
            fix="Install that version.",
        )
    return manifest


def _verify(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises: StorageError when a file is not as it was written."""
    for name, told in files.items():
        if not (folder / name).is_file() or _digest(folder / name) != told:
            raise StorageError(
                f"The backup in {folder} is damaged: {name} is missing or not what was written.",
                fix="Restore another one.",
            )


def _sqlite(path: Path) -> Database:
    return Database(URL.create("sqlite", database=str(path)))
