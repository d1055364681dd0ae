"""A causal model as the training loop tunes it: its steps, its looks.

Does not know: the loop, what the objective is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.model.causal import Causal
from tunesmith.training import together
from tunesmith.training.batches import Step
from tunesmith.training.causal.objectives import Objective
from tunesmith.training.causal.packs import packs, steps_of_epoch
from tunesmith.training.causal.rows import Rows
from tunesmith.training.job import Job
from tunesmith.training.loop import Diverged, Taken


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How rows become steps and micro-batches."""

    batch_size: int
    """Rows of a step."""
    budget: int
    """Tokens of a micro-batch."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What is looked at: the dev slice, which decides, and a sample of the validation file."""

    fitting: Rows
    """What is trained on."""
    dev: Rows
    valid: Rows | None


class CausalLearner:
    """Implements `Learner`."""

    def __init__(
        self, job: Job, model: Causal, objective: Objective, shape: Shape, looks: Looks
    ) -> None:
        self._job = job
        self._model = model
        self._objective = objective
        self._shape = shape
        self._looks = looks
        self.fitting = looks.fitting
        """What is trained on."""
        self.costs = objective.costs(looks.fitting)
        self.optimizer = optimizer_for(model, job.options.weight_decay)

    def weights(self) -> dict[str, Tensor]:
        """See Learner. Frozen weights are the base model's, and not among them."""
        return {name: parameter.detach() for name, parameter in self._model.trained().items()}

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """See Learner."""
        self._model.restore(dict(weights))

    def steps(self, epoch: int) -> list[Step]:
        """See Learner."""
        return steps_of_epoch(
            self.costs,
            batch_size=self._shape.batch_size,
            packed=self._objective.packed,
            seed=self._job.seed,
            epoch=epoch,
            budget=self._shape.budget,
        )

    def take(self, step: Step) -> Taken:
        """See Learner."""
        size = self._size(step)
        loss, sums = self.gradients(step)
        parameters = list(self._model.trained().values())
        norm = nn.utils.clip_grad_norm_(parameters, self._job.options.max_grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm.item())):
            self.optimizer.zero_grad()
            raise Diverged
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Taken(
            metrics=self._objective.metrics("train", loss, sums, size),
            tokens=sum(self.costs[i] for batch in step for i in batch),
        )

    def gradients(self, step: Step) -> tuple[float, dict[str, float]]:
        """Put the gradients of a step's mean loss into the weights; returns it, and sums."""
        self._model.network.train()
        with noisy(self._model.network, self._job.options.neftune_alpha):
            mine = together.mine(step, self.costs)
            found = self._share(self.fitting, mine, self._size(step))
        together.add_gradients(list(self._model.trained().values()))
        return found

    def _size(self, step: Step) -> int:
        return self._objective.size(self.fitting.take([i for batch in step for i in batch]))

    def join(self) -> None:
        """See Learner."""
        raise AssertionError("the plan of a causal job does not ask for it")

    def look(self) -> dict[str, float]:
        """See Learner."""
        found = self.measured("dev", self._looks.dev) if len(self._looks.dev) else {}
        if self._looks.valid:
            found |= self.measured("valid", self._looks.valid)
        return found

    @property
    def looked_at(self) -> int:
        """Tokens that a look reads."""
        parts = [self._looks.dev, *([self._looks.valid] if self._looks.valid else [])]
        return sum(sum(self._objective.costs(p)) for p in parts)

    def measured(self, part: str, rows: Rows) -> dict[str, float]:
        """Metrics of rows, without learning from them."""
        costs = self._objective.costs(rows)
        batches = packs(costs, range(len(rows)), self._shape.budget)
        size = self._objective.size(rows)
        self._model.network.eval()
        with torch.no_grad():
            loss, sums = self._share(rows, together.mine(batches, costs), size)
        return self._objective.metrics(part, loss, sums, size)

    def save(self, folder: Path) -> None:
        """See Learner."""
        self._model.save(folder)

    def _share(
        self, rows: Rows, batches: Sequence[Sequence[int]], size: int
    ) -> tuple[float, dict[str, float]]:
        """(mean loss, sums) over the micro-batches of all processes; these are ours."""
        found: list[Tensor] = []  # read in the end, since reading waits for the GPU
        for batch in batches:
            with self._model.multiplying():
                share = self._objective.share(self._model, rows.take(batch), size)
            if share.loss.requires_grad:
                share.loss.backward()  # type: ignore[no-untyped-call]
            values = [share.loss.detach(), *(share.sums[name] for name in self._objective.sums)]
            found.append(torch.stack([value.double() for value in values]))
        none = [0.0] * (1 + len(self._objective.sums))
        loss, *summed = together.sums(torch.stack(found).sum(0).tolist() if found else none)
        return loss, dict(zip(self._objective.sums, summed, strict=True))


def optimizer_for(model: Causal, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW, at a learning rate of zero for now: no decay on biases and norms."""
    trained = model.trained().values()
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, fused=True)


@contextmanager
def noisy(network: Any, alpha: float) -> Iterator[None]:
    """Noise on the embeddings, uniform within alpha / sqrt(tokens of the text · width).

    Source: Jain et al. 2023, "NEFTune".
    """
    if not alpha:
        yield
        return
    lengths = torch.empty(0)

    def note(_: nn.Module, args: Any, given: dict[str, Any]) -> None:
        nonlocal lengths
        ids = given["input_ids"]
        lengths = torch.full(ids.shape, ids.shape[1], dtype=torch.float32)
        if groups := given.get("groups"):
            each = [length for texts, length in groups for _ in range(texts * length)]
            lengths = torch.tensor([each], dtype=torch.float32)

    def add_noise(_: nn.Module, args: Any, states: Tensor) -> Tensor:
        scale = alpha / (lengths.to(states.device) * states.shape[-1]).sqrt()
        noise = torch.empty_like(states).uniform_(-1, 1)
        return states + noise * scale[..., None].to(states.dtype)

    decoder = network.get_decoder()
    noting = decoder.register_forward_pre_hook(note, with_kwargs=True)
    adding = network.get_input_embeddings().register_forward_hook(add_noise)
    try:
        yield
    finally:
        noting.remove()
        adding.remove()
