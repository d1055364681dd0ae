"""Seconds to evaluate the test rows of BANKING77 over HTTP, against the bare forward pass.

Ours: what `tunesmith evaluate` does to score a model: a real server process is asked for all rows
through the provider, with the log-probabilities of 20 labels, and the answers are read and scored.
Baselines and advice are other work and left out. The peer is the forward pass alone, of the same
model and rows by the same code with the same threads in one process, in batches of near-equal
length: no HTTP, no tokenizing, no scores. At most 1.5 times its time is asked for.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import compare
from benchmarks.serve_classifier import Served
from tunesmith import providers
from tunesmith.config import EvaluateConfig, ProviderConfig
from tunesmith.metrics.classification import score
from tunesmith.model import classifier
from tunesmith.pipeline import RunDir, Workshop
from tunesmith.pipeline.evaluating.labels.asked import Asked, answers_of
from tunesmith.settings import Settings

EACH = 20
"""Training rows of each label: how good the model is does not matter here."""
LIMIT = 1.5
OURS, PEER = "evaluate, over HTTP", "forward pass alone"


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="auto", help="auto, fp32 or bf16")
    given = parser.parse_args()
    if not compare.BANKING77.is_dir():
        print(f"Skipped: evaluate_speed needs BANKING77 in {compare.BANKING77}.")
        return
    _, table = compare.rows()
    _, held_out = compare.rows("test")
    labels = sorted({label for _, label in table})
    few = [row for label in labels for row in [r for r in table if r[1] == label][:EACH]]
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder), few, "--precision", given.precision)
        try:
            found, precision = _measured(served, Path(folder), held_out, given.rounds)
        finally:
            served.close()
    ratios = [ours / peer for ours, peer in zip(found[OURS], found[PEER], strict=True)]
    compare.report(
        "evaluate_speed",
        "seconds",
        found,
        ours=OURS,
        more_is_better=False,
        notes={
            "data": f"BANKING77, {len(held_out):,} rows, {len(labels)} labels, {precision}",
            "ours takes": f"{statistics.median(ratios):.2f} times the forward pass "
            f"({min(ratios):.2f} to {max(ratios):.2f}); at most {LIMIT} is asked for",
            "left out of ours": "baselines, advice, intervals and the report's page",
        },
    )


def _measured(
    served: Served, folder: Path, held_out: compare.Table, rounds: int
) -> tuple[dict[str, list[float]], str]:
    """Seconds by round, and in which precision the model multiplies."""
    texts, gold = ([row[i] for row in held_out] for i in (0, 1))
    (card,) = (folder / "data" / "models").glob(f"*/{classifier.CARD}")
    model = classifier.load(card.parent)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    encoded = model.tokens(texts)
    settings = Settings(data_dir=folder / "data", api_key=served.key)
    at = ProviderConfig(base_url=served.address.geturl())
    with providers.connect(at, settings) as provider:
        shop = Workshop(run_dir=RunDir(folder), provider=provider, report=lambda event: None)

        def ours() -> float:
            started = time.perf_counter()
            answers = answers_of(
                served.model, texts, shop, concurrency=EvaluateConfig().concurrency, doing=""
            )
            known = model.card.labels
            asked = Asked(texts=texts, gold=gold, answers=answers, num_labels=len(known))
            score(
                gold,
                asked.predicted,
                labels=known,
                gold_probabilities=asked.gold_probabilities,
                answer_probabilities=asked.probabilities,
            )
            return time.perf_counter() - started

        def peer() -> float:
            started = time.perf_counter()
            model.over(model, encoded)
            return time.perf_counter() - started

        runs = {OURS: ours, PEER: peer}
        for run in runs.values():
            run()  # warm up
        return compare.in_turn(runs, rounds=rounds), model.card.precision


if __name__ == "__main__":
    main()
