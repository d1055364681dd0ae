"""prepare, for chat data: rows that hold conversations, prompts and answers, or pairs of answers.

Texts are left as they are: spaces and markup mean something in code and in answers.
Does not know: labels, votes, balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data.chat.examples import examples
from tunesmith.data.chat.files import FEWEST_EXAMPLES
from tunesmith.data.chat.shapes import Shape
from tunesmith.data.findings import counted
from tunesmith.data.journal import Journal
from tunesmith.data.reading.table import Table
from tunesmith.data.receipt import KEPT, Step, of_source, summary, undecided
from tunesmith.data.texts.stored import Texts
from tunesmith.errors import DataError
from tunesmith.events import Decision
from tunesmith.pipeline.preparing.facts import Duplicates
from tunesmith.pipeline.preparing.rows import (
    Outcome,
    near_groups,
    near_threshold,
    placed,
    split_rows,
    unsearched,
)

MERGED = "merged: the same as an earlier row"


def prepare_chat(
    config: PrepareConfig, tables: Mapping[str, Table], shape: Shape, journal: Journal
) -> Outcome:
    """Each row as one line of a chat file, on one side of the split."""
    journal.stage("cleaning")
    rows = pl.concat([_rows(t, source, shape, journal) for source, t in tables.items()])
    rows = rows.with_row_index("row")
    journal.stage("duplicates")
    rows = journal.take(rows, _same(undecided(rows)))
    threshold = near_threshold(config, rows.height)
    journal.decide(unsearched(config, rows.height))
    journal.stage("splitting")
    live = undecided(rows).with_columns(pl.lit("").alias("label"))
    if "validation" in tables:
        held = pl.when(pl.col("source") == "validation").then(pl.lit("validation"))
        sides = live.select(held.otherwise(pl.lit("train")).alias("split"))["split"]
        leaks, near = 0, None
    else:
        groups, near = pl.repeat(None, live.height, dtype=pl.UInt32, eager=True), None
        if threshold:
            groups, findings = near_groups(live["text"], threshold, config.seed)
            journal.find(findings)
            near = len(groups) - groups.null_count()
        sides, leaks = split_rows(
            live, config.split, seed=config.seed, groups=groups, time=None, journal=journal
        )
    num_train = int((sides == "train").sum())
    if num_train < FEWEST_EXAMPLES:
        fates = ", ".join(f"{number:,} {fate}" for fate, number in summary(rows).items() if fate)
        raise DataError(
            f"{counted(live.height, 'row')} can be used, which leaves {num_train} to learn from; "
            f"at least {FEWEST_EXAMPLES} are needed{': ' if fates else ''}{fates}.",
            fix="Add rows.",
            path=tables["table"].path,
        )
    rows = placed(rows, live["row"], sides, pl.repeat(1, live.height, eager=True))
    return Outcome(
        rows=rows.drop("text").with_columns(pl.col("fate").fill_null(KEPT)),
        texts=Texts.of(rows["text"]),
        task=shape.kind if shape.kind != "text" else "chat",
        title=Path(config.table).name.partition(".")[0],
        files=[table.path.name for table in tables.values()],
        form="dpo" if shape.kind == "preference" else "supervised",
        completions=shape.kind == "text",
        labelled=False,
        duplicates=Duplicates(
            exact=int((rows["fate"] == MERGED).sum()),
            near=near,
            threshold=threshold or None,
            would_have_leaked=leaks,
        ),
        settled={"task": "chat"},
        settles={"shape": "task"},
    )


def _rows(table: Table, source: str, shape: Shape, journal: Journal) -> pl.DataFrame:
    lines, findings, fates = examples(table, shape)
    journal.find(findings, "" if source == "table" else f"In {table.path.name}: ")
    return pl.DataFrame(
        {
            "source": pl.repeat(source, len(lines), dtype=pl.String, eager=True),
            "line": table.lines,
            "text": lines,
            "size": lines.str.len_chars(),
            "fate": fates,
            "note": pl.repeat(None, len(lines), dtype=pl.String, eager=True),
        }
    )


def _same(rows: pl.DataFrame) -> Step:
    """Takes out rows that give the same example as an earlier one; validation rows all stay."""
    validation = of_source(rows, "validation").select("text", pl.lit(True).alias("held_out"))
    table = of_source(rows, "table").join(
        validation.unique("text"), on="text", how="left", maintain_order="left"
    )
    again = table.filter(pl.col("held_out").is_not_null() | ~pl.col("text").is_first_distinct())
    decisions: tuple[Decision, ...] = ()
    if again.height:
        value = f"{counted(again.height, 'row')} left out"
        why = "they give the same example as an earlier row or a validation row"
        decisions = (Decision(what="duplicates", value=value, reason=why),)
    verdicts = again.select(
        "row", pl.lit(MERGED).alias("fate"), pl.lit(None, dtype=pl.String).alias("note")
    )
    return Step(verdicts=verdicts, decisions=decisions)
