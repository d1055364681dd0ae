"""What each verb made, named by its participle; each is also `result.json` in the verb's folder.

Paths are relative to the run directory. Knows no verb and no provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunesmith.data.findings import Finding
from tunesmith.events import Decision


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Training and validation files, and the fate of every row."""

    task: str
    """classify; chat, for answers to be written; preference, for pairs of a better and a worse."""
    name: str
    """The table's stem; names the run and ends up in the model's name."""
    train: str
    validation: str
    test: str | None = None
    """Rows for the final score, if some were split off; else validation serves."""
    num_rows: int
    """Rows read, a given validation table's included."""
    num_train: int
    num_validation: int
    num_test: int = 0
    fates: dict[str, int]
    """The receipt in short: kept, merged, dropped:<why> … → rows. Sums to `num_rows`."""
    labels: tuple[str, ...]
    train_counts: dict[str, int]
    validation_counts: dict[str, int]
    natural_shares: dict[str, float]
    """Label → its share before balancing. Sums to 1."""
    class_weights: str
    """balanced or none; goes into the job, as the next three."""
    completions: bool = False
    """Whether the examples are texts to be gone on with, and no conversations."""
    soft_labels: bool = False
    """Whether a training text stands there once for each vote on it."""
    cleaning: tuple[str, ...] | None = None
    """Steps by which the texts were cleaned."""
    mask: tuple[str, ...] = ()
    """Sensitive data that was replaced."""
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()
    """The first 200; all are in findings.jsonl."""
    seconds: float = 0.0

    @property
    def scored(self) -> str:
        """The file whose rows give the final score."""
        return self.test or self.validation

    @property
    def num_scored(self) -> int:
        """Its rows."""
        return self.num_test if self.test else self.num_validation


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """The provider's ids of the two files."""

    server: str
    """Whose ids they are: a base URL, or `embedded`."""
    train_file: str
    train_sha256: str
    validation_file: str
    validation_sha256: str
    num_sent: int
    """Files that had to travel; the others were there already."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fine-tuning job that succeeded, and the model it made."""

    job: str
    model: str
    status: str
    base_model: str
    method: str
    """What the one-click recipe ended with: head, full, lora, qlora."""
    hyperparameters: dict[str, Any]
    trained_tokens: int
    steps: int
    chosen_step: int | None
    """The step whose weights were kept, where the trainer says so."""
    texts_cut: int
    """Training texts or conversations longer than the model reads."""
    samples_file: str | None
    """File id of the trainer's own answers to held-out prompts."""
    decisions: tuple[Decision, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    """All that the provider found out, as sent."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How the endpoint's answers compare with the trainer's own."""

    compared: int
    label_disagreements: int
    """Answers that differ from the trainer's: labels, or written ones."""
    max_logprob_gap: float | None
    """None: the endpoint gives no log-probabilities of what it writes."""
    tolerance: float
    passed: bool
    by: Literal["labels", "tokens", "texts"] = "labels"
    """What was compared. texts: the endpoint does not say which tokens it writes."""
    ties: int = 0
    """Written answers that part where two tokens are as likely as each other; they count as the
    same up to there."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A model that answers under its name, as it was trained."""

    model: str
    base_url: str
    """Where it answered; an embedded server has another port each time."""
    embedded: bool
    parity: Parity
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class BaselineScores:
    """What a cheap classifier reaches on the same rows."""

    name: str
    title: str
    description: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    gain: float
    """The tuned model's accuracy minus this one's."""
    gain_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The scores of the deployed model on the validation examples."""

    model: str
    num_examples: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """Metric → its 95 % interval."""
    per_class: tuple[dict[str, Any], ...]
    """label, precision, recall, f1, support."""
    natural: dict[str, float]
    """The metrics re-weighted to the natural class shares."""
    baselines: tuple[BaselineScores, ...]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Row: true label, column: predicted, both in the order of `labels`; one more column where
    answers were no known label."""
    verdict: tuple[str, ...]
    """How good it is and whether tuning was worth it, in sentences."""
    report: str
    predictions: str
    num_cut: int = 0
    """Texts longer than the model reads."""
    num_votes: int = 1
    """Answers drawn for each row, of which the most frequent one counts."""
    num_tied: int = 0
    """Rows on which these tied; the label that was likelier on average counts there."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UntunedScores:
    """What the untuned base model reaches on the same rows."""

    model: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    gains: dict[str, float]
    """Metric → the tuned model's score minus this one's, on the rows that have both."""
    gain_intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class EvaluatedText:
    """The scores of the deployed model's written answers on the validation examples."""

    model: str
    num_examples: int
    main: str
    """The metric that fits these answers; the verdict is about it."""
    metrics: dict[str, float]
    """Shares of 1, but for judge_score, 1 to 5."""
    intervals: dict[str, tuple[float, float]]
    """Metric → its 95 % interval."""
    counts: dict[str, int]
    """Metric → rows that it applies to."""
    untuned: UntunedScores | None
    num_refused: int = 0
    """Prompts longer than the model reads; they count as wrong."""
    num_unjudged: int = 0
    """Grades of the judge that could not be read; they count nowhere."""
    diagnoses: tuple[dict[str, Any], ...] = ()
    """kind, step, sentence, change: what the curves of training say."""
    decisions: tuple[Decision, ...] = ()
    verdict: tuple[str, ...]
    """How good it is and whether tuning was worth it, in sentences."""
    report: str
    predictions: str
    seconds: float = 0.0


Result = Prepared | Uploaded | Trained | Deployed | Evaluated | EvaluatedText
