"""prepare, for rows to score a model on that is there: labels as the model spells them, no row to
learn from.

Texts stay as they are: the model's endpoint cleans them as when it was trained. Rows that say the
same all count.
Does not know: files that are written, the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data.findings import Finding, counted, enumerated
from tunesmith.data.journal import Journal
from tunesmith.data.labels.spellings import spelling
from tunesmith.data.reading.table import Table
from tunesmith.data.receipt import KEPT, undecided
from tunesmith.data.texts.stored import Texts
from tunesmith.pipeline.preparing.classify import drop_gaps, vote
from tunesmith.pipeline.preparing.rows import Outcome, placed
from tunesmith.pipeline.preparing.texts import read_rows, settle_columns

_NAMED = 5  # labels in a sentence


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How labels may be spelled."""

    own: Sequence[str] = ()
    """Those of the model; where there are none, the table's are taken as they are."""
    others: Sequence[str] = ()
    """Those of models that are asked the same rows."""

    def reader(self, *, merge: bool) -> Callable[[str], str | None]:
        """What tells the label in a cell: the model's own spelling before others', None of none."""
        own, others = (
            spelling(pl.DataFrame({"label": list(some)}, {"label": pl.String}), merge=merge)
            for some in (self.own, self.others)
        )

        def read(cell: str) -> str | None:
            if cell.strip() in self.own:  # also one that looks like a gap
                return cell.strip()
            found = own.of(cell)
            return found if found in self.own else others.of(cell)

        return read


def prepare_held_out(
    config: PrepareConfig,
    tables: dict[str, Table],
    texts: Texts,
    journal: Journal,
    labels: Labels,
) -> Outcome:
    """Each row of the table as a text and a label to check with, or out, with the reason."""
    work = settle_columns(config, tables, texts, journal)
    journal.stage("cleaning")
    rows = read_rows(tables, work)
    journal.stage("labels")
    if not work.columns.votes:
        read = labels.reader(merge=config.merge_labels)
        rows = rows.with_columns(_read(rows[cell], read).alias(cell) for cell in work.cells)
    rows, review = vote(rows, work, labels.own)
    rows = drop_gaps(rows, work)
    live = undecided(rows, "row", "line", "label")
    if labels.own:
        journal.find(_unknown(live, labels.own))
    sides, copies = (pl.Series([one] * live.height) for one in ("validation", 1))
    rows = placed(rows, live["row"], sides, copies)
    return Outcome(
        rows=rows.with_columns(pl.col("fate").fill_null(KEPT)),
        texts=work.texts,
        task="classify",
        title=Path(config.table).name.partition(".")[0],
        files=[path.name for path in work.files.values()],
        cleaning=work.steps,
        mask=work.mask,
        review=review,
        votes=work.votes,
        sensitive=work.sensitive,
        settled=work.settled,
    )


def _read(cells: pl.Series, read: Callable[[str], str | None]) -> pl.Series:
    """`read` over a String column."""
    found = {cell: read(cell) for cell in cells.drop_nulls().unique()}
    if not found:
        return cells
    return cells.replace_strict(
        list(found), list(found.values()), default=None, return_dtype=pl.String
    )


def _unknown(rows: pl.DataFrame, labels: Sequence[str]) -> list[Finding]:
    """What the model can never answer (rows: line, label)."""
    odd = rows.filter(~pl.col("label").cast(pl.String).is_in(list(labels)))
    if odd.is_empty():
        return []
    names = odd["label"].cast(pl.String).unique().sort().to_list()
    some = enumerated(map(repr, names[:_NAMED])) + (" and others" if len(names) > _NAMED else "")
    number = counted(odd.height, "row has a label", "rows have labels")
    what = f"{number} that the model does not know: {some}."
    fix = "They count as wrong. Rename them in the table, or leave such rows out."
    return [Finding("warning", odd["line"][0], what, fix)]
