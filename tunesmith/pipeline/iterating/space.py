"""The settings that trials vary, and the values they may take, by base model and data.

Whatever a trial varies travels in its job: its rows are the same as those of every other trial, so
the scores of all can be compared, and no row that is held out can slip into training.
Knows: which settings matter to which kind of training.
Does not know: how good settings are found, or what a trial is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunesmith import catalog
from tunesmith.config import RunConfig, TrainConfig
from tunesmith.data.texts.cleaning import STEPS, clean
from tunesmith.errors import ConfigError, nearest
from tunesmith.pipeline.base import kind_of
from tunesmith.pipeline.results import Prepared

if TYPE_CHECKING:
    from optuna import Trial

Value = str | float | int | bool | None
Settings = Mapping[str, Value]
"""Setting → value, of those that are not as usual."""

LONG_TEXT = 1000
"""Characters from which a text may be longer than what an encoder reads."""
SHORTER = (32, 64, 128, 256)
"""Tokens of a text, where fewer than usual are tried."""
UNEVEN = 1.5
"""The most frequent label's rows over the rarest one's, from which weighing them may help."""
OFTEN = 0.01
"""Share of the training texts that a cleaning step has to change to be worth a trial."""
DIGITS = 3
"""Of a number that is drawn: more say nothing."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A setting that is varied: among `choices`, or between `low` and `high`."""

    name: str
    usual: Value
    """Its value in the first trial."""
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0

    def suggest(self, trial: Trial) -> Value:
        """A value for that trial. Numbers between bounds are drawn by their logarithm."""
        if self.choices:
            found: Value = trial.suggest_categorical(self.name, self.choices)
            return found
        drawn = trial.suggest_float(self.name, self.low, self.high, log=True)
        return float(f"{drawn:.{DIGITS}g}")

    def shown(self, value: Value) -> str:
        """For people: a setting that is left to Tunesmith is `auto`."""
        if value is None:
            return "auto"
        return f"{value:g}" if isinstance(value, float) else str(value)


RATE = Dimension(name="learning_rate_multiplier", usual=1.0, low=0.3, high=5.0)
EPOCHS = Dimension(name="n_epochs", usual=None, choices=(None, 2, 3, 5, 8))
BATCH = Dimension(name="batch_size", usual=None, choices=(None, 8, 16, 32, 64))
DECAY = Dimension(name="weight_decay", usual=0.01, low=0.001, high=0.3)
DROPOUT = Dimension(name="dropout", usual=None, choices=(None, 0.0, 0.05, 0.1, 0.2))
SMOOTHING = Dimension(name="label_smoothing", usual=0.0, choices=(0.0, 0.05, 0.1, 0.2))
RANK = Dimension(name="lora_rank", usual=None, choices=(None, 8, 16, 32, 64))
ALPHA = Dimension(name="lora_alpha", usual=None, choices=(None, 16.0, 32.0, 64.0))
LORA_DROPOUT = Dimension(name="lora_dropout", usual=0.0, choices=(0.0, 0.05, 0.1))
NEFTUNE = Dimension(name="neftune_alpha", usual=0.0, choices=(0.0, 5.0, 10.0))
METHOD = Dimension(name="method", usual="auto", choices=("auto", "head", "full"))

OF_ALL = (RATE, EPOCHS, BATCH)
OF_ENCODER = (*OF_ALL, DECAY, DROPOUT, SMOOTHING)
OF_ADAPTER = (RATE, EPOCHS, RANK, ALPHA, LORA_DROPOUT, NEFTUNE)
OF_CAUSAL = (*OF_ALL, DECAY, DROPOUT, NEFTUNE)
ON_REQUEST = {"encoder": (METHOD,), "causal": (BATCH, DECAY, DROPOUT)}
"""Method is not varied unasked: `auto` tries the head as well, in every trial."""
TRIED: dict[str, tuple[Settings, ...]] = {
    "encoder": (
        {"n_epochs": 5, "label_smoothing": 0.1},
        {"n_epochs": 5, "label_smoothing": 0.1, "learning_rate_multiplier": 2.0},
        {"learning_rate_multiplier": 2.0},
    ),
    "causal": (
        {"learning_rate_multiplier": 2.0},
        {"learning_rate_multiplier": 0.5, "n_epochs": 5},
    ),
}
"""What comes after the defaults: budgets are often too small for a search to learn from its own
trials, so the first ones are those that tend to help."""


def space(
    config: RunConfig, prepared: Prepared, texts: Sequence[str], *, options: bool = True
) -> tuple[Dimension, ...]:
    """The settings to vary: those that fit, and that the user has not given.

    texts    of the training rows; empty where answers are written.
    options  whether the provider takes more than OpenAI's own hyperparameters.
    Raises: ConfigError for a setting asked for that does not fit, or when nothing is left to vary.
    """
    kind = _kind(config, prepared)
    found = _fitting(config, prepared, texts, kind) if options else OF_ALL
    further = ON_REQUEST.get(kind, ()) if options else ()
    asked = config.iterate.search
    if not asked:
        varied = tuple(one for one in found if not _is_given(config, one.name))
        if not varied:
            raise ConfigError(
                "There is nothing left to vary: every setting that fits is given.",
                fix="Leave out some of them, or name with --search which to vary.",
            )
        return varied
    known = {one.name: one for one in (*found, *further)}
    for name in asked:
        if name not in known:
            raise ConfigError(
                f"{name!r} cannot be varied with this base model and this data.",
                fix=nearest(name, known),
            )
    return tuple(_around(config, known[name]) for name in dict.fromkeys(asked))


def first_trials(
    config: RunConfig, prepared: Prepared, dimensions: Sequence[Dimension]
) -> list[dict[str, Value]]:
    """Settings of the first trials, whole: the usual ones, then those that tend to help."""
    usual = {one.name: one.usual for one in dimensions}
    tried = TRIED.get(_kind(config, prepared), ())
    return [usual, *({**usual, **changes} for changes in tried if changes.keys() <= usual.keys())]


def applied(
    config: RunConfig, prepared: Prepared, settings: Settings
) -> tuple[RunConfig, Prepared]:
    """Both with `settings` in them. Raises: ConfigError for values that cannot be together."""
    of_rows: dict[str, object] = {}
    of_training = dict(settings)
    if (weights := of_training.pop("class_weights", None)) is not None:
        of_rows["class_weights"] = weights
    if (steps := of_training.pop("cleaning", None)) is not None:
        of_rows["cleaning"] = tuple(step for step in str(steps).split(",") if step)
    train = replace(config.train, **of_training)  # type: ignore[arg-type]
    return replace(config, train=train), replace(prepared, **of_rows)  # type: ignore[arg-type]


def _kind(config: RunConfig, prepared: Prepared) -> str:
    classifies = prepared.task == "classify"
    base = config.train.base_model or (catalog.DEFAULT if classifies else None)
    return (kind_of(base) if base else None) or "causal"


def _fitting(
    config: RunConfig, prepared: Prepared, texts: Sequence[str], kind: str
) -> tuple[Dimension, ...]:
    if kind == "causal":
        return OF_CAUSAL if config.train.method == "full" else OF_ADAPTER
    found = () if config.train.method == "head" else OF_ENCODER
    return (*found, *_lengths(config, texts), *_of_rows(config, prepared, texts))


def _lengths(config: RunConfig, texts: Sequence[str]) -> list[Dimension]:
    """Reading less of each text, where some are longer than that. Of a head little else matters."""
    longest = max(map(len, texts), default=0)
    if longest < LONG_TEXT and config.train.method != "head":
        return []
    most = catalog.find(config.train.base_model or catalog.DEFAULT).max_length
    choices = (None, *(n for n in SHORTER if n < most))
    return [Dimension(name="max_length", usual=None, choices=choices)] if choices[1:] else []


def _of_rows(config: RunConfig, prepared: Prepared, texts: Sequence[str]) -> list[Dimension]:
    """Whether labels are weighed, and further cleaning, where either can make a difference."""
    found = []
    counts = prepared.train_counts.values()
    if (
        config.prepare.balance == "auto"
        and not prepared.soft_labels
        and max(counts) >= UNEVEN * min(counts)
    ):
        choices = ("none", "balanced")
        found.append(Dimension(name="class_weights", usual=prepared.class_weights, choices=choices))
    if prepared.cleaning is not None and not config.prepare.clean:
        now = ",".join(prepared.cleaning)
        more = [_with(prepared.cleaning, step) for step in _useful(prepared.cleaning, texts)]
        if more:
            found.append(Dimension(name="cleaning", usual=now, choices=(now, *more)))
    return found


def _useful(steps: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The cleaning steps that are off and would change enough of the texts."""
    import polars as pl

    column = pl.Series(texts, dtype=pl.String)
    off = [step for step in STEPS if step not in steps]
    return [step for step in off if clean(column, (step,))[1]["texts"] > OFTEN * len(texts)]


def _with(steps: Sequence[str], step: str) -> str:
    return ",".join(name for name in STEPS if name in (*steps, step))


def _is_given(config: RunConfig, name: str) -> bool:
    usual = TrainConfig()
    return hasattr(usual, name) and getattr(config.train, name) != getattr(usual, name)


def _around(config: RunConfig, one: Dimension) -> Dimension:
    """The dimension with the value that is given as its usual one."""
    if not _is_given(config, one.name):
        return one
    given: Value = getattr(config.train, one.name)
    if one.choices:
        choices = one.choices if given in one.choices else (*one.choices, given)
        return replace(one, usual=given, choices=choices)
    value = float(given or 0)
    return replace(one, usual=value, low=min(one.low, value), high=max(one.high, value))
