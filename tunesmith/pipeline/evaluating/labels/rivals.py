"""What else could answer, on the same rows: cheap classifiers, the untuned base, other models.

Each with its scores, how far the tuned model is ahead of it, and what it takes to run.
Does not know: what a verdict makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tunesmith.config import EvaluateConfig
from tunesmith.errors import RequestError
from tunesmith.events import Event
from tunesmith.metrics.baselines import BASELINES, EMBEDDINGS
from tunesmith.metrics.classification import score
from tunesmith.metrics.flips import flips
from tunesmith.metrics.intervals import bootstrap, gains
from tunesmith.metrics.significance import compare_answers
from tunesmith.pipeline.base import is_causal
from tunesmith.pipeline.evaluating.labels.asked import Asked, answers_of, cost, running, seconds_of
from tunesmith.pipeline.evaluating.labels.taught import Seen, Taught
from tunesmith.pipeline.results import Deployed, Prepared, Rival, Running, Trained
from tunesmith.pipeline.rundir import RunDir
from tunesmith.pipeline.workshop import Workshop
from tunesmith.providers import Conversation

SHOTS = 8
"""Examples in a few-shot prompt at most, each of another label."""
MOST_LABELS = 100
"""In a prompt. Of more, an untuned model is not asked."""


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Something's answers to the rows, and what is said of it."""

    name: str
    title: str
    description: str
    predicted: Sequence[str | None]
    running: Running | None = None


def measured(asked: Asked, other: Answering, *, labels: Sequence[str], resamples: int) -> Rival:
    """The scores of the other's answers, and ours against them."""
    scores = score(asked.gold, other.predicted, labels=labels)
    comparison = compare_answers(asked.gold, asked.predicted, other.predicted)
    ahead = gains(asked.gold, asked.predicted, other.predicted, labels=labels, resamples=resamples)
    ahead["accuracy"] = comparison.gain, comparison.interval
    return Rival(
        name=other.name,
        title=other.title,
        description=other.description,
        metrics=scores.metrics,
        intervals=bootstrap(scores, resamples=resamples),
        comparison=comparison,
        gains={name: gain for name, (gain, _) in ahead.items()},
        gain_intervals={name: interval for name, (_, interval) in ahead.items()},
        flips=flips(asked.gold, other.predicted, asked.predicted),
        running=other.running,
    )


def cheap(answers: Mapping[str, list[str]]) -> list[Answering]:
    """The cheap classifiers of texts, whose answers are there, by name."""
    return [
        Answering(
            name=b.name,
            title=b.title,
            description=b.description,
            predicted=answers[b.name],
            running=Running(cost=0.0),
        )
        for b in BASELINES
    ]


def on_embeddings(
    seen: Seen, taught: Taught, *, balanced: bool, shop: Workshop, model: str
) -> Answering:
    """A linear head on the untuned base model's embeddings."""
    assert seen.is_embedded
    description = EMBEDDINGS.description
    if taught.is_sample:
        description += f" Learned from {len(taught.texts):,} of {taught.num_texts:,} of them."
    embed = partial(shop.provider.embed, model, concurrency=1)
    return Answering(
        name=EMBEDDINGS.name,
        title=EMBEDDINGS.title,
        description=description,
        predicted=EMBEDDINGS.predict(seen.train, taught.labels, seen.scored, balanced=balanced),
        running=Running(cost=cost(shop), seconds=seconds_of(embed, taught.texts)),
    )


def prompted(
    config: EvaluateConfig,
    prepared: Prepared,
    trained: Trained,
    texts: Sequence[str],
    *,
    taught: Taught,
    shop: Workshop,
) -> tuple[list[Answering], list[str]]:
    """The untuned base model, told the labels in words: without examples, and with a few; and why
    it was not asked. Neither of an encoder, which cannot write."""
    if not config.untuned or not is_causal(trained.base_model):
        return [], []
    if len(prepared.labels) > MOST_LABELS:
        why = f"The untuned base model was not asked: {len(prepared.labels):,} labels do not fit "
        return [], [why + "into a prompt."]
    shown = {label: text for text, label in zip(taught.texts, taught.labels, strict=True)}
    few = [(text, label) for label, text in sorted(shown.items())][:SHOTS]
    kinds: tuple[tuple[str, str, str, Sequence[tuple[str, str]]], ...] = (
        ("zero_shot", "the untuned base model, without examples", "by nothing but their names", []),
        ("few_shot", "the untuned base model, with a few examples", "by an example each", few),
    )
    model, labels = trained.base_model, prepared.labels
    choose = partial(shop.provider.choose, model, labels=labels, concurrency=1)
    found: list[Answering] = []
    for name, title, how, examples in kinds:
        asked = [_put(text, labels, examples) for text in texts]
        try:
            predicted = _chosen(config, labels, model, asked, shop)
        except RequestError as error:
            return found, [f"The untuned base model was not asked: {error.what}"]
        description = f"{model}, told the labels in the prompt, {how}; the label that "
        description += "it finds most probable counts."
        found.append(
            Answering(
                name=name,
                title=title,
                description=description,
                predicted=predicted,
                running=Running(cost=cost(shop), seconds=seconds_of(choose, asked)),
            )
        )
    return found, []


def others(
    config: EvaluateConfig, texts: Sequence[str], shop: Workshop, *, doing: str = "Asking {}"
) -> list[Answering]:
    """The other tuned models that are named, by model or by folder of their run.

    Raises: NotFound for a name that is neither; ProviderError.
    """
    found = []
    for name in dict.fromkeys((*config.against, *config.no_worse_than)):
        model = model_of(name)
        answers = answers_of(
            model, texts, shop, concurrency=config.concurrency, doing=doing.format(model)
        )
        found.append(
            Answering(
                name=name,
                title=_shortest(name),
                description=f"The model {model}, on the same rows.",
                predicted=[answer.label for answer in answers],
                running=running(model, texts, shop),
            )
        )
    return found


def model_of(name: str) -> str:
    """The model of that name, or that a run in the folder of that name has deployed."""
    folder = Path(name).expanduser()
    deployed = RunDir(folder).latest("deploy", Deployed) if folder.is_dir() else None
    return deployed.model if deployed else name


def _shortest(name: str) -> str:
    folder = Path(name)
    return folder.name if folder.is_absolute() else name


def _chosen(
    config: EvaluateConfig,
    labels: Sequence[str],
    model: str,
    asked: Sequence[Conversation],
    shop: Workshop,
) -> list[str | None]:
    """The label that the model finds most probable each time; None where it cannot read it all."""
    predicted: list[str | None] = [None] * len(asked)
    done = 0
    answers = shop.provider.choose(model, asked, labels, concurrency=config.concurrency)
    for i, answer in answers:
        predicted[i], done = answer.label if answer else None, done + 1
        data = {"done": done, "total": len(asked)}
        shop.report(Event(kind="progress", message="Asking the untuned model", data=data))
    return predicted


def _put(
    text: str, labels: Sequence[str], examples: Sequence[tuple[str, str]] = ()
) -> Conversation:
    """The text and the labels that there are, after examples with their labels. All of it by user
    and assistant, since some models know no system."""
    told = "Answer with exactly one of these labels and nothing else: " + ", ".join(labels)
    messages = []
    for shown, label in examples:
        messages.append({"role": "user", "content": shown})
        messages.append({"role": "assistant", "content": label})
    messages.append({"role": "user", "content": text})
    messages[0]["content"] = f"{told}\n\n{messages[0]['content']}"
    return Conversation(messages=messages)
