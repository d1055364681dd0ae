"""prepare: from the user's table to training and validation examples, every row accounted for.

Reads the table and, if there is one, the validation table; sees whether texts are to be classified
or answered; has the rows made examples (`prepare_classify`, `prepare_chat`); writes the files.
Does not know: any provider, or what a model does with the examples.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl

from tunesmith import providers, settings
from tunesmith.catalog import DEFAULT
from tunesmith.config import PrepareConfig, RunConfig, to_toml
from tunesmith.data import receipt
from tunesmith.data.chat.files import read_classification
from tunesmith.data.chat.shapes import Shape, recognise
from tunesmith.data.columns.choice import check_header
from tunesmith.data.journal import Journal
from tunesmith.data.reading.content import files_of, is_url, require_file
from tunesmith.data.reading.readers import read
from tunesmith.data.reading.table import Table, complete
from tunesmith.data.sides.split import shares
from tunesmith.data.texts import tokens
from tunesmith.data.texts.stored import Texts
from tunesmith.errors import ConfigError, DataError, RequestError, storage_errors
from tunesmith.events import Decision, Event
from tunesmith.pipeline import spending
from tunesmith.pipeline.base import is_causal
from tunesmith.pipeline.preparing.chat import prepare_chat
from tunesmith.pipeline.preparing.classify import prepare_classify
from tunesmith.pipeline.preparing.held_out import Labels, prepare_held_out
from tunesmith.pipeline.preparing.report import write_data_report
from tunesmith.pipeline.preparing.rows import REVIEW, SIDES, STAGES, Outcome
from tunesmith.pipeline.results import Prepared
from tunesmith.pipeline.rundir import FOLDERS, RESULT, RunDir, digest, file_digest

_STORED = 200  # findings in the result
HELD_OUT_STAGES = ("reading", "cleaning", "labels", "writing")

Report = Callable[[Event], None]


def prepare(
    config: PrepareConfig,
    run_dir: RunDir,
    report: Report,
    *,
    base_model: str | None = None,
    max_length: int | None = None,
    can_weigh: bool = True,
) -> Prepared:
    """Turn the table into chat files of training, validation and, if asked, test examples.

    base_model, max_length  of the training that follows: whose tokens are counted, and where texts
                            will be cut. Without one, texts to classify are for the default.
    can_weigh  whether whoever trains can weigh labels in the loss.

    Does nothing when table and settings are those of the result that is there.
    Raises: NotFound, DataError, ConfigError for what the user has to change; StorageError.
    """
    _check(config)
    inputs = _inputs(config, base_model or DEFAULT, max_length)
    if not can_weigh:
        inputs = digest(inputs, "labels are not weighed")
    folder = run_dir.folder("prepare")
    there = all((folder / file).is_file() for side, file in SIDES.items() if side != "test")
    if there and (earlier := run_dir.load("prepare", Prepared, inputs)):
        return earlier
    # A start that is broken off half-way must not look like the earlier, finished one.
    (folder / RESULT).unlink(missing_ok=True)
    where = f"{FOLDERS['prepare']}/findings.jsonl"
    journal = Journal(report=report, where=where, stages=STAGES)

    journal.stage("reading")
    tables = _read(config, journal)
    shape = _shape(config, tables, journal)
    with _room(folder) as room:
        if shape is None:
            base_model = base_model or DEFAULT
            weighs = can_weigh and not is_causal(base_model)
            outcome = prepare_classify(config, tables, Texts(room), journal, weighs=weighs)
        else:
            outcome = prepare_chat(config, tables, shape, journal)
        if base_model:
            journal.decide([_counted(outcome, base_model, max_length)])
        journal.stage("writing")
        prepared = _result(config, outcome, journal)
        _write(folder, outcome, journal, config)
        write_data_report(folder / "report.html", outcome.facts(journal))
    journal.close()
    settled = replace(config, **outcome.settled)
    reasons = {
        outcome.settles[d.what]: d.reason for d in journal.decisions if d.what in outcome.settles
    }
    run_dir.save("prepare", prepared, inputs, to_toml(settled, reasons))
    return prepared


def prepare_for(config: RunConfig, run_dir: RunDir, report: Report) -> Prepared:
    """`prepare` for the training that a run asks for, with what that will cost."""
    can = providers.foreseen(config.provider, settings.load())
    prepared = prepare(
        config.prepare,
        run_dir,
        report,
        base_model=config.train.base_model,
        max_length=config.train.max_length,
        can_weigh=can is None or can.options,
    )
    cost = spending.estimate(config, prepared, run_dir, can) if can else None
    if cost != prepared.estimate:
        prepared = replace(prepared, estimate=cost)
        run_dir.amend("prepare", prepared)
        for sentence in spending.sentences(cost) if cost else ():
            report(Event(kind="note", message=sentence))
    return prepared


def hold_out(config: PrepareConfig, run_dir: RunDir, report: Report, *, labels: Labels) -> Prepared:
    """Turn the table into examples to score a model on that is there; none to learn from.

    Does nothing when table, settings and labels are those of the result that is there.
    Raises: as `prepare` does.
    """
    inputs = digest(_inputs(config, DEFAULT, None), "hold out", labels)
    folder = run_dir.folder("prepare")
    if earlier := run_dir.load("prepare", Prepared, inputs):
        return earlier
    (folder / RESULT).unlink(missing_ok=True)
    where = f"{FOLDERS['prepare']}/findings.jsonl"
    journal = Journal(report=report, where=where, stages=HELD_OUT_STAGES)
    journal.stage("reading")
    tables = _read(config, journal)
    if "messages" in tables["table"].columns.columns:
        tables["table"] = _as_table(tables["table"].path)
    with _room(folder) as room:
        outcome = prepare_held_out(config, tables, Texts(room), journal, labels)
        journal.stage("writing")
        counts = outcome.counts("validation")
        known = tuple(sorted({*labels.own, *counts}))
        num_rows = sum(counts.values())
        prepared = replace(
            _result(config, outcome, journal),
            train="",
            labels=known,
            validation_counts={label: counts.get(label, 0) for label in known},
            natural_shares={label: counts.get(label, 0) / num_rows for label in known},
        )
        _write(folder, outcome, journal, config)
    journal.close()
    run_dir.save("prepare", prepared, inputs, to_toml(replace(config, **outcome.settled)))
    return prepared


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    """A folder for what does not fit into memory, gone in the end. Disk errors are raised as such;
    what a killed process left is removed too."""
    room = folder / "texts"
    shutil.rmtree(room, ignore_errors=True)
    try:
        with storage_errors(room):
            yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _check(config: PrepareConfig) -> None:
    """What can be refused before anything is read."""
    if len(shares(config.split)) == 3 and config.validation:
        raise ConfigError(
            f"The split is {config.split!r}, but the validation rows come from a file.",
            fix="Leave out --validation, or give two shares.",
        )
    if not 0 <= (config.near_duplicates or 0) <= 1:
        raise ConfigError(
            f"near_duplicates is {config.near_duplicates:g}.",
            fix="Give the share of words from 0 to 1, such as 0.8; 0 turns the search off.",
        )


def _inputs(config: PrepareConfig, base_model: str, max_length: int | None) -> str:
    """Changes when a setting or the content of a table does."""
    if not config.table:
        raise ConfigError("No table is given.", fix="Name one: CSV, Excel, JSON, Parquet, …")
    sources = [name for name in (config.table, config.validation, config.review) if name]
    for source in sources:
        require_file(_source(source))
    files = [file_digest(path) for name in sources for path in _files(name)]
    return digest(config, files, base_model, max_length)


def _source(name: str) -> Path | str:
    return name if is_url(name) else Path(name)


def _files(name: str) -> tuple[Path, ...]:
    return files_of(_source(name))


def _read(config: PrepareConfig, journal: Journal) -> dict[str, Table]:
    """The tables by source: table and, if given, validation."""
    given = {"table": config.table, "validation": config.validation}
    tables: dict[str, Table] = {}
    for source, name in given.items():
        if name:
            table = read(_source(name), encoding=config.encoding, sheet=config.sheet)
            prefix, place = ("validation ", f"In {table.path.name}: ") if tables else ("", "")
            journal.decide(table.decisions, prefix)
            journal.find(table.findings, place)
            tables[source] = table
    return tables


def _as_table(path: Path) -> Table:
    """A file of chat examples whose answers are labels, as a table of them."""
    texts, labels = read_classification(path)
    columns = pl.DataFrame({"text": texts, "label": labels})
    return complete(path, columns, decisions=(), nested=())


def _shape(config: PrepareConfig, tables: Mapping[str, Table], journal: Journal) -> Shape | None:
    """The shape of chat data, or None for a table of texts to classify."""
    named = (config.text, config.label, *config.annotators, *config.votes)
    if config.task == "classify" or (config.task == "auto" and any(named)):
        return None
    table = tables["table"]
    shape = recognise(table)
    if shape is None:
        if config.task == "chat":
            raise DataError(
                "The table has none of the known shapes of chat data.",
                fix="Give messages, prompt and completion, conversations, or chosen and rejected.",
                path=table.path,
            )
        check_header(table, named)
        return None
    journal.decide([Decision(what="shape", value=shape.name, reason=shape.reason)])
    other = tables.get("validation")
    its = recognise(other) if other else None
    if other and (its is None or its.kind != shape.kind):
        found = f"holds {its.name}" if its else "has no shape of chat data"
        raise DataError(
            f"The validation file {found}, the table {shape.name}.",
            fix="Give both the same columns.",
            path=other.path,
        )
    return shape


def _counted(outcome: Outcome, base_model: str, max_length: int | None) -> Decision:
    """How long the texts are in tokens, or why nobody can tell here."""
    try:
        reader = tokens.reader(base_model, max_length)
    except RequestError as error:
        return tokens.uncounted(error)
    return outcome.count_tokens(reader)


def _result(config: PrepareConfig, outcome: Outcome, journal: Journal) -> Prepared:
    counts = {side: outcome.counts(side) for side in SIDES}
    labels = tuple(counts["train"]) if outcome.labelled else ()
    total = sum(outcome.natural[label] for label in labels)
    return Prepared(
        task=outcome.task,
        files=dict(zip(("table", "validation"), outcome.files, strict=False)),
        name=Path(config.table).name.partition(".")[0],
        train=f"{FOLDERS['prepare']}/{SIDES['train']}",
        validation=f"{FOLDERS['prepare']}/{SIDES['validation']}",
        test=f"{FOLDERS['prepare']}/{SIDES['test']}" if counts["test"] else None,
        num_rows=outcome.rows.height,
        num_train=sum(counts["train"].values()),
        num_validation=sum(counts["validation"].values()),
        num_test=sum(counts["test"].values()),
        fates=receipt.summary(outcome.rows),
        labels=labels,
        train_counts={label: counts["train"][label] for label in labels},
        validation_counts={label: counts["validation"].get(label, 0) for label in labels},
        natural_shares={label: outcome.natural[label] / total for label in labels},
        class_weights="balanced" if outcome.weighted else "none",
        soft_labels=outcome.soft is not None,
        completions=outcome.completions,
        cleaning=outcome.cleaning,
        mask=outcome.mask,
        decisions=tuple(journal.decisions),
        findings=tuple(journal.findings[:_STORED]),
    )


def _write(folder: Path, outcome: Outcome, journal: Journal, config: PrepareConfig) -> None:
    for side, name in SIDES.items():
        if side == "validation" or outcome.counts(side):
            outcome.write_examples(folder / name, side)
        else:
            (folder / name).unlink(missing_ok=True)
    found = [json.dumps(asdict(f), ensure_ascii=False) + "\n" for f in journal.findings]
    with storage_errors(folder):
        receipt.write(outcome.rows, folder / "receipt.parquet")
        (folder / "findings.jsonl").write_text("".join(found), "utf-8")
        notes = json.dumps(outcome.label_notes(), ensure_ascii=False, indent=1)
        (folder / "labels.json").write_text(notes, "utf-8")
        review = folder / REVIEW
        # A review that was filled in here and given back must not be lost.
        if not (config.review and review.exists() and review.samefile(config.review)):
            review.unlink(missing_ok=True)
            if outcome.review is not None:
                review.write_text(outcome.review.write_csv(), "utf-8")
