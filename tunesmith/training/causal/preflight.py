"""What a causal job will take on this machine, measured before it begins, and what follows from it.

A few steps on the longest batches, one look and one save are made at a learning rate of zero; the
random state is put back, so a job that was measured ends as one that was not, to the bit. What does
not fit is made to, by smaller micro-batches and by computing activations twice, or is refused.
Does not know: the loop, how rows came about.
"""

from __future__ import annotations

import gc
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import torch
from torch import Tensor

from tunesmith.errors import ConfigError, storage_errors
from tunesmith.events import Decision
from tunesmith.model.causal import Causal
from tunesmith.training import machine, together
from tunesmith.training.batches import Step
from tunesmith.training.causal import causal_loss
from tunesmith.training.causal.learner import CausalLearner, Shape
from tunesmith.training.causal.objectives import Objective
from tunesmith.training.causal.packs import BATCH_TOKENS
from tunesmith.training.causal.rows import Rows
from tunesmith.training.classify.estimate import Estimate
from tunesmith.training.job import Job, write_json
from tunesmith.training.loop import KEPT_CHECKPOINTS, Diverged, Plan
from tunesmith.training.room import MOMENTS, Disk, size

MOST_TOKENS = 16_384
"""Of a micro-batch on a GPU, where more go no faster; on a processor `BATCH_TOKENS` do best."""
SAMPLE_TOKENS = 1024
"""Of the row by which the memory of others is foretold."""
USABLE = 0.9
"""Share of the memory that a foretold need may take: it is foretold to about a tenth."""
MADE, QUICK = 3, 5.0
"""Steps that are measured after the first, at most; and seconds of all steps up to which the first
is enough."""
BLOCK = 3 * 4 * causal_loss.LOGITS
"""Bytes of the logits of one block, their softmax and slopes."""
SHORTEST = 16


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """How the job is going to run, and what it will take."""

    shape: Shape
    checkpointing: bool
    checkpointing_reason: str
    estimate: Estimate

    def decisions(self) -> list[Decision]:
        """For the user."""
        twice = "on" if self.checkpointing else "off"
        why = self.checkpointing_reason
        return [
            Decision(what="gradient checkpointing", value=twice, reason=why),
            Decision(
                what="micro-batch",
                value=f"up to {self.shape.budget:,} tokens",
                reason="as many as are fast and fit into memory",
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class _Need:
    """Memory that steps take, in bytes."""

    taken: int
    state: int
    a_token: float
    available: int | None

    def of(self, tokens: int) -> int:
        """With so many tokens in a micro-batch."""
        return self.taken + self.state + BLOCK + int(self.a_token * tokens)

    def fits(self, tokens: int) -> bool:
        """Whether that much is there."""
        return self.available is None or self.of(tokens) <= USABLE * self.available

    @property
    def most_tokens(self) -> int:
        """That fit."""
        assert self.available is not None
        room = USABLE * self.available - self.of(0)
        return max(0, int(room / self.a_token))


def preflight(
    job: Job,
    model: Causal,
    plan: Plan,
    learner: Callable[[Shape], CausalLearner],
    objective: Objective,
    rows: Rows,
) -> Preflight:
    """What to run with: measured now, or earlier by a process that began the job.

    learner  makes one for a shape. rows: those that are trained on.
    Leaves the model as it is, with gradient checkpointing switched as found out.
    Raises: ConfigError when memory or disk are too small, with what would fit; StorageError.
    """
    kept = job.state / "preflight.json"
    if not together.agreed(kept.exists()):
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            found = together.agreed(_measure(job, model, plan, learner, objective, rows))
        if together.is_first():
            write_json(kept, asdict(found))
        together.wait()
    data = json.loads(kept.read_text(encoding="utf-8"))
    shape, estimate = Shape(**data.pop("shape")), Estimate(**data.pop("estimate"))
    found = Preflight(shape=shape, estimate=estimate, **data)
    model.compute_twice(found.checkpointing)
    return found


def _measure(
    job: Job,
    model: Causal,
    plan: Plan,
    learner: Callable[[Shape], CausalLearner],
    objective: Objective,
    rows: Rows,
) -> Preflight:
    began = time.time()
    costs = objective.costs(rows)
    disk = _disk(job, model, plan)
    longest = max(costs)
    twice, why, need = _foretold(job, model, rows, longest)
    model.compute_twice(twice)
    budget = _budget(need, longest)
    shape = Shape(batch_size=plan.batch_size, budget=budget)
    made = learner(shape)
    seconds, steps, peak = _stepping(made, costs, plan)
    parts = {"steps": seconds * plan.total, **_others(job, made, plan, costs)}
    made.optimizer.state.clear()
    estimate = Estimate(
        tokens=rows.num_tokens,
        trained_tokens=plan.epochs * sum(costs),
        steps=plan.total,
        seconds=sum(parts.values()),
        parts=parts,
        memory=max(need.of(min(budget, sum(costs))), peak),
        memory_available=need.available,
        disk=disk.full,
        disk_available=machine.disk_left(job.folder),
        measured="1 step" if steps == 1 else f"{steps} steps",
        began=began,
    )
    del made
    gc.collect()
    return Preflight(shape=shape, checkpointing=twice, checkpointing_reason=why, estimate=estimate)


# --- memory and disk ----------------------------------------------------------------------------


def _disk(job: Job, model: Causal, plan: Plan) -> Disk:
    trained = sum(parameter.nbytes for parameter in model.trained().values())
    disk = Disk(model=trained, features=0, epochs=min(KEPT_CHECKPOINTS, plan.epochs))
    disk.check(machine.disk_left(job.folder))
    return disk


def _foretold(job: Job, model: Causal, rows: Rows, longest: int) -> tuple[bool, str, _Need]:
    """(whether activations are computed twice, why, what is needed then).

    Raises: ConfigError where not even the longest row alone would fit.
    """
    asked = job.options.gradient_checkpointing
    twice, why = bool(asked), "as asked" if asked is not None else "there is memory enough"
    need = _need(model, rows, twice=twice)
    least = max(longest, BATCH_TOKENS // 4)
    if asked is None and not need.fits(least):
        twice, need = True, _need(model, rows, twice=True)
        why = f"without it {least:,} tokens at once would not fit into memory"
    if not need.fits(longest):
        assert need.available is not None
        raise ConfigError(
            f"The job needs about {size(need.of(longest))} of memory for its longest row of "
            f"{longest:,} tokens, and there are {size(need.available)}.",
            fix=f"Choose {', or '.join(_ways(model, need, twice=twice))}.",
        )
    return twice, why, need


def _ways(model: Causal, need: _Need, *, twice: bool) -> Iterator[str]:
    if (tokens := need.most_tokens // 8 * 8) >= SHORTEST:
        yield f"a max_length of {tokens} or less"
    if not twice:
        yield "gradient_checkpointing"
    if model.card.method == "full":
        yield "the method lora"
    elif model.card.method == "lora" and torch.cuda.is_available():
        yield "the method qlora"
    yield "a machine with more memory"


def _need(model: Causal, rows: Rows, *, twice: bool) -> _Need:
    model.compute_twice(twice)
    trained = sum(parameter.nbytes for parameter in model.trained().values())
    # Saving takes copies on the processor; on a GPU its own memory is not touched.
    copies = 0 if torch.cuda.is_available() else MOMENTS * trained
    return _Need(
        taken=machine.model_memory_taken(),
        state=(1 + MOMENTS) * trained + copies,
        a_token=_kept_a_token(model, rows, twice=twice),
        available=machine.memory_for_models(),
    )


def _kept_a_token(model: Causal, rows: Rows, *, twice: bool) -> float:
    """Bytes that a forward pass keeps for the backward one, of each token."""
    texts = [text for row in rows.texts for text in row]
    ids = max(texts, key=lambda text: len(text.ids)).ids[:SAMPLE_TOKENS]
    network = model.network
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # else its place would be taken by the next one
        return tensor

    kept: list[Tensor] = []
    network.train()
    model.compute_twice(False)
    given = torch.tensor([ids], device=model.device)
    with model.multiplying(), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        network.get_decoder()(input_ids=given, use_cache=False)
    model.compute_twice(twice)
    whole = sum(found.values()) / len(ids)
    if not twice:
        return whole
    config = network.config.get_text_config(decoder=True)
    layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    # Kept are the layers' inputs, and for a moment all of one layer.
    return layers * width * 4 + 2 * whole / layers


def _budget(need: _Need, longest: int) -> int:
    """Tokens of a micro-batch: as many as are fast and fit; a longer row stands alone."""
    if not torch.cuda.is_available():
        tokens = BATCH_TOKENS
        while tokens > SHORTEST and not need.fits(tokens):
            tokens //= 2
        return tokens
    tokens = MOST_TOKENS
    while tokens > longest and not need.fits(tokens):
        tokens //= 2
    return tokens


# --- time ---------------------------------------------------------------------------------------


def _stepping(learner: CausalLearner, costs: Sequence[int], plan: Plan) -> tuple[float, int, int]:
    """(seconds of a step, steps made, memory at the highest), of steps such as those of an epoch.

    The one with the longest rows is made first: it takes the most memory, and the first is slow.
    """
    steps = sorted(learner.steps(0), key=lambda step: max(costs[i] for b in step for i in b))

    def seconds(step: Step) -> float:
        started = time.perf_counter()
        learner.take(step)
        return time.perf_counter() - started

    try:
        first, others = seconds(steps[-1]), steps[:-1]
        peak = machine.model_memory_peak()
        if not together.agreed(bool(others) and first * plan.total >= QUICK):
            return first, 1, peak
        number = min(MADE, len(others))
        picked = [others[(2 * k + 1) * len(others) // (2 * number)] for k in range(number)]
        return median(map(seconds, picked)), 1 + number, peak
    except Diverged as error:
        raise ConfigError(
            "The loss is not a number before anything was learnt.",
            fix="The base model's weights are damaged, or too large for the precision.",
        ) from error
    except torch.cuda.OutOfMemoryError as error:
        raise ConfigError(
            "The step with the longest rows does not fit into the GPU's memory.",
            fix="Give a smaller max_length, gradient_checkpointing, or the method lora.",
        ) from error


def _others(job: Job, learner: CausalLearner, plan: Plan, costs: Sequence[int]) -> dict[str, float]:
    """Seconds of looks and of writing."""
    shortest = min(range(len(costs)), key=costs.__getitem__)
    started = time.perf_counter()
    learner.measured("train", learner.fitting.take([shortest]))
    a_token = (time.perf_counter() - started) / costs[shortest]
    place = job.state / "probe"
    started = time.perf_counter()
    if together.is_first():
        with storage_errors(place):
            learner.save(place)
        shutil.rmtree(place)
    a_write = time.perf_counter() - started
    looks = plan.epochs * math.ceil(plan.per_epoch / plan.look_every)
    written = looks * (1 + MOMENTS + 1) + plan.epochs
    return {"looks": looks * a_token * learner.looked_at, "writing": written * a_write}
