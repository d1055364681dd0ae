"""One run of tuning a causal model: by our training process, or by TRL's SFTTrainer.

Both get the same random weights, rows in the same tokens, loss on the answers, optimizer, schedule
and clipping. Counted are the tokens of the loss, between the end of step 3 and that of the last but
one; memory is the process's highest.
Does not know: what is compared, tables.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.causal_bases import read
from tunesmith import catalog
from tunesmith.events import read_events

WARM_UP = 3
"""Steps that are not timed."""
LONGEST = 2048
"""Tokens of a row or a pack."""
RATE, WARMUP_RATIO, DECAY, RANK = 1e-3, 0.06, 0.01, 16
SAME = {
    "num_train_epochs": 1, "learning_rate": RATE, "weight_decay": DECAY, "max_grad_norm": 1.0,
    "optim": "adamw_torch_fused", "gradient_checkpointing": False, "completion_only_loss": True,
    "logging_steps": 1, "save_strategy": "no", "report_to": [], "disable_tqdm": True,
}  # fmt: skip
"""What TRL is given to do what ours does. Its own default computes activations twice."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both sides are given."""

    folder: Path
    """Holds base/, train.jsonl and valid.jsonl."""
    method: str
    precision: str
    rows_per_step: int
    threads: int = 0
    """0: as many as there are processors."""

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def rows(self, part: str) -> list[Any]:
        """Train or valid in tokens, as our training has them."""
        from tunesmith.model.rendering import Renderer

        renderer = Renderer(self.base, max_length=LONGEST)
        return [renderer.example(example) for example in read(self.folder / f"{part}.jsonl")]


@dataclass(frozen=True)
class Found:
    """Of one run."""

    rate: float
    """Trained tokens per second."""
    read: float
    """Tokens per second, prompts included, padding not."""
    memory: int
    """Bytes at the highest: of the GPU, or else of the process."""
    losses: list[float]
    """Mean over the trained tokens of each quarter of the rows."""
    valid_loss: float


@dataclass
class Step:
    """When it ended, tokens trained and read in it, their mean loss."""

    at: float
    trained: int
    read: int
    loss: float


def apart(run: Callable[..., Found], task: Task, settings: Mapping[str, Any]) -> Found:
    """`run` in a fresh process, as a training is."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as process:
        return process.submit(run, task, settings).result()


def ours(task: Task, options: Mapping[str, Any]) -> Found:
    """The training process on a job that takes its rows once."""
    from tunesmith.training import machine
    from tunesmith.training.__main__ import run
    from tunesmith.training.causal.packs import needed, num_trained, steps_of_epoch

    rows = task.rows("train")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(_job(task, options)), encoding="utf-8")
        assert run(folder) == 0
        events = [event for event, _ in read_events(folder / "events.jsonl")]
        final = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    costs = list(map(needed, rows))
    chosen = {e.data["what"]: e.data["value"] for e in events if e.kind == "decision"}
    packed = chosen["packing"] == "packed"
    meet = steps_of_epoch(costs, batch_size=task.rows_per_step, packed=packed, seed=0, epoch=0)
    steps = []
    for event, batches in zip((e for e in events if e.kind == "metric"), meet, strict=True):
        indices = [i for batch in batches for i in batch]
        trained = sum(num_trained(rows[i]) for i in indices)
        loss = event.data["train_loss"]
        steps.append(Step(event.at, trained, sum(costs[i] for i in indices), loss))
    return _found(steps, machine.model_memory_peak(), final["facts"]["full_valid_loss"])


def _job(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    settings = {
        "method": task.method, "precision": task.precision, "lora_rank": RANK,
        "max_length": LONGEST, "weight_decay": DECAY, "warmup_ratio": WARMUP_RATIO,
        "parity_examples": 1, "early_stopping_patience": 0, "validation_interval": 10**6, **options,
    }  # fmt: skip
    own = catalog.find(str(task.base)).learning_rate * (10 if task.method == "lora" else 1)
    return {
        "job": "ftjob-bench",
        "base_model": str(task.base),
        "training_file": str(task.folder / "train.jsonl"),
        "validation_file": str(task.folder / "valid.jsonl"),
        "seed": 0,
        "threads": task.threads,
        "hyperparameters": {
            "n_epochs": 1,
            "batch_size": task.rows_per_step,
            "learning_rate_multiplier": RATE / own,
        },
        "options": settings,
    }


def trl(task: Task, settings: Mapping[str, Any]) -> Found:
    """SFTTrainer over the rows once. `settings` are its own, but "attention" is the model's."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import SFTConfig

    from tunesmith.training import machine

    asked = dict(settings)
    _quiet()
    if task.threads:
        torch.set_num_threads(task.threads)
    is_fp32 = task.precision == "fp32" or task.method == "full"
    model = AutoModelForCausalLM.from_pretrained(
        task.base,
        dtype=torch.float32 if is_fp32 else torch.bfloat16,
        attn_implementation=asked.pop("attention", "sdpa"),
    )
    data = [
        {"input_ids": row.ids, "completion_mask": list(map(int, row.trained))}
        for row in task.rows("train")
    ]
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as out:
        trainer = _counted(steps)(
            model=model,
            args=SFTConfig(output_dir=out, bf16=task.precision == "bf16", **SAME, **asked),
            train_dataset=Dataset.from_list(data),
            processing_class=AutoTokenizer.from_pretrained(task.base),
            peft_config=_adapter() if task.method == "lora" else None,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    peak = machine.model_memory_peak()
    return _found(steps, peak, _plain_loss(trainer.model, task.rows("valid")))


def _counted(steps: list[Step]) -> Any:
    """SFTTrainer by our schedule, that notes its steps."""
    from torch.optim.lr_scheduler import LambdaLR
    from trl import SFTTrainer

    from tunesmith.training.loop import schedule

    now = Step(0.0, 0, 0, math.nan)

    class Counted(SFTTrainer):  # type: ignore[misc]
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,
                lambda step: schedule(step, num_training_steps, WARMUP_RATIO),
            )
            return self.lr_scheduler

        def compute_loss(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            now.trained += int((inputs["labels"][:, 1:] != -100).sum())
            given = inputs.get("attention_mask")
            now.read += int(inputs["input_ids"].numel() if given is None else given.sum())
            return super().compute_loss(model, inputs, *rest, **more)

        def log(self, logs: dict[str, float], *rest: Any) -> None:
            if "loss" in logs:
                steps.append(Step(time.time(), now.trained, now.read, float(logs["loss"])))
                now.trained = now.read = 0
            super().log(logs, *rest)

    return Counted


def _adapter() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"
    )


def _quiet() -> None:
    import datasets
    from transformers.utils import logging

    warnings.simplefilter("ignore")
    datasets.disable_progress_bars()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _plain_loss(model: Any, rows: Sequence[Any]) -> float:
    """Mean over the trained tokens of rows, one at a time."""
    import torch

    lost, number = 0.0, 0
    model.eval()
    with (
        torch.no_grad(),
        torch.autocast(model.device.type, torch.bfloat16, model.device.type == "cuda"),
    ):
        for row in rows:
            ids = torch.tensor([row.ids], device=model.device)
            places = torch.tensor(row.trained[1:], device=model.device)
            shares = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
            own = shares.gather(1, ids[0, 1:, None])[:, 0]
            lost, number = lost - own[places].sum().item(), number + int(places.sum())
    return lost / number


def _found(steps: Sequence[Step], memory: int, valid_loss: float) -> Found:
    timed = steps[WARM_UP:-1]  # the last one may do more than a step
    seconds = timed[-1].at - steps[WARM_UP - 1].at
    bounds = [round(k * len(steps) / 4) for k in range(5)]
    quarters = [steps[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    return Found(
        rate=sum(step.trained for step in timed) / seconds,
        read=sum(step.read for step in timed) / seconds,
        memory=memory,
        losses=[
            sum(s.loss * s.trained for s in part) / sum(s.trained for s in part)
            for part in quarters
        ],
        valid_loss=valid_loss,
    )
