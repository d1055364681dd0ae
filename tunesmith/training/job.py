"""The job folder: what the training process reads and writes, and where.

Knows: file names, their contents' shapes, atomic writing.
Does not know: torch.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith import catalog, wire
from tunesmith.errors import storage_error

CSV_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""Column of OpenAI's result file → key of a metric event."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """job.json, checked."""

    folder: Path
    name: str
    base: catalog.BaseModel
    start_from: Path | None
    training_file: Path
    validation_file: Path | None
    seed: int
    objective: Literal["supervised", "dpo"]
    hyperparameters: wire.PreferenceHyperparameters
    """beta is of dpo alone."""
    options: wire.Options
    threads: int
    shared: Path | None
    """A folder of what jobs find for each other; None: each finds all by itself."""

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read JOB_DIR/job.json."""
        data = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        start_from, validation = data.get("start_from"), data.get("validation_file")
        name, kept_in = data["base_model"], data.get("base_folder")
        return cls(
            folder=folder,
            name=data["job"],
            base=catalog.of_folder(Path(kept_in), name=name) if kept_in else catalog.find(name),
            start_from=Path(start_from) if start_from else None,
            training_file=Path(data["training_file"]),
            validation_file=Path(validation) if validation else None,
            seed=data["seed"],
            objective=data.get("objective", "supervised"),
            hyperparameters=wire.PreferenceHyperparameters(**data["hyperparameters"]),
            options=wire.Options(**data["options"]),
            threads=data.get("threads", 0),
            shared=Path(data["shared"]) if data.get("shared") else None,
        )

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def state(self) -> Path:
        """What resuming needs; gone when the job is done."""
        return self.folder / "state"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write under a temporary name, then rename: readers see the old file or the new one."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(data, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines, under a temporary name, then renamed."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    temporary.replace(path)


def write_metrics_csv(path: Path, metrics: Sequence[Mapping[str, Any]]) -> None:
    """OpenAI's result file: one row a step, blank where a step has no such number."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        writer.writerows([m.get(key, "") for key in CSV_COLUMNS.values()] for m in metrics)


def replace_folder(new: Path, old: Path) -> None:
    """Put the finished folder `new` where `old` is. At every moment one of them is whole."""
    retired = old.with_name(old.name + ".old")
    shutil.rmtree(retired, ignore_errors=True)
    if old.exists():
        old.rename(retired)
    new.rename(old)
    shutil.rmtree(retired, ignore_errors=True)
