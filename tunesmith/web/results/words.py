"""Scores as people read them.

Knows: what the metrics are called. Does not know: where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.findings import counted

NARROW = "\u202f"
LABEL_METRICS = {
    "accuracy": ("Accuracy", "of all texts get the right label"),
    "f1_macro": ("F1, macro", "precision and recall in one, all labels counting alike"),
    "precision_macro": ("Precision, macro", "how often it is right when it gives a label"),
    "recall_macro": ("Recall, macro", "how many of a label’s texts it finds"),
    "balanced_accuracy": ("Balanced accuracy", "accuracy, all labels counting alike"),
    "f1_weighted": ("F1, weighted", "each label counting as often as it occurs"),
    "precision_weighted": ("Precision, weighted", "each label counting as often as it occurs"),
    "recall_weighted": ("Recall, weighted", "each label counting as often as it occurs"),
    "f1_micro": ("F1, micro", "over all answers together"),
    "log_loss": ("Log loss", "how surprised it was by the right labels; lower is better"),
    "brier": ("Brier score", "how far its probabilities are from the truth; lower is better"),
    "expected_calibration_error": (
        "Calibration error",
        "how far stated probabilities are from the shares right; lower is better",
    ),
}
"""Metric → its title and what it says."""
PLAIN_NUMBERS = {"log_loss", "brier"}
WRITTEN_METRICS = {
    "exact_match": ("Exactly right", "letter for letter"),
    "json_match": ("Same JSON", "the same values, however written"),
    "tool_call_match": ("Right calls", "the same functions and arguments"),
    "judge_score": ("Judge", "graded by another model, from 1 to 5"),
    "token_f1": ("Words in common", "whatever their order"),
    "rouge_l": ("ROUGE-L", "the longest sequence of words in common"),
    "chrf": ("chrF", "pieces of words in common"),
    "json_valid": ("Valid JSON", "where it should be JSON"),
    "schema_match": ("Fits the schema", "the keys and types"),
    "stops_by_itself": ("Stops by itself", "before the limit of tokens"),
}


def percent(share: float | None) -> str:
    """0.938 → "93.8 %"; never "100.0 %" for less than all."""
    if share is None:
        return "–"
    value = round(100 * share, 1)
    return f"{min(value, 99.9) if share < 1 else value:.1f}{NARROW}%"


def span(interval: Sequence[float] | None) -> str:
    """(0.86, 0.91) → "86.8 to 91.1 %"."""
    if not interval:
        return ""
    return f"{100 * interval[0]:.1f} to {percent(interval[1])}"


def points(gain: float) -> str:
    """0.021 → "+2.1"; in points of percent."""
    return f"{100 * gain:+.1f}".replace("-", "−")


def ends(interval: Sequence[float]) -> str:
    """Of a gain: "+1.2 to +3.4"."""
    return f"{points(interval[0])} to {points(interval[1])}"


def chance(p_value: float) -> str:
    """How often chance alone makes such a difference."""
    return "under 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def score(name: str, value: float | None) -> str:
    """A metric's value."""
    if value is None:
        return "–"
    if name == "judge_score":
        return f"{value:.2f} of 5"
    return f"{value:.3f}" if name in PLAIN_NUMBERS else percent(value)


def scores(name: str, interval: Sequence[float] | None) -> str:
    """A metric's interval."""
    if not interval:
        return ""
    if name == "judge_score" or name in PLAIN_NUMBERS:
        return f"{interval[0]:.2f} to {interval[1]:.2f}"
    return span(interval)


def gained(name: str, gain: float) -> str:
    """A difference of a metric."""
    return f"{gain:+.2f}".replace("-", "−") if name == "judge_score" else points(gain)


def duel(found: Mapping[str, Any], ours: str, theirs: str) -> str:
    """What a comparison of right answers comes to; ours and theirs as they read in a sentence."""
    rows = counted(found["num_rows"], "row")
    sure = f"95{NARROW}% sure: {ends(found['interval'])}"
    if found["verdict"] == "undecided":
        more = "no number of rows would decide so small a difference"
        if found["rows_to_decide"]:
            more = f"about {max(found['rows_to_decide'], found['num_rows'] + 1):,} would decide it"
        return (
            f"Whether {ours[:1].lower()}{ours[1:]} or {theirs} is better is not decided with these "
            f"{rows} ({points(found['gain'])} points; {sure}); {more}."
        )
    size = f"{100 * abs(found['gain']):.1f} points"
    return f"{ours} is {size} {found['verdict']} than {theirs} on the same {rows} ({sure})."


def metric(name: str) -> tuple[str, str]:
    """Title and meaning of a metric."""
    return (LABEL_METRICS | WRITTEN_METRICS).get(name, (name.replace("_", " ").capitalize(), ""))


def first_up(said: str) -> str:
    """The sentence with a capital letter."""
    return said[:1].upper() + said[1:]
