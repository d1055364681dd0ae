"""Conversations that training has cut, noted in the receipt of their rows.

Only training knows them: the model's own chat template decides how long a conversation is.
Does not know: how conversations are rendered.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import polars as pl

from tunesmith.pipeline.rundir import FOLDERS, RunDir, write_atomic

OWN_NOTE = r"^cut to [\d,]+ tokens, [\d,]+ lost$"


def note_cuts(run_dir: RunDir, facts: Mapping[str, Any]) -> None:
    """Write in receipt.parquet which training rows were cut, instead of what stood there of it.

    facts  of the training: `cut_rows`, pairs of a line of train.jsonl (from 1) and the tokens lost;
           `max_length`.
    """
    place = run_dir.path / FOLDERS["prepare"] / "receipt.parquet"
    rows = pl.read_parquet(place)
    limit = int(facts.get("max_length") or 0)
    lost = {int(line): int(tokens) for line, tokens in facts.get("cut_rows") or ()}
    trained = (rows["split"] == "train").fill_null(False)
    words = [
        f"cut to {limit:,} tokens, {n:,} lost" if n else None
        for n in (lost.get(line, 0) for line in range(1, int(trained.sum()) + 1))
    ]
    kept = rows["note"].str.replace(OWN_NOTE, "")
    notes = kept.scatter(trained.arg_true(), pl.Series(words, dtype=pl.String))
    table = io.BytesIO()
    rows.with_columns(notes.replace("", None).alias("note")).write_parquet(table)
    write_atomic(place, table.getvalue())
