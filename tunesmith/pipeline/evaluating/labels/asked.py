"""Texts put to a model of labels over its endpoint: what it answers, how sure it is, how fast.

Knows: the provider. Does not know: what the answers are compared with, or how they are scored.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from tunesmith.config import EvaluateConfig
from tunesmith.events import Event
from tunesmith.metrics.classification import probability, squared_error
from tunesmith.metrics.generation import Vote, majority
from tunesmith.pipeline.results import Running
from tunesmith.pipeline.workshop import Workshop
from tunesmith.providers import Answer, Conversation, Reply, Writing

Q = TypeVar("Q")

SEED = 0
"""Of the answers that are drawn: evaluated again, they are the same."""
TIMED, TIMED_SECONDS = 20, 2.0
"""Requests, one at a time, of which the median counts; fewer where they take long."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Texts, their right labels and the endpoint's answers, all in one order."""

    texts: list[str]
    gold: list[str]
    answers: list[Answer]
    """The likeliest labels, with the probabilities of others."""
    num_labels: int
    """That the model knows."""
    votes: list[Vote] = field(default_factory=list)
    """What won among several answers drawn for each row; empty: none were drawn."""

    @property
    def predicted(self) -> list[str]:
        return [answer.label for answer in self.votes or self.answers]

    @property
    def probabilities(self) -> list[float]:
        """Of what was answered, by the model's own word."""
        return [
            math.exp(answer.logprob if label == answer.label else answer.top.get(label, -math.inf))
            for label, answer in zip(self.predicted, self.answers, strict=True)
        ]

    @property
    def gold_probabilities(self) -> list[float]:
        """Of the right label. Outside the best 20 labels: an even part of what they leave over."""
        return [
            probability(label, answer.top, num_labels=self.num_labels)
            for label, answer in zip(self.gold, self.answers, strict=True)
        ]

    @property
    def brier(self) -> float:
        """The Brier score, 0 to 2."""
        errors = [
            squared_error(label, answer.top, num_labels=self.num_labels)
            for label, answer in zip(self.gold, self.answers, strict=True)
        ]
        return math.fsum(errors) / len(errors)


def answers_of(
    model: str, texts: Sequence[str], shop: Workshop, *, concurrency: int, doing: str
) -> list[Answer]:
    """The model's answer to each text. Raises: ProviderError, NotFound."""
    answers: dict[int, Answer] = {}
    for i, answer in shop.provider.classify(model, texts, concurrency=concurrency):
        answers[i] = answer
        data = {"done": len(answers), "total": len(texts)}
        shop.report(Event(kind="progress", message=doing, data=data))
    return [answers[i] for i in range(len(texts))]


def votes_of(
    config: EvaluateConfig, texts: Sequence[str], model: str, shop: Workshop
) -> list[Vote]:
    """The most frequent of several answers to each text. Ties are told of."""
    asked = [Conversation(messages=[{"role": "user", "content": text}]) for text in texts]
    drawn = Writing(temperature=1.0, n=config.num_votes, seed=SEED, logprobs=True)
    answers: list[list[Reply]] = [[] for _ in texts]
    done = 0
    for i, reply in shop.provider.chat(model, asked, concurrency=config.concurrency, writing=drawn):
        answers[i].append(reply)
        done += len(answers[i]) == config.num_votes
        data = {"done": done, "total": len(texts)}
        shop.report(Event(kind="progress", message="Drawing answers", data=data))
    votes = [
        majority([r.text for r in some], [math.fsum(r.logprobs or ()) for r in some])
        for some in answers
    ]
    if tied := sum(vote.tied for vote in votes):
        what = f"On {tied:,} of {len(votes):,} rows the {config.num_votes} answers tied; the label "
        what += "that was likelier on average counts there"
        shop.report(Event(kind="note", message=what))
    return votes


def running(model: str, texts: Sequence[str], shop: Workshop) -> Running:
    """What a request costs, and how long it takes when it is the only one."""
    ask = partial(shop.provider.classify, model, concurrency=1)
    return Running(cost=cost(shop), seconds=seconds_of(ask, texts))


def seconds_of(ask: Callable[[list[Q]], Iterable[object]], questions: Sequence[Q]) -> float | None:
    """Median of a few requests, one after the other; None: there is nothing to ask."""
    spent: list[float] = []
    until = time.perf_counter() + TIMED_SECONDS
    for question in questions[:TIMED]:
        started = time.perf_counter()
        list(ask([question]))
        spent.append(time.perf_counter() - started)
        if time.perf_counter() > until:
            break
    return statistics.median(spent) if spent else None


def cost(shop: Workshop) -> float | None:
    """Of 1,000 requests: nothing where the models run here, else unknown."""
    return 0.0 if shop.provider.place == "embedded" else None
