"""What a run's folder says of it: the steps, their results, what happened, how far it has come.

Plain values, read from the files that the pipeline leaves. Knows: the layout of a run directory.
Does not know: the pipeline, the store, how any of it is shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tunesmith import config as configs
from tunesmith.config import RunConfig
from tunesmith.errors import RequestError
from tunesmith.events import Event, read_events

VERBS = ("prepare", "upload", "train", "deploy", "evaluate")
FOLDERS = {verb: f"{number:02}-{verb}" for number, verb in enumerate(VERBS, start=1)}
CONFIG, EVENTS, PROGRESS, LOG = "config.toml", "events.jsonl", "progress.json", "process.log"
RUN_ID = "run-id"
"""What the pipeline marks its job with."""
TABLE, CHECKS = "table", "validation"
"""Folders of the file that was given, and of the one with rows to check with, if there is one; the
names are those of the settings."""

StepState = Literal["waiting", "now", "done"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far something long has come. `total` is 0 where nobody can tell."""

    message: str
    done: float = 0
    total: float = 0


def config(folder: Path) -> RunConfig:
    """What the run asks for. Raises: ConfigError."""
    return configs.load(folder / CONFIG)


def keep_config(folder: Path, asked: RunConfig) -> None:
    """Write what the run asks for."""
    draft = folder / f".{CONFIG}.tmp"
    draft.write_text(configs.to_toml(asked), encoding="utf-8")
    draft.replace(folder / CONFIG)


def result(folder: Path, verb: str) -> dict[str, Any] | None:
    """The verb's result.json, if there is one."""
    return json_of(folder / FOLDERS[verb] / "result.json")


def verbs_done(folder: Path) -> int:
    """How many of the verbs, in order, have left a result."""
    there = [(folder / FOLDERS[verb] / "result.json").is_file() for verb in VERBS]
    return next((n for n, is_there in enumerate(there) if not is_there), len(VERBS))


def progress(folder: Path) -> Progress | None:
    """How far the step that is at work has come, where it says so."""
    found = json_of(folder / PROGRESS)
    if found is None:
        return None
    data = found.get("data") or {}
    done, total = data.get("done", data.get("step", 0)), data.get("total", 0)
    return Progress(message=str(found.get("message", "")), done=done, total=total)


def events(folder: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The events from byte `offset` on, and the offset behind them."""
    found = []
    for event, after in read_events(folder / EVENTS, offset):
        found.append(replace(event, message=without_place(event.message, folder)))
        offset = after
    return found, offset


def without_place(said: str, folder: Path) -> str:
    """The sentence without where on the server the run's files lie."""
    places = {f"{folder / TABLE}/": "", f"{folder / CHECKS}/": "", f"{folder}/": ""}
    for place, name in {**places, str(folder): "the run"}.items():
        said = said.replace(place, name)
    return said


def error(folder: Path, *, since: int = 0) -> str:
    """Why the last start failed: its error event behind byte `since`, or what it wrote last."""
    said = [event.message for event in events(folder, since)[0] if event.kind == "error"]
    if said:
        return said[-1]
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return without_place(lines[-1], folder) if lines else ""


def table(folder: Path) -> Path | None:
    """The file that was given, if one was."""
    try:
        return Path(found) if (found := config(folder).prepare.table) else None
    except RequestError:
        return None


def size(folder: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def json_of(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, if there is one."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
