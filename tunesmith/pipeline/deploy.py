"""deploy: the model answers under its name, and the parity gate proves that it answers as trained.

The trainer noted its own answers to held-out prompts; the endpoint must give the same ones: labels
are compared here, written answers in `deploy_chat`.
Does not know: how the model is served.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.config import DeployConfig, to_toml
from tunesmith.errors import NotOffered, ParityError
from tunesmith.events import Event
from tunesmith.pipeline import deploy_chat
from tunesmith.pipeline.results import Deployed, Parity, Trained
from tunesmith.pipeline.rundir import digest, write_atomic
from tunesmith.pipeline.workshop import Workshop
from tunesmith.providers.provider import Answer, Conversation, Provider

CONCURRENCY = 16
HELLO = Conversation(messages=[{"role": "user", "content": "Hello"}], most=16)
TOLERANCE, ROUNDED_TOLERANCE = 1e-4, 2e-2
"""Of log-probabilities: of models that multiply in fp32, and in bf16."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The trainer's own answer to a held-out prompt."""

    text: str
    label: str
    logprob: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One held-out prompt: the trainer's answer, and the endpoint's."""

    text: str
    trained_label: str
    trained_logprob: float
    label: str
    logprob: float | None
    """The endpoint's log-probability of its own label; None where it gives none."""
    gap: float | None
    """Distance of the two log-probabilities; where the labels differ, that of the trainer's label
    here and there if it is more. So labels as likely as each other may change places."""
    cut_tokens: int
    same: bool


def inputs(config: DeployConfig, trained: Trained) -> str:
    """Changes with the model and the strictness of the gate."""
    return digest(config, trained.model, trained.job)


def deploy(config: DeployConfig, trained: Trained, shop: Workshop) -> Deployed:
    """The model, once its endpoint has passed the parity gate; parity.json holds every row.

    Raises: ParityError, which names the likely cause; ProviderError.
    """
    made_from = inputs(config, trained)
    if earlier := shop.run_dir.load("deploy", Deployed, made_from):
        return earlier
    started = time.monotonic()
    model = _deployed_as(config, trained, shop)
    tolerance = _tolerance(config, trained)
    lines = _samples(config, trained, shop)
    if not lines:
        return _by_its_word(config, trained, model, shop)
    # Said before the first answer, for which the model has to be loaded.
    start = {"done": 0, "total": len(lines)}
    shop.report(Event(kind="progress", message="Asking the model", data=start))
    rows: Sequence[Compared | deploy_chat.Written]
    if "messages" in lines[0]:
        rows = written = list(deploy_chat.compare(shop.provider, model, lines, tolerance))
        parity, found = deploy_chat.parity(written, tolerance), ""
        if not parity.passed:
            found = deploy_chat.cause(written)
    else:
        rows = labelled = list(_compare(shop.provider, model, lines, tolerance))
        parity, found = _parity(labelled, tolerance), ""
        if not parity.passed:
            found = cause(labelled)
    place = shop.run_dir.folder("deploy") / "parity.json"
    whole = {**asdict(parity), "cause": found, "rows": [asdict(row) for row in rows]}
    write_atomic(place, json.dumps(whole, ensure_ascii=False, indent=1).encode())
    if not parity.passed:
        differ = sum(not row.same for row in rows)
        raise ParityError(
            f"{trained.model} is not deployed: on {differ} of {len(rows)} held-out prompts the "
            f"endpoint does not answer as the trainer did. {found}",
            fix=f"All rows are in {place}.",
        )
    result = _result(model, parity, shop, time.monotonic() - started)
    shop.run_dir.save("deploy", result, made_from, to_toml(config))
    return result


def _result(model: str, parity: Parity, shop: Workshop, seconds: float) -> Deployed:
    return Deployed(
        model=model,
        base_url=shop.provider.endpoint().base_url,
        embedded=shop.provider.place == "embedded",
        parity=parity,
        seconds=seconds,
    )


def _deployed_as(config: DeployConfig, trained: Trained, shop: Workshop) -> str:
    """The name under which it answers. Raises: NotOffered where somebody has to deploy it."""
    can = shop.provider.can
    if config.deployment:
        return config.deployment
    if can.deploys:
        return trained.model
    raise NotOffered(
        f"{can.title} does not deploy {trained.model} by itself.",
        fix=f"{can.deploying or 'Deploy it there'}, then go on with: tunesmith run --run-dir "
        f"{shop.run_dir.path} --deployment NAME",
    )


def _by_its_word(config: DeployConfig, trained: Trained, model: str, shop: Workshop) -> Deployed:
    """A model of a trainer that leaves no answers to compare with: all that is seen is that it
    answers. Raises: NotFound, ProviderError."""
    started = time.monotonic()
    dict(shop.provider.chat(model, [HELLO], concurrency=1))
    what = f"{shop.provider.can.title} leaves no answers of its trainer, so that the model answers "
    shop.report(Event(kind="note", message=what + "is all that was seen; there is no parity gate"))
    nothing = Parity(
        compared=0, label_disagreements=0, max_logprob_gap=None, tolerance=0.0, passed=True
    )
    result = _result(model, nothing, shop, time.monotonic() - started)
    shop.run_dir.save("deploy", result, inputs(config, trained), to_toml(config))
    return result


def cause(rows: Sequence[Compared]) -> str:
    """The likeliest reason why some rows differ, as far as the rows can tell."""
    bad = [row for row in rows if not row.same]
    good = [row for row in rows if row.same]
    if not good and all(row.label == row.trained_label for row in bad):
        return (
            "All labels agree and all log-probabilities are off: the numbers are computed in "
            "another precision, or scaled."
        )
    if not good:
        return (
            "Every row differs: other weights answer under this name, or the endpoint cuts every "
            "text into other tokens."
        )
    cut_apart = all(row.cut_tokens for row in bad) and not any(row.cut_tokens for row in good)
    if cut_apart or min(len(row.text) for row in bad) > max(len(row.text) for row in good):
        return "Only the longest texts differ: the endpoint cuts them at another place."
    if all(row.text.isascii() for row in good) and not any(row.text.isascii() for row in bad):
        return (
            "Only texts with characters beyond ASCII differ: the endpoint decodes or normalises "
            "text differently."
        )
    return "The rows that differ have neither length nor characters in common."


def _tolerance(config: DeployConfig, trained: Trained) -> float:
    if config.parity_tolerance is not None:
        return config.parity_tolerance
    return ROUNDED_TOLERANCE if trained.facts.get("precision") == "bf16" else TOLERANCE


def _parity(rows: Sequence[Compared], tolerance: float) -> Parity:
    gaps = [row.gap for row in rows if row.gap is not None]
    return Parity(
        compared=len(rows),
        label_disagreements=sum(row.label != row.trained_label for row in rows),
        max_logprob_gap=max(gaps) if len(gaps) == len(rows) else None,
        tolerance=tolerance,
        passed=all(row.same for row in rows),
    )


def _compare(
    provider: Provider, model: str, lines: Sequence[Mapping[str, Any]], tolerance: float
) -> Iterator[Compared]:
    samples = [Sample(**line) for line in lines]
    texts = [sample.text for sample in samples]
    answers = dict(provider.classify(model, texts, concurrency=CONCURRENCY))
    for i, sample in enumerate(samples):
        answer = answers[i]
        gap = _gap(answer, sample)
        yield Compared(
            text=sample.text,
            trained_label=sample.label,
            trained_logprob=sample.logprob,
            label=answer.label,
            logprob=answer.logprob if math.isfinite(answer.logprob) else None,
            gap=gap,
            cut_tokens=answer.cut_tokens,
            same=gap is not None and gap <= tolerance,
        )


def _gap(answer: Answer, sample: Sample) -> float | None:
    """None where the endpoint gives no log-probability."""
    here = [answer.logprob]
    if answer.label != sample.label:
        here.append(answer.top.get(sample.label, -math.inf))
    gaps = [abs(logprob - sample.logprob) for logprob in here]
    return max(gaps) if all(map(math.isfinite, gaps)) else None


def _samples(config: DeployConfig, trained: Trained, shop: Workshop) -> Sequence[Mapping[str, Any]]:
    """The trainer's answers, at most `parity_examples`, spread evenly over those there are."""
    content = shop.provider.download(trained.samples_file) if trained.samples_file else b""
    found = [json.loads(line) for line in content.splitlines() if line.strip()]
    if not found and shop.provider.can.samples:
        raise ParityError(
            f"{trained.model} is not deployed: the trainer left no answers to compare with.",
            fix="Train it again.",
        )
    wanted = min(config.parity_examples, len(found))
    return [found[i * len(found) // wanted] for i in range(wanted)]
