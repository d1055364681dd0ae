"""Chooses which columns of a table are the text, the labels, the votes and so on, and says why.

Knows: what a table of texts and labels usually looks like, and what the user asked for.
Does not know: what the labels mean, or how votes are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import polars as pl

from tunesmith.data.columns import roles
from tunesmith.data.columns.profiles import (
    ANNOTATOR_NAMES,
    HEADLINE_NAMES,
    LABEL_NAMES,
    RATER_NAMES,
    TEXT_NAMES,
    VOTE_NAMES,
    Profile,
    mean,
    profile,
    sample_of,
    tokens,
    whole,
)
from tunesmith.data.columns.templates import fill, names_in
from tunesmith.data.findings import counted, enumerated, percent
from tunesmith.data.reading.table import Table
from tunesmith.errors import ConfigError, DataError, nearest
from tunesmith.events import Decision


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Columns beside text and label. As a request, None means: guess, and "" means: none."""

    rater: str | None = None
    """Who rated, in a table with a row for each rating."""
    id: str | None = None
    """What tells rows apart; where there is a rater, rows of one id are ratings of one item."""
    group: str | None = None
    """Rows with one value of it belong on one side of the split."""
    time: str | None = None
    """When a row came about; of use only to split by time."""
    weight: str | None = None
    """How much a row counts in training."""


@dataclass(frozen=True, kw_only=True)
class Columns(Roles):
    """The columns in use, by role."""

    text: str
    """A column, or a template such as "{subject}\\n\\n{body}"; for `templates.fill`."""
    labels: tuple[str, ...]
    """The label column, or one column an annotator; empty where there are `votes`."""
    votes: tuple[str, ...] = ()
    """Columns of 0 and 1, or of counts, one a label."""
    decisions: tuple[Decision, ...] = ()
    """What was chosen and is used."""
    suggestions: tuple[Decision, ...] = ()
    """What was recognised, but is used only when the user asks for it."""

    def needed(self, header: Sequence[str]) -> tuple[str, ...]:
        """The columns without which a table cannot be labelled as this one."""
        long = (self.rater, self.id) if self.rater else ()
        there = (*names_in(self.text, header), *self.labels, *self.votes, *long)
        return tuple(name for name in there if name)


_GUESS_ALL = Roles()


def choose(
    table: Table,
    *,
    text: str | None = None,
    label: str | None = None,
    annotators: Sequence[str] = (),
    votes: Sequence[str] = (),
    others: Roles = _GUESS_ALL,
) -> Columns:
    """The columns to use: those given, the others guessed.

    text    a column, or a template.
    label, annotators, votes  at most one: the label column; one an annotator; one a label.

    Raises: ConfigError for a column that is not there, or where nothing can be guessed.
    """
    labels = tuple(annotators) or ((label,) if label else ())
    named = [*labels, *votes, *(getattr(others, f.name) for f in fields(others))]
    _check_given(table, text, named)
    _check_single(label, annotators, votes)
    search = _Search(table, named)
    text = text or search.text()
    texts = names_in(text, table.columns.columns)
    search.taken |= set(texts)
    rater, item = search.rater(text, others)
    if not (labels or votes):
        labels, votes = search.labels()
    _check_roles(table, texts, (*labels, *votes), rater if len(labels) > 1 else None)
    return Columns(
        text=text,
        labels=labels,
        votes=tuple(votes),
        rater=rater,
        id=item if rater else search.id(others.id),
        group=search.group(others.group),
        time=search.time(others.time),
        weight=search.weight(others.weight),
        decisions=tuple(search.decisions),
        suggestions=tuple(search.suggestions),
    )


def check_same(validation: Table, columns: Columns) -> None:
    """Raise DataError when the validation table lacks one of the columns in use."""
    there = validation.columns.columns
    for name in columns.needed(there):
        if name not in there:
            raise DataError(
                f"The validation file has no column {name!r}, which is used in the table.",
                fix=f"Give it the same column names. {nearest(name, there)}",
                path=validation.path,
                line=validation.header_line,
            )


def check_header(table: Table, given: Iterable[str | None]) -> None:
    """Raise DataError when the line taken for column names is a row of data.

    given  column names or templates the user gave; a name that is there proves the header.
    """
    header = table.columns.columns
    named = {name for entry in given if entry for name in names_in(entry, header)}
    if table.header_line is None or named & set(header):
        return
    again = [name for name in header if _holds(table.columns[name], name)]
    hints = {*TEXT_NAMES, *LABEL_NAMES, *ANNOTATOR_NAMES}
    if any(whole(name) in hints for name in set(header) - set(again)):
        return
    values = table.columns.select(again)
    sample = next((n for n in again if values[n].n_unique() * 2 <= values.height), None)
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


def _holds(column: pl.Series, value: str) -> bool:
    """Whether a cell is this value, spaces at its ends aside."""
    near = column.filter(column.str.contains(value, literal=True))
    return bool((near.str.strip_chars() == value).any())


class _Search:
    """What is still free for a role, and what was decided on the way."""

    def __init__(self, table: Table, taken: Iterable[str | None]) -> None:
        self.table = table
        self.taken = {name for name in taken if name}
        self.sample = sample_of(table.columns)
        self.profiles = [profile(column) for column in self.sample]
        self.decisions: list[Decision] = []
        self.suggestions: list[Decision] = []

    @property
    def free(self) -> list[Profile]:
        return [p for p in self.profiles if p.name not in self.taken]

    def text(self) -> str:
        """The text column; or, where another is its headline, a template that joins the two."""
        ranked = sorted(self.free, key=Profile.text_score, reverse=True)
        if not ranked or ranked[0].text_score() <= 0:
            raise _cannot_guess(self.table, "the text to classify", "--text")
        best, text = ranked[0], ranked[0].name
        if headline := next((p for p in ranked[1:] if _is_headline(p, best, self.sample)), None):
            text = f"{{{headline.name}}}\n\n{{{best.name}}}"
            why = f"{headline.name!r} reads like the headline of {best.name!r} "
            why += f"({headline.mean_characters:.0f} and {best.mean_characters:.0f} characters on "
            why += f"average), so the two are joined; --text {best.name} takes one only"
        else:
            why = "its name; " if best.named(TEXT_NAMES) else "the wordiest column; "
            why += f"{best.mean_characters:.0f} characters on average, "
            why += f"{percent(best.unique_share)} different"
            why += _or_else([p.name for p in ranked[1:] if p.text_score() > 3], "--text")
        self.decisions.append(Decision(what="text column", value=repr(text), reason=why))
        return text

    def rater(self, text: str, others: Roles) -> tuple[str | None, str | None]:
        """Who rated and the item's id, in a table with a row for each rating."""
        rater, item = others.rater, others.id
        if rater == "" or (rater is None and not any(p.called(RATER_NAMES) for p in self.free)):
            return None, None
        texts = fill(text, self.table.columns)
        if rater is None:
            rater, guessed, why = roles.guess_rater(self.free, self.table.columns, texts)
            if rater is not None:
                self.decisions.append(Decision(what="rater column", value=repr(rater), reason=why))
        else:
            guessed = roles.guess_item(self.free, self.table.columns, texts)
        item = guessed if item is None else item
        self.taken |= {name for name in (rater, item) if rater and name}
        return rater, item or None

    def labels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The label columns, or else the vote columns."""
        likely = sorted(
            (p for p in self.free if p.label_score() > 0), key=Profile.label_score, reverse=True
        )
        annotators = roles.guess_annotators(likely)
        unsettled = [p for p in self.free if p.named(LABEL_NAMES) <= 2]
        votes, counts = roles.guess_votes(unsettled, self.sample)
        if set(votes) & set(annotators):
            # Ones and noughts can be labels too, unless the name says that they are votes.
            if all(VOTE_NAMES & set(tokens(name)) for name in votes):
                annotators = ()
            else:
                votes = []
        rest = [p for p in likely if p.name not in (*annotators, *votes)]
        settled = any(p.named(LABEL_NAMES) > 2 for p in rest)
        if annotators and not settled:
            value = "majority of " + ", ".join(map(repr, annotators))
            why = "their names, and nearly the same labels in each: one column an annotator"
            self.decisions.append(Decision(what="label columns", value=value, reason=why))
            self.taken |= set(annotators)
            return annotators, ()
        if votes and not settled:
            value = f"{counted(len(votes), 'column')}, {enumerated(map(repr, votes))}"
            why = f"{counts}: one column a label; --label NAME takes one column only"
            self.decisions.append(Decision(what="vote columns", value=value, reason=why))
            self.taken |= set(votes)
            return (), tuple(votes)
        instead = f"; or the majority with --annotators {','.join(annotators)}"
        if not annotators:
            instead = f"; or the votes with --votes {','.join(votes)}" if votes else ""
        return (self._label(rest, instead),), ()

    def _label(self, rest: list[Profile], instead: str) -> str:
        candidates = [p for p in rest if p.named(LABEL_NAMES)] or rest
        if not candidates or (len(candidates) > 1 and not candidates[0].named(LABEL_NAMES)):
            raise _cannot_guess(self.table, "the label", "--label", [p.name for p in candidates])
        best, advantage = candidates[0], ""
        for other in candidates[1:]:
            if advantage := _advantage(other, best, self.table.columns):
                best = other
                break
        values = self.table.columns[best.name].drop_nulls()
        named = bool(best.named(LABEL_NAMES))
        why = "its name; " if named else "the only column with few, repeated values; "
        why += f"{values.n_unique():,} different values in {counted(len(values), 'row')}{advantage}"
        why += _or_else([p.name for p in candidates if p is not best], "--label")
        decision = Decision(what="label column", value=repr(best.name), reason=why + instead)
        self.decisions.append(decision)
        self.taken.add(best.name)
        return best.name

    def group(self, asked: str | None) -> str | None:
        if asked is not None:
            return asked or None
        group, said = roles.guess_group(self.free, self.table.columns)
        (self.decisions if group else self.suggestions).extend(said)
        return group

    def time(self, asked: str | None) -> str | None:
        return self._suggest("time column", asked, roles.guess_time(self.free))

    def id(self, asked: str | None) -> str | None:
        return self._suggest("id column", asked, roles.guess_id(self.free))

    def weight(self, asked: str | None) -> str | None:
        return self._suggest("weight column", asked, roles.guess_weight(self.free))

    def _suggest(self, what: str, asked: str | None, guess: tuple[str | None, str]) -> str | None:
        if asked is not None:
            return asked or None
        name, why = guess
        if name:
            self.suggestions.append(Decision(what=what, value=repr(name), reason=why))
        return name


def _is_headline(p: Profile, body: Profile, sample: pl.DataFrame) -> bool:
    """Whether `p` is the headline of the text `body`: so named, wordy, and not said again."""
    if not p.called(HEADLINE_NAMES) or body.called(HEADLINE_NAMES):
        return False
    if not p.is_wordy or p.unique_share <= 0.3 or p.mean_characters >= body.mean_characters:
        return False
    pair = sample.select(pl.col(body.name, p.name).str.strip_chars()).drop_nulls()
    said_again = pl.col(body.name).str.starts_with(pl.col(p.name))
    return mean(pair.select(said_again).to_series()) <= 0.5


def _advantage(other: Profile, best: Profile, columns: pl.DataFrame) -> str:
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


def _check_given(table: Table, text: str | None, given: Iterable[str | None]) -> None:
    header = table.columns.columns
    for name in (*(names_in(text, header) if text else ()), *given):
        if name and name not in header:
            raise ConfigError(f"{table.path} has no column {name!r}.", fix=nearest(name, header))


def _check_single(*given: str | Sequence[str] | None) -> None:
    if sum(map(bool, given)) > 1:
        raise ConfigError(
            "Both a label column and annotators' or vote columns are given.",
            fix="Give one of them.",
        )


def _check_roles(
    table: Table, texts: Iterable[str], labels: Sequence[str], rater: str | None
) -> None:
    """rater: only where there are annotators too."""
    if both := [name for name in texts if name in labels]:
        raise ConfigError(
            f"The column {both[0]!r} is given both as the text and as the label.",
            fix="Give two different ones.",
        )
    if rater:
        raise ConfigError(
            f"{table.path} has one row a rating, by {rater!r}, and several columns of labels.",
            fix="Say which it is: one --label column, or --rater '' for one column an annotator.",
        )


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
