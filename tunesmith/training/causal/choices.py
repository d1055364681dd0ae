"""What a causal job leaves to us: precision, method, epochs, batch size, learning rate.

Each choice comes with its reason. A job that goes on keeps what it began with.
Does not know: rows, tokens, what a step takes (that is `preflight`).
"""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import asdict, dataclass

import torch

from tunesmith.errors import ConfigError, storage_errors
from tunesmith.events import Decision
from tunesmith.model.cards import Method, Precision, read_card
from tunesmith.model.precision import faster
from tunesmith.training import machine, together
from tunesmith.training.job import Job, write_json
from tunesmith.training.loop import Plan
from tunesmith.training.room import size

WHOLE = 16
"""Bytes of each weight when all are tuned: itself, its gradient and two moments, in fp32."""
SMALL = 500_000_000
"""Parameters up to which all weights are tuned where memory allows: an adapter spares little there.
Larger ones learn as well by an adapter, and faster."""
ROOM = 0.7
"""Share of the memory that weights and optimizer may take; the rest is for batches."""
ADAPTER_RATE, PREFERENCE_RATE = 10.0, 0.1
"""Times the base model's learning rate: an adapter begins at zero, and preferences need little."""
BETA = 0.1
STEPS, FEWEST_ROWS, MOST_ROWS = 50, 4, 32
"""Of an epoch, about; and rows of a step."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How the model is loaded, and why so."""

    precision: Precision
    precision_reason: str
    method: Method
    method_reason: str

    def decisions(self) -> list[Decision]:
        """For the user."""
        return [
            Decision(what="precision", value=self.precision, reason=self.precision_reason),
            Decision(what="method", value=self.method, reason=self.method_reason),
        ]


def choose(job: Job) -> Choices:
    """The choices: made now, or earlier by a process that began the job.

    Raises: ConfigError for a model that does not fit into memory by any method; StorageError.
    """
    kept = job.state / "choices.json"
    if together.is_first() and not kept.exists():
        with storage_errors(kept):
            job.state.mkdir(parents=True, exist_ok=True)
        precision, why = _precision(job)
        method, reason = _method(job, precision)
        made = Choices(
            precision=precision, precision_reason=why, method=method, method_reason=reason
        )
        write_json(kept, asdict(made))
    together.wait()
    return Choices(**json.loads(kept.read_text(encoding="utf-8")))


def _precision(job: Job) -> tuple[Precision, str]:
    if job.options.precision != "auto":
        return job.options.precision, "as asked"
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU multiplies in it"
        return "fp32", "the GPU does not multiply in bf16"
    return faster()


def _method(job: Job, precision: Precision) -> tuple[Method, str]:
    asked = job.options.method
    if asked == "head":
        raise ConfigError(
            f"The method head is for encoders, and {job.base.name} writes.",
            fix="Give full, lora or qlora.",
        )
    earlier = read_card(job.start_from) if job.start_from else None
    if earlier and not earlier.is_adapter and asked in ("lora", "qlora"):
        raise ConfigError(
            "The model to start from was tuned whole, and an adapter on it could not do without it "
            "any more.",
            fix="Give the method full, or start from the base model.",
        )
    if asked != "auto":
        return asked, "as asked"
    if earlier:
        what = "adapter" if earlier.is_adapter else "weights"
        return earlier.method, f"it goes on with the {what} of the model it starts from"
    available, parameters = machine.memory_for_models(), job.base.parameters
    if available is None or not parameters:
        return "full", "nobody knows how much memory there is"
    whole = WHOLE * parameters
    if whole <= ROOM * available and parameters <= SMALL:
        why = f"with its optimizer it takes {size(whole)}, and there are {size(available)}"
        return "full", why
    frozen = parameters * (2 if precision == "bf16" else 4)
    if frozen <= ROOM * available:
        why = f"it has {parameters / 1e6:,.0f} million parameters"
        if parameters <= SMALL:
            why = f"tuning all of it would take {size(whole)}, and there are {size(available)}"
        return "lora", why
    if parameters / 2 <= ROOM * available and _has_4_bits():
        return "qlora", f"its weights take {size(frozen)}, and there are {size(available)}"
    raise ConfigError(
        f"{job.base.name} does not fit: its weights alone take {size(frozen)} of memory, and there "
        f"are {size(available)}.",
        fix="Take a smaller base model or another machine"
        + ("." if _has_4_bits() else ", or install 4-bit weights: pip install 'tunesmith[qlora]'"),
    )


def _has_4_bits() -> bool:
    return importlib.util.find_spec("bitsandbytes") is not None


# --- the plan -----------------------------------------------------------------------------------


def plan_of(job: Job, method: Method, num_rows: int, *, has_dev: bool) -> Plan:
    """The loop's numbers for so many training rows."""
    asked = job.hyperparameters
    epochs, why = _epochs(num_rows, is_dpo=job.objective == "dpo")
    if asked.n_epochs != "auto":
        epochs, why = asked.n_epochs, "as asked"
    rows = min(MOST_ROWS, max(FEWEST_ROWS, 2 ** round(math.log2(max(1, num_rows / STEPS)))))
    batch_reason = f"so that an epoch has about {STEPS} steps, from {FEWEST_ROWS} to {MOST_ROWS}"
    if asked.batch_size != "auto":
        rows, batch_reason = asked.batch_size, "as asked"
    rows = min(rows, num_rows)
    per_epoch = math.ceil(num_rows / rows)
    multiplier = 1.0 if asked.learning_rate_multiplier == "auto" else asked.learning_rate_multiplier
    return Plan(
        epochs=epochs,
        epochs_reason=why,
        batch_size=rows,
        batch_reason=batch_reason,
        rows_per_step=rows,
        multiplier=multiplier,
        rate=multiplier * rate(job, method),
        per_epoch=per_epoch,
        total=epochs * per_epoch,
        look_every=job.options.validation_interval or math.ceil(per_epoch / 2),
        patience=job.options.early_stopping_patience if has_dev else 0,
    )


def rate(job: Job, method: Method) -> float:
    """The learning rate that a multiplier of 1 means."""
    found = job.base.learning_rate
    found *= 1.0 if method == "full" else ADAPTER_RATE
    return found * (PREFERENCE_RATE if job.objective == "dpo" else 1.0)


def _epochs(num_rows: int, *, is_dpo: bool) -> tuple[int, str]:
    """(epochs, reason): more for few examples, so that they make enough steps to learn from."""
    steps = ((500, 3), (20_000, 2)) if is_dpo else ((500, 5), (20_000, 3), (100_000, 2))
    for most, epochs in steps:
        if num_rows <= most:
            return epochs, f"for up to {most:,} examples; fewer when the dev loss stops falling"
    return 1, f"for more than {steps[-1][0]:,} examples"


def beta_of(job: Job) -> float:
    """How strongly preferences hold the model to what it was."""
    asked = job.hyperparameters.beta
    return BETA if asked == "auto" else asked
