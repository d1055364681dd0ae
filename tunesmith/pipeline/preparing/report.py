"""01-prepare/report.html: one self-contained page about the data, as a careful analyst would sign.

Knows: what a reader wants to know about a prepared table, in which order, and in which words.
The page may be sent around, so no sensitive data is on it, whether it was masked in the files or
not. Does not know: how rows are read, cleaned, judged or split; any model but by its tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from tunesmith.data.chat.spans import Use
from tunesmith.data.findings import counted, enumerated, percent
from tunesmith.data.receipt import KEPT
from tunesmith.data.texts.sensitive import KINDS, mask_text
from tunesmith.pipeline.evaluating.labels.report import receipt
from tunesmith.pipeline.pages import charts, page
from tunesmith.pipeline.preparing.facts import (
    DataFacts,
    Lengths,
    Trained,
    Votes,
    round_step,
)

MAX_LABELS = 12
"""Labels shown at once; the others unfold."""
MAX_FINDINGS = 100
"""Findings on the page; all are in findings.jsonl."""
MAX_TURNS = 8
"""Turns of a conversation shown at once; the others unfold."""


def write_data_report(path: Path, facts: DataFacts) -> None:
    """Write the page to `path`, whole or not at all. Raises: StorageError."""
    parts = _parts(facts.trained) if facts.trained else []
    labels = sorted(facts.before or facts.train, key=lambda name: -facts.before.get(name, 0))
    html = _page().render(
        facts=facts,
        sentences=headline(facts),
        receipt=receipt(facts.fates),
        labels=[_label(facts, name) for name in labels],
        most=_largest_share(facts),
        max_labels=MAX_LABELS,
        max_findings=MAX_FINDINGS,
        max_turns=MAX_TURNS,
        parts=parts,
        bar=[(part.what, part.characters, part.css) for part in parts],
        agreement=_agreement(facts.votes) if facts.votes else "",
    )
    page.write(path, html)


def headline(facts: DataFacts) -> list[str]:
    """What became of the table, and what to look at, in sentences; the first says the most."""
    kept = facts.fates.get(KEPT, 0)
    used = "All" if kept == facts.num_rows else f"{kept:,} of"
    parts = [f"{facts.num_train:,} to learn from", f"{facts.num_validation:,} to check with"]
    if facts.num_test:
        parts.append(f"{facts.num_test:,} for the final test")
    number = counted(facts.num_rows, "row")
    sentences = [f"{used} {number} {'is' if kept == 1 else 'are'} used: {_listed(parts)}."]
    out = [(fate, rows) for fate, rows, _ in receipt(facts.fates) if fate != KEPT]
    if out:
        ranked = sorted(out, key=lambda item: -item[1])
        reasons = (
            f"{rows:,}\u202f×\u00a0{fate.partition(': ')[2] or fate}" for fate, rows in ranked
        )
        sentences.append(f"Not used: {enumerated(reasons, shown=4)}.")
    if warnings := sum(finding.level != "info" for finding in facts.findings):
        asks = "asks for a look; it is" if warnings == 1 else "ask for a look; they are"
        sentences.append(f"{counted(warnings, 'thing')} in the data {asks} listed below.")
    else:
        sentences.append("Nothing in the data asks for a look.")
    return sentences


def length_chart(lengths: Lengths) -> Markup:
    """Bars of texts by length, the last one for all that are longer, and the cut line."""
    bars = [*lengths.counts, lengths.num_longer] if lengths.num_longer else list(lengths.counts)
    top, step = max(1, *bars), 400 / len(bars)
    out = Markup("")
    for place, number in enumerate(bars):
        low, high = place * lengths.width, (place + 1) * lengths.width - 1
        over = place == len(lengths.counts)
        span = f"{low:,} or more" if over else f"{low:,} to {high:,}" if high > low else f"{low:,}"
        height = 0 if not number else max(1.5, 150 * number / top)
        out += Markup(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{} {}: {}</title></rect>"
        ).format(
            "longer" if over else "fill", 20 + place * step + 0.5, 178 - height,
            max(step - 1, 0.5), height, span, lengths.unit, counted(number, "text"),
        )  # fmt: skip
    every = round_step(len(lengths.counts) / 5)
    for place in range(0, len(lengths.counts) + 1, every):
        out += Markup('<text x="{:.1f}" y="196" text-anchor="middle">{:,}</text>').format(
            20 + place * step, place * lengths.width
        )
    out += _cut_line(lengths, step)
    return Markup(
        '<svg class="lengths" viewBox="0 0 440 218" role="img" aria-label="Texts by length in {0}">'
        '{1}<path class="axis" d="M20 178.5H420"/>'
        '<text x="220" y="214" text-anchor="middle">{0}</text></svg>'
    ).format(lengths.unit, out)


def _cut_line(lengths: Lengths, step: float) -> Markup:
    if lengths.cut is None or lengths.cut > len(lengths.counts) * lengths.width:
        return Markup("")
    x = 20 + lengths.cut / lengths.width * step
    aside, anchor = (6, "start") if x < 220 else (-6, "end")
    return Markup(
        '<path class="cut" d="M{0:.1f} 8V178"/><text class="cut" x="{1:.1f}" y="18" '
        'text-anchor="{2}">cut at {3:,}</text>'
    ).format(x, x + aside, anchor, lengths.cut)


def share_bars(before: float, after: float, most: float) -> Markup:
    """Two bars, a label's share before and after, `most` being as wide as there is room."""
    out = Markup("")
    for css, top, share in (("before", 0, before), ("after", 9, after)):
        out += Markup('<rect class="{}" y="{}" width="{:.2f}%" height="7" rx="2"/>').format(
            css, top, 100 * share / most if most else 0
        )
    return Markup(
        '<svg class="pair" role="img" aria-label="before: {}, after: {}">{}</svg>'
    ).format(charts.percent(before), charts.percent(after), out)


def visible(text: str) -> str:
    """`text` with what cannot be seen spelled out, as ⟨U+200B⟩; line breaks stay."""
    return "".join(
        f"\u27e8U+{ord(c):04X}\u27e9" if _is_hidden(c) else c for c in text.replace("\r\n", "\n")
    )


@dataclass(frozen=True, kw_only=True)
class _Label:
    """A label's rows before, and its examples after, with their shares of all."""

    name: str
    before: int
    before_share: float
    after: int
    after_share: float
    train: int
    validation: int
    test: int


def _label(facts: DataFacts, name: str) -> _Label:
    sides = [side.get(name, 0) for side in (facts.train, facts.validation, facts.test)]
    before = facts.before.get(name, 0)
    return _Label(
        name=name,
        before=before,
        before_share=before / max(1, sum(facts.before.values())),
        after=sum(sides),
        after_share=sum(sides) / max(1, _num_after(facts)),
        train=sides[0],
        validation=sides[1],
        test=sides[2],
    )


def _num_after(facts: DataFacts) -> int:
    return sum(sum(side.values()) for side in (facts.train, facts.validation, facts.test))


def _largest_share(facts: DataFacts) -> float:
    labels = [_label(facts, name) for name in facts.before or facts.train]
    return max((max(label.before_share, label.after_share) for label in labels), default=1.0)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is done with a part of the examples, and how large the part is."""

    what: str
    css: str
    characters: int
    tokens: int | None


def _parts(trained: Trained) -> list[_Part]:
    words: tuple[tuple[Use, str, str], ...] = (
        ("trained", "learns to say", "kept"),
        ("avoided", "learns to avoid", "dropped"),
        ("read", "only reads", "merged"),
    )
    return [
        _Part(
            what=what,
            css=css,
            characters=trained.characters[use],
            tokens=trained.tokens[use] if trained.tokens else None,
        )
        for use, what, css in words
        if trained.characters.get(use)
    ]


def _agreement(votes: Votes) -> str:
    """Agreement in a word, after Landis and Koch, Biometrics 33 (1977), 159-174, table 2."""
    score = votes.alpha if votes.alpha is not None else votes.kappa
    if score is None:
        return ""
    words = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"))
    return next((word for least, word in words if score > least), "slight" if score > 0 else "none")


def _is_hidden(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cf", "Cs", "Co") and character not in "\n\t\u200c\u200d"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


@cache
def _page() -> jinja2.Template:
    words: dict[str, Callable[..., str]] = {
        "about": percent,
        "small": lambda share: charts.percent(share) if share >= 0.0005 else "under 0.1\u202f%",
        "visible": lambda text: visible(mask_text(text, tuple(KINDS))),
        "length_chart": length_chart,
        "share_bars": share_bars,
    }
    return page.template("data_report.html.jinja", words)
