"""What a run asks for: one frozen dataclass a step, TOML in and out, `a.b=c` overrides.

The line under a field is its help, here, in `--help` and in the docs. `None` or "auto" means:
chosen by Tunesmith, printed and stored with the reason.
Does not know: how any of it is done.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from tunesmith.errors import ConfigError, nearest

C = TypeVar("C")

Balance = Literal["auto", "smallest", "repeat", "weight", "none"]
Method = Literal["auto", "head", "full", "lora", "qlora"]
Precision = Literal["auto", "fp32", "bf16"]


def _whole(*default: str) -> Any:
    """A field with several values, which may hold commas: its option is given once for each."""
    return field(default=default, metadata={"whole": True})


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """From the user's table to training and validation examples."""

    table: str = ""
    """The table: CSV, TSV, Excel, JSON, JSONL, Parquet or Arrow, a file or a URL."""
    encoding: str | None = None
    """Encoding of a text file. Empty: detected, and the reason printed."""
    sheet: str | None = None
    """Sheet of an Excel workbook. Empty: the one that looks most like a table."""
    task: Literal["auto", "classify", "chat"] = "auto"
    """What the model learns: classify texts, or chat (answer them). auto: seen from the content."""
    text: str | None = None
    """Column that holds the text, or a template: "{subject}\\n\\n{body}". Empty: guessed."""
    label: str | None = None
    """Column that holds the label. Empty: guessed, and the reason printed."""
    annotators: tuple[str, ...] = ()
    """Columns with one annotator's label each; the majority decides. Empty: guessed."""
    votes: tuple[str, ...] = ()
    """Columns with the number of votes for one label each. Empty: guessed."""
    rater: str | None = None
    """Column that names the rater, where each row is one rating. Empty: guessed."""
    vote_by: Literal["majority", "dawid-skene", "soft"] = "majority"
    """How ratings become labels: majority, dawid-skene (weighs the raters), soft (by shares)."""
    ties: Literal["drop", "first"] = "drop"
    """Rows on which annotators tie: drop (and list in review.csv), or take the first one's."""
    review: str | None = None
    """A review.csv with the column `decision` filled in: these labels are taken."""
    clean: tuple[str, ...] = ()
    """Cleaning steps to add (+signatures) or leave out (-html); or a whole list; or none."""
    mask: tuple[str, ...] = ()
    """Sensitive data to replace: email, phone, card, iban, ip, secret, or all."""
    field: tuple[str, ...] = _whole()
    """A further column to put above the text: NAME, or NAME=drop, =fill:VALUE, =own."""
    empty_text: Literal["fields", "drop"] = "fields"
    """Rows without a text but with such fields: use the fields alone, or drop them."""
    merge_labels: bool = True
    """Treat labels that differ only in case, spaces or the form of a number as one."""
    merge: tuple[str, ...] = _whole()
    """Labels that are one: "Neative=Negative"."""
    missing_label: str | None = None
    """Label for rows without one. Empty: they are left out."""
    rare_labels: Literal["stop", "drop"] = "stop"
    """Labels with a single row, which cannot be split: stop, or drop these rows."""
    near_duplicates: float | None = None
    """Texts with this share of words in common stay on one side. Empty: 0.8; 0: not looked for."""
    validation: str | None = None
    """A table with the validation rows. Empty: split off the table."""
    split: str = "80/20"
    """Shares of training, validation and, if there are three, test rows, in percent."""
    split_by: Literal["label", "time"] = "label"
    """label: each label in the same proportion; time: the newest rows are held out."""
    time: str | None = None
    """Column with the time, for --split-by time. Empty: guessed."""
    group: str | None = None
    """Column whose equal values never stand on both sides, such as thread_id. Empty: guessed."""
    balance: Balance = "auto"
    """Classes: auto, smallest (cut to it), repeat, weight (the loss) or none."""
    seed: int = 0
    """Decides which rows are split off and which are cut when balancing."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The fine-tuning job. Names are OpenAI's where it has one."""

    base_model: str | None = None
    """Name, or a local folder. Empty: minilm-l6; to write, the first that is there and writes."""
    method: Method = "auto"
    """auto (the best that fits), head (frozen encoder), full; to write also lora, qlora (4-bit)."""
    n_epochs: int | None = None
    """Full passes over the training examples, at most. Empty: chosen from their number."""
    batch_size: int | None = None
    """Examples per step. Empty: chosen from their number and length."""
    learning_rate_multiplier: float | None = None
    """1.0 is the base model's own rate. Empty: 1.0."""
    beta: float | None = None
    """Of preference data: how far answers stay near the base model's. Empty: 0.1."""
    weight_decay: float = 0.01
    """Pull of the weights towards zero (AdamW)."""
    dropout: float | None = None
    """Share of activations dropped while training. Empty: the base model's own."""
    label_smoothing: float = 0.0
    """Share of each label's weight spread over the others."""
    warmup_ratio: float = 0.06
    """Share of the steps in which the learning rate rises."""
    max_grad_norm: float = 1.0
    """Gradients longer than this are scaled down to it."""
    max_length: int | None = None
    """Tokens of a text; the rest is cut and reported. Empty: the base model's own."""
    precision: Precision = "auto"
    """Of products of matrices: fp32, bf16, or auto (the faster one on that machine, measured)."""
    early_stopping_patience: int = 3
    """Looks at the dev slice without progress before training stops."""
    learn_dev: bool = True
    """Of classifiers: the last epoch learns from the dev slice too, unless its loss rises."""
    validation_interval: int | None = None
    """Steps between looks at the dev slice. Empty: half an epoch."""
    lora_rank: int | None = None
    """Rank of the adapter, for lora and qlora. Empty: chosen."""
    lora_alpha: float | None = None
    """The adapter counts by alpha / rank. Empty: twice the rank."""
    lora_dropout: float = 0.0
    """Share of the adapter's inputs dropped while training."""
    lora_targets: tuple[str, ...] = ()
    """Names of layers that get an adapter. Empty: all linear ones but the output layer."""
    use_dora: bool = False
    """Adapters with a length of their own for each output (DoRA)."""
    use_rslora: bool = False
    """The adapter counts by alpha / the root of its rank (rsLoRA)."""
    neftune_alpha: float = 0.0
    """Noise on the embeddings while training (NEFTune), such as 5; 0: none."""
    packing: Literal["auto", "packed", "padded"] = "auto"
    """Examples in a row behind each other (packed) or each in a row of its own (padded)."""
    gradient_checkpointing: bool | None = None
    """Compute activations twice, which saves memory. Empty: where memory would not do."""
    seed: int = 0
    """Same seed, same machine, same result."""
    suffix: str | None = None
    """Ends up in the model's name. Empty: the table's name."""


@dataclass(frozen=True, kw_only=True)
class DeployConfig:
    """Making the model answer, and proving that it answers as trained."""

    parity_examples: int = 50
    """Held-out prompts compared between trainer and endpoint."""
    parity_tolerance: float | None = None
    """Largest difference of a log-probability. Empty: 0.0001, or 0.02 for a model in bf16."""
    deployment: str | None = None
    """Name of a deployment made by hand, where the provider wants one. Empty: the model's name."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Scoring the deployed model."""

    concurrency: int = 128
    """Requests under way at once."""
    baselines: bool = True
    """Also score cheap classifiers on the same rows, one of them on the base's embeddings."""
    advice: bool = True
    """Also look for wrong labels, leaked rows and labels that need more rows, and advise."""
    against: tuple[str, ...] = _whole()
    """Another model of labels, or the folder of its run, to ask the same rows. Repeatable."""
    slice: tuple[str, ...] = _whole()
    """Of labels: also score the rows by their values in this column of the table. Repeatable."""
    require: tuple[str, ...] = _whole()
    """Exit code 1 unless this holds, such as "f1_macro>=0.9". Repeatable."""
    no_worse_than: tuple[str, ...] = _whole()
    """Exit code 1 where this model, or run, is surely better on the same rows. Repeatable."""
    bootstrap: int = 1000
    """Resamples behind each 95 % interval."""
    worst: int = 30
    """Rows listed among the worst predicted."""
    num_votes: int = 1
    """Of labels: answers drawn for each row; the most frequent one counts. 1: the likeliest."""
    untuned: bool = True
    """Also ask the untuned base model, on the same rows, where it can write."""
    max_tokens: int | None = None
    """Longest written answer. Empty: 1.5 times the longest right one, 64 at least."""
    schema: str | None = None
    """File with the JSON Schema that answers must fit. Empty: seen from the training answers."""
    judge: str | None = None
    """Model that grades written answers from 1 to 5, of any chat endpoint. Empty: nobody."""
    judge_url: str | None = None
    """Base URL of the judge's endpoint. Empty: the provider of the run."""
    judge_key_env: str | None = None
    """Name of the environment variable that holds the judge's API key."""
    judge_rubric: str | None = None
    """What the judge looks at: a text, or a file that holds it. Empty: a general rubric."""


@dataclass(frozen=True, kw_only=True)
class IterateConfig:
    """Training again with other settings, until a target is met or a budget is spent."""

    until: str | None = None
    """Stop at this score, such as "f1_macro>=0.92". Empty: go on until a budget is spent."""
    metric: str | None = None
    """What is made better. Empty: the target's; else accuracy, or the loss of written answers."""
    budget: str | None = None
    """Time for all trials together: 90s, 30m, 2h. Empty: 30m, if no other budget is given."""
    trials: int | None = None
    """Trials at most. Empty: any number."""
    max_cost: float | None = None
    """Money for all trials together, at the prices given. Empty: any amount."""
    hour_price: float | None = None
    """Price of an hour of training, for --max-cost."""
    token_price: float | None = None
    """Price of a million trained tokens, for --max-cost."""
    parallel: int = 1
    """Trials at once. They share the machine; a server needs as many workers."""
    search: tuple[str, ...] = ()
    """Settings to vary. Empty: those that fit the base model and were not given."""
    prune: bool = True
    """Stop a trial whose dev curve falls behind the median of the earlier ones."""
    keep_models: bool = False
    """Keep the models of all trials. Otherwise only the chosen one stays on the server."""


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """Who does the work."""

    name: str = "local"
    """local, tunesmith, openai, azure, compatible, or a row of your own providers.toml."""
    base_url: str | None = None
    """Base URL of a running server. Empty: the provider's; for local one is started for the run."""
    key_env: str | None = None
    """Name of the environment variable that holds the API key. Empty: the provider's usual one."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run."""

    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    deploy: DeployConfig = field(default_factory=DeployConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    iterate: IterateConfig = field(default_factory=IterateConfig)
    provider: ProviderConfig = field(default_factory=ProviderConfig)


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """A RunConfig from a TOML file and `section.field=value` overrides.

    Raises: ConfigError naming every unknown or impossible entry, each with the nearest name.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", fix="Check the path."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", fix="Correct that line.") from None
    return override(from_dict(RunConfig, data, str(path)), overrides)


def override(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Apply `section.field=value` entries; the value is TOML, or else plain text."""
    for entry in overrides:
        key, sign, text = entry.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (sign and dot):
            raise ConfigError(f"--set {entry!r} is not of the form section.field=value.")
        try:
            value = tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            value = text
        config = _merge(config, {section: {name: value}}, f"--set {entry}")
    return config


def from_dict(kind: type[C], data: Mapping[str, Any], origin: str) -> C:
    """Build a config dataclass from plain data, refusing what it does not know."""
    return overlay(kind(), data, origin)


def overlay(config: C, data: Mapping[str, Any], origin: str) -> C:
    """`config` with plain data laid over it; `origin` says in errors where that came from."""
    return _merge(config, data, origin)


def to_toml(config: object, reasons: Mapping[str, str] | None = None) -> str:
    """TOML text of a config; `reasons` ("train.n_epochs" → why) become comments above fields."""
    assert dataclasses.is_dataclass(config)
    out: list[str] = []
    nested = [f for f in fields(config) if dataclasses.is_dataclass(getattr(config, f.name))]
    sections: list[dataclasses.Field[Any] | None] = [*nested] or [None]
    for section in sections:
        part = getattr(config, section.name) if section else config
        if section:
            out.append(f"\n[{section.name}]")
        for f in fields(part):
            value = getattr(part, f.name)
            if why := (reasons or {}).get(f"{section.name}.{f.name}" if section else f.name):
                out.append(f"# {why}")
            if value is None:
                out.append(f"# {f.name} =            # chosen by Tunesmith")
            else:
                plain = list(value) if isinstance(value, tuple) else value
                out.append(tomli_w.dumps({f.name: plain}).strip())
    return "\n".join(out).strip() + "\n"


@cache
def help_of(kind: type) -> dict[str, str]:
    """The docstring under each field of a config dataclass."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = str(after.value.value)
    return found


def _merge(config: C, data: Mapping[str, Any], origin: str) -> C:
    """`config` with `data` laid over it. Gathers all that is wrong and raises once."""
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    hints = typing.get_type_hints(type(config))
    wrong: list[str] = []
    changes: dict[str, Any] = {}
    for name, value in data.items():
        if name not in hints:
            wrong.append(f"there is no setting {name!r} ({nearest(name, hints)})")
            continue
        current = getattr(config, name)
        if dataclasses.is_dataclass(current):
            changes[name] = _merge(current, value, f"{origin}, [{name}]")
            continue
        try:
            changes[name] = _fit(value, hints[name])
        except ValueError:
            wrong.append(f"{name} is {value!r}, but {_expected(hints[name])} is needed")
    if wrong:
        raise ConfigError(f"{origin}: " + "; ".join(wrong) + ".")
    return replace(config, **changes)


def _fit(value: Any, hint: Any) -> Any:
    """`value` as the type `hint`, or ValueError. Accepts the types config fields have."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _fit(value, next(a for a in args if a is not type(None)))
    if origin is Literal:
        if value in args:
            return value
        raise ValueError
    if origin is tuple:
        if isinstance(value, str):
            value = [part for part in value.split(",") if part]
        return tuple(_fit(v, args[0]) for v in value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ValueError


def _expected(hint: Any) -> str:
    return " or ".join(_words(hint))


def _words(hint: Any) -> Iterator[str]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if origin in (typing.Union, types.UnionType):
        for a in args:
            if a is not type(None):
                yield from _words(a)
    elif origin is Literal:
        yield from map(str, args)
    elif origin is tuple:
        yield "a list"
    else:
        yield names.get(hint, str(hint))
