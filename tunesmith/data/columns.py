"""Finds the text, label and annotator columns of a table, and says why it chose them.

Knows: what such columns are usually named and what is in them.
Does not know: what the labels mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from tunesmith.data.findings import counted, percent
from tunesmith.data.readers import Table
from tunesmith.errors import ConfigError, DataError, nearest
from tunesmith.events import Decision

TEXT_NAMES = (
    "text", "message", "utterance", "body", "review", "sms", "sentence", "content", "comment",
    "tweet", "feedback", "complaint", "post", "email", "ticket", "query", "question", "request",
    "description", "document", "prompt", "input", "abstract", "title", "subject", "v2",
)  # fmt: skip
LABEL_NAMES = (
    "label", "category", "intent", "class", "target", "sentiment", "topic", "emotion", "tag",
    "annotation", "gold", "polarity", "department", "rating", "stars", "output", "v1",
)  # fmt: skip
_ANNOTATOR_NAMES = (
    "annotator", "annotation", "rater", "coder", "judge", "labeler", "labeller", "vote", "voter",
    "worker", "reviewer",
)  # fmt: skip
_NEITHER = {
    "id", "ids", "uuid", "guid", "index", "idx", "date", "time", "timestamp", "created", "updated",
    "url", "link", "author", "user", "username", "name", "lang", "language", "split", "source",
}  # fmt: skip

_SAMPLE = 20_000  # rows looked at, spread over the whole table
_DATE = r"^\d{4}-\d{1,2}-\d{1,2}|^\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
_MANY_LABELS = 200  # a column with more values is taken as labels only if its name says so


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns in use. `labels` is the label column, or one column an annotator."""

    text: str
    labels: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class _Profile:
    """What a column looks like, from a sample of its filled cells."""

    name: str
    values: pl.Series

    @cached_property
    def num_unique(self) -> int:
        return self.values.n_unique()

    @property
    def unique_share(self) -> float:
        return self.num_unique / max(len(self.values), 1)

    @cached_property
    def mean_characters(self) -> float:
        return _mean(self.values.str.len_chars())

    @cached_property
    def mean_words(self) -> float:
        return _mean(self.values.str.count_matches(r"\S+"))

    @cached_property
    def is_number(self) -> bool:
        return _mean(self.values.cast(pl.Float64, strict=False).is_not_null()) > 0.9

    @cached_property
    def is_date(self) -> bool:
        return _mean(self.values.str.contains(_DATE)) > 0.9

    @cached_property
    def tokens(self) -> list[str]:
        return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", self.name).lower())

    def named(self, hints: Sequence[str]) -> float:
        """3 for a column named by a hint (the earlier in the list, the more), 1.5 for a part."""
        whole = self.name.strip().lower()
        if whole in hints:
            return 3 - 0.01 * hints.index(whole)
        return 1.5 if set(self.tokens) & set(hints) else 0.0

    def text_score(self) -> float:
        """How much this looks like the text to classify; 0 or less: not at all."""
        score = self.named(TEXT_NAMES)
        wordy = self.mean_words >= 2 or self.mean_characters >= 20
        if self.is_number or self.is_date or not (score or wordy):
            return 0.0
        if set(self.tokens) & _NEITHER and score < 2:
            score -= 2
        return score + min(self.mean_words, 12) / 4 + self.unique_share

    def label_score(self) -> float:
        """How much this looks like labels; 0 or less: not at all."""
        score = self.named(LABEL_NAMES)
        repeats = self.unique_share <= 0.5 or (len(self.values) < 20 and self.num_unique < 10)
        if self.is_date or not repeats or self.mean_characters > 60 or not len(self.values):
            return 0.0
        usual = 2 <= self.num_unique <= _MANY_LABELS and not set(self.tokens) & _NEITHER
        if not (score or usual):
            return 0.0
        return score + (1 - self.unique_share) + (0 if self.is_number else 1)


def choose(
    table: Table, *, text: str | None, label: str | None, annotators: Sequence[str]
) -> Columns:
    """The columns to use: those given, the others guessed.

    Raises: ConfigError for a column that is not there, or where nothing can be guessed.
    """
    for given in (text, label, *annotators):
        if given is not None and given not in table.columns.columns:
            raise ConfigError(
                f"{table.path} has no column {given!r}.", fix=nearest(given, table.columns.columns)
            )
    if label is not None and annotators:
        raise ConfigError(
            "Both a label column and annotators' columns are given.", fix="Give one of the two."
        )
    profiles = [_profile(column) for column in table.columns]
    labels = tuple(annotators) or ((label,) if label is not None else ())
    decisions = []
    if text is None:
        text, decision = _guess_text(table, [p for p in profiles if p.name not in labels])
        decisions.append(decision)
    if not labels:
        labels, decision = _guess_labels(table, [p for p in profiles if p.name != text])
        decisions.append(decision)
    if text in labels:
        raise ConfigError(
            f"The column {text!r} is given both as the text and as the label.",
            fix="Give two different ones.",
        )
    return Columns(text=text, labels=labels, decisions=tuple(decisions))


def check_same(validation: Table, columns: Columns) -> None:
    """Raise DataError when the validation table lacks one of the columns in use."""
    there = validation.columns.columns
    for name in (columns.text, *columns.labels):
        if name not in there:
            raise DataError(
                f"The validation file has no column {name!r}, which is used in the table.",
                fix=f"Give it the same column names. {nearest(name, there)}",
                path=validation.path,
                line=validation.header_line,
            )


def check_header(table: Table, given: Iterable[str | None]) -> None:
    """Raise DataError when the line taken for column names is a row of data.

    given  column names the user gave; one that is there proves the header.
    """
    header = table.columns.columns
    if table.header_line is None or set(given) & set(header):
        return
    values = table.columns.select(pl.all().str.strip_chars())
    again = [name for name in header if (values[name] == name).any()]
    hints = {*TEXT_NAMES, *LABEL_NAMES, *_ANNOTATOR_NAMES}
    if any(name.lower() in hints for name in set(header) - set(again)):
        return
    sample = next((n for n in again if values[n].n_unique() * 2 <= len(values)), None)
    if sample is not None:
        why = f"{sample!r} in it is also a value of the rows below"
    elif long := next((n for n in header if len(n.split()) >= 6 or len(n) > 60), None):
        why = f"{long[:40] + '…' if len(long) > 40 else long!r} in it reads like a text"
    else:
        return
    raise DataError(
        f"The first line should name the columns, but {why}.",
        fix="Put a line such as text,label above it, or, if these are the names, choose the "
        "columns with --text and --label.",
        path=table.path,
        line=table.header_line,
    )


def _guess_text(table: Table, profiles: list[_Profile]) -> tuple[str, Decision]:
    ranked = sorted(profiles, key=_Profile.text_score, reverse=True)
    if not ranked or ranked[0].text_score() <= 0:
        raise _cannot_guess(table, "the text to classify", "--text")
    best = ranked[0]
    why = "its name; " if best.named(TEXT_NAMES) else "the wordiest column; "
    why += (
        f"{best.mean_characters:.0f} characters on average, {percent(best.unique_share)} different"
    )
    why += _or_else([p.name for p in ranked[1:] if p.text_score() > 3], "--text")
    return best.name, Decision(what="text column", value=repr(best.name), reason=why)


def _guess_labels(table: Table, profiles: list[_Profile]) -> tuple[tuple[str, ...], Decision]:
    likely = [p for p in profiles if p.label_score() > 0]
    likely.sort(key=_Profile.label_score, reverse=True)
    annotators = _annotators(likely)
    rest = [p for p in likely if p.name not in annotators]
    if annotators and not any(p.named(LABEL_NAMES) > 2 for p in rest):
        value = "majority of " + ", ".join(map(repr, annotators))
        why = "their names, and nearly the same labels in each: one column an annotator"
        return annotators, Decision(what="label columns", value=value, reason=why)
    candidates = [p for p in rest if p.named(LABEL_NAMES)] or rest
    if not candidates or (len(candidates) > 1 and not candidates[0].named(LABEL_NAMES)):
        raise _cannot_guess(table, "the label", "--label", [p.name for p in candidates])
    best, advantage = candidates[0], ""
    for other in candidates[1:]:
        if advantage := _advantage(other, best, table.columns):
            best = other
            break
    values = table.columns[best.name].drop_nulls()
    why = "its name; " if best.named(LABEL_NAMES) else "the only column with few, repeated values; "
    why += f"{values.n_unique():,} different values in {counted(len(values), 'row')}{advantage}"
    why += _or_else([p.name for p in candidates if p is not best], "--label")
    if annotators:
        why += f"; or the majority with --annotators {','.join(annotators)}"
    return (best.name,), Decision(what="label column", value=repr(best.name), reason=why)


def _advantage(other: _Profile, best: _Profile, columns: pl.DataFrame) -> str:
    """Why `other` serves better than `best` though its name is no better; empty if it does not."""
    pairs = columns.select(other.name, best.name).drop_nulls()
    num_pairs, num_other, num_best = pairs.n_unique(), *(pairs[c].n_unique() for c in pairs.columns)
    if num_pairs == num_other == num_best and best.is_number and not other.is_number:
        return f", the same as {best.name!r} in words"
    both_named = min(other.named(LABEL_NAMES), best.named(LABEL_NAMES)) > 2 and best.name != "label"
    learnable = pairs.height >= 10 * num_other
    if num_pairs == num_other > num_best and both_named and learnable:
        return f", each within one of the {num_best} of {best.name!r}, so it says more"
    return ""


def _annotators(likely: list[_Profile]) -> tuple[str, ...]:
    """Columns that hold one annotator's label each, by name and content; empty: none."""
    groups: dict[str, list[_Profile]] = {}
    for profile in likely:
        if any(token in _ANNOTATOR_NAMES for token in profile.tokens):
            groups.setdefault("annotator", []).append(profile)
        elif set(profile.tokens[:1]) & set(LABEL_NAMES) and all(
            token.isdigit() or len(token) == 1 for token in profile.tokens[1:]
        ):
            groups.setdefault(profile.tokens[0], []).append(profile)
    for group in groups.values():
        plainest = min(group, key=lambda p: len(p.name))
        alike = [p.name for p in group if p is plainest or _same_values(p, plainest)]
        if len(alike) > 1:
            return tuple(sorted(alike))
    return ()


def _same_values(one: _Profile, other: _Profile) -> bool:
    """Whether nearly all rows of both columns hold values that both have."""
    columns = [p.values.str.strip_chars().str.to_lowercase() for p in (one, other)]
    shared = list(set(columns[0]) & set(columns[1]))
    return all(_mean(column.is_in(shared)) >= 0.8 for column in columns)


def _profile(column: pl.Series) -> _Profile:
    every = max(1, len(column) // _SAMPLE)
    sample = column.gather_every(every)
    return _Profile(column.name, sample.filter(sample.str.strip_chars() != ""))


def _mean(series: pl.Series) -> float:
    mean = series.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0


def _or_else(others: Sequence[str], option: str) -> str:
    if not others:
        return ""
    return f"; {' and '.join(map(repr, others[:2]))} would do too: {option} {others[0]}"


def _cannot_guess(
    table: Table, what: str, option: str, candidates: Sequence[str] = ()
) -> ConfigError:
    if len(candidates) > 1:
        problem = f"Several columns of {table.path} could be {what}"
    else:
        problem = f"No column of {table.path} looks like {what}"
    names = ", ".join(map(str, candidates or table.columns.columns))
    return ConfigError(f"{problem}: {names}.", fix=f"Choose one with {option} NAME.")
