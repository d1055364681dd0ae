"""What a report tells of a run besides the scores: rows, curves, choices, times.

Knows: the results of the verbs and what they left in the run directory.
Does not know: what was scored, or how a page looks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from tunesmith.config import PrepareConfig, from_dict
from tunesmith.data.findings import Finding
from tunesmith.errors import storage_errors
from tunesmith.events import Decision, read_events
from tunesmith.metrics.curves import Diagnosis
from tunesmith.pipeline.results import Deployed, Parity, Prepared, Trained
from tunesmith.pipeline.rundir import CONFIG, FOLDERS, RunDir


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """What was measured at one step of training; None: not measured then.

    Accuracies are of labels; of tokens where the model writes; of pairs where it learns from pairs.
    """

    step: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    dev_loss: float | None = None
    dev_accuracy: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None
    total_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """How a run came about. Orders are kept as given."""

    title: str
    """Name of the run."""
    model: str
    base_model: str
    date: str
    """As it is to be read."""
    # Data.
    num_rows: int = 0
    fates: Mapping[str, int] = field(default_factory=dict)
    num_train: int = 0
    num_validation: int = 0
    num_test: int = 0
    num_cut: int = 0
    """Held-out texts longer than the model reads."""
    cut: tuple[int, int] = (0, 0)
    """Conversations that training cut, and the tokens lost in all of them."""
    # Training, deployment, and how it all came about.
    curve: Sequence[CurvePoint] = ()
    """Oldest first; step 0 is before anything but a head is trained."""
    diagnoses: Sequence[Diagnosis] | None = None
    """What the curves show, in the trainer's own words; None: it said nothing."""
    method: str = "full"
    """What was kept: head, full, lora, qlora."""
    chosen_step: int | None = None
    stopped_early: bool = False
    parity: Parity | None = None
    decisions: Sequence[tuple[str, Decision]] = ()
    """(verb, decision), in the order in which they were made."""
    findings: Sequence[Finding] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    """Verb → seconds."""


def run_facts(
    prepared: Prepared, trained: Trained, deployed: Deployed, run_dir: RunDir, seconds: float
) -> RunFacts:
    """The facts of a run whose evaluation took `seconds`."""
    today = date.today()
    timings = {
        "prepare": prepared.seconds,
        "train": trained.seconds,
        "deploy": deployed.seconds,
        "evaluate": seconds,
    }
    return RunFacts(
        title=prepared.name,
        model=deployed.model,
        base_model=trained.base_model,
        date=f"{today.day} {today:%B %Y}",
        num_rows=prepared.num_rows,
        fates=prepared.fates,
        num_train=prepared.num_train,
        num_validation=prepared.num_validation,
        num_test=prepared.num_test,
        cut=_cut(trained),
        curve=curve(run_dir),
        diagnoses=_diagnoses(trained),
        method=trained.method,
        chosen_step=trained.chosen_step,
        parity=deployed.parity if deployed.parity.compared else None,
        decisions=[
            *(("prepare", decision) for decision in prepared.decisions),
            *(("train", decision) for decision in trained.decisions),
        ],
        findings=prepared.findings,
        timings={verb: spent for verb, spent in timings.items() if spent},
    )


def _diagnoses(trained: Trained) -> list[Diagnosis] | None:
    told = trained.facts.get("diagnoses")
    return None if told is None else [Diagnosis(**one) for one in told]


def _cut(trained: Trained) -> tuple[int, int]:
    rows = trained.facts.get("cut_rows") or ()
    return len(rows), sum(int(tokens) for _, tokens in rows)


def curve(run_dir: RunDir) -> list[CurvePoint]:
    """What the training process measured, step by step."""
    events = read_events(run_dir.path / FOLDERS["train"] / "events.jsonl")
    measured = (event.data for event, _ in events if event.kind == "metric")
    return [
        CurvePoint(
            step=int(data["step"]),
            train_loss=data.get("train_loss"),
            train_accuracy=_accuracy(data, "train"),
            dev_loss=data.get("dev_loss"),
            dev_accuracy=_accuracy(data, "dev"),
            valid_loss=data.get("valid_loss"),
            valid_accuracy=_accuracy(data, "valid"),
            total_steps=data.get("total_steps"),
        )
        for data in measured
        if "step" in data
    ]


def _accuracy(data: Mapping[str, Any], part: str) -> float | None:
    names = ("accuracy", "mean_token_accuracy", "reward_accuracy")
    return next((data[f"{part}_{n}"] for n in names if f"{part}_{n}" in data), None)


def scored_lines(prepared: Prepared, run_dir: RunDir) -> list[int]:
    """Line of each example that is scored in the file it came from."""
    import polars as pl

    side = "test" if prepared.test else "validation"
    rows = pl.read_parquet(run_dir.path / FOLDERS["prepare"] / "receipt.parquet")
    lines: list[int] = rows.filter(pl.col("split") == side)["line"].to_list()
    assert len(lines) == prepared.num_scored
    return lines


def prepared_as(run_dir: RunDir) -> PrepareConfig:
    """The settings of prepare as they were settled. Raises: ConfigError, StorageError."""
    place = run_dir.path / FOLDERS["prepare"] / CONFIG
    with storage_errors(place):
        found = tomllib.loads(place.read_text(encoding="utf-8"))
    return from_dict(PrepareConfig, found, str(place))
