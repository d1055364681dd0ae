"""Seconds from the CSV to a model at 93 % on BANKING77's test rows, ours against a Trainer recipe.

Ours is the whole of `tunesmith run` up to a deployed model, process starts and server included; its
accuracy comes from the run's own evaluation through the endpoint, whose time is not counted. The
peer is the usual recipe (AutoModelForSequenceClassification, Trainer, fresh head, batch 32 grouped
by length, linear decay with warm-up) with the learning rate that serves it best, in process, test
rows scored after each epoch, scoring not counted. `--search` tries learning rates for one epoch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks import compare
from tunesmith import catalog

GOAL = 0.93
PEER_RATE = 2e-4
"""Above the usual 5e-5, since a fresh head learns slowly; 5e-4 ends at 1.5 % after an epoch.
`--search` tries others."""


def ours() -> dict[str, Any]:
    """One whole run; seconds up to the deployed model, and its accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        command = [
            sys.executable, "-m", "tunesmith", "run", str(compare.BANKING77 / "train.csv"),
            "--validation", str(compare.BANKING77 / "test.csv"), "--run-dir", str(run_dir),
        ]  # fmt: skip
        environment = {"TUNESMITH_DATA_DIR": str(Path(folder) / "data")}
        started = time.time()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_environ(environment))
        deployed = (run_dir / "04-deploy" / "result.json").stat().st_mtime
        result = json.loads((run_dir / "05-evaluate" / "result.json").read_text(encoding="utf-8"))
    return {"seconds": deployed - started, "accuracy": result["metrics"]["accuracy"]}


def peer(rate: float, *, epochs: int, most_seconds: float) -> list[dict[str, float]]:
    """The Trainer recipe; (seconds, accuracy) after each epoch until the goal or the limit."""
    import numpy as np
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )

    started, scoring = time.monotonic(), 0.0
    set_seed(0)
    folder = catalog.find(catalog.DEFAULT).files()
    (_, train), (_, test) = compare.rows("train"), compare.rows("test")
    labels = sorted({label for _, label in train})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))

    def examples(table: compare.Table) -> list[dict[str, Any]]:
        encoded = tokenizer([t for t, _ in table], truncation=True, max_length=256)["input_ids"]
        return [
            {"input_ids": ids, "labels": labels.index(label)}
            for ids, (_, label) in zip(encoded, table, strict=True)
        ]

    held_out = sorted(examples(test), key=lambda row: len(row["input_ids"]))
    found: list[dict[str, float]] = []

    class Score(TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, _args: Any, _state: Any, control: Any, **__: Any) -> Any:
            nonlocal scoring
            seconds, begun = time.monotonic() - started - scoring, time.monotonic()
            answers = trainer.predict(held_out).predictions.argmax(1)
            accuracy = float(np.mean(answers == [row["labels"] for row in held_out]))
            scoring += time.monotonic() - begun
            found.append({"seconds": seconds, "accuracy": accuracy})
            print(f"  peer after {seconds:,.0f} s: {accuracy:.4f}", flush=True)
            control.should_training_stop = accuracy >= GOAL or seconds > most_seconds
            return control

    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=out, num_train_epochs=epochs, learning_rate=rate, warmup_steps=0.06,
            per_device_train_batch_size=32, per_device_eval_batch_size=64, seed=0,
            train_sampling_strategy="group_by_length", use_cpu=True, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True,
            dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = Trainer(
            model=model, args=arguments, train_dataset=examples(train),
            data_collator=DataCollatorWithPadding(tokenizer), callbacks=[Score()],
        )  # fmt: skip
        trainer.train()
    return found


def _environ(extra: dict[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, **extra}


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rate", type=float, default=PEER_RATE)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--most-minutes", type=float, default=30)
    parser.add_argument("--search", action="store_true")
    asked = parser.parse_args()
    if not compare.BANKING77.is_dir():
        sys.exit("This benchmark needs BANKING77 beside the checkout (shared/data/banking77).")
    if asked.search:
        for rate in (5e-5, 1e-4, 2e-4, 5e-4, 1e-3):
            print(rate, peer(rate, epochs=1, most_seconds=0))
        return
    mine: list[dict[str, Any]] = []
    theirs: list[list[dict[str, float]]] = []

    def run_ours() -> float:
        mine.append(ours())
        return float(mine[-1]["seconds"])

    def run_peer() -> float:
        theirs.append(peer(asked.rate, epochs=asked.epochs, most_seconds=asked.most_minutes * 60))
        return theirs[-1][-1]["seconds"]

    found = compare.in_turn({"ours": run_ours, "Trainer recipe": run_peer}, rounds=asked.rounds)
    compare.report(
        "time_to_accuracy",
        "seconds",
        found,
        ours="ours",
        more_is_better=False,
        notes={
            "goal": f"{GOAL:.0%} of BANKING77's 3,080 test rows",
            "accuracy, ours": [round(run["accuracy"], 4) for run in mine],
            "accuracy, peer": [[round(e["accuracy"], 4) for e in r] for r in theirs],
            "peer": f"learning rate {asked.rate:g}, {asked.epochs} epochs planned; where it "
            "does not reach the goal, its time is a lower bound",
        },
    )


if __name__ == "__main__":
    main()
