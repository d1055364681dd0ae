"""What the loss curves of a training run say, in words: over- and underfitting and their kin.

Losses of single steps are noisy, since each is of other rows, so levels are means over many steps.
Held-out losses are all of the same rows: what they do from look to look is the training's doing.
Knows: losses by step, and how many labels there are to guess among.
Does not know: models, data, what the settings were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tunesmith.data.findings import percent
from tunesmith.metrics.levels import DOUBT, FEWEST_IN_WINDOW, FIRST, Curve

Kind = Literal[
    "overfitting", "underfitting", "still learning", "gap", "unstable", "good fit", "diverged"
]

# Losses are nats an answer or a token. "Of the scale" is a share of what guessing costs: ln(labels)
# for classification, and for text, where nobody knows that, the loss at the start.
FEWEST_STEPS, FEWEST_LOOKS = 6, 3
"""With fewer training losses, or looks at held-out rows, no trend can be told from noise."""
CLIMB = 0.25
"""Of the scale, above the start and above guessing: no noise of batches goes so far."""
RISE, RISE_OF_SCALE = 0.05, 0.01
"""Above the lowest held-out loss, of it and of the scale: a real rise. Less changes no answers."""
EARLY = 0.25
"""Of the planned steps. Where the best step came sooner, fewer epochs are hardly possible."""
FALL, FALL_OF_SCALE, FALL_OF_WON = 0.05, 0.03, 1 / 3
"""What a whole run at the last speed would fall, of the level, the scale and all that this one won:
still falling. A straight line would win all of it again; a curve that settles, exponentially with
three time constants in a run, a quarter."""
HIGH, HIGH_TEXT = 0.7, 0.8
"""Of the scale: little was learned. Text starts lower, from a model that can write already."""
HARDLY = 0.05
"""Of the start: a fall that is as good as none."""
LOW_TEXT = 0.1
"""Nats a token: the model knows the answers, even if it knew them from the start."""
GAP, GAP_RATIO = 0.15, 2.0
"""Held-out above training loss, of the scale and as a ratio; both, since some gap is normal, and
ratios of tiny losses mean nothing."""
JUMP, BIG_JUMP = 0.1, 0.5
"""Of the scale: jumps of the training loss that tell when there are two, or by one alone."""
SWING, SWING_OF_SCALE, SWINGS = 0.1, 0.02, 3
"""Turns of the held-out loss, by a tenth of its level: three are no accident of one step."""


@dataclass(frozen=True)
class Point:
    """What was measured at a step: losses in nats, accuracies from 0 to 1."""

    step: int
    train_loss: float | None = None
    held_out_loss: float | None = None
    train_accuracy: float | None = None
    held_out_accuracy: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What the curves show, the step it is about, and the one change most likely to help."""

    kind: Kind
    step: int
    sentence: str
    change: str


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The curves, and what is read off them more than once."""

    train: Curve
    held_out: Curve
    accuracies: dict[int, float]
    """On held-out rows, by step."""
    last: int
    total: int
    num_labels: int | None
    kept_step: int | None

    @property
    def has_train(self) -> bool:
        return len(self.train) >= FEWEST_STEPS

    @property
    def has_looks(self) -> bool:
        return len(self.held_out) >= FEWEST_LOOKS

    @property
    def start(self) -> float:
        """The loss before anything was learned."""
        return self.train.start if self.has_train else float(self.held_out.losses[0])

    @property
    def scale(self) -> float:
        return math.log(self.num_labels) if self.num_labels else self.start

    @property
    def hardly_moved(self) -> bool:
        """Whether nothing was learned, as far as the noise lets one see."""
        held_out, train = self.held_out.losses, self.train
        if self.has_looks and held_out[0] - held_out[-1] > HARDLY * held_out[0]:
            return False
        if not self.has_train:
            return True
        hidden = min(DOUBT * train.doubt, HARDLY * train.start)
        return train.start - train.level(self.last) < HARDLY * train.start + hidden

    @property
    def kept(self) -> int:
        """The step of the model that was kept; the best one where nobody says."""
        if self.kept_step is not None:
            return self.kept_step
        return int(self.held_out.steps[np.argmin(self.held_out.losses)])

    def held_out_at(self, step: int) -> float:
        """The loss of the look nearest to a step."""
        return float(self.held_out.losses[np.argmin(np.abs(self.held_out.steps - step))])


def diagnose(
    points: Sequence[Point],
    *,
    total_steps: int,
    kept_step: int | None = None,
    num_labels: int | None = None,
) -> list[Diagnosis]:
    """What the curves show, the gravest first; nothing where there is too little to tell.

    points       in any order; of several for one step the last one counts (resumed training).
    total_steps  planned ones, more than there are points for where training stopped early.
    kept_step    from which the model was kept; None: the step of the lowest held-out loss.
    num_labels   of a classifier; None: text is written, and losses are means over tokens.
    """
    by_step = {point.step: point for point in points}
    ordered = [by_step[step] for step in sorted(by_step)]
    train = Curve.of((p.step, p.train_loss) for p in ordered)
    held_out = Curve.of((p.step, p.held_out_loss) for p in ordered)
    for name, curve in (("training loss", train), ("loss on held-out rows", held_out)):
        broken = curve.steps[~np.isfinite(curve.losses)]
        if len(broken):
            return [_not_a_number(name, int(broken[0]))]
    looked = {p.step: p.held_out_accuracy for p in ordered}
    run = _Run(
        train=train,
        held_out=held_out,
        accuracies={step: value for step, value in looked.items() if value is not None},
        last=max(by_step, default=0),
        total=max([total_steps, *by_step]),
        num_labels=num_labels if num_labels and num_labels > 1 else None,
        kept_step=kept_step,
    )
    return _checked(run) if run.has_train or run.has_looks else []


def _checked(run: _Run) -> list[Diagnosis]:
    """Each symptom once: what is said of a run that diverges or overfits needs no more causes."""
    if found := _climbing(run):
        return [found]
    rising, shaking = _rising(run), _jumping(run) or _swinging(run)
    if rising and rising.kind == "unstable":
        return [rising]
    if grave := [found for found in (rising, shaking) if found]:
        return grave
    return [found for found in (_unlearned(run), _gap(run)) if found] or _good_fit(run)


def _not_a_number(name: str, step: int) -> Diagnosis:
    sentence = f"From step {step:,} on the {name} was no longer a number: the steps were too large."
    return Diagnosis("diverged", step, sentence, "Lower learning_rate_multiplier to a tenth.")


def _climbing(run: _Run) -> Diagnosis | None:
    """Divergence; or instability, where the loss came down again."""
    if not run.has_train:
        return None
    start, end = run.train.start, run.train.level(run.last)
    noise = run.train.noise * math.sqrt(1 / FIRST + 1 / FEWEST_IN_WINDOW)
    limit = max(start, run.scale) + max(CLIMB * run.scale, DOUBT * noise)
    if end > limit:
        sentence = (
            f"The training loss ended at {_loss(end)}, above the {_loss(start)} with which it "
            "began: the steps were too large."
        )
        change = "Lower learning_rate_multiplier to a tenth."
        return Diagnosis("diverged", run.last, sentence, change)
    step, level = run.train.highest()
    if level < limit:
        return None
    sentence = (
        f"The training loss climbed from {_loss(start)} to {_loss(level)} around step {step:,} "
        f"before it fell to {_loss(end)}: the steps were too large."
    )
    return Diagnosis("unstable", step, sentence, "Lower learning_rate_multiplier to a third.")


def _rising(run: _Run) -> Diagnosis | None:
    """Overfitting; or instability, where the training loss rises as well."""
    if not (run.has_looks and run.has_train):
        return None
    losses, lowest = run.held_out.losses, int(np.argmin(run.held_out.losses))
    after = losses[lowest + 1 :]
    if len(after) < 2:
        return None
    low, end = float(losses[lowest]), float(after[-max(1, len(after) // 3) :].mean())
    # The very lowest loss is low by luck too; the median with its neighbours is not.
    around = float(np.median(losses[max(0, lowest - 1) : lowest + 2]))
    needed = max(RISE * low, RISE_OF_SCALE * run.scale, DOUBT * run.held_out.noise)
    if end - around < needed:
        return None
    step, last = int(run.held_out.steps[lowest]), int(run.held_out.steps[-1])
    then, now = run.train.level(step), run.train.level(last)
    if now - then > max(RISE * then, RISE_OF_SCALE * run.scale, run.train.noise):
        sentence = (
            f"Both losses rose after step {step:,}: from {_loss(low)} to {_loss(end)} on held-out "
            f"rows and from {_loss(then)} to {_loss(now)} in training. The steps were too large."
        )
        return Diagnosis("unstable", step, sentence, "Halve learning_rate_multiplier.")
    fell = f"fell from {_loss(then)} to {_loss(now)}"
    sentence = (
        f"The loss on held-out rows was lowest at step {step:,} ({_loss(low)}) and rose by "
        f"{_loss(end - low)} to {_loss(end)} by step {last:,}, while the training loss "
        f"{fell if then - now > RISE * then else f'stayed at {_loss(now)}'}: from then on the "
        f"model learned its training rows by heart.{_accuracies(run, step, last)}"
    )
    is_spoiled = run.kept > step and run.held_out_at(run.kept) - low > RISE * low
    return _overfitted(run, step, sentence, is_spoiled=is_spoiled)


def _overfitted(run: _Run, step: int, sentence: str, *, is_spoiled: bool) -> Diagnosis:
    """Which model was kept, and what to do: the best one came at `step`."""
    share = percent(step / run.total)
    if run.kept == step:
        sentence += " The model that was kept is from that step."
    else:
        where = "after" if run.kept > step else "before"
        sentence += f" The model that was kept is from step {run.kept:,}, {where} that."
    if step < EARLY * run.total:
        change = (
            f"Lower learning_rate_multiplier, to a third, say: the best step came after {share} of "
            "the steps."
        )
    elif is_spoiled:
        change = (
            f"Lower n_epochs to {share} of what it was, or lower early_stopping_patience, so that "
            "training ends there."
        )
    else:
        change = (
            "Nothing needs to change for the kept model. To get further, add training rows; a "
            "higher dropout or weight_decay is the next thing to try."
        )
    return Diagnosis("overfitting", step, sentence, change)


def _accuracies(run: _Run, step: int, last: int) -> str:
    """How accurate the answers were, which may improve while the loss gets worse."""
    if step not in run.accuracies or last not in run.accuracies:
        return ""
    then, now = percent(run.accuracies[step]), percent(run.accuracies[last])
    return f" The accuracy on held-out rows went from {then} to {now}."


def _jumping(run: _Run) -> Diagnosis | None:
    jumps = run.train.jumps(JUMP * run.scale)
    if not jumps or (len(jumps) == 1 and jumps[0].high - jumps[0].low < BIG_JUMP * run.scale):
        return None
    first = jumps[0]
    times = "once, at" if len(jumps) == 1 else f"{len(jumps):,} times, first at"
    sentence = (
        f"The training loss jumped {times} step {first.step:,}, from {_loss(first.low)} to "
        f"{_loss(first.high)}, and took several steps to come down: the steps were too large."
    )
    return Diagnosis("unstable", first.step, sentence, "Halve learning_rate_multiplier.")


def _swinging(run: _Run) -> Diagnosis | None:
    if not run.has_looks:
        return None
    size = max(SWING * float(np.median(run.held_out.losses)), SWING_OF_SCALE * run.scale)
    turns = run.held_out.turns(size)
    if len(turns) < SWINGS:
        return None
    sentence = (
        f"The loss on held-out rows turned {len(turns):,} times, by {_loss(size)} or more, instead "
        f"of settling; the first time at step {turns[0]:,}. The steps were too large."
    )
    return Diagnosis("unstable", turns[0], sentence, "Halve learning_rate_multiplier.")


def _unlearned(run: _Run) -> Diagnosis | None:
    """Underfitting, or training that ended too soon."""
    curve = run.held_out if len(run.held_out) > FEWEST_LOOKS or not run.has_train else run.train
    known = [run.train.level(run.last)] if run.has_train else []
    known += [float(run.held_out.losses[-2:].mean())] if run.has_looks else []
    level, end = min(known), curve.end(run.total)
    needed = max(FALL * level, FALL_OF_SCALE * run.scale, FALL_OF_WON * (run.start - level))
    is_falling = end.fall > max(end.share * needed, DOUBT * end.doubt)
    speed = end.fall / max(1, end.steps)
    if level >= (HIGH if run.num_labels else HIGH_TEXT) * run.scale:
        return _underfitting(run, level, speed if is_falling else None)
    if not is_falling:
        return None
    name = "loss on held-out rows" if curve is run.held_out else "training loss"
    sentence = (
        f"The {name} was still falling when training ended at step {run.last:,}: by "
        f"{_loss(end.fall)} over the last {end.steps:,} steps, {_loss(100 * speed)} per 100 steps, "
        f"to {_loss(curve.losses[-1])}."
    )
    return Diagnosis("still learning", run.last, sentence, _longer(run))


def _longer(run: _Run) -> str:
    if run.last < run.total:
        return f"Let training run to its end, step {run.total:,}; it stopped at {run.last:,}."
    return "Raise n_epochs, to one and a half times what it was, say."


def _underfitting(run: _Run, level: float, speed: float | None) -> Diagnosis | None:
    """What a high loss at the end means, by how fast it still falls (nats a step)."""
    ends = [f"training {_loss(run.train.level(run.last))}"] if run.has_train else []
    ends += [f"held-out {_loss(run.held_out.losses[-1])}"] if run.has_looks else []
    guessing = f"; guessing among {run.num_labels:,} labels gives " if run.num_labels else ""
    levels = f"({', '.join(ends)}{guessing + _loss(run.scale) if guessing else ''})"
    if speed is not None:
        sentence = (
            f"After {run.last:,} steps the loss is still high {levels} and still falling, by "
            f"{_loss(100 * speed)} per 100 steps: the model has not learned enough yet."
        )
        is_slow = run.last >= run.total and speed * run.last < level / 2
        faster = "Raise learning_rate_multiplier: double it, say."
        return Diagnosis("underfitting", run.last, sentence, faster if is_slow else _longer(run))
    if run.hardly_moved and (run.num_labels or level > LOW_TEXT):
        answers = "labels" if run.num_labels else "answers"
        sentence = (
            f"The loss hardly moved in {run.last:,} steps: it began at {_loss(run.start)} "
            f"{levels}. Either the steps were too small, or the {answers} do not follow from the "
            "prompts."
        )
        change = (
            "Raise learning_rate_multiplier, to ten times, say; if that changes nothing, look at "
            f"the {answers}."
        )
        return Diagnosis("underfitting", run.last, sentence, change)
    if not run.num_labels:
        return None
    sentence = (
        f"The loss stopped falling while it was still high {levels}: the model cannot tell the "
        "labels apart by what it learns."
    )
    change = 'Raise lora_rank, or set method = "full"; if that changes nothing, look at the labels.'
    return Diagnosis("underfitting", run.last, sentence, change)


def _gap(run: _Run) -> Diagnosis | None:
    if not (run.has_looks and run.has_train):
        return None
    train, held_out = run.train.level(run.kept), run.held_out_at(run.kept)
    if held_out - train < GAP * run.scale or held_out < GAP_RATIO * train:
        return None
    sentence = (
        f"At step {run.kept:,}, from which the model was kept, the loss is {_loss(train)} on "
        f"training rows and {_loss(held_out)} on held-out ones: the model answers what it has seen "
        "much better than what is new."
    )
    change = (
        "Add training rows, above all of the kind it gets wrong; a higher dropout or weight_decay "
        "is the next thing to try."
    )
    return Diagnosis("gap", run.kept, sentence, change)


def _good_fit(run: _Run) -> list[Diagnosis]:
    if not (run.has_looks and run.has_train):
        return []
    first, low = float(run.held_out.losses[0]), run.held_out_at(run.kept)
    way = f"fell from {_loss(first)} to {_loss(low)}" if low < first else f"stayed at {_loss(low)}"
    sentence = (
        f"The loss on held-out rows {way} by step {run.kept:,}, where the training loss is "
        f"{_loss(run.train.level(run.kept))}, and did not rise again: a good fit."
    )
    return [Diagnosis("good fit", run.kept, sentence, "Nothing needs to change.")]


def _loss(value: float) -> str:
    return f"{value:,.3f}"
