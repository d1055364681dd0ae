"""compare.html: models of labels side by side on the same rows, in plain words.

Knows: what a reader wants to see. Does not know: where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import jinja2

from tunesmith.pipeline.compare import Compared, Duel
from tunesmith.pipeline.evaluating.labels.report_rows import MOST_FLIPPED, AnsweredRow
from tunesmith.pipeline.evaluating.verdict import span
from tunesmith.pipeline.pages import page

SHOWN = (
    ("Accuracy", "accuracy"),
    ("F1, macro", "f1_macro"),
    ("Precision, macro", "precision_macro"),
    ("Recall, macro", "recall_macro"),
)
MOST_LABELS = 20
"""Labels in the table of those that changed."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A label's F1 with the first model and with another one."""

    label: str
    support: int
    before: float
    after: float


def write_compare(found: Compared, path: Path) -> None:
    """Write the page to `path`, whole or not at all. Raises: StorageError."""
    today = date.today()
    html = _page().render(
        found=found,
        date=f"{today.day} {today:%B %Y}",
        shown=SHOWN,
        duels=[
            (duel, changed(found, i), _rows(found, duel.flips.broken, i),
             _rows(found, duel.flips.mended, i))
            for i, duel in enumerate(found.duels, start=1)
        ],
    )  # fmt: skip
    page.write(path, html)


def changed(found: Compared, place: int) -> list[Changed]:
    """The labels whose F1 differs most between the first model and that one."""
    pairs = zip(found.models[0].per_class, found.models[place].per_class, strict=True)
    some = [
        Changed(label=a.label, support=a.support, before=a.f1, after=b.f1)
        for a, b in pairs
        if a.f1 != b.f1
    ]
    return sorted(some, key=lambda c: (-abs(c.after - c.before), c.label))[:MOST_LABELS]


def _rows(found: Compared, numbers: Sequence[int], place: int) -> list[AnsweredRow]:
    rows = found.rows
    return [
        AnsweredRow(
            row=i,
            text=rows.texts[i],
            gold=rows.gold[i],
            predicted=found.models[place].predicted[i],
            line=rows.lines[i],
        )
        for i in numbers[:MOST_FLIPPED]
    ]


def _gain(duel: Duel, name: str) -> str:
    low, high = duel.gain_intervals[name]
    words = f"{100 * duel.gains[name]:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return words.replace("-", "−")


@cache
def _page() -> jinja2.Template:
    words: dict[str, Callable[..., str]] = {"span": span, "gain": _gain}
    return page.template("compare.html.jinja", words)
