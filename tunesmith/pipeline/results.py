"""What each verb made, named by its participle; each is also `result.json` in the verb's folder.

Paths are relative to the run directory. Knows no verb and no provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunesmith.data.findings import Finding
from tunesmith.events import Decision
from tunesmith.metrics.flips import Flips
from tunesmith.metrics.intervals import Interval
from tunesmith.metrics.significance import Comparison

Worth = Literal["yes", "no", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run costs at a provider that takes money, before it is spent. None: unknown."""

    provider: str
    model: str
    """The base model."""
    currency: str
    as_of: str | None = None
    """Date of the prices."""
    source: str = ""
    """Where they are from."""
    training_tokens: int = 0
    """Of one epoch."""
    n_epochs: int = 0
    training_price: float | None = None
    """Of a million tokens."""
    training: float | None = 0.0
    num_requests: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    evaluation: float | None = 0.0

    @property
    def total(self) -> float | None:
        if self.training is None or self.evaluation is None:
            return None
        return self.training + self.evaluation


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Training and validation files, and the fate of every row."""

    task: str
    """classify; chat, for answers to be written; preference, for pairs of a better and a worse."""
    files: dict[str, str] = field(default_factory=dict)
    """table, and validation where it is given → the file's name."""
    name: str
    """The table's stem; names the run and ends up in the model's name."""
    train: str
    """Empty: all rows are there to score a model that was tuned elsewhere."""
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
    estimate: Estimate | None = None
    """What the run will cost at the provider; None: nothing, or it is not known unasked."""
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
    """Empty: none was sent."""
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
    checkpoints: tuple[str, ...] = ()
    """Names of the models that were kept on the way, oldest first; the last one is `model`."""
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
class Rival:
    """What something else than the tuned model reaches on the same rows."""

    name: str
    title: str
    """As it reads in a sentence."""
    description: str
    metrics: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    comparison: Comparison | None = None
    """Of the right answers, ours against theirs."""
    gains: dict[str, float] = field(default_factory=dict)
    """Metric → the tuned model's score minus this one's."""
    gain_intervals: dict[str, Interval] = field(default_factory=dict)
    flips: Flips | None = None
    """Rows by number, from 0: mended are those that we alone answer rightly."""
    running: Running | None = None


@dataclass(frozen=True, kw_only=True)
class Running:
    """What it takes to answer."""

    cost: float | None = None
    """Of 1,000 requests, in money; 0: on machines of your own; None: unknown."""
    seconds: float | None = None
    """Median of a request, one at a time; None: there is no endpoint to measure."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Something to change, and why."""

    kind: str
    """leak, noise, confusion, shift, more rows, or what the curves show, such as overfitting."""
    evidence: str
    change: str
    expected: str
    gain: float | None = None
    """Expected, of the accuracy; None: nobody can tell, or it is not about that."""
    gain_interval: Interval | None = None


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
    balanced: dict[str, float] = field(default_factory=dict)
    """The same with all labels equally frequent."""
    baselines: tuple[Rival, ...]
    left_out: tuple[str, ...] = ()
    """Baselines that could not be asked, and what else was not looked at, in sentences."""
    against: tuple[Rival, ...] = ()
    """Other tuned models, by the name that was given for them."""
    running: Running | None = None
    worth: Worth | None = None
    """Whether tuning was worth it: better than the best of the baselines; None: there is none."""
    advice: tuple[Advice, ...] = ()
    """What to change, what helps most first."""
    noise: float | None = None
    """Estimated share of wrong labels among the training rows."""
    review: str | None = None
    """The training rows by how probably their label is wrong, to be given to prepare --review."""
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Row: true label, column: predicted, both in the order of `labels`; one more column where
    answers were no known label."""
    verdict: tuple[str, ...]
    """How good it is and whether tuning was worth it, in sentences."""
    report: str
    numbers: str = ""
    """All that the report shows, as JSON."""
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


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One training of an iteration."""

    number: int
    """From 0; people read it from 1."""
    state: Literal["running", "done", "pruned", "stopped", "failed"]
    """pruned: its curve fell behind; stopped: the budget was spent."""
    settings: dict[str, str | float | int | bool | None]
    """Setting → value, of those that are not as usual."""
    params: dict[str, str | float | int | bool | None] = field(default_factory=dict)
    """All settings that are varied, with their values as they were drawn."""
    score: float | None = None
    """On the rows that choose; None where the trial did not come to its end."""
    error: float | None = None
    """Standard error of the score, where it is known."""
    num_rows: int | None = None
    """Rows that it was measured on."""
    looks: tuple[float, ...] = ()
    """Accuracy on the dev slice, or the loss, at each look while it trained."""
    seconds: float = 0.0
    cost: float = 0.0
    job: str = ""
    model: str = ""
    method: str = ""
    """What the trial ended with: head, full, lora, qlora."""
    why: str = ""
    """Why it was stopped, or failed."""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """All trials, and the one that was chosen."""

    metric: str
    target: str | None
    reached: bool | None
    """Whether the chosen trial meets the target on the rows that choose; None: no target."""
    ended: str
    """Why the search is over: target, time, money, trials, exhausted, failures."""
    choosing: Decision
    """On which rows trials were compared."""
    trials: tuple[TrialResult, ...]
    chosen: int
    importances: dict[str, float]
    """Setting → its share of the differences between scores; empty: too few trials to say."""
    seconds: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class Iterated:
    """The chosen trial's model, and how its score held on rows that chose nothing."""

    model: str
    run_dir: str
    """The chosen trial's own run directory, with everything a run leaves."""
    searched: Searched
    final: dict[str, float]
    """The chosen model's metrics on the rows of the final score."""
    final_interval: tuple[float, float] | None
    """Of the metric by which trials were chosen: its 95 % interval there."""
    drop: float | None
    """How much worse the chosen trial is there than on the rows that chose it; below 0: better."""
    optimism: float | None
    """How much worse to expect, at most, because it is the best of so many trials."""
    verdict: tuple[str, ...]
    report: str
    table: str
    """All trials as CSV."""


Result = Prepared | Uploaded | Trained | Deployed | Evaluated | EvaluatedText
