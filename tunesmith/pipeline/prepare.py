"""prepare: from the user's table to training and validation examples, every row accounted for.

Reads top to bottom as the rows go: read, cleaned, labelled, freed of gaps and duplicates,
balanced, split, written. Each step is a function of `data`; here is their order, what is said
about them, and what stops the run.
Does not know: any provider, model or token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from tunesmith.config import PrepareConfig, to_toml
from tunesmith.data import balance, checks, duplicates, receipt, split
from tunesmith.data.chatfile import FEWEST_EXAMPLES, check_chat, write_classification
from tunesmith.data.cleaning import clean
from tunesmith.data.columns import Columns, check_header, check_same, choose
from tunesmith.data.findings import counted, enumerated
from tunesmith.data.journal import Journal
from tunesmith.data.labels import (
    Spelling,
    decisions,
    near_spellings,
    placeholder_findings,
    spelling,
)
from tunesmith.data.readers import Table, read, require_file
from tunesmith.data.receipt import KEPT, Step, of_source, settle, summary, undecided, verdict
from tunesmith.data.votes import settle_votes
from tunesmith.errors import ConfigError, DataError, storage_error
from tunesmith.events import Decision, Event
from tunesmith.pipeline.results import Prepared
from tunesmith.pipeline.rundir import FOLDERS, RESULT, RunDir, digest, file_digest

TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"

_STORED = 200  # findings in the result
_STAGES = ("reading", "cleaning", "labels", "duplicates", "splitting", "writing")
# The settings that decisions settle; config.toml holds the reasons beside them.
_SETTLED = {
    "text column": "text",
    "label column": "label",
    "label columns": "annotators",
    "balance": "balance",
}

Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is the same for all steps: the settings, the columns in use, and who is told."""

    config: PrepareConfig
    columns: Columns
    journal: Journal

    @property
    def table(self) -> Path:
        return Path(self.config.table)

    @property
    def sources(self) -> dict[str, Path]:
        """Name of each file in the rows' column `source` → its path."""
        given = {"table": self.config.table, "validation": self.config.validation}
        return {source: Path(path) for source, path in given.items() if path}

    def take(self, rows: pl.DataFrame, step: Step) -> pl.DataFrame:
        """The rows after a step that takes some out; tells of it."""
        self.journal.decide(step.decisions)
        self.journal.find(step.findings)
        return settle(rows, step.verdicts)


def prepare(config: PrepareConfig, run_dir: RunDir, report: Report) -> Prepared:
    """Turn the table into chat files of training and validation examples.

    Does nothing when table and settings are those of the result that is there.
    Raises: NotFound, DataError, ConfigError for what the user has to change; StorageError.
    """
    split.percent_held_out(config.split)
    inputs = _inputs(config)
    folder = run_dir.folder("prepare")
    there = (folder / TRAIN).is_file() and (folder / VALIDATION).is_file()
    if there and (earlier := run_dir.load("prepare", Prepared, inputs)):
        return earlier
    # A start that is broken off half-way must not look like the earlier, finished one.
    (folder / RESULT).unlink(missing_ok=True)
    where = f"{FOLDERS['prepare']}/findings.jsonl"
    journal = Journal(report=report, where=where, stages=_STAGES)

    journal.stage("reading")
    columns, rows = _read(config, journal)
    work = _Work(config=config, columns=columns, journal=journal)
    journal.stage("cleaning")
    rows = _clean(rows, work)
    journal.stage("labels")
    rows, spelled = _spell(rows, work)
    rows, review = _vote(rows, work)
    rows = _drop_gaps(rows, work)
    natural = _label_counts(of_source(rows, "table"))
    journal.stage("duplicates")
    rows = _drop_duplicates(rows, work)
    rows = _check_labels(rows, work)
    journal.stage("splitting")
    rows, mode = _balance(rows, work)
    rows = _split(rows, work, repeat=mode == "repeat")
    journal.stage("writing")
    rows = rows.with_columns(pl.col("fate").fill_null(KEPT))
    prepared = _result(rows, work, natural, weighted=mode == "weight")
    _write_examples(folder, rows)
    _write_notes(folder, rows, work, _label_notes(prepared, spelled), review)
    journal.close()
    run_dir.save("prepare", prepared, inputs, _settled_toml(work, mode))
    return prepared


def _inputs(config: PrepareConfig) -> str:
    """Changes when a setting or the content of a table does."""
    if not config.table:
        raise ConfigError("No table is given.", fix="Name one: a CSV, TSV, JSONL or Parquet file.")
    paths = [Path(name) for name in (config.table, config.validation) if name]
    for path in paths:
        require_file(path)
    return digest(config, [file_digest(path) for path in paths])


# --- 1. rows ------------------------------------------------------------------------------------


def _read(config: PrepareConfig, journal: Journal) -> tuple[Columns, pl.DataFrame]:
    """The columns in use; the rows of both files: row, source, line, text, votes, fate, note."""
    table = read(Path(config.table))
    check_header(table, (config.text, config.label, *config.annotators))
    journal.decide(table.decisions)
    journal.find(table.findings)
    columns = choose(table, text=config.text, label=config.label, annotators=config.annotators)
    journal.decide(columns.decisions)
    frames = [_rows(table, "table", columns)]
    if config.validation:
        validation = read(Path(config.validation))
        check_header(validation, (columns.text, *columns.labels))
        check_same(validation, columns)
        journal.decide(validation.decisions, "validation ")
        journal.find(validation.findings, f"In {validation.path.name}: ")
        frames.append(_rows(validation, "validation", columns))
    return columns, pl.concat(frames).with_row_index("row")


def _rows(table: Table, source: str, columns: Columns) -> pl.DataFrame:
    cells = zip(_votes(columns), columns.labels, strict=True)
    return pl.DataFrame(
        {
            "source": pl.repeat(source, len(table.lines), dtype=pl.String, eager=True),
            "line": table.lines,
            "text": table.columns[columns.text],
            **{vote: table.columns[name] for vote, name in cells},
            "fate": table.fates,
            "note": pl.repeat(None, len(table.lines), dtype=pl.String, eager=True),
        }
    )


def _votes(columns: Columns) -> list[str]:
    """Names, among the rows' columns, of the cells with labels: one for each annotator."""
    return [f"vote {number}" for number in range(len(columns.labels))]


# --- 2. texts and labels ------------------------------------------------------------------------


def _clean(rows: pl.DataFrame, work: _Work) -> pl.DataFrame:
    """Rows with clean texts, null where nothing is left."""
    texts, counts = clean(rows["text"])
    if changed := counts.pop("texts"):
        kinds = ", ".join(f"{kind} in {number:,}" for kind, number in counts.items() if number)
        value = f"{changed:,} of {counted(rows.height, 'text')} changed"
        work.journal.decide([Decision(what="clean-up", value=value, reason=kinds)])
    return rows.with_columns(texts.alias("text")).with_columns(
        pl.when(pl.col("text") != "").then("text")
    )


def _spell(rows: pl.DataFrame, work: _Work) -> tuple[pl.DataFrame, Spelling]:
    """Rows with one spelling for each label, null where a cell holds none."""
    votes, journal = _votes(work.columns), work.journal
    cells = of_source(rows, "table").select("line", *votes)
    spelled = spelling(cells.select(votes), merge=work.config.merge_labels)
    journal.decide(decisions(spelled))
    journal.find(placeholder_findings(spelled, cells))
    rows = rows.with_columns(spelled.apply(rows[vote]).alias(vote) for vote in votes)
    labels = of_source(rows, "table").unpivot(votes, index="line", value_name="label")
    first = labels.drop_nulls("label").group_by("label").agg(pl.col("line").min())
    journal.find(near_spellings(spelled.counts, dict(first.iter_rows())))
    return rows, spelled


def _vote(rows: pl.DataFrame, work: _Work) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Rows with one `label` each, and those for people to review, where annotators tie."""
    votes = _votes(work.columns)
    if len(votes) == 1:
        return rows.rename({votes[0]: "label"}), None
    rows, step, tied = settle_votes(rows, votes, work.config.ties)
    review = tied.select(
        pl.col("source").replace({s: path.name for s, path in work.sources.items()}).alias("file"),
        "line",
        "text",
        *(pl.col(v).alias(f"label: {n}") for v, n in zip(votes, work.columns.labels, strict=True)),
        pl.lit("").alias("decision"),
    )
    return work.take(rows, step), review if review.height else None


def _drop_gaps(rows: pl.DataFrame, work: _Work) -> pl.DataFrame:
    """Without rows that lack the text or the label."""
    rows = work.take(rows, checks.gaps(undecided(rows), "text"))
    for source, path in work.sources.items():
        if of_source(rows, source).is_empty():
            raise DataError(
                f"No row has a text in the column {work.columns.text!r}.",
                fix="Fill it, or choose another column with --text.",
                path=path,
            )
    rows = work.take(rows, checks.gaps(undecided(rows), "label"))
    for source, path in work.sources.items():
        if of_source(rows, source).is_empty():
            names = enumerated(map(repr, work.columns.labels))
            raise DataError(
                f"No row with a text has a label that can be used in {names}.",
                fix="Fill it, or choose another column with --label.",
                path=path,
            )
    return rows


# --- 3. duplicates, and labels that cannot be used ----------------------------------------------


def _drop_duplicates(rows: pl.DataFrame, work: _Work) -> pl.DataFrame:
    """Without texts said twice. Validation rows all stay; training rows give way to them."""
    validation = of_source(rows, "validation")
    rows = work.take(rows, duplicates.leaked(of_source(rows, "table"), validation))
    return work.take(rows, duplicates.same_text(of_source(rows, "table")))


def _check_labels(rows: pl.DataFrame, work: _Work) -> pl.DataFrame:
    """Without labels on a single row, if the user says so. Raises where labels cannot be used."""
    checks.check_several(rows, work.table)
    if work.config.rare_labels == "drop":
        single = checks.single_rows(of_source(rows, "table"), undecided(rows))
        rows = work.take(rows, single)
        checks.check_several(rows, work.table)
    live = of_source(rows, "table")
    checks.check_twice(live, work.table)
    if validation := work.sources.get("validation"):
        checks.check_known(of_source(rows, "validation"), live, work.table, validation)
    return rows


# --- 4. balance and split -----------------------------------------------------------------------


def _balance(rows: pl.DataFrame, work: _Work) -> tuple[pl.DataFrame, balance.Mode]:
    """Rows cut to even numbers, if that is the way, and which way it is."""
    live = of_source(rows, "table")
    mode, decision = balance.choose(_label_counts(live), work.config.balance)
    work.journal.decide([decision] if decision else [])
    if mode == "smallest":
        cut = live.filter(~balance.keep_even(live["label"], work.config.seed))
        rows = settle(rows, verdict(cut, balance.CUT))
    return rows, mode


def _split(rows: pl.DataFrame, work: _Work, *, repeat: bool) -> pl.DataFrame:
    """Rows with `split` (train, validation; null for those that are out) and `copies`."""
    live, config = undecided(rows), work.config
    if validation := work.sources.get("validation"):
        held_out = live["source"] == "validation"
        why = f"the validation file is {validation.name}"
    else:
        allotted = split.allot(_label_counts(live), split.percent_held_out(config.split))
        held_out = split.draw(live["label"], allotted, config.seed)
        why = f"{config.split}, each label in the same proportion, drawn with seed {config.seed}"
    num_train = live.height - int(held_out.sum())
    if num_train < FEWEST_EXAMPLES:
        raise _too_few(rows, num_train, work)
    value = f"{num_train:,} to learn from, {live.height - num_train:,} to check with"
    work.journal.decide([Decision(what="split", value=value, reason=why)])
    train = live.filter(~held_out).select("row", "label", pl.lit("train").alias("split"))
    copies = balance.copies(train["label"], config.seed) if repeat else pl.lit(1, dtype=pl.Int64)
    other = live.filter(held_out).select(
        "row", pl.lit("validation").alias("split"), pl.lit(1, dtype=pl.Int64).alias("copies")
    )
    sides = pl.concat([train.with_columns(copies.alias("copies")).drop("label"), other])
    again = pl.when(pl.col("copies") > 1).then(pl.format("used {} times", "copies"))
    return rows.join(sides, on="row", how="left", maintain_order="left").with_columns(
        again.otherwise("note").alias("note")
    )


def _too_few(rows: pl.DataFrame, num_train: int, work: _Work) -> DataError:
    live, cut = of_source(rows, "table"), rows.filter(pl.col("fate") == balance.CUT)
    number, fix = counted(live.height + cut.height, "row"), "Add rows with a text and a label."
    what = f"{number} can be used, which leaves {num_train}"
    if cut.height:
        size = min(_label_counts(live).values())
        what = f"{number} can be used, but cutting every label to {size} leaves {num_train}"
        fix += " Or keep them all with --balance weight."
    what += f" to learn from; at least {FEWEST_EXAMPLES} are needed."
    return DataError(what, fix=fix, path=work.table)


# --- 5. what is left behind ---------------------------------------------------------------------


def _result(
    rows: pl.DataFrame, work: _Work, natural: Mapping[str, int], *, weighted: bool
) -> Prepared:
    train = _label_counts(_examples(rows, "train"))
    validation = _label_counts(_examples(rows, "validation"))
    labels = tuple(train)
    total = sum(natural[label] for label in labels)
    return Prepared(
        task=work.config.task,
        name=work.table.stem,
        train=f"{FOLDERS['prepare']}/{TRAIN}",
        validation=f"{FOLDERS['prepare']}/{VALIDATION}",
        num_rows=rows.height,
        num_train=sum(train.values()),
        num_validation=sum(validation.values()),
        fates=summary(rows),
        labels=labels,
        train_counts=train,
        validation_counts={label: validation.get(label, 0) for label in labels},
        natural_shares={label: natural[label] / total for label in labels},
        class_weights="balanced" if weighted else "none",
        decisions=tuple(work.journal.decisions),
        findings=tuple(work.journal.findings[:_STORED]),
    )


def _settled_toml(work: _Work, mode: balance.Mode) -> str:
    """The settings as TOML, with what was chosen filled in and the reasons beside it."""
    names = work.columns.labels
    settled = replace(
        work.config,
        text=work.columns.text,
        label=names[0] if len(names) == 1 else None,
        annotators=names if len(names) > 1 else (),
        balance=mode,
    )
    chosen = work.journal.decisions
    return to_toml(settled, {_SETTLED[d.what]: d.reason for d in chosen if d.what in _SETTLED})


def _write_examples(folder: Path, rows: pl.DataFrame) -> None:
    for name, side, param in (
        (TRAIN, "train", "training_file"),
        (VALIDATION, "validation", "validation_file"),
    ):
        examples = _examples(rows, side)
        write_classification(folder / name, examples["text"], examples["label"])
        if problem := next(check_chat(folder / name, param), None):
            fix = "This is a fault of Tunesmith; please report it, with the table if you may."
            raise DataError(problem.message, fix=fix, path=folder / name)


def _write_notes(
    folder: Path,
    rows: pl.DataFrame,
    work: _Work,
    labels: list[dict[str, object]],
    review: pl.DataFrame | None,
) -> None:
    found = [json.dumps(asdict(f), ensure_ascii=False) + "\n" for f in work.journal.findings]
    try:
        receipt.write(rows, folder / "receipt.parquet")
        (folder / "findings.jsonl").write_text("".join(found), "utf-8")
        (folder / "labels.json").write_text(
            json.dumps(labels, ensure_ascii=False, indent=1), "utf-8"
        )
        (folder / "review.csv").unlink(missing_ok=True)
        if review is not None:
            (folder / "review.csv").write_text(review.write_csv(), "utf-8")
    except OSError as error:
        raise storage_error(error, folder) from None


def _label_notes(prepared: Prepared, spelled: Spelling) -> list[dict[str, object]]:
    return [
        {
            "label": label,
            "train": prepared.train_counts[label],
            "validation": prepared.validation_counts[label],
            "natural_share": prepared.natural_shares[label],
            "other_spellings": spelled.variants.get(label, ()),
        }
        for label in prepared.labels
    ]


def _examples(rows: pl.DataFrame, side: str) -> pl.DataFrame:
    """The examples (text, label) of one side of the split, in file order."""
    part = rows.filter(pl.col("split") == side)
    if part["copies"].max() == 1:
        return part
    return part.select(pl.col("text", "label").repeat_by("copies")).explode("text", "label")


def _label_counts(rows: pl.DataFrame) -> dict[str, int]:
    """Label → rows, the labels in alphabetical order."""
    return dict(rows["label"].value_counts().sort("label").iter_rows())
