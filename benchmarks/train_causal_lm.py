"""Tuning a causal language model: trained tokens per second, ours against TRL's SFTTrainer.

Ours is the training process itself; TRL gets the flags that serve it best, and every run a process
of its own (see `causal_runs`). On a processor: a Llama of 30 million parameters in fp32. On a GPU
(`--sizes`): larger ones in bf16, tuned whole and by LoRA.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import compare
from benchmarks.causal_bases import GSM8K, SHAPES, Shape, chat, read, write_base
from benchmarks.causal_runs import LONGEST, Found, Task, apart, ours, trl

PACKED = {"packing": True, "packing_strategy": "bfd"}
"""Best-fit packing without padding. Where flash attention is missing, transformers tells the texts
of a pack apart by their positions and makes a mask of it, so the result is the same."""
GROUPED = {"train_sampling_strategy": "group_by_length", "max_length": LONGEST}


# --- what is compared ---------------------------------------------------------------------------


def prepare(folder: Path, size: str, *, rows: int, held_out: int) -> None:
    """Write base/, train.jsonl and valid.jsonl."""
    given = {part: read(GSM8K / f"{part}.jsonl") for part in ("train", "test")}
    texts = (text for row in given["train"] for text in row.values())
    write_base(folder / "base", SHAPES[size], texts)
    for part, number in (("train", rows), ("test", held_out)):
        lines = (json.dumps(chat(row)) + "\n" for row in given[part][:number])
        name = "train" if part == "train" else "valid"
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def floating_point(shape: Shape, found: Found, *, method: str) -> float:
    """Operations per second: two for each weight and token it meets, forward and twice back.

    An adapter's frozen weights have no gradient of their own. Attention and padding do not count.
    """
    passes = 6 if method == "full" else 4
    return passes * (shape.in_layers * found.read + shape.in_head * found.rate)


def compared(
    name: str, task: Task, shape: Shape, runs: Mapping[str, Callable[[], Found]], rounds: int
) -> None:
    """Run in turn, the first being ours; print and write the table."""
    peak = _processor_rate(task.threads) if task.precision == "fp32" else _gpu_rate()
    all_found: dict[str, list[Found]] = {who: [] for who in runs}

    def measured(who: str) -> float:
        all_found[who].append(runs[who]())
        return all_found[who][-1].rate

    rates = compare.in_turn({who: (lambda who=who: measured(who)) for who in runs}, rounds=rounds)
    notes: dict[str, object] = {
        "data": f"GSM8K, {len(read(task.folder / 'train.jsonl')):,} rows as chats, trained on "
        f"once, {task.rows_per_step} a step",
        "model": f"{shape.family}, {(shape.in_layers + shape.in_head) / 1e6:,.0f} million weights",
        "matrix-multiply rate (GFLOP/s)": round(peak / 1e9),
        "threads": task.threads or os.cpu_count(),
    }
    for who, found in all_found.items():
        share = statistics.median(
            floating_point(shape, one, method=task.method) / peak for one in found
        )
        memory = max(one.memory for one in found) / 1e9
        losses = ", ".join(f"{loss:.3f}" for loss in found[0].losses)
        notes[who] = (
            f"peak memory {memory:.2f} GB; {share:.0%} of the matrix-multiply rate; loss by "
            f"quarters {losses}; held out {found[0].valid_loss:.3f}"
        )
    compare.report(
        name, "trained tokens/s", rates, ours=next(iter(runs)), more_is_better=True, notes=notes
    )


def _processor_rate(threads: int) -> float:
    import torch

    if threads:
        torch.set_num_threads(threads)
    return compare.matmul_rate()


def _gpu_rate(seconds: float = 3.0) -> float:
    """Rate of bf16 matrix products kept up by the GPU, in FLOP/s."""
    import torch

    size = 8192
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    a @ b
    torch.cuda.synchronize()
    started, products = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < seconds:
        for _ in range(10):
            a @ b
        torch.cuda.synchronize()
        products += 10
    return 2 * size**3 * products / taken


def on_processor(folder: Path, *, rows: int, rounds: int, threads: int) -> None:
    """Packed against packed, and padded in groups of near-equal length likewise."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for the processes that are started
    prepare(folder, "30M", rows=rows, held_out=32)
    task = Task(folder=folder, method="full", precision="fp32", rows_per_step=12, threads=threads)
    one_pack = {"max_length": LONGEST, "per_device_train_batch_size": 1}
    four_packs = {**one_pack, "max_length": 512, "gradient_accumulation_steps": 4}
    whole = {"per_device_train_batch_size": 12}
    parts = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 4}
    packed = {"1 pack of 2,048": one_pack, "4 packs of 512": four_packs}
    grouped = {"12 rows at once": whole, "3 rows, 4 times": parts}
    for name, ways, own, peers in (
        ("train_causal_lm_packed", {"ours": "auto", "ours, packed": "packed"}, PACKED, packed),
        ("train_causal_lm_grouped", {"ours": "padded"}, GROUPED, grouped),
    ):
        runs = {
            who: lambda how=how: apart(ours, task, {"packing": how}) for who, how in ways.items()
        }
        for peer, settings in peers.items():
            given = {**own, **settings, "use_cpu": True, "dataloader_pin_memory": False}
            runs[f"TRL, {peer}"] = lambda given=given: apart(trl, task, given)
        compared(name, task, SHAPES["30M"], runs, rounds)


def on_gpu(folder: Path, size: str, *, rows: int, rounds: int) -> None:
    """Packs of 2,048 tokens, eight a step, whole and by LoRA; TRL with Liger's kernels too."""
    prepare(folder, size, rows=rows, held_out=32)
    flash = {"attention": "flash_attention_2"} if importlib.util.find_spec("flash_attn") else {}
    # Without it a mask is made of all tokens at once: packs one by one are faster then.
    many = {"per_device_train_batch_size": 8 if flash else 1}
    many |= {"gradient_accumulation_steps": 1 if flash else 8}
    peers = {"TRL": {**PACKED, "max_length": LONGEST, **many, **flash}}
    if importlib.util.find_spec("liger_kernel"):
        peers["TRL with Liger"] = {**peers["TRL"], "use_liger_kernel": True}
    else:
        print("TRL with Liger is left out: liger_kernel is not installed.")
    for method in ("full", "lora"):
        if method == "full" and size == "8B":
            continue  # weights, gradients and moments take 128 GB in fp32
        task = Task(folder=folder, method=method, precision="bf16", rows_per_step=98)
        runs = {"ours": lambda task=task: apart(ours, task, {"packing": "packed"})}
        for peer, settings in peers.items():
            runs[peer] = lambda task=task, given=settings: apart(trl, task, given)
        compared(f"train_causal_lm_{size}_{method}", task, SHAPES[size], runs, rounds)


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--threads", type=int, default=0, help="on a processor; 0: all it has")
    parser.add_argument("--sizes", default="", help="on a GPU: 0.5B,1.5B,8B, or some of them")
    asked = parser.parse_args()
    if not GSM8K.exists():
        print(f"Skipped: there are no rows in {GSM8K}.")
        return
    for size in filter(None, asked.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            on_gpu(Path(folder), size, rows=asked.rows or 2940, rounds=asked.rounds)
    if not asked.sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows = asked.rows or 300
            on_processor(Path(folder), rows=rows, rounds=asked.rounds, threads=asked.threads)


if __name__ == "__main__":
    main()
