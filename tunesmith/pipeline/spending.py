"""What a run costs at a provider that takes money: estimated, told, agreed to before it is spent.

Estimates are cautious: tokens are counted as bytes of text, and prices are those of tuned models.
Knows: prices as a provider's row tells them. Does not know: who is asked, or how.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError, storage_errors
from tunesmith.events import Event
from tunesmith.pipeline.results import Estimate, Prepared
from tunesmith.pipeline.rundir import RunDir
from tunesmith.providers import Capabilities

BYTES_PER_TOKEN = 3
"""Of UTF-8 text: fewer than in most languages, so that an estimate is rather too high."""
PER_MESSAGE, PER_EXAMPLE = 3, 3
"""Tokens around a message, and before an answer, as OpenAI's guide to counting tokens says."""
TIMED = 20
"""Requests by which the evaluation measures how long one takes."""
FEWEST, MANY, MOST_EPOCHS = 100, 25_000, 25
"""OpenAI's published rule for epochs: three, more of few examples, fewer of many."""
MILLION = 1e6


@dataclass(frozen=True, kw_only=True)
class Size:
    """A file of examples, in tokens."""

    examples: int
    trained: int
    """Of all examples, each cut where the base model cuts it."""
    read: int
    """Of all prompts."""
    written: int
    """Of all right answers."""


def estimate(
    config: RunConfig,
    prepared: Prepared,
    run_dir: RunDir,
    can: Capabilities,
    *,
    training: bool = True,
) -> Estimate | None:
    """What the run costs at that provider; None where nothing is charged.

    training  whether a job is still to be made.
    """
    if can.free:
        return None
    base = config.train.base_model or ""
    facts = can.model(base)
    found = Estimate(provider=can.title, model=base, currency=can.currency)
    if facts:
        found = replace(found, as_of=facts.as_of.isoformat(), source=facts.source)
    if training:
        size = _size(run_dir.path / prepared.train, facts.example_tokens if facts else None)
        epochs = config.train.n_epochs or usual_epochs(size.examples)
        price = facts.training if facts else None
        found = replace(
            found,
            training_tokens=size.trained,
            n_epochs=epochs,
            training=None if price is None else size.trained * epochs * price / MILLION,
            training_price=price,
        )
    return _asked(config, prepared, run_dir, found, can)


def of_training(found: Estimate) -> Estimate:
    """The part of the job alone."""
    return replace(found, num_requests=0, read_tokens=0, written_tokens=0, evaluation=0.0)


def usual_epochs(examples: int) -> int:
    """Epochs where they are left to the provider, by OpenAI's published estimate."""
    usual = 3
    if examples * usual < FEWEST:
        return min(MOST_EPOCHS, FEWEST // max(1, examples))
    if examples * usual > MANY:
        return max(1, MANY // examples)
    return usual


def sentences(found: Estimate) -> Iterator[str]:
    """What is told of an estimate."""
    amount = f"{found.training_tokens:,} tokens in each of {found.n_epochs} epochs"
    asked = f"{found.num_requests:,} requests with about {found.read_tokens:,} tokens read and "
    asked += f"{found.written_tokens:,} written"
    if found.total is None:
        yield f"What this costs at {found.provider} is unknown: it has no price for {found.model}"
        yield f"It would train on about {amount} and send about {asked}"
        return
    money = found.currency
    if found.training:
        yield (
            f"Training on about {amount} costs about {found.training:,.2f} {money} "
            f"({found.training_price:g} per million tokens)"
        )
    yield f"Evaluating costs about {found.evaluation:,.2f} {money}: about {asked}"
    yield (
        f"Together about {found.total:,.2f} {money}, at prices of {found.as_of} "
        f"({found.source}); tokens are counted cautiously, one for {BYTES_PER_TOKEN} bytes"
    )


class Spending:
    """What may be spent: nothing unless somebody says yes.

    yes       it was said beforehand.
    max_cost  of everything that is agreed to together.
    ask       puts a question to a person; None: there is nobody.
    """

    def __init__(
        self,
        *,
        yes: bool = False,
        max_cost: float | None = None,
        ask: Callable[[str], bool] | None = None,
    ) -> None:
        self._yes, self._max_cost, self._ask = yes, max_cost, ask
        self._agreed = 0.0
        self._left = 0.0
        self._unknown_is_agreed = False

    def agree(
        self, found: Estimate | None, report: Callable[[Event], None], *, is_told: bool = False
    ) -> None:
        """Tell the estimate and get a yes, unless it is part of what was agreed to before.

        is_told  it was told already.
        Raises: ConfigError where the answer is no, nobody can be asked, or it is too much.
        """
        if found is None or self._covers(found):
            return
        for sentence in () if is_told else sentences(found):
            report(Event(kind="note", message=sentence))
        self._check_limit(found)
        if not self._yes and not (self._ask and self._ask(_question(found))):
            raise ConfigError(
                f"Nobody has agreed to spend {_amount(found)} at {found.provider}.",
                fix="Say --yes; --max-cost AMOUNT refuses what costs more.",
            )
        if found.total is None:
            self._unknown_is_agreed = True
        else:
            self._agreed += found.total
            self._left += found.total

    def _covers(self, found: Estimate) -> bool:
        """Whether it is part of what was agreed to; then it is taken off that."""
        if found.total is None or self._unknown_is_agreed:
            return self._unknown_is_agreed
        return found.total <= self._left + 1e-9

    def take(self, amount: float) -> None:
        """So much of what was agreed to has been spent."""
        self._left = max(0.0, self._left - amount)

    def _check_limit(self, found: Estimate) -> None:
        most = self._max_cost
        if most is None:
            return
        if found.total is None:
            raise ConfigError(
                f"--max-cost {most:g} cannot be kept: the price at {found.provider} is unknown.",
                fix="Put the price in your own providers.toml (docs/providers.md), or leave out "
                "--max-cost.",
            )
        if self._agreed + found.total > most:
            before = f" on top of {self._agreed:,.2f}" if self._agreed else ""
            raise ConfigError(
                f"This costs about {found.total:,.2f} {found.currency}{before}, more than "
                f"--max-cost {most:g}.",
                fix="Take fewer rows or epochs, a cheaper base model, or allow more.",
            )


def _amount(found: Estimate) -> str:
    known = found.total is not None
    return f"about {found.total:,.2f} {found.currency}" if known else "an unknown amount"


def _question(found: Estimate) -> str:
    return f"Spend {_amount(found)} at {found.provider}?"


def _asked(
    config: RunConfig, prepared: Prepared, run_dir: RunDir, found: Estimate, can: Capabilities
) -> Estimate:
    """The estimate with what the evaluation costs."""
    size, how = _size(run_dir.path / prepared.scored, None), config.evaluate
    classifies = prepared.task == "classify"
    times = 1 + (how.untuned and not classifies)
    votes = how.num_votes if how.num_votes > 1 else 0
    extra = min(size.examples, config.deploy.parity_examples) + TIMED * classifies
    rounds = times + bool(votes) + extra / max(1, size.examples)
    read = round(size.read * rounds)
    written = round(size.written * (times + votes + extra / max(1, size.examples)))
    facts = can.model(found.model)
    cost: float | None = None
    if facts and facts.input is not None and facts.output is not None:
        cost = (read * facts.input + written * facts.output) / MILLION
    return replace(
        found,
        num_requests=size.examples * (times + bool(votes)) + extra,
        read_tokens=read,
        written_tokens=written,
        evaluation=cost,
    )


def _size(path: Path, most: int | None) -> Size:
    """How much is in a file of chat examples. Raises: StorageError."""
    examples = trained = read = written = 0
    with storage_errors(path), path.open(encoding="utf-8") as file:
        for line in file:
            prompt, answers = _tokens(json.loads(line))
            examples += 1
            trained += min(prompt + answers, most or prompt + answers)
            read += prompt
            written += answers
    return Size(examples=examples, trained=trained, read=read, written=written)


def _tokens(example: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of the prompt, and of what answers it."""
    pair = [*example.get("preferred_output", ()), *example.get("non_preferred_output", ())]
    if pair:
        messages, answers = example["input"]["messages"], pair
    elif "messages" in example:
        messages, answers = example["messages"][:-1], example["messages"][-1:]
    else:
        messages, answers = [example.get("prompt", "")], [example.get("completion", "")]
    tools = _count(example["tools"]) if example.get("tools") else 0
    return PER_EXAMPLE + tools + sum(map(_count, messages)), sum(map(_count, answers))


def _count(message: Any) -> int:
    if isinstance(message, str):
        text = message
    elif isinstance(message, dict) and isinstance(message.get("content"), str) and len(message) < 4:
        text = message["content"]
    else:
        text = json.dumps(message, ensure_ascii=False)
    return PER_MESSAGE - (-len(text.encode()) // BYTES_PER_TOKEN)
