"""What benchmarks share: rows, rounds in turn, the matrix-multiply rate, the table of ratios.

Does not know: what is being compared.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
BANKING77 = ROOT.parent / "shared" / "data" / "banking77"
RESULTS = ROOT / "benchmarks" / "results"

Table = list[tuple[str, str]]
"""(text, label) rows."""


def rows(part: str = "train") -> tuple[str, Table]:
    """(name, rows) of BANKING77 where it lies beside the checkout, else of the example tickets."""
    path = BANKING77 / f"{part}.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            return "BANKING77", [(r["text"], r["category"]) for r in csv.DictReader(file)]
    with (ROOT / "examples" / "tickets.csv").open(encoding="utf-8", newline="") as file:
        table = [
            (r["message"], r["annotator_1"].strip().lower())
            for r in csv.DictReader(file)
            if r["message"].strip() and r["annotator_1"].strip()
        ]
    cut = len(table) * 4 // 5
    return "tickets", table[:cut] if part == "train" else table[cut:]


def in_turn(runs: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Run each in turn, `rounds` times over, so that a drift of the machine meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
            print(f"  {name}: {found[name][-1]:,.1f}", flush=True)
    return found


def matmul_rate(seconds: float = 3.0) -> float:
    """Rate of fp32 matrix products kept up here, in FLOP/s: the best of several shapes."""
    import torch

    shapes = ((1024, 384, 1536), (1024, 1024, 1024), (2048, 2048, 2048))
    best = 0.0
    for m, k, n in shapes:
        a, b = torch.randn(m, k), torch.randn(k, n)
        a @ b
        started, products = time.perf_counter(), 0
        while (taken := time.perf_counter() - started) < seconds / len(shapes):
            a @ b
            products += 1
        best = max(best, 2 * m * k * n * products / taken)
    return best


def report(
    name: str,
    unit: str,
    found: Mapping[str, list[float]],
    *,
    ours: str,
    more_is_better: bool,
    notes: Mapping[str, object],
) -> None:
    """Print the table (min, median, max and our ratio, round by round) and write the JSON file."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{name} ({unit}; {machine})")
    print(f"{'':34}{'min':>10}{'median':>10}{'max':>10}   {'ours is … times better':>24}")
    ratios: dict[str, list[float]] = {}
    for who, values in found.items():
        pairs = zip(found[ours], values, strict=True)
        ratios[who] = [o / v if more_is_better else v / o for o, v in pairs]
        low, mid, high = min(ratios[who]), statistics.median(ratios[who]), max(ratios[who])
        ratio = "" if who == ours else f"{mid:.2f} ({low:.2f} to {high:.2f})"
        median = statistics.median(values)
        print(f"{who:34}{min(values):>10,.1f}{median:>10,.1f}{max(values):>10,.1f}   {ratio:>24}")
    for note, value in notes.items():
        print(f"  {note}: {value}")
    RESULTS.mkdir(exist_ok=True)
    out = {"unit": unit, "machine": machine, "runs": found, "ratios": ratios, "notes": notes}
    (RESULTS / f"{name}.json").write_text(json.dumps(out, indent=1, default=str), encoding="utf-8")
