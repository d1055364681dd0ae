"""The rows of a prepared table, each with its fate and side, and how they are written.

Does not know: how the fates came about.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data.chat.files import check, write_classification
from tunesmith.data.findings import Finding, counted
from tunesmith.data.journal import Journal
from tunesmith.data.labels.spellings import Spelling, encoding
from tunesmith.data.likeness import near
from tunesmith.data.receipt import summary
from tunesmith.data.sides import split
from tunesmith.data.texts.languages import shares
from tunesmith.data.texts.stored import Texts
from tunesmith.data.texts.tokens import Counted, Reader, of_rows, spread
from tunesmith.errors import DataError, storage_errors
from tunesmith.events import Decision
from tunesmith.pipeline.preparing.facts import (
    DataFacts,
    Duplicates,
    Lengths,
    Trained,
    Votes,
    example_rows,
    measure,
    measure_tokens,
    quoted_lines,
    trained,
)

SIDES = {"train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}
REVIEW = "review.csv"
STAGES = ("reading", "cleaning", "labels", "duplicates", "splitting", "writing")
TEMPLATE = 20
"""Texts that are all nearly alike beyond this number, or a hundredth of the rows if that is more,
are taken for a template that was filled in, not for duplicates; and so are more than half of all
rows, which could not be kept on one side."""

MOST_SEARCHED = 2_000_000
"""Rows among which near-duplicates are looked for without being asked."""
_SHOWN = 10_000  # characters of a text that the report may need
_FEW = 3  # rows of each kind that the report shows


@dataclass(kw_only=True)
class Outcome:
    """What became of the rows: `rows` has row, source, line, size (characters of the text), fate,
    note, split, copies and, for texts to classify, label and changed."""

    rows: pl.DataFrame
    texts: Texts
    task: str
    title: str
    files: Sequence[str]
    form: Literal["supervised", "dpo"] = "supervised"
    """The method whose rules the files keep: supervised or dpo."""
    completions: bool = False
    labelled: bool = True
    natural: Mapping[str, int] = field(default_factory=dict)
    """Label → rows before duplicates were merged and classes balanced."""
    weighted: bool = False
    soft: pl.DataFrame | None = None
    """row, label, lines: how often a training text stands there with each label (`votes.soft`)."""
    cleaning: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    spelled: Spelling | None = None
    review: pl.DataFrame | None = None
    duplicates: Duplicates | None = None
    votes: Votes | None = None
    sensitive: Mapping[str, int] | None = None
    counted: Counted | None = None
    """The texts to classify in tokens; None: no tokenizer is at hand."""
    tokenizer: Path | None = None
    """By which chat examples are counted; None: in characters."""
    settled: dict[str, Any] = field(default_factory=dict)
    """Settings as they were chosen."""
    settles: Mapping[str, str] = field(default_factory=dict)
    """What a decision is about → the setting it chose."""

    def counts(self, side: str) -> dict[str, int]:
        """Label → examples, the labels in alphabetical order; without labels all under one."""
        part = self.rows.lazy().filter(pl.col("split") == side)
        if not self.labelled:
            number = part.select(pl.len()).collect().item()
            return {"": number} if number else {}
        sums = part.group_by("label").agg(pl.col("copies").sum()).sort("label").collect()
        return dict(sums.iter_rows())

    def examples(self, side: str) -> Iterator[tuple[str, str]]:
        """(text, label, empty if there are none) of each example of one side, in file order."""
        names = ["label", "copies"] if self.labelled else [pl.lit("").alias("label"), "copies"]
        soft = self._soft() if side == "train" else None
        for start, piece in self.texts.pieces():
            known = self.rows.slice(start, piece.height)
            on_side = known.select((pl.col("split") == side).fill_null(False))["split"]
            part = known.filter(on_side).select("row", piece["text"].filter(on_side), *names)
            if soft is not None:
                part = part.drop("label", "copies").join(soft, on="row", maintain_order="left")
            if part["copies"].max() != 1:
                part = part.select(pl.col("text", "label").repeat_by("copies"))
                part = part.explode("text", "label")
            yield from zip(part["text"], part["label"], strict=True)

    def _soft(self) -> pl.DataFrame | None:
        """row, label, copies of the training rows: their votes for labels that win somewhere."""
        if self.soft is None:
            return None
        train = self.rows.lazy().filter(pl.col("split") == "train").collect()
        votes = self.soft.join(train.select("row"), on="row", how="semi")
        won = train.select("row", pl.col("label").cast(pl.String), lines=pl.col("copies"))
        known = votes.filter(pl.col("label").is_in(won["label"].unique().to_list()))
        rest = won.join(known, on="row", how="anti")
        return pl.concat([known, rest]).rename({"lines": "copies"}).sort("row", "label")

    def write_examples(self, path: Path, side: str) -> None:
        """Write one side's file, and check it as the server would. Raises: StorageError."""
        with storage_errors(path):
            if self.labelled:
                write_classification(path, self.examples(side))
            else:
                with path.open("w", encoding="utf-8", newline="\n") as file:
                    file.writelines(f"{line}\n" for line, _ in self.examples(side))
        param = "training_file" if side == "train" else "validation_file"
        problem = next(check(path, self.form, param, completions=self.completions), None)
        if problem:
            fix = "This is a fault of Tunesmith; please report it, with the table if you may."
            raise DataError(problem.message, fix=fix, path=path)

    def label_notes(self) -> list[dict[str, object]]:
        """What labels.json says of each label."""
        if not self.labelled or self.spelled is None:
            return []
        train, validation = self.counts("train"), self.counts("validation")
        total = sum(self.natural[label] for label in train)
        ids = encoding(train)
        return [
            {
                "label": label,
                "id": ids[label],
                "train": train[label],
                "validation": validation.get(label, 0),
                "natural_share": self.natural[label] / total,
                "other_spellings": self.spelled.variants.get(label, ()),
                "merged": self.spelled.renamed.get(label, ()),
            }
            for label in train
        ]

    def count_tokens(self, reader: Reader) -> Decision:
        """Count the texts that are used, and note the rows to classify that are cut.

        Which chat examples are cut, training tells: there the chat template counts too.
        """
        if not self.labelled:
            self.tokenizer = reader.tokenizer
            value = f"counted by the tokenizer of {reader.name}"
            why = f"at most {reader.limit:,} tokens of an example are read; training tells of cuts"
            return Decision(what="length", value=value, reason=why)
        used = self.rows.lazy().filter(pl.col("split").is_not_null()).select("row").collect()
        pieces = ((start, piece["text"]) for start, piece in self.texts.pieces())
        self.counted = of_rows(used["row"], reader, pieces, self._texts_of)
        self.rows = self.counted.noted(self.rows)
        return self.counted.decision

    def _texts_of(self, rows: pl.Series) -> pl.Series:
        return self.texts.of_rows(rows)["text"]

    def _lengths(self, sizes: pl.Series) -> Lengths | None:
        if self.counted:
            return measure_tokens(self.counted, self.rows, self._texts_of)
        return measure(sizes)

    def _trained(self, used: pl.DataFrame) -> Trained:
        few = used[spread(used.height)]
        return trained(
            few.with_columns(self._texts_of(few["row"])),
            num_examples=used.height,
            tokenizer=self.tokenizer,
        )

    def facts(self, journal: Journal) -> DataFacts:
        """What the report shows."""
        rows, today, findings = self.rows, datetime.date.today(), journal.findings
        table = rows.filter(pl.col("source") == "table")
        is_used = pl.col("split").is_not_null()
        used = rows.lazy().filter(is_used).select("row", "line", "size").collect()
        taught = None if self.labelled else self._trained(used)
        counts = {side: self.counts(side) for side in SIDES}
        balance = [d.value for d in journal.decisions if d.what == "balance"]
        by_label = counts if self.labelled else dict.fromkeys(SIDES, {})
        return DataFacts(
            title=self.title,
            files=self.files,
            date=f"{today.day} {today:%B %Y}",
            num_rows=rows.height,
            fates=summary(rows),
            examples=example_rows(self._few_of_each_fate()),
            num_train=sum(counts["train"].values()),
            num_validation=sum(counts["validation"].values()),
            num_test=sum(counts["test"].values()),
            before=self.natural,
            train=by_label["train"],
            validation=by_label["validation"],
            test=by_label["test"],
            balance=balance[0] if balance else "",
            trained=taught,
            lengths=taught.lengths if taught else self._lengths(used["size"]),
            languages=shares(self._texts_of(used["row"].gather(spread(used.height)))),
            duplicates=self.duplicates,
            votes=self.votes,
            sensitive=self.sensitive,
            masked=bool(self.mask),
            decisions=journal.decisions,
            findings=findings,
            quotes=quoted_lines(self._named(table, findings), findings),
        )

    def _few_of_each_fate(self) -> pl.DataFrame:
        """The first rows of each fate, changed by cleaning and not, with their texts."""
        fates = self.rows["fate"]
        changed = self.rows.get_column("changed", default=fates.is_null())
        places: list[int] = []
        for fate in fates.unique():
            for kind in (changed, ~changed):
                places.extend(((fates == fate) & kind).arg_true().head(_FEW))
        few = self.rows[sorted(places)]
        found = self.texts.of_rows(few["row"]).with_columns(pl.coalesce("raw", "text").alias("raw"))
        return few.with_columns(found.select(pl.col("text", "raw").str.head(_SHOWN)))

    def _named(self, table: pl.DataFrame, findings: Sequence[Finding]) -> pl.DataFrame:
        """The rows (line, text) that findings name."""
        lines = {f.line for f in findings if f.line is not None}
        named = table.select("row", "line").filter(pl.col("line").is_in(lines))
        return named.with_columns(self.texts.of_rows(named["row"])["text"].str.head(_SHOWN))


def near_threshold(config: PrepareConfig, num_rows: int) -> float:
    """The share of words from which texts are near-duplicates; 0 where none are looked for."""
    if config.near_duplicates is not None:
        return config.near_duplicates
    return near.THRESHOLD if num_rows <= MOST_SEARCHED else 0.0


def unsearched(config: PrepareConfig, num_rows: int) -> list[Decision]:
    """What to say where near-duplicates are not looked for without having been asked."""
    if config.near_duplicates is not None or num_rows <= MOST_SEARCHED:
        return []
    why = f"over {MOST_SEARCHED:,} rows that takes minutes and 1 GB for each million of them; "
    why += f"--near-duplicates {near.THRESHOLD:g} asks for it"
    return [Decision(what="near-duplicates", value="not looked for", reason=why)]


def placed(
    rows: pl.DataFrame, live: pl.Series, sides: pl.Series, copies: pl.Series
) -> pl.DataFrame:
    """All rows with `split` and `copies`; null but on the rows `live`, given by their numbers."""
    none = pl.repeat(None, rows.height, dtype=split.SIDE, eager=True)
    zero = pl.repeat(None, rows.height, dtype=pl.UInt32, eager=True)
    return rows.with_columns(
        none.scatter(live, sides.cast(split.SIDE)).alias("split"),
        zero.scatter(live, copies.cast(pl.UInt32)).alias("copies"),
    )


def near_groups(texts: pl.Series, threshold: float, seed: int) -> tuple[pl.Series, list[Finding]]:
    """For each text the group of near-duplicates it is in, null where it is alone; and what to tell
    of texts that are too many to be duplicates of each other."""
    group = near.groups(texts, threshold=threshold, seed=seed)
    frame = group.alias("group").to_frame().with_columns(pl.len().over("group").alias("size"))
    most = min(max(TEMPLATE, len(texts) // 100), max(len(texts) // 2, 1))
    alike = frame.filter(pl.col("size") > most)
    findings = []
    if alike.height:
        number = counted(alike.height, "text is", "texts are")
        groups = counted(alike["group"].n_unique(), "group")
        what = f"{number} nearly alike, in {groups} of more than {most}, as if from a template."
        fix = "They are not kept on one side of the split; the score may flatter."
        findings.append(Finding("warning", None, what, fix))
    kept = pl.when((pl.col("size") > 1) & (pl.col("size") <= most)).then("group")
    return frame.select(kept.alias("group"))["group"], findings


def split_rows(
    live: pl.DataFrame,
    asked: str,
    *,
    seed: int,
    groups: pl.Series,
    time: pl.Series | None,
    journal: Journal,
) -> tuple[pl.Series, int]:
    """The side of each row (line, text, label), and how many held-out rows would have had a
    near-duplicate among the training rows without the groups.

    Raises: DataError where a side would be left without a row.
    """
    wanted = split.shares(asked)
    bound = groups if groups.null_count() < len(groups) else None
    found = split.assign(live, wanted, seed=seed, groups=bound, time=time)
    plain = found if bound is None else split.assign(live, wanted, seed=seed, time=time)
    leaks = split.would_have_leaked(groups, plain.sides)
    journal.find(found.findings)
    numbers = [int((found.sides == side).sum()) for side in list(SIDES)[: len(wanted)]]
    words = (" to learn from", " to check with", " for the final test")
    if live.height >= len(wanted) and (
        bare := [w for n, w in zip(numbers, words, strict=False) if not n]
    ):
        raise DataError(
            f"The split leaves no rows{bare[0]}: rows that belong together stay on one side, and "
            "these are in too few groups.",
            fix="Name a finer column with --group, give rows to check with of their own "
            "(--validation FILE), let rows that are alike be divided (--near-duplicates 0), or "
            "add rows.",
        )
    value = ", ".join(f"{n:,}{w}" for n, w in zip(numbers, words, strict=False))
    how = "the newest rows held out" if time is not None else "each label in the same proportion"
    has_labels = live["label"].n_unique() > 1
    why = f"{asked}, {how}" if has_labels or time is not None else asked
    why += "" if time is not None else f", drawn with seed {seed}"
    if bound is not None:
        why += "; rows that belong together stay on one side"
        if leaks:
            why += f" ({counted(leaks, 'held-out row')} would have leaked)"
    journal.decide([Decision(what="split", value=value, reason=why)])
    return found.sides, leaks
