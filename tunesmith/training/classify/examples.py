"""Training and validation examples of a classifier as token ids with label numbers.

Knows: how examples are read, cut, weighted, and which of them are kept aside to choose by.
Does not know: the loop.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tunesmith.data.chat.files import read_classification
from tunesmith.errors import DataError
from tunesmith.events import Event
from tunesmith.model.classifier import Classifier
from tunesmith.model.tokens import Encoded
from tunesmith.training.classify.targets import counts, heaviest, mean_loss, shares

DEV_SHARE, DEV_SHARE_OF_FEW, FEW = 0.1, 0.2, 1000
DEV_MOST = 2000


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Texts as token ids, with their targets (see `targets`)."""

    texts: list[str]
    encoded: list[Encoded]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(e.ids) for e in self.encoded]

    def take(self, indices: Sequence[int]) -> Rows:
        """Those rows, in that order."""
        return Rows(
            texts=[self.texts[i] for i in indices],
            encoded=[self.encoded[i] for i in indices],
            targets=self.targets[list(indices)],
        )


@dataclass(frozen=True, kw_only=True)
class Score:
    """Mean weighted cross-entropy (nats) and the share of right answers."""

    loss: float
    accuracy: float


def score(logits: Tensor, targets: Tensor, weights: Tensor) -> Score:
    """Score logits (rows, labels) against targets, with a weight for each label.

    Right is the heaviest label of a row.
    """
    right = logits.argmax(1) == heaviest(targets)
    loss = mean_loss(logits, targets, weights).item()
    return Score(loss=loss, accuracy=right.float().mean().item())


def read_training(path: Path, *, soft: bool) -> tuple[list[str], list[str], list[str]]:
    """(texts, answers, labels): labels are the different answers, sorted.

    Raises: DataError when there is only one; of votes (`soft`), when all are on one text.
    """
    texts, answers = read_classification(path)
    labels = sorted(set(answers))
    if len(labels) < 2:
        raise DataError(
            f"All {len(texts)} training examples have the same answer.",
            fix="A classifier needs at least two different answers.",
        )
    if soft and len(set(texts)) < 2:
        raise DataError(
            f"All {len(texts)} training examples are votes on one text.",
            fix="A classifier needs at least two different texts.",
        )
    return texts, answers, labels


def read_held_out(path: Path, model: Classifier, *, soft: bool) -> Rows:
    """The validation file.

    Raises: DataError for an answer that no training example has.
    """
    texts, answers = read_classification(path)
    for example, answer in enumerate(answers, 1):
        if answer not in model.card.labels:
            raise DataError(
                f"Validation example {example} has the answer {answer!r}, "
                "which no training example has.",
                fix="Correct it, or add training examples for it.",
            )
    return encode(model, texts, answers, soft=soft)


def encode(model: Classifier, texts: list[str], answers: Sequence[str], *, soft: bool) -> Rows:
    """Texts and answers as Rows, by the model's tokenizer and labels.

    soft  answers to the same text are votes on it: one row, each label by its share of them.
    """
    number = {label: i for i, label in enumerate(model.card.labels)}
    targets = torch.tensor([number[a] for a in answers])
    if soft:
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        rows = torch.tensor([place[text] for text in texts])
        texts, targets = list(place), shares(rows, targets, len(number))
    return Rows(texts=texts, encoded=model.tokens(texts), targets=targets)


def tell_cuts(what: str, rows: Rows, limit: int) -> Iterator[Event]:
    """A warning that says how much of which texts the model does not see; nothing if all fits."""
    cut = [e.cut for e in rows.encoded if e.cut]
    if cut:
        texts = f"1 {what} text is" if len(cut) == 1 else f"{len(cut):,} {what} texts are"
        yield Event(
            kind="warning",
            message=f"{texts} longer than {limit} tokens and cut there: "
            f"{sum(cut):,} tokens are not seen (at most {max(cut):,} of one text)",
            data={"texts_cut": len(cut), "tokens_cut": sum(cut)},
        )


def dev_slice(targets: Tensor, *, seed: int) -> tuple[list[int], list[int]]:
    """(dev, rest): a tenth of the rows, stratified, drawn by seed, at most 2,000 in all.

    Of fewer than 1,000 rows a fifth, since a dozen rows choose nothing. The rest keeps at least
    one row of each label. A row of several labels stands with its heaviest.
    """
    share = DEV_SHARE if len(targets) >= FEW else DEV_SHARE_OF_FEW
    share = min(share, DEV_MOST / len(targets))
    draw = random.Random(f"{seed}/dev")
    members: dict[int, list[int]] = {}
    for i, label in enumerate(heaviest(targets).tolist()):
        members.setdefault(label, []).append(i)
    dev: list[int] = []
    owed = 0.0  # what rounding left over so far, so that small labels also make up the share
    for label in sorted(members):
        owed += share * len(members[label])
        take = min(round(owed), len(members[label]) - 1)
        owed -= take
        dev += draw.sample(members[label], take)
    if not dev:
        dev = max(members.values(), key=len)[:1]
    chosen = set(dev)
    return sorted(dev), [i for i in range(len(targets)) if i not in chosen]


def class_weights(targets: Tensor, labels: int, *, balanced: bool) -> Tensor:
    """Loss weight of each label, shape (labels,): 1, or inverse to its rows, 1 on average a row."""
    if not balanced:
        return torch.ones(labels)
    return len(targets) / (labels * counts(targets, labels).clamp(min=1).float())
