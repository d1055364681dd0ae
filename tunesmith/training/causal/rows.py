"""Training and validation examples of a causal model in tokens.

Knows: how examples are read, rendered, cut, and which of them are kept aside to choose by.
Does not know: the loop, losses.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.chat.spans import content_text
from tunesmith.errors import DataError
from tunesmith.events import Event
from tunesmith.model.causal import Causal
from tunesmith.model.rendering import Rendered
from tunesmith.training.causal.packs import num_trained

DEV_SHARE, DEV_SHARE_OF_FEW, FEW = 0.1, 0.2, 1000
DEV_MOST = 500
FEWEST = 20
"""Examples of which some are kept aside; of fewer all are trained on."""
SHOWN = 5
"""Lines that a sentence names."""

Example = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Examples in tokens: one text each, or the better and the worse answer of a pair.

    part      which file they came from: train or valid.
    lines     1-based, in that file.
    examples  as they stand there; empty where nobody will ask for them.
    """

    part: str
    texts: list[tuple[Rendered, ...]]
    lines: list[int]
    examples: list[Example]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> Rows:
        """Those rows, in that order."""
        return Rows(
            part=self.part,
            texts=[self.texts[i] for i in indices],
            lines=[self.lines[i] for i in indices],
            examples=[self.examples[i] for i in indices] if self.examples else [],
        )

    @property
    def cut(self) -> list[tuple[int, int]]:
        """(line, tokens lost) of the rows that are longer than the limit."""
        lost = (sum(text.cut for text in texts) for texts in self.texts)
        return [(line, cut) for line, cut in zip(self.lines, lost, strict=True) if cut]

    @property
    def num_tokens(self) -> int:
        """Of all texts."""
        return sum(len(text.ids) for texts in self.texts for text in texts)

    @property
    def num_trained(self) -> int:
        """Tokens that count in the loss."""
        return sum(num_trained(text) for texts in self.texts for text in texts)


def read(path: Path, model: Causal, *, part: str, pairs: bool) -> Rows:
    """All examples of a file as the model reads them.

    Raises: DataError for one that the template cannot write, and for those of which no token would
    be trained, with their lines.
    """
    rows = Rows(part=part, texts=[], lines=[], examples=[])
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            example = json.loads(content)
            try:
                texts = _pair(model, example) if pairs else (rendered(model, example),)
            except DataError as error:
                raise DataError(f"Line {line}: {error.what}", fix=error.fix) from error
            rows.texts.append(texts)
            rows.lines.append(line)
            rows.examples.append(example)
    untrained = [
        line
        for line, texts in zip(rows.lines, rows.texts, strict=True)
        if not all(map(num_trained, texts))
    ]
    if untrained:
        raise _nothing_trained(untrained, bool(rows.cut))
    return rows


def rendered(model: Causal, example: Example) -> Rendered:
    """An example in tokens, its texts cleaned as the model's card says."""
    return model.renderer.example({**example, "messages": model.card.cleaned(example["messages"])})


def _pair(model: Causal, example: Example) -> tuple[Rendered, Rendered]:
    pair = model.renderer.pair(example)
    return pair.preferred, pair.other


def answers(path: Path) -> list[str]:
    """The different last answers in a file, sorted: the labels of examples to classify.

    Raises: DataError for an answer that is no text, and where there is only one.
    """
    found: set[str] = set()
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            answer = content_text(json.loads(content)["messages"][-1].get("content"))
            if not answer:
                raise DataError(
                    f"Line {line} does not end with a label.", fix="Give it one, or leave it out."
                )
            found.add(answer)
    if len(found) < 2:
        raise DataError(
            "All training examples have the same answer.",
            fix="Classifying needs at least two different answers.",
        )
    return sorted(found)


def _nothing_trained(lines: Sequence[int], some_are_cut: bool) -> DataError:
    more = f", and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
    where = f"line{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:SHOWN]))}{more}"
    ways = "Give each an answer whose weight is not 0, or leave it out."
    if some_are_cut:
        ways += " An answer that begins beyond max_length is cut off whole: give a larger one."
    return DataError(f"Nothing would be learnt from the example in {where}.", fix=ways)


def tell_cuts(what: str, rows: Rows, limit: int) -> Iterator[Event]:
    """A warning that says how much of which rows is not seen; nothing if all fit."""
    if cut := rows.cut:
        tokens = [lost for _, lost in cut]
        count = f"1 {what} row is" if len(cut) == 1 else f"{len(cut):,} {what} rows are"
        yield Event(
            kind="warning",
            message=f"{count} longer than {limit:,} tokens and cut there: {sum(tokens):,} tokens "
            f"are not seen (at most {max(tokens):,} of one row)",
            data={"texts_cut": len(cut), "tokens_cut": sum(tokens)},
        )


def dev_slice(num_rows: int, *, seed: int, patience: int) -> tuple[list[int], list[int]]:
    """(dev, rest): a tenth of the rows (a fifth of less than 1,000), drawn by seed, at most 500.

    None of fewer than 20, and none where no patience is asked for.
    """
    if not patience or num_rows < FEWEST:
        return [], list(range(num_rows))
    share = DEV_SHARE if num_rows >= FEW else DEV_SHARE_OF_FEW
    number = min(DEV_MOST, round(share * num_rows))
    dev = set(random.Random(f"{seed}/dev").sample(range(num_rows), number))
    return sorted(dev), [i for i in range(num_rows) if i not in dev]


def spread(rows: Rows, most: int) -> Rows:
    """Up to `most` rows spread evenly from the shortest to the longest, both included."""
    sizes = [sum(len(text.ids) for text in texts) for texts in rows.texts]
    by_length = sorted(range(len(rows)), key=lambda i: (sizes[i], i))
    if len(rows) > most:
        last = len(rows) - 1
        by_length = [by_length[round(k * last / max(1, most - 1))] for k in range(most)]
    return rows.take(by_length)
