"""A tuned causal model as a folder for other programs: the adapter merged into its base, or alone.

What was merged is read back from the disk and has to answer as the adapter does; only then does
the folder appear, whole, under its name.
Does not know: models' names, where they are kept.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunesmith.catalog import inspect
from tunesmith.errors import (
    ConfigError,
    NotOffered,
    ParityError,
    StorageError,
    nearest,
    storage_errors,
)
from tunesmith.events import Event
from tunesmith.model.cards import ADAPTER, ADAPTER_CONFIG, CARD, CausalCard, kind_of, read_card
from tunesmith.model.causal import KINDS, load_network
from tunesmith.model.precision import Precision
from tunesmith.model.rendering import Renderer

Report = Callable[[Event], None]
Sample = Mapping[str, Any]
"""A line of a job's samples.jsonl: messages, perhaps tools, perhaps `ids` of the answer; or the
text of a model that was tuned to classify."""

FORMS: dict[str, str] = {
    "merged": "whole weights, in the layout of transformers",
    "adapter": "the adapter alone, in PEFT's layout",
}
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 5e-2}
"""By which log-probabilities may differ once merged, as a root mean square. In fp32 only sums are
in another order. In bf16 every merged weight is rounded to 8 bits: that came to 0.03, and 0.1 at
most, where the adapter itself came to 0.25 (random weights, 16 and 24 layers, logits spread by 4).
"""
PROMPTS = (
    "Hello! How are you today?",
    "What is 17 times 3?",
    "Write one sentence about the sea.",
    'Answer with JSON: {"city": "Lisbon"}',
)
"""Asked where there are no samples."""
MOST_SAMPLES = 8
MOST_PROMPT = 512
"""Tokens of a prompt with its answer; more are cut from its beginning, to save memory."""
MOST_TOKENS = 16
"""Of an answer that is compared."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    folder: Path
    form: str
    num_bytes: int
    difference: float | None = None
    """Of log-probabilities between merged and adapter, the largest; None: no merging."""
    typical: float | None = None
    """Their root mean square."""
    num_compared: int = 0
    """Tokens of answers that were compared."""


@dataclass(frozen=True)
class _Answer:
    """A prompt and an answer, in token ids, with the log-probability of each token answered."""

    prompt: list[int]
    ids: list[int]
    logprobs: Tensor


def export(
    folder: Path,
    out: Path,
    *,
    to: str = "merged",
    samples: Sequence[Sample] = (),
    report: Report = lambda event: None,
) -> Exported:
    """Write the tuned causal model in `folder` to a new folder `out`, in the form `to`.

    A model that was tuned whole is merged as it is: its folder is copied.
    samples  prompts by which merged and adapter are compared; else a few of ours.
    Raises: ConfigError for an unknown form, a place that is taken, files that are missing;
    NotOffered for a form that this model has not; ParityError when merged answers otherwise;
    NotFound, MissingExtra, StorageError. Nothing is left of what failed.
    """
    if to not in FORMS:
        offered = ", ".join(f"{form} ({what})" for form, what in FORMS.items())
        raise ConfigError(
            f"There is no form {to!r} to export to; offered are {offered}.",
            fix=nearest(to, FORMS),
        )
    folder, out = folder.expanduser().resolve(), out.expanduser().absolute()
    card = _card(folder)
    _check_adapter(folder, card, to)
    if out.exists():
        raise ConfigError(f"{out} exists already.", fix="Give another folder with --out.")
    with _appearing(out) as written:
        if to == "adapter" or not card.is_adapter:
            shutil.copytree(folder, written, dirs_exist_ok=True)
            return Exported(folder=out, form=to, num_bytes=_size(written))
        # The bars of transformers would stand between our lines.
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        answers = _merge(folder, card, written, samples, report)
        report(_note("Comparing the answers of both"))
        difference = _difference(written, card, answers)
        return Exported(
            folder=out,
            form=to,
            num_bytes=_size(written),
            difference=float(difference.max()),
            typical=_typical(difference),
            num_compared=sum(len(answer.ids) for answer in answers),
        )


# --- what can be exported -----------------------------------------------------------------------


def _card(folder: Path) -> CausalCard:
    if not (folder / CARD).is_file():
        raise ConfigError(
            f"{folder} holds no tuned model: there is no {CARD} in it.",
            fix="Give the name or the folder of a tuned model; `tunesmith models` lists them.",
        )
    if kind_of(folder) != "causal":
        raise NotOffered(
            f"{folder} holds a classifier, which has no adapter to merge: its files are already "
            "in the usual layout.",
            fix=f"Copy that folder: cp -r {folder} PLACE",
        )
    return read_card(folder)


def _check_adapter(folder: Path, card: CausalCard, to: str) -> None:
    if not card.is_adapter:
        if to == "adapter":
            raise NotOffered(
                f"The model in {folder} was tuned whole and has no adapter.",
                fix="Use --to merged, which copies it.",
            )
        return
    if missing := [name for name in (ADAPTER_CONFIG, ADAPTER) if not (folder / name).is_file()]:
        raise ConfigError(f"{folder} has no {missing[0]}.", fix="Put it back, or train again.")
    if to == "adapter":
        return
    if (Path(card.base_folder) / "config.json").is_file():
        inspect(Path(card.base_folder))
    else:
        raise ConfigError(
            f"The adapter belongs on top of {card.base_model}, whose files in {card.base_folder} "
            "are gone.",
            fix="Put them back there, or use --to adapter.",
        )


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder to write to that gets the name `out` at the end of the block, or goes away."""
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        with storage_errors(out):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _note(message: str) -> Event:
    return Event(kind="note", message=message)


# --- merging ------------------------------------------------------------------------------------


def _merge(
    folder: Path, card: CausalCard, out: Path, samples: Sequence[Sample], report: Report
) -> list[_Answer]:
    """Write the merged model to `out`; what the adapter answered."""
    report(_note(f"Loading {card.base_model} and the adapter"))
    renderer = Renderer(folder, max_length=card.max_length)
    adapter = _adapted(folder, card, as_trained=True)
    answers = [
        _answer(adapter, prompt, ids or _greedy(adapter, prompt, renderer.ends))
        for prompt, ids in _prompts(renderer, card, samples)
    ]
    if card.method == "qlora":  # merged are the weights that its 4 bits stand for
        del adapter
        adapter = _adapted(folder, card, as_trained=False)
    network = adapter.merge_and_unload().to(KINDS[card.precision])
    needed = sum(p.numel() * p.element_size() for p in network.parameters())
    if (free := shutil.disk_usage(out).free) < needed:
        raise StorageError(
            f"The merged model takes {needed / 1e9:,.2f} GB, and there are {free / 1e9:,.2f} GB "
            f"free at {out.parent}.",
            fix="Free some space, or choose another disk with --out.",
        )
    report(_note(f"Writing {needed / 1e9:,.2f} GB"))
    network.save_pretrained(out, max_shard_size="5GB")
    renderer.save(out)
    replace(card, method="full").save(out)
    return answers


def _adapted(folder: Path, card: CausalCard, *, as_trained: bool) -> Any:
    """PEFT's model, in fp32 so that nothing is rounded but what is written; `as_trained`: on a
    base in 4 bits, where it was tuned so."""
    # Here and not above: the import takes seconds.
    from peft import PeftModel

    in_4_bits = card.method == "qlora"
    precision: Precision = card.precision if in_4_bits and as_trained else "fp32"
    network = load_network(Path(card.base_folder), precision=precision, in_4_bits=in_4_bits)
    if in_4_bits and not as_trained:
        network = network.dequantize().float()
    with warnings.catch_warnings():
        # PEFT asks transformers for things by their older names.
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(network, str(folder)).eval()


def _difference(merged: Path, card: CausalCard, answers: Sequence[_Answer]) -> Tensor:
    """By how much each log-probability differs. Raises: ParityError above the tolerance."""
    network = load_network(merged, precision="fp32")
    both = ((answer, _answer(network, answer.prompt, answer.ids)) for answer in answers)
    difference = torch.cat([(a.logprobs - b.logprobs).abs() for a, b in both])
    typical = _typical(difference)
    # Products with 4-bit weights are rounded too, on some machines.
    tolerance = TOLERANCE["bf16" if card.method == "qlora" else card.precision]
    if not typical <= tolerance:  # nan is not
        raise ParityError(
            "The merged model does not answer as the adapter does: log-probabilities differ by "
            f"{typical:.2g} (root mean square), and {tolerance:g} is allowed.",
            fix="Use the adapter as it is (--to adapter), and please report this.",
        )
    return difference


def _typical(difference: Tensor) -> float:
    return float(difference.square().mean().sqrt())


# --- answers ------------------------------------------------------------------------------------


def _prompts(
    renderer: Renderer, card: CausalCard, samples: Sequence[Sample]
) -> Iterator[tuple[list[int], list[int]]]:
    """Prompts in token ids with their answers, which are empty where they are not known."""
    asked = samples[:MOST_SAMPLES] or [{"text": text} for text in PROMPTS]
    for sample in asked:
        messages = sample.get("messages") or [{"role": "user", "content": sample["text"]}]
        prompt = renderer.prompt(messages, sample.get("tools"))
        room = min(card.max_length, MOST_PROMPT) - MOST_TOKENS
        yield prompt[-max(1, room) :], list(sample.get("ids") or ())[:MOST_TOKENS]


@torch.no_grad()
def _greedy(network: Any, prompt: Sequence[int], ends: frozenset[int]) -> list[int]:
    """The most probable answer, up to where it ends."""
    ids: list[int] = []
    while len(ids) < MOST_TOKENS and not (ids and ids[-1] in ends):
        given = torch.tensor([[*prompt, *ids]], device=network.device)
        ids.append(int(network(input_ids=given, use_cache=False).logits[0, -1].argmax()))
    return ids


@torch.no_grad()
def _answer(network: Any, prompt: list[int], ids: list[int]) -> _Answer:
    given = torch.tensor([prompt + ids], device=network.device)
    logits = network(input_ids=given, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    logprobs = torch.log_softmax(logits, dim=1)
    return _Answer(prompt, ids, logprobs.gather(1, given[0, len(prompt) :, None])[:, 0].cpu())
