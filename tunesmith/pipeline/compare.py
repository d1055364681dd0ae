"""compare: models of labels on the same rows, each against the first, and how sure that is.

Models are given by name or by the folder of their run. Rows are those that the first run was scored
on, without any that another run was trained on; or those of a file.
Knows: runs, the provider. Does not know: how the table or the page look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from tunesmith.data.chat.files import read_classification
from tunesmith.data.columns.choice import choose
from tunesmith.data.columns.templates import fill, names_in
from tunesmith.data.findings import counted
from tunesmith.data.reading.readers import read
from tunesmith.errors import ConfigError, DataError, NotFound, NotOffered
from tunesmith.events import Event
from tunesmith.metrics.classification import ClassScore, score
from tunesmith.metrics.flips import Flips, flips
from tunesmith.metrics.intervals import Interval, bootstrap, gains
from tunesmith.metrics.significance import LEVEL, Comparison, compare_answers
from tunesmith.metrics.slices import holm
from tunesmith.pipeline.results import Deployed, Evaluated, Prepared
from tunesmith.pipeline.rundir import FOLDERS, RunDir
from tunesmith.providers import Provider

CONCURRENCY = 128
Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Texts with their right labels; line: in their file, where it is known."""

    texts: list[str]
    gold: list[str]
    lines: list[int | None]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One model's answers to the rows, and their scores."""

    name: str
    """As it was given."""
    model: str
    predicted: tuple[str, ...]
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    per_class: tuple[ClassScore, ...]


@dataclass(frozen=True, kw_only=True)
class Duel:
    """A model against the first one.

    comparison  of right answers, the model's against the first one's; where several are compared
                its p-value is corrected for their number (Holm).
    flips       mended: rows that the first gets wrong and this one right.
    """

    name: str
    comparison: Comparison
    gains: dict[str, float]
    gain_intervals: dict[str, Interval]
    flips: Flips


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The models in the order given, each but the first against the first."""

    rows: Rows
    models: tuple[Contestant, ...]
    duels: tuple[Duel, ...]
    verdict: tuple[str, ...]
    num_left_out: int = 0
    """Rows that one of the models was trained on."""


@dataclass(frozen=True, kw_only=True)
class _Named:
    """What a name stands for: a model, and the run it came from, if it is a run."""

    name: str
    model: str
    run_dir: RunDir | None = None
    prepared: Prepared | None = None
    evaluated: Evaluated | None = None


def compare(
    names: Sequence[str],
    provider: Provider,
    report: Report,
    *,
    data: Path | None = None,
    columns: tuple[str | None, str | None] = (None, None),
    resamples: int = 1000,
) -> Compared:
    """The models' answers to the same rows, scored.

    data     a file of rows: chat examples with a label as the answer, or a table.
    columns  of the table with text and label; None: guessed.

    Models are only asked for what their runs have not kept.
    Raises: ConfigError for fewer than two names or no rows; NotFound, NotOffered, DataError,
    ProviderError.
    """
    if len(names) < 2:
        raise ConfigError("One model alone cannot be compared.", fix="Name two or more.")
    named = [_named(name) for name in names]
    rows = _read(data, columns) if data else _rows_of(named[0])
    rows, num_left_out = _unseen(rows, named)
    known = sorted({*rows.gold, *(label for one in named for label in _labels(one))})
    models = []
    for one in named:
        predicted = _kept(one, rows) or _asked(one.model, rows, provider, report)
        models.append(_scored(one, predicted, rows, known, resamples))
    duels = _duels(models, rows, known, resamples)
    return Compared(
        rows=rows,
        models=tuple(models),
        duels=duels,
        verdict=tuple(sentences(models, duels, num_left_out)),
        num_left_out=num_left_out,
    )


def sentences(models: Sequence[Contestant], duels: Sequence[Duel], num_left_out: int) -> list[str]:
    """What came out, in words."""
    first, out = models[0], []
    for duel in duels:
        found = duel.comparison
        ends = [100 * end for end in found.interval]
        sure = f"95 % sure: {ends[0]:+.1f} to {ends[1]:+.1f}".replace("-", "−")
        size = f"{100 * abs(found.gain):.1f} points"
        if found.verdict == "undecided":
            more = "no number of rows would decide so small a difference"
            if found.rows_to_decide:
                more = f"about {max(found.rows_to_decide, found.num_rows + 1):,} would decide it"
            gain = f"{100 * found.gain:+.1f} points".replace("-", "−")
            out.append(
                f"{duel.name} against {first.name}: not decided with these {found.num_rows:,} rows "
                f"({gain}; {sure}); {more}."
            )
        else:
            out.append(f"{duel.name} is {size} {found.verdict} than {first.name} ({sure}).")
    if num_left_out:
        rows = counted(num_left_out, "row is", "rows are")
        out.append(f"{rows} left out, since one of the models was trained on the same text.")
    return out


def _named(name: str) -> _Named:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return _Named(name=name, model=name)
    run_dir = RunDir(folder)
    if not run_dir.has("prepare"):
        raise NotFound(f"There is no run in {name}.", fix="Give the folder of a run, or a model.")
    deployed, prepared = run_dir.latest("deploy", Deployed), run_dir.latest("prepare", Prepared)
    if deployed is None or prepared is None:
        raise NotFound(
            f"The run in {name} has deployed no model yet.",
            fix=f"Finish it: tunesmith run --run-dir {name}",
        )
    if prepared.task != "classify":
        raise NotOffered(
            f"The model of {name} writes; only models of labels can be compared.",
            fix="For written answers see the report of each run.",
        )
    evaluated = run_dir.latest("evaluate", Evaluated)
    return _Named(
        name=name,
        model=deployed.model,
        run_dir=run_dir,
        prepared=prepared,
        evaluated=evaluated,
    )


def _labels(one: _Named) -> tuple[str, ...]:
    return one.prepared.labels if one.prepared else ()


def _rows_of(first: _Named) -> Rows:
    """The rows that the first run is scored on."""
    if first.run_dir is None or first.prepared is None:
        raise ConfigError(
            f"{first.name} is no run, so there are no rows to compare on.",
            fix="Give them with --data FILE, or name a run's folder first.",
        )
    texts, gold = read_classification(first.run_dir.path / first.prepared.scored)
    lines: list[int | None] = [None] * len(texts)
    receipt = pl.read_parquet(first.run_dir.path / FOLDERS["prepare"] / "receipt.parquet")
    side = "test" if first.prepared.test else "validation"
    known = receipt.filter(pl.col("split") == side)["line"].to_list()
    return Rows(texts=texts, gold=gold, lines=known if len(known) == len(texts) else lines)


def _read(data: Path, columns: tuple[str | None, str | None]) -> Rows:
    """The rows of a file of chat examples, or of a table."""
    table = read(data)
    if "messages" in table.columns.columns:
        texts, gold = read_classification(data)
        return Rows(texts=texts, gold=gold, lines=list(range(1, len(texts) + 1)))
    found = choose(table, text=columns[0], label=columns[1])
    if len(found.labels) != 1:
        raise ConfigError("Several columns could be the label.", fix="Say which with --label.")
    cells = table.columns.select(names_in(found.text, table.columns.columns))
    rows = pl.DataFrame(
        {
            "text": fill(found.text, cells),
            "label": table.columns[found.labels[0]].str.strip_chars(),
            "line": table.lines,
        }
    ).filter(pl.col("text").is_not_null() & (pl.col("label").fill_null("") != ""))
    if rows.is_empty():
        raise DataError("No row has a text and a label.", path=data)
    return Rows(
        texts=rows["text"].to_list(), gold=rows["label"].to_list(), lines=rows["line"].to_list()
    )


def _unseen(rows: Rows, named: Sequence[_Named]) -> tuple[Rows, int]:
    """The rows that none of the runs was trained on, and how many are left out."""
    taught: set[str] = set()
    for one in named:
        if one.run_dir and one.prepared:
            taught |= set(read_classification(one.run_dir.path / one.prepared.train)[0])
    kept = [i for i, text in enumerate(rows.texts) if text not in taught]
    if not kept:
        raise DataError(
            "Every row is one that a model was trained on, so nothing can be compared.",
            fix="Give other rows with --data FILE.",
        )
    some = Rows(
        texts=[rows.texts[i] for i in kept],
        gold=[rows.gold[i] for i in kept],
        lines=[rows.lines[i] for i in kept],
    )
    return some, len(rows.texts) - len(kept)


def _kept(one: _Named, rows: Rows) -> list[str] | None:
    """The answers that the run has kept, if it has them for all rows."""
    if one.run_dir is None or one.evaluated is None or one.evaluated.model != one.model:
        return None
    place = one.run_dir.path / one.evaluated.predictions
    if not place.is_file():
        return None
    answers = dict(pl.read_parquet(place).select("text", "predicted").iter_rows())
    if any(text not in answers for text in rows.texts):
        return None
    return [answers[text] for text in rows.texts]


def _asked(model: str, rows: Rows, provider: Provider, report: Report) -> list[str]:
    answers: dict[int, str] = {}
    for i, answer in provider.classify(model, rows.texts, concurrency=CONCURRENCY):
        answers[i] = answer.label
        data = {"done": len(answers), "total": len(rows.texts)}
        report(Event(kind="progress", message=f"Asking {model}", data=data))
    return [answers[i] for i in range(len(rows.texts))]


def _scored(
    one: _Named, predicted: list[str], rows: Rows, labels: Sequence[str], resamples: int
) -> Contestant:
    scores = score(rows.gold, predicted, labels=labels)
    return Contestant(
        name=one.name,
        model=one.model,
        predicted=tuple(predicted),
        metrics=scores.metrics,
        intervals=bootstrap(scores, resamples=resamples),
        per_class=scores.per_class,
    )


def _duels(
    models: Sequence[Contestant], rows: Rows, labels: Sequence[str], resamples: int
) -> tuple[Duel, ...]:
    first, others = models[0].predicted, models[1:]
    found = [compare_answers(rows.gold, other.predicted, first) for other in others]
    p_values = holm(np.array([one.p_value for one in found]))
    duels = []
    for other, one, p_value in zip(others, found, p_values.tolist(), strict=True):
        ahead = gains(rows.gold, other.predicted, first, labels=labels, resamples=resamples)
        ahead["accuracy"] = one.gain, one.interval
        corrected = replace(
            one, p_value=p_value, verdict=one.verdict if p_value < LEVEL else "undecided"
        )
        duels.append(
            Duel(
                name=other.name,
                comparison=corrected,
                gains={name: gain for name, (gain, _) in ahead.items()},
                gain_intervals={name: interval for name, (_, interval) in ahead.items()},
                flips=flips(rows.gold, first, other.predicted),
            )
        )
    return tuple(duels)
