"""evaluate, for labels: the deployed model is asked for the label of every held-out text, scored,
compared with what else could answer, and its errors are looked into.

Knows: what is measured, in which order. Does not know: how scores are computed or pages laid out.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tunesmith.config import EvaluateConfig, PrepareConfig
from tunesmith.data.chat.files import read_classification
from tunesmith.data.likeness.duplicates import LEAKED, NEARLY_LEAKED
from tunesmith.events import Event
from tunesmith.metrics.abstaining import abstain
from tunesmith.metrics.baselines import BASELINES
from tunesmith.metrics.classification import (
    ClassificationScores,
    balanced_weights,
    natural_weights,
    score,
)
from tunesmith.metrics.confusion import worst_pairs
from tunesmith.metrics.intervals import bootstrap
from tunesmith.metrics.slices import by_slice
from tunesmith.metrics.suspects import LabelNoise
from tunesmith.pipeline.evaluating import learning
from tunesmith.pipeline.evaluating.labels import rivals, slicing
from tunesmith.pipeline.evaluating.labels.advice import Evidence, advise
from tunesmith.pipeline.evaluating.labels.asked import Asked, answers_of, running, votes_of
from tunesmith.pipeline.evaluating.labels.report import (
    ReportData,
    arranged,
    write_numbers,
    write_report,
)
from tunesmith.pipeline.evaluating.labels.report_rows import flipped, mistakes, needy
from tunesmith.pipeline.evaluating.labels.taught import Seen, Taught, seen, taught_rows
from tunesmith.pipeline.evaluating.labels.teaching import Lessons, learn, near_rows, write_review
from tunesmith.pipeline.evaluating.run_facts import prepared_as, run_facts, scored_lines
from tunesmith.pipeline.evaluating.verdict import verdict, worth
from tunesmith.pipeline.results import Deployed, Evaluated, Prepared, Rival, Trained
from tunesmith.pipeline.rundir import FOLDERS, RunDir, write_atomic
from tunesmith.pipeline.workshop import Workshop

REPORT, NUMBERS, PREDICTIONS = "report.html", "report.json", "predictions.parquet"
ROW_GROUP = 2048
"""Rows of predictions.parquet that are read together when one of them is looked at."""

LEAKS = (LEAKED, NEARLY_LEAKED)

Ahead = Callable[[], dict[str, list[str]]]


def baseline_answers(prepared: Prepared, run_dir: RunDir) -> dict[str, list[str]]:
    """What each cheap classifier answers to the scored texts, by its name.

    It needs no model of ours, so a whole run computes it while the training process starts up.
    """
    texts, labels = read_classification(run_dir.path / prepared.train)
    asked, _ = read_classification(run_dir.path / prepared.scored)
    balanced = prepared.class_weights == "balanced"
    return {b.name: b.predict(texts, labels, asked, balanced=balanced) for b in BASELINES}


def evaluate_labels(
    config: EvaluateConfig,
    prepared: Prepared,
    trained: Trained,
    deployed: Deployed,
    shop: Workshop,
    *,
    ahead: Ahead | None = None,
) -> Evaluated:
    """The scores of the deployed model's labels, beside those of others on the same rows.

    Leaves predictions.parquet, report.html, report.json and review.csv; whoever calls keeps the
    result. ahead: hands over `baseline_answers` that were computed before.
    Raises: ProviderError, StorageError; ConfigError, NotFound for what does not exist.
    """
    looked = _Look(config, prepared, trained, deployed, shop)
    return looked.evaluated(ahead)


@dataclass
class _Look:
    """One evaluation."""

    config: EvaluateConfig
    prepared: Prepared
    trained: Trained
    deployed: Deployed
    shop: Workshop

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.settled: PrepareConfig = prepared_as(self.shop.run_dir)
        self.lines = scored_lines(self.prepared, self.shop.run_dir)
        texts, self.gold = read_classification(self.shop.run_dir.path / self.prepared.scored)
        self.texts = texts
        # Before anything is asked: it may name a column that is not there.
        self.masks, self.left_out = slicing.masks(
            texts, self.lines, self.prepared, config=self.settled, columns=self.config.slice
        )

    def evaluated(self, ahead: Ahead | None) -> Evaluated:
        asked = self._ask()
        scores = self._score(asked)
        self._keep(asked)
        taught, view = self._view(asked)
        baselines = self._baselines(asked, taught, view, ahead)
        against = self._rivals(asked, rivals.others(self.config, self.texts, self.shop))
        lessons, review = self._learn(asked, taught, view)
        page = self._page(asked, scores, baselines=baselines, against=against)
        page = self._taught(page, asked, lessons, review)
        if taught and view:
            near = near_rows(view, taught, [row.row for row in page.mistakes[: page.num_worst]])
            rows = [replace(row, nearest=near.get(row.row, ())) for row in page.mistakes]
            page = replace(page, mistakes=rows)
        page = replace(page, verdict=self._verdict(page))
        result = self._result(page, scores)
        write_report(page, self.shop.run_dir.path / result.report)
        write_numbers(page, self.shop.run_dir.path / result.numbers)
        return result

    # --- asking and scoring -----------------------------------------------------------------------

    def _ask(self) -> Asked:
        config, model = self.config, self.deployed.model
        answers = answers_of(
            model, self.texts, self.shop, concurrency=config.concurrency, doing="Asking the model"
        )
        votes = votes_of(config, self.texts, model, self.shop) if config.num_votes > 1 else []
        return Asked(
            texts=self.texts,
            gold=self.gold,
            answers=answers,
            num_labels=len(self.prepared.labels),
            votes=votes,
        )

    def _score(self, asked: Asked) -> ClassificationScores:
        scores = score(
            asked.gold,
            asked.predicted,
            labels=self.prepared.labels,
            gold_probabilities=asked.gold_probabilities,
            answer_probabilities=asked.probabilities,
        )
        scores.metrics["brier"] = asked.brier
        return scores

    def _weighed(self, asked: Asked, weights: Any) -> dict[str, float]:
        labels = self.prepared.labels
        return score(asked.gold, asked.predicted, labels=labels, weights=weights).metrics

    def _keep(self, asked: Asked) -> None:
        """predictions.parquet: one row an example, in the order of the file that is scored."""
        import polars as pl

        columns = {
            "line": pl.Series(self.lines, dtype=pl.Int64),
            "text": asked.texts,
            "label": asked.gold,
            "predicted": asked.predicted,
            "logprob": [answer.logprob for answer in asked.answers],
            "label_probability": asked.gold_probabilities,
            "top": [
                [{"label": label, "logprob": value} for label, value in answer.top.items()]
                for answer in asked.answers
            ],
            "tied": [vote.tied for vote in asked.votes] or [False] * len(self.lines),
            "correct": [p == g for p, g in zip(asked.predicted, asked.gold, strict=True)],
            "cut_tokens": [answer.cut_tokens for answer in asked.answers],
        }
        table = io.BytesIO()
        pl.DataFrame(columns).write_parquet(table, row_group_size=ROW_GROUP)
        write_atomic(self.shop.run_dir.folder("evaluate") / PREDICTIONS, table.getvalue())

    # --- others -----------------------------------------------------------------------------------

    def _view(self, asked: Asked) -> tuple[Taught | None, Seen | None]:
        """The training rows, and all rows as numbers, where they are looked at."""
        if not (self.config.baselines or self.config.advice):
            return None, None
        if not self.prepared.train:
            what = "There are no baselines and there is no advice: they take the rows that the "
            self._leave_out(what + "model learned from.")
            return None, None
        taught = taught_rows(self.prepared, self.shop.run_dir)
        view = seen(self.trained.base_model, taught, asked.texts, self.shop)
        if self.config.baselines and not (view and view.is_embedded):
            self._leave_out(
                f"There is no baseline on frozen embeddings: {self.trained.base_model} gives none "
                "at this endpoint."
            )
        if self.config.advice and taught.is_sample:
            few = f"{len(taught.texts):,} of {taught.num_texts:,} training texts"
            self._leave_out(f"Wrong labels and leaks were looked for among {few}, drawn at random.")
        return taught, view

    def _baselines(
        self, asked: Asked, taught: Taught | None, view: Seen | None, ahead: Ahead | None
    ) -> tuple[Rival, ...]:
        if not self.config.baselines or taught is None:
            return ()
        answers = ahead() if ahead else baseline_answers(self.prepared, self.shop.run_dir)
        found = rivals.cheap(answers)
        if view and view.is_embedded:
            found.append(
                rivals.on_embeddings(
                    view,
                    taught,
                    balanced=self.prepared.class_weights == "balanced",
                    shop=self.shop,
                    model=self.trained.base_model,
                )
            )
        written, why = rivals.prompted(
            self.config, self.prepared, self.trained, asked.texts, taught=taught, shop=self.shop
        )
        for sentence in why:
            self._leave_out(sentence)
        return self._rivals(asked, [*found, *written])

    def _rivals(self, asked: Asked, found: Sequence[rivals.Answering]) -> tuple[Rival, ...]:
        labels, resamples = self.prepared.labels, self.config.bootstrap
        return tuple(
            rivals.measured(asked, other, labels=labels, resamples=resamples) for other in found
        )

    def _leave_out(self, sentence: str) -> None:
        self.left_out.append(sentence)
        self.shop.report(Event(kind="note", message=sentence))

    # --- errors -----------------------------------------------------------------------------------

    def _learn(
        self, asked: Asked, taught: Taught | None, view: Seen | None
    ) -> tuple[Lessons | None, str | None]:
        """What the errors teach, and the name of the file with suspects."""
        if not (self.config.advice and taught and view):
            return None, None
        what = "Looking for wrong labels, leaked rows and labels that need more rows"
        self.shop.report(Event(kind="note", message=what))
        lessons, noise = learn(taught, asked, view, self.lines, self.settled)
        return lessons, self._review(noise, taught) if noise else None

    def _review(self, noise: LabelNoise, taught: Taught) -> str:
        folder = self.shop.run_dir.folder("evaluate")
        file = self.prepared.files.get("table", self.settled.table)
        name = write_review(noise, taught, file, folder, self.settled.review)
        return f"{FOLDERS['evaluate']}/{name}"

    # --- results ----------------------------------------------------------------------------------

    def _page(
        self,
        asked: Asked,
        scores: ClassificationScores,
        *,
        baselines: tuple[Rival, ...],
        against: tuple[Rival, ...],
    ) -> ReportData:
        seconds = time.monotonic() - self.started
        facts = run_facts(self.prepared, self.trained, self.deployed, self.shop.run_dir, seconds)
        natural = self._weighed(asked, natural_weights(asked.gold, self.prepared.natural_shares))
        labels, confusion = arranged(scores)
        right = [p == g for p, g in zip(asked.predicted, asked.gold, strict=True)]
        return ReportData(
            **vars(replace(facts, num_cut=sum(a.cut_tokens > 0 for a in asked.answers))),
            num_examples=scores.num_examples,
            labels=labels,
            metrics=scores.metrics,
            intervals=bootstrap(scores, resamples=self.config.bootstrap),
            per_class=scores.per_class,
            confusion=confusion,
            pairs=worst_pairs(scores.counts, scores.labels),
            natural=natural,
            natural_shares=self.prepared.natural_shares,
            balanced=self._weighed(asked, balanced_weights(asked.gold)),
            calibration=scores.calibration,
            abstaining=abstain(asked.probabilities, right) if scores.calibration else None,
            slices=by_slice(asked.gold, asked.predicted, self.masks),
            baselines=baselines,
            against=against,
            flipped=[flipped(other, asked, self.lines) for other in against],
            running=running(self.deployed.model, asked.texts, self.shop),
            left_out=tuple(self.left_out),
            mistakes=mistakes(asked, self.lines),
            num_worst=self.config.worst,
            num_votes=self.config.num_votes,
            num_tied=sum(vote.tied for vote in asked.votes),
            train_counts=self.prepared.train_counts,
            validation_counts=self.prepared.validation_counts,
        )

    def _taught(
        self, page: ReportData, asked: Asked, lessons: Lessons | None, review: str | None
    ) -> ReportData:
        """The page with what the errors teach, and what to do."""
        errors = {c.label: 1 - c.recall for c in page.per_class if c.support}
        path = self.shop.run_dir.path
        evidence = Evidence(
            num_rows=page.num_examples,
            accuracy=page.metrics["accuracy"],
            errors=errors,
            pairs=page.pairs,
            diagnoses=learning.diagnoses(page, num_labels=len(page.labels)),
            lessons=lessons,
            review=str(path / review) if review else None,
            keeps_apart=self.settled.near_duplicates != 0 and not self.settled.validation,
        )
        return replace(
            page,
            advice=advise(evidence),
            lessons=lessons,
            needy=needy(lessons.growth, errors) if lessons and lessons.growth else (),
            review=review,
        )

    def _verdict(self, page: ReportData) -> tuple[str, ...]:
        leaked = {f: n for f, n in self.prepared.fates.items() if f in LEAKS}
        if not leaked:
            return tuple(verdict(page))
        number = sum(leaked.values())
        what = f"{number:,} rows of the table that are in the validation table too, or nearly, "
        return (*verdict(page), what + "were left out of training, so that the score is honest.")

    def _result(self, page: ReportData, scores: ClassificationScores) -> Evaluated:
        folder = FOLDERS["evaluate"]
        return Evaluated(
            model=self.deployed.model,
            num_examples=page.num_examples,
            metrics=dict(page.metrics),
            intervals=dict(page.intervals),
            per_class=tuple(asdict(one) for one in scores.per_class),
            natural=dict(page.natural),
            balanced=dict(page.balanced),
            baselines=tuple(page.baselines),
            left_out=tuple(page.left_out),
            against=tuple(page.against),
            running=page.running,
            worth=worth(page.baselines),
            advice=tuple(page.advice),
            noise=page.lessons.noise.share if page.lessons and page.lessons.noise else None,
            review=page.review,
            labels=scores.labels,
            confusion=tuple(map(tuple, scores.confusion)),
            verdict=tuple(page.verdict),
            report=f"{folder}/{REPORT}",
            numbers=f"{folder}/{NUMBERS}",
            predictions=f"{folder}/{PREDICTIONS}",
            num_cut=page.num_cut,
            num_votes=page.num_votes,
            num_tied=page.num_tied,
            seconds=time.monotonic() - self.started,
        )
