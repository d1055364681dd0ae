"""What holds for any table that `prepare` takes: rows, lines, labels, groups, balance, order."""

import csv
import io
import json
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.config import PrepareConfig
from tunesmith.data.chat.files import read_classification
from tunesmith.data.likeness.fingerprints import keys
from tunesmith.data.likeness.near import THRESHOLD, groups
from tunesmith.data.texts.cleaning import clean
from tunesmith.errors import DataError
from tunesmith.pipeline.prepare import prepare
from tunesmith.pipeline.preparing.rows import TEMPLATE
from tunesmith.pipeline.results import Prepared
from tunesmith.pipeline.rundir import RunDir

Row = tuple[str | None, str | None, str | None]
"""Text, label, group."""

WORDS = (
    "lamp", "oven", "mill", "pump", "door", "kettle", "scale", "café", "дом", "机器", "straße",
    "naïve", "İstanbul", "привет", "部屋", "🔧", "broken", "again", "please", "today", "number",
    "under", "without", "signal",
)  # fmt: skip
SPELLINGS = ("Red", "red", " RED ", "r ed", "Blue", "blue", "Grün", "GRÜN", "1", "01", "1.0", "2")
NO_LABELS = (None, "", " ", "N/A", "null", "-")


def sentence(number: int) -> str:
    """One of many; two of them share hardly any words."""
    draw = random.Random(number)
    return f"{' '.join(draw.sample(WORDS, 5))} {number}"


CHANGES = (
    str,
    str.upper,
    str.title,
    lambda text: f"  {text}!! ",
    lambda text: text.replace(" ", "\n", 1),
    lambda text: text.replace(" ", "  "),
    lambda text: f"<p>{text}</p>",
    lambda text: f"{text}, thanks",
    lambda text: f"so {text} and so",
    lambda text: f'"{text}", he said; {text}',
)
letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t")
texts = st.one_of(
    st.builds(
        lambda number, change: change(sentence(number)),
        st.integers(0, 30),
        st.sampled_from(CHANGES),
    ),
    st.text(letters, max_size=12),
    st.sampled_from([None, "", " ", "\n", "?!", "<br>"]),
)
labels = st.sampled_from([*SPELLINGS, *SPELLINGS, *NO_LABELS])
some_groups = st.sampled_from([None, "", "g1", "g2", "g3", "g4", "G1"])
rows = st.lists(st.tuples(texts, labels, some_groups), max_size=50)
forms = st.sampled_from(["csv", "jsonl", "parquet"])


def enough() -> list[Row]:
    """Rows that make any table one that can be used: three labels, fifteen texts of each."""
    return [(sentence(100 + i), ("Red", "Blue", "2")[i % 3], None) for i in range(45)]


@dataclass
class Done:
    """What prepare made of rows."""

    rows: list[Row]
    lines: list[int]
    """The line on which each row was written."""
    prepared: Prepared
    receipt: pl.DataFrame
    notes: list[dict[str, Any]]
    """labels.json."""
    examples: dict[str, list[tuple[str, str]]]

    @cached_property
    def texts(self) -> list[str | None]:
        """The text of each row, clean."""
        assert self.prepared.cleaning is not None
        raw = pl.Series([text for text, _, _ in self.rows], dtype=pl.String)
        return clean(raw, self.prepared.cleaning)[0].to_list()

    @property
    def sides(self) -> list[str | None]:
        return self.receipt["split"].to_list()

    @property
    def label_of(self) -> dict[str, str]:
        """Each spelling → its label, by labels.json."""
        return {
            spelling: note["label"]
            for note in self.notes
            for spelling in (note["label"], *note["other_spellings"])
        }

    @property
    def side_of_text(self) -> dict[int, str]:
        """The key of each text that is used → its side."""
        kept = list(self.kept())
        found = keys(pl.DataFrame({"text": [self.texts[i] for i, _ in kept]}))
        return dict(zip(found, (side for _, side in kept), strict=True))

    def kept(self) -> Iterator[tuple[int, str]]:
        """Index and side of the rows that are used."""
        return ((i, side) for i, side in enumerate(self.sides) if side is not None)


def write(table: list[Row], form: str, path: Path) -> list[int]:
    """Write the table, and say on which line each row starts."""
    names = ("text", "label", "group")
    if form == "parquet":
        columns = {name: [row[i] for row in table] for i, name in enumerate(names)}
        pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String)).write_parquet(path)
        return list(range(1, len(table) + 1))
    lines, written = [], [",".join(names) + "\n"] if form == "csv" else []
    line = 1 + len(written)
    for row in table:
        if form == "csv":
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerow(row)
            record = out.getvalue()
        else:
            whole = not lines  # the first row names every column
            values = {n: v for n, v in zip(names, row, strict=True) if whole or v is not None}
            record = json.dumps(values, ensure_ascii=len(lines) % 2 == 0) + "\n"
        lines.append(line)
        line += record.count("\n")
        written.append(record)
    path.write_text("".join(written), encoding="utf-8", newline="\n")
    return lines


def do(folder: Path, table: list[Row], form: str = "jsonl", **asked: Any) -> Done:
    """Prepare the table in a folder of its own, which is gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / f"table.{form}"
    lines = write(table, form, path)
    config = PrepareConfig(table=str(path), text="text", label="label", rare_labels="drop", **asked)
    prepared = prepare(config, RunDir(folder / "run"), lambda event: None)
    made = folder / "run" / "01-prepare"
    examples = {}
    for side in ("train", "validation", "test"):
        if (made / f"{side}.jsonl").exists():
            said, answers = read_classification(made / f"{side}.jsonl")
            examples[side] = list(zip(said, answers, strict=True))
    return Done(
        rows=table,
        lines=lines,
        prepared=prepared,
        receipt=pl.read_parquet(made / "receipt.parquet"),
        notes=json.loads((made / "labels.json").read_text()),
        examples=examples,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties") / "one"


def examples(number: int) -> settings:
    return settings(max_examples=number, deadline=None, derandomize=True)


@examples(50)
@given(
    varied=rows,
    form=forms,
    split=st.sampled_from(["80/20", "80/10/10", "60/40"]),
    near=st.sampled_from([None, 0.0]),
    merge=st.booleans(),
)
def test_every_row_is_accounted_for(
    folder: Path, varied: list[Row], form: str, split: str, near: float | None, merge: bool
) -> None:
    table = shuffled(varied + enough(), 0)
    asked = {"split": split, "near_duplicates": near, "merge_labels": merge}
    done = do(folder, table, form, balance="none", **asked)
    prepared, receipt = done.prepared, done.receipt

    assert receipt.height == prepared.num_rows == len(table)
    assert receipt["line"].to_list() == done.lines
    assert dict(receipt["fate"].value_counts().iter_rows()) == prepared.fates
    assert (receipt["fate"] == "kept").to_list() == receipt["split"].is_not_null().to_list()
    used = prepared.num_train + prepared.num_validation + prepared.num_test
    out = sum(n for fate, n in prepared.fates.items() if fate.startswith(("dropped", "merged")))
    assert used + out == len(table)
    assert prepared.fates["kept"] == used

    expected: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for index, side in done.kept():
        text, label = done.texts[index], table[index][1]
        assert text and label
        expected[side].append((text, done.label_of[tidy(label)]))
    assert done.examples == {side: expected[side] for side in done.examples}
    assert set(expected) <= set(done.examples)


@examples(25)
@given(varied=rows, form=forms, merge=st.booleans())
def test_labels_are_told_with_all_their_spellings(
    folder: Path, varied: list[Row], form: str, merge: bool
) -> None:
    done = do(folder, varied + enough(), form, merge_labels=merge, balance="none")
    names = [note["label"] for note in done.notes]
    assert names == sorted(names) == list(done.prepared.labels)
    assert [note["id"] for note in done.notes] == list(range(len(names)))
    assert {note["label"]: note["train"] for note in done.notes} == done.prepared.train_counts
    assert sum(note["natural_share"] for note in done.notes) == pytest.approx(1)
    spellings = [s for note in done.notes for s in (note["label"], *note["other_spellings"])]
    assert len(set(spellings)) == len(spellings)
    assert merge or not any(note["other_spellings"] for note in done.notes)
    written = {tidy(label) for _, label, _ in done.rows if label}
    assert set(spellings) <= written
    folds = {folded(note["label"]) if merge else note["label"] for note in done.notes}
    assert len(folds) == len(names)
    assert all(not merge or folded(s) == folded(name) for s, name in done.label_of.items())


@examples(40)
@given(varied=rows, near=st.sampled_from([None, 0.0]), with_groups=st.booleans())
def test_what_belongs_together_is_on_one_side(
    folder: Path, varied: list[Row], near: float | None, with_groups: bool
) -> None:
    asked = {"group": "group"} if with_groups else {}
    done = do(folder, shuffled(varied + enough(), 1), near_duplicates=near, balance="none", **asked)
    kept = list(done.kept())
    of_group: dict[str | None, set[str]] = defaultdict(set)
    for index, side in kept:
        of_group[done.rows[index][2]].add(side)
    if with_groups:
        assert all(len(found) == 1 for name, found in of_group.items() if name)
    if near is None:
        alike = groups(pl.Series([done.texts[index] for index, _ in kept]), threshold=THRESHOLD)
        sides: dict[int, list[str]] = defaultdict(list)
        for number, (_, side) in zip(alike, kept, strict=True):
            sides[number].append(side)
        assert all(len(set(s)) == 1 for s in sides.values() if len(s) <= TEMPLATE)


@examples(40)
@given(varied=rows, balance=st.sampled_from(["auto", "smallest", "repeat", "weight", "none"]))
def test_balance(folder: Path, varied: list[Row], balance: str) -> None:
    from torch import tensor

    from tunesmith.training.classify.examples import class_weights

    try:
        done = do(folder, varied + enough(), balance=balance, near_duplicates=0.0)
    except DataError as error:
        assert balance == "smallest"
        assert "to learn from" in str(error)
        return
    train = Counter(label for _, label in done.examples["train"])
    assert train == done.prepared.train_counts
    both = train + Counter(label for _, label in done.examples["validation"])
    if balance == "repeat":
        assert len(set(train.values())) == 1
        rows_used = Counter(done.sides)["train"]
        assert len({text for text, _ in done.examples["train"]}) == rows_used <= train.total()
    if balance == "smallest":
        assert len(set(both.values())) == 1
        assert max(train.values()) - min(train.values()) <= 1
    names = list(done.prepared.labels)
    numbers = tensor([names.index(label) for _, label in done.examples["train"]])
    weighted = done.prepared.class_weights == "balanced"
    weights = class_weights(numbers, len(names), balanced=weighted).tolist()
    sums = [weight * train[name] for name, weight in zip(names, weights, strict=True)]
    if balance == "weight":
        assert weighted
        assert sums == pytest.approx([train.total() / len(names)] * len(names))
    elif balance != "auto":
        assert weights == [1] * len(names)


plain_labels = st.sampled_from(["Red", "Blue", "Grün", "2", "3", None, "N/A"])
plain_rows = st.lists(st.tuples(texts, plain_labels, st.none()), max_size=50)


@examples(25)
@given(varied=plain_rows, seed=st.integers(1, 1_000), split=st.sampled_from(["80/20", "80/10/10"]))
def test_the_same_rows_in_another_order_are_split_alike(
    folder: Path, varied: list[Row], seed: int, split: str
) -> None:
    table = varied + enough()
    assert_order_is_nothing(folder, table, shuffled(table, seed), split=split)


def test_so_they_are_where_two_spellings_are_as_frequent(folder: Path) -> None:
    table = [(sentence(i), ("Red", "red", "Blue")[i % 3], None) for i in range(60)]
    assert_order_is_nothing(folder, table, table[::-1])


def test_so_they_are_where_a_text_is_in_two_groups(folder: Path) -> None:
    table = [(sentence(i), ("Red", "Blue")[i % 2], f"g{i // 4}") for i in range(60)]
    table += [(sentence(i), ("Red", "Blue")[i % 2], f"g{(i + 7) // 4 % 15}") for i in range(60)]
    assert_order_is_nothing(folder, table, table[::-1], group="group")


def assert_order_is_nothing(folder: Path, one: list[Row], other: list[Row], **asked: Any) -> None:
    first, second = (do(folder, table, balance="none", **asked) for table in (one, other))
    assert second.prepared.fates == first.prepared.fates
    ids = [[(note["label"], note["id"]) for note in done.notes] for done in (first, second)]
    assert ids[0] == ids[1]
    assert first.side_of_text == second.side_of_text


def shuffled(table: list[Row], seed: int) -> list[Row]:
    table = list(table)
    random.Random(seed).shuffle(table)
    return table


def tidy(label: str) -> str:
    """A label as it is written in labels.json."""
    return " ".join(label.split())


def folded(label: str) -> str:
    """What all spellings of a label have in common."""
    whole = "".join(label.casefold().split())
    return whole.split(".")[0].lstrip("0") if whole.replace(".", "").isdigit() else whole
