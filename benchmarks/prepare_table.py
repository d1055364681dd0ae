"""Seconds to prepare a generated table: ours against Polars itself and against `datasets`.

Same work for all: clean the texts, merge exact duplicates, balance by cutting, split 80/20 within
each class, write both chat files, write down every row's fate. Polars' is the shortest pipeline
that does it, with no check, no reason and no report; the chain of `datasets` is what its users
write, on fewer rows, its time scaled up. Ours is the command a user types. Each runs in a process
of its own.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import compare

CLASSES = {"Negative": 0.34, "Positive": 0.35, "Neutral": 0.31}
MOST_FOR_DATASETS = 100_000


def generate(path: Path, rows: int) -> None:
    """A CSV of about 90 bytes a row: random words, some spaces to tidy, one row in 50 repeated."""
    chance = random.Random(0)
    letters = "etaoinshrdlu"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(20_000)]
    labels, weights = list(CLASSES), list(CLASSES.values())
    recent: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for _ in range(rows):
            if recent and chance.random() < 0.02:
                file.write(chance.choice(recent))
                continue
            text = " ".join(chance.choices(words, k=chance.randint(9, 17)))
            if chance.random() < 0.05:
                text = f"  {text.replace(' ', '  ', 2)} "
            line = f'"{text}",{chance.choices(labels, weights)[0]}\n'
            file.write(line)
            recent.append(line)
            if len(recent) > 1000:
                recent.pop(0)


def with_polars(table: Path, out: Path) -> None:
    """The shortest pipeline in Polars."""
    import polars as pl

    rows = pl.read_csv(table).with_row_index("row")
    tidy = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars()
    rows = rows.with_columns(tidy, key=tidy.str.to_lowercase())
    kept = rows.unique("key", keep="first", maintain_order=True)
    smallest = kept["label"].value_counts()["count"].min()
    place = pl.int_range(pl.len()).shuffle(0).over("label")
    kept = kept.with_columns(place.alias("place")).filter(pl.col("place") < smallest)
    kept = kept.with_columns(
        pl.when(pl.col("place") < smallest * 0.8).then(pl.lit("train")).otherwise(pl.lit("held"))
        .alias("split")
    )  # fmt: skip
    turn = pl.struct(role=pl.lit("user"), content="text")
    answer = pl.struct(role=pl.lit("assistant"), content="label")
    for side in ("train", "held"):
        part = kept.filter(pl.col("split") == side)
        part.select(messages=pl.concat_list(turn, answer)).write_ndjson(out / f"{side}.jsonl")
    fates = rows.select("row").join(kept.select("row", "split"), on="row", how="left")
    fates.write_parquet(out / "receipt.parquet")


def with_datasets(table: Path, out: Path) -> None:
    """The usual chain of map and filter."""
    from datasets import Dataset, disable_progress_bars, load_dataset

    disable_progress_bars()
    rows = load_dataset("csv", data_files=str(table), split="train", cache_dir=str(out / "cache"))
    rows = rows.map(lambda row: {"text": re.sub(r"\s+", " ", row["text"]).strip()})
    seen: set[str] = set()

    def first(row: dict[str, str]) -> bool:
        key = row["text"].lower()
        return not (key in seen or seen.add(key))  # type: ignore[func-returns-value]

    rows = rows.filter(first).class_encode_column("label")
    labels = rows.features["label"].names
    parts = [rows.filter(lambda row, i=i: row["label"] == i) for i in range(len(labels))]
    smallest = min(map(len, parts))
    from datasets import concatenate_datasets

    even = concatenate_datasets([p.shuffle(seed=0).select(range(smallest)) for p in parts])
    split = even.train_test_split(0.2, seed=0, stratify_by_column="label")
    for side, part in split.items():
        chat = part.map(
            lambda row: {
                "messages": [
                    {"role": "user", "content": row["text"]},
                    {"role": "assistant", "content": labels[row["label"]]},
                ]
            },
            remove_columns=part.column_names,
        )
        assert isinstance(chat, Dataset)
        chat.to_json(out / f"{side}.jsonl")


PEERS = {"polars": with_polars, "datasets": with_datasets}


def timed(command: list[str]) -> float:
    """Seconds of a process. Raises where it fails."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Compare and report; with --peer, be the peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--near", action="store_true", help="time near-duplicates too")
    parser.add_argument("--peer", choices=list(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peer:
        PEERS[asked.peer](*asked.paths)
        return
    with tempfile.TemporaryDirectory() as folder:
        place, turn = Path(folder), iter(range(10**6))
        table, small = place / "table.csv", place / "small.csv"
        generate(table, asked.rows)
        few = min(asked.rows, MOST_FOR_DATASETS)
        generate(small, few)

        def ours(near: str) -> float:
            options = ["--run-dir", str(place / f"run{next(turn)}"), "--near-duplicates", near]
            run = [sys.executable, "-m", "tunesmith", "prepare", str(table)]
            return timed([*run, *options, "--balance", "smallest", "--json"])

        def peer(name: str, source: Path) -> float:
            out = place / f"out{next(turn)}"
            out.mkdir()
            run = [sys.executable, "-m", "benchmarks.prepare_table", "--peer", name]
            return timed([*run, str(source), str(out)])

        runs = {
            "ours": lambda: ours("0"),
            "polars, shortest": lambda: peer("polars", table),
            "datasets, map chain": lambda: peer("datasets", small) * asked.rows / few,
        }
        if asked.near:
            runs["ours, near-duplicates too"] = lambda: ours("0.8")
        found = compare.in_turn(runs, rounds=asked.rounds)
        size = table.stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    compare.report(
        "prepare_table",
        "seconds",
        found,
        ours="ours",
        more_is_better=False,
        notes={
            "table": f"{asked.rows:,} rows, {size:,.0f} MB",
            "most memory of any process": f"{peak:.2f} GB",
            "datasets": f"timed on {few:,} rows and scaled up",
        },
    )


if __name__ == "__main__":
    main()
