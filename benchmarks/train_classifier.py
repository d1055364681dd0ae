"""Training steps of a classifier: tokens per second, ours against transformers' Trainer.

The same base model, examples and number of labels; full fine-tuning with AdamW, dropout and
clipping in all of them. Tokens are real ones: padding does not count for anybody. The share of
the machine's matrix-multiply rate counts 6 floating-point operations per weight and token.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks import compare
from tunesmith import catalog, wire
from tunesmith.model import classifier
from tunesmith.model.precision import faster
from tunesmith.training.__main__ import keep_freed_memory
from tunesmith.training.batches import steps_of_epoch
from tunesmith.training.classify import examples
from tunesmith.training.classify.learner import ClassifierLearner, Looks
from tunesmith.training.job import Job
from tunesmith.training.loop import Plan, tune

WARM_UP = 3
"""Steps that are not timed."""


GROUPED = {"train_sampling_strategy": "group_by_length"}


def apart(run: Callable[..., float], table: compare.Table, settings: dict[str, Any]) -> float:
    """`run` in a fresh process, as a training is."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as process:
        return process.submit(run, table, settings).result()


def ours(table: compare.Table, settings: dict[str, Any]) -> float:
    """Tokens per second of our loop over one epoch; settings: precision."""
    keep_freed_memory()
    base = catalog.find(catalog.DEFAULT)
    labels = sorted({label for _, label in table})
    model = classifier.from_base(base, labels, precision=settings["precision"])
    rows = examples.encode(model, [t for t, _ in table], [a for _, a in table], soft=False)
    fitting = list(range(1, len(rows)))
    steps = steps_of_epoch(rows.lengths, fitting, batch_size=None, seed=0, epoch=0)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            folder=Path(folder), name="bench", base=base, start_from=None,
            training_file=Path(), validation_file=None, seed=0,
            objective="supervised", hyperparameters=wire.PreferenceHyperparameters(),
            options=wire.Options(), threads=0,
        )  # fmt: skip
        plan = Plan(
            epochs=2, epochs_reason="", batch_size=1, batch_reason="", rows_per_step=None,
            multiplier=1.0, rate=base.learning_rate, per_epoch=len(steps), total=2 * len(steps),
            look_every=10**9, patience=9,
        )  # fmt: skip
        looks = Looks(rows=rows, dev=[0], fitting=fitting, valid=None)
        learner = ClassifierLearner(job, model, plan, torch.ones(len(labels)), looks)
        run = tune(job, learner, plan)
        tokens, started = 0, 0.0
        for step, event in enumerate(run, 1):
            if step == WARM_UP:
                started = time.perf_counter()
            elif step > WARM_UP:
                tokens += sum(rows.lengths[i] for batch in steps[step - 1] for i in batch)
            if step == len(steps) - 1:  # the last one of the epoch also looks and saves
                assert event.kind == "metric"
                break
        seconds = time.perf_counter() - started
        run.close()
    return tokens / seconds


def trainer(table: compare.Table, settings: dict[str, Any]) -> float:
    """Tokens per second of transformers' Trainer over one epoch."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = catalog.find(catalog.DEFAULT).files()
    labels = sorted({label for _, label in table})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
    encoded = tokenizer([t for t, _ in table], truncation=True, max_length=256)["input_ids"]
    data = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels.index(label)}
        for ids, (_, label) in zip(encoded, table, strict=True)
    ]
    pad = DataCollatorWithPadding(tokenizer)
    seen: list[int] = []

    def collate(batch: list[dict[str, Any]]) -> Any:
        seen.append(sum(len(row["input_ids"]) for row in batch))
        return pad(batch)

    clock: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=out,
            num_train_epochs=1,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            seed=0,
            dataloader_pin_memory=False,
            **settings,
        )
        Trainer(
            model=model, args=arguments, train_dataset=data, data_collator=collate,
            callbacks=[Clock()],
        ).train()  # fmt: skip
    return sum(seen[WARM_UP : len(clock)]) / (clock[-1] - clock[WARM_UP - 1])


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1200)
    asked = parser.parse_args()
    name, table = compare.rows()
    table = random.Random(0).sample(table, min(asked.rows, len(table)))
    rates: list[float] = []
    fast, why = faster()

    def measured_ours() -> float:
        rates.append(compare.matmul_rate())
        return apart(ours, table, {"precision": "fp32"})

    runs = {"ours": lambda: apart(ours, table, {"precision": fast})} if fast == "bf16" else {}
    found = compare.in_turn(
        {
            **runs,
            "ours, in fp32": measured_ours,
            "Trainer, defaults": lambda: apart(trainer, table, {}),
            "Trainer, defaults, by length": lambda: apart(trainer, table, GROUPED),
            "Trainer, batch 32, by length": lambda: apart(
                trainer, table, {**GROUPED, "per_device_train_batch_size": 32}
            ),
        },
        rounds=asked.rounds,
    )
    base = classifier.from_base(catalog.find(catalog.DEFAULT), ["a", "b"])
    weights = sum(p.numel() for p in base.encoder.layers.parameters() if p.ndim == 2)
    shares = [6 * weights * v / rate for v, rate in zip(found["ours, in fp32"], rates, strict=True)]
    compare.report(
        "train_classifier",
        "tokens/s",
        found,
        ours=next(iter(found)),
        more_is_better=True,
        notes={
            "data": f"{name}, {len(table)} rows, {len({a for _, a in table})} labels",
            "matrix-multiply rate in fp32 (GFLOP/s)": [round(r / 1e9, 1) for r in rates],
            "precision": f"{fast}: {why}",
            "our share of it, in fp32": (
                f"{statistics.median(shares):.0%}, at least {min(shares):.0%}"
            ),
        },
    )


if __name__ == "__main__":
    main()
