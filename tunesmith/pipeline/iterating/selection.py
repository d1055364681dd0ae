"""The rows that choose between trials, and what a trial's model is worth on them.

The rows that give the final score never choose, and no trial's job is even sent them. Two ways:
- the trainer's own dev slice, on which it measures loss and accuracy anyway;
- for any other metric a slice of the training rows that is kept from all trials, and about which
  the model of each is asked.
Knows: files of examples, metrics. Does not know: settings, how trials are run.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from tunesmith.config import EvaluateConfig
from tunesmith.data.chat.files import read_classification
from tunesmith.errors import ConfigError, NotOffered, nearest
from tunesmith.events import Decision, read_events
from tunesmith.metrics import intervals
from tunesmith.metrics.classification import probability, score
from tunesmith.pipeline.evaluating.writing.answers import questions
from tunesmith.pipeline.evaluating.writing.chat_rows import read_chat_rows, said
from tunesmith.pipeline.preparing.rows import near_groups
from tunesmith.pipeline.results import Prepared, Trained, Uploaded
from tunesmith.pipeline.rundir import FOLDERS, RunDir, file_digest, write_atomic
from tunesmith.pipeline.upload import own_name
from tunesmith.pipeline.workshop import Workshop

DEV: Mapping[str, Mapping[str, str]] = {
    "classify": {"accuracy": "dev_accuracy"},
    "chat": {"loss": "dev_loss", "token_accuracy": "dev_accuracy"},
    "preference": {"reward_accuracy": "dev_reward_accuracy", "loss": "dev_loss"},
}
"""Task → metric → what the trainer calls it on its dev slice. The first one is the usual one."""
ASKED: Mapping[str, tuple[str, ...]] = {
    "classify": (
        "balanced_accuracy", "f1_macro", "f1_micro", "f1_weighted", "precision_macro",
        "precision_micro", "precision_weighted", "recall_macro", "recall_micro",
        "recall_weighted", "log_loss", "expected_calibration_error",
    ),
    "chat": (
        "exact_match", "token_f1", "rouge_l", "chrf", "json_valid", "json_match", "schema_match",
        "tool_call_match",
    ),
    "preference": (),
}  # fmt: skip
"""Task → metrics for which models are asked."""
OF_BOTH = frozenset({"accuracy"})
"""Metrics of the trainer that a model can also be asked for."""
SHARE, SHARE_OF_FEW, FEW, MOST = 10, 20, 1000, 2000
"""Percent of the training rows in a slice, as the trainer's dev slice has them; rows at most."""
NEAR = 0.8
"""Share of words in common from which two texts are on one side of the slice."""
SLICE, LEARNED = "selection.jsonl", "train.jsonl"
"""The rows that choose, and the rest."""
_COUNT = re.compile(r"[\d,]+")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A trial's score on the rows that choose."""

    value: float
    error: float | None
    """Its standard error; None where nobody knows."""
    num_rows: int | None


class Selection(Protocol):
    """What trials learn from, and how they are measured."""

    decision: Decision
    prepared: Prepared
    """Of the trials: no held-out rows, and perhaps fewer training rows."""
    uploaded: Uploaded
    aside: Sequence[bool]
    """Which training rows of the receipt are kept from trials; empty: none."""

    def measure(self, trained: Trained, shop: Workshop) -> Measured:
        """The score of the trial whose run directory `shop` has. Raises: NotOffered."""


def metrics_of(task: str) -> tuple[str, ...]:
    """The metrics by which trials of such a task can be chosen; the usual one first."""
    return (*DEV[task], *ASKED[task])


def select_by(
    metric: str, config: EvaluateConfig, prepared: Prepared, shop: Workshop, *, seed: int
) -> Selection:
    """The way to measure that metric; the files that trials need are at the provider then.

    Raises: ConfigError for an unknown metric, or too few rows for a slice.
    """
    known = metrics_of(prepared.task)
    if metric not in known:
        raise ConfigError(
            f"There is no metric {metric!r} to choose by.", fix=nearest(metric, known)
        )
    name = DEV[prepared.task].get(metric)
    if name and shop.provider.can.options:
        return DevSlice(metric, name, prepared, shop)
    if name and metric not in OF_BOTH:
        raise NotOffered(
            f"{shop.provider.place} does not tell the {metric} of a dev slice.",
            fix=f"Choose by another one with --metric: {', '.join(ASKED[prepared.task])}.",
        )
    return OwnSlice(metric, config, prepared, shop, seed=seed)


class DevSlice:
    """Measures by what the trainer noted at the step that it kept."""

    def __init__(self, metric: str, name: str, prepared: Prepared, shop: Workshop) -> None:
        self.prepared = prepared
        self.uploaded = _sent(prepared, shop.run_dir, shop)
        self.decision = Decision(
            what="choosing",
            value=f"by {metric} on the trainer's dev slice",
            reason="training rows that each trial keeps aside; the same ones for all of them",
        )
        self.aside: Sequence[bool] = ()
        self._name = name

    def measure(self, trained: Trained, shop: Workshop) -> Measured:
        """See Selection."""
        place = shop.run_dir.path / FOLDERS["train"] / "events.jsonl"
        looks = [
            event.data
            for event, _ in read_events(place)
            if event.kind == "metric" and self._name in event.data
        ]
        kept = [data for data in looks if data.get("step") == trained.chosen_step]
        if not looks:
            raise NotOffered(
                f"The trainer told no {self._name}, so trials cannot be compared.",
                fix="Choose by another one with --metric, and do not turn early stopping off.",
            )
        value = float((kept or looks)[-1][self._name])
        num_rows = _dev_rows(trained)
        error = None
        if num_rows and "accuracy" in self._name:
            error = math.sqrt(value * (1 - value) / num_rows)
        return Measured(value=value, error=error, num_rows=num_rows)


class OwnSlice:
    """Measures by asking the model about training rows that no trial learns from."""

    def __init__(
        self,
        metric: str,
        config: EvaluateConfig,
        prepared: Prepared,
        shop: Workshop,
        *,
        seed: int,
    ) -> None:
        folder = shop.run_dir.folder("iterate")
        lines = (shop.run_dir.path / prepared.train).read_bytes().splitlines(keepends=True)
        texts, labels = _examples(prepared, shop.run_dir)
        aside = _drawn(prepared.task, texts, labels, seed=seed)
        # Rows that stand there several times, for balance or for several votes, do so in a row.
        runs = groupby(zip(texts, aside, strict=True))
        self.aside: Sequence[bool] = [one for (_, one), _ in runs] if labels else aside
        self._metric, self._config = metric, config
        self._slice = f"{FOLDERS['iterate']}/{SLICE}"
        for name, is_aside in ((SLICE, True), (LEARNED, False)):
            kept = [line for line, one in zip(lines, aside, strict=True) if one is is_aside]
            write_atomic(folder / name, b"".join(kept))
        self.prepared = _without(prepared, labels, aside)
        self.uploaded = _sent(self.prepared, shop.run_dir, shop)
        self._home = shop.run_dir.path
        self.decision = Decision(
            what="choosing",
            value=f"by {metric} on {sum(aside):,} of the {len(aside):,} training rows",
            reason="kept from all trials; the model of each is asked about them",
        )

    def measure(self, trained: Trained, shop: Workshop) -> Measured:
        """See Selection."""
        ask = self._labels if self.prepared.task == "classify" else self._texts
        return ask(trained, shop)

    def _labels(self, trained: Trained, shop: Workshop) -> Measured:
        texts, gold = read_classification(self._home / self._slice)
        asked = shop.provider.classify(trained.model, texts, concurrency=self._config.concurrency)
        answers = [answer for _, answer in sorted(asked, key=lambda one: one[0])]
        labels = self.prepared.labels
        scores = score(
            gold,
            [answer.label for answer in answers],
            labels=labels,
            gold_probabilities=[
                probability(label, answer.top, num_labels=len(labels))
                for label, answer in zip(gold, answers, strict=True)
            ],
            answer_probabilities=[math.exp(answer.logprob) for answer in answers],
        )
        span = intervals.bootstrap(scores).get(self._metric)
        return _measured(scores.metrics[self._metric], span, len(gold))

    def _texts(self, trained: Trained, shop: Workshop) -> Measured:
        rows = read_chat_rows(self._home / self._slice)
        taught = read_chat_rows(self._home / self.prepared.train)
        config = replace(self._config, judge=None)
        asking, _ = questions(config, rows, taught, trained.base_model)
        values = asking.ask(trained.model, shop, doing="Asking the model").values(self._metric)
        if not values:
            raise NotOffered(
                f"{self._metric} applies to none of these answers.",
                fix="Choose by another one with --metric.",
            )
        span = intervals.mean(values)
        return _measured(math.fsum(values) / len(values), span, len(values))


def _measured(value: float, span: tuple[float, float] | None, num_rows: int) -> Measured:
    error = None if span is None else (span[1] - span[0]) / (2 * intervals.NORMAL)
    return Measured(value=value, error=error, num_rows=num_rows)


def _sent(prepared: Prepared, run_dir: RunDir, shop: Workshop) -> Uploaded:
    """The training file at the provider, sent once; and no other file, see above."""
    path = run_dir.path / prepared.train
    checksum = file_digest(path)
    earlier = [
        run_dir.latest("upload", Uploaded),
        _of_trials(run_dir).latest("upload", Uploaded),
    ]
    known = {
        one.train_sha256: one.train_file
        for one in earlier
        if one and one.server == shop.provider.place
    }
    file_id, num_sent = known.get(checksum), 0
    if file_id is None or shop.provider.file(file_id) is None:
        file_id, num_sent = shop.provider.upload(path, name=own_name(path, checksum)).id, 1
    sent = Uploaded(
        server=shop.provider.place,
        train_file=file_id,
        train_sha256=checksum,
        validation_file="",
        validation_sha256="",
        num_sent=num_sent,
    )
    _of_trials(run_dir).save("upload", sent, checksum)
    return sent


def _of_trials(run_dir: RunDir) -> RunDir:
    return RunDir(run_dir.path / FOLDERS["iterate"])


def _dev_rows(trained: Trained) -> int | None:
    """Rows of the trainer's dev slice, which it tells among its decisions."""
    told = next((d.value for d in trained.decisions if d.what == "dev slice"), "")
    found = _COUNT.match(told)
    return int(found[0].replace(",", "")) if found else None


def _examples(prepared: Prepared, run_dir: RunDir) -> tuple[list[str], list[str]]:
    """The training texts and their labels; whole conversations have none."""
    if prepared.task == "classify":
        return read_classification(run_dir.path / prepared.train)
    rows = read_chat_rows(run_dir.path / prepared.train)
    return [f"{row.messages}\n{said(row.gold, row.gold_calls)}" for row in rows], []


def _drawn(task: str, texts: Sequence[str], labels: Sequence[str], *, seed: int) -> list[bool]:
    """Which examples are kept aside: each label in proportion, likenesses together.

    Raises: ConfigError when none can be spared.
    """
    import polars as pl

    from tunesmith.data.likeness.fingerprints import keys
    from tunesmith.data.sides import split

    examples = pl.DataFrame({"text": texts, "label": labels or [""] * len(texts)}).with_columns(
        pl.int_range(1, len(texts) + 1).alias("line")
    )
    # A text may stand there several times: repeated for balance, or once for each vote.
    distinct = examples.with_columns(keys(examples).alias("key")).unique(
        "key", keep="first", maintain_order=True
    )
    share = SHARE if distinct.height >= FEW else SHARE_OF_FEW
    share = max(1, min(share, 100 * MOST // distinct.height))
    groups, _ = near_groups(distinct["text"], NEAR, seed)
    bound = groups if groups.null_count() < len(groups) else None
    sides = split.assign(distinct, (100 - share, share), seed=seed, groups=bound).sides
    aside = distinct.filter(sides != "train")["key"]
    found = keys(examples).is_in(aside.implode()).to_list()
    if not any(found) or all(found):
        raise ConfigError(
            "There are too few training rows to keep some aside to choose by.",
            fix=f"Choose by what the trainer measures: --metric {next(iter(DEV[task]))}.",
        )
    return found


def _without(prepared: Prepared, labels: Sequence[str], aside: Sequence[bool]) -> Prepared:
    """What is prepared, less the training examples that are kept aside."""
    found = Counter(label for label, one in zip(labels, aside, strict=False) if not one)
    return replace(
        prepared,
        train=f"{FOLDERS['iterate']}/{LEARNED}",
        num_train=len(aside) - sum(aside),
        train_counts={label: found[label] for label in prepared.labels},
    )
