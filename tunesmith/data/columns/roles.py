"""Guesses which columns hold votes, raters, groups, dates, weights and identifiers.

Knows: profiles of columns, and which columns tell rows apart or put them together.
Does not know: which columns are the text and the label, or what the user asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from os.path import commonprefix

import polars as pl

from tunesmith.data.columns.profiles import (
    ANNOTATOR_NAMES,
    GROUP_NAMES,
    ID_NAMES,
    LABEL_NAMES,
    NEITHER_NAMES,
    RATER_NAMES,
    TIME_NAMES,
    VOTE_NAMES,
    WEIGHT_NAMES,
    Profile,
    mean,
    tokens,
    whole,
)
from tunesmith.data.findings import counted, percent
from tunesmith.events import Decision

FALSE_CELLS, TRUE_CELLS = ("false", "no"), ("true", "yes")  # beside 0 and 1, in lower case

_MOST_VOTES = 1_000  # for one label in one row; beyond, a number is something else
_RATED_AGAIN = 0.05  # share of rows with an item that others rated too, in a table of ratings
_LARGEST_GROUP = 0.2  # share of the rows; with a larger group no 80/20 split can be drawn
_EPOCH = (1e8, 1e14)  # seconds or milliseconds of the years from 1973 on


def vote_labels(columns: Sequence[str]) -> dict[str, str]:
    """Vote column → its label: the name without what all have in common, such as `votes_`."""
    usual = VOTE_NAMES | LABEL_NAMES.keys() | {"num", "n", "is", "has"}
    start = commonprefix(list(columns))
    while start and not (start[-1] in " _-.:/" and set(tokens(start)) <= usual):
        start = start[:-1]
    short = [name[len(start) :] for name in columns]
    end = commonprefix([name[::-1] for name in short])[::-1]
    while end and not (end[0] in " _-.:/" and set(tokens(end)) <= usual):
        end = end[1:]
    short = [name[: len(name) - len(end)].strip() for name in short]
    return dict(zip(columns, short if all(short) else columns, strict=True))


def counts_of(cells: pl.Expr) -> pl.Expr:
    """Cells of a vote column as Float64: a number, yes/no, true/false; null for anything else."""
    text = cells.str.strip_chars().str.to_lowercase()
    number = text.cast(pl.Float64, strict=False)
    return (
        pl.when(text.is_in(TRUE_CELLS))
        .then(1.0)
        .when(text.is_in(FALSE_CELLS) | (text == "") | text.is_null())
        .then(0.0)
        .when((number >= 0) & (number <= _MOST_VOTES) & (number == number.floor()))
        .then(number)
    )


def guess_votes(profiles: Sequence[Profile], sample: pl.DataFrame) -> tuple[list[str], str]:
    """The neighbouring columns that hold votes, one a label, and why; no columns: none do."""
    kinds = {p.name: _kind(p) for p in profiles if not _is_other(p)}
    for exact in (True, False):
        key = {name: kind if exact else kind[:6] for name, kind in kinds.items()}
        runs = groupby(sample.columns, key=lambda name: key.get(name, ""))
        found = [list(names) for kind, names in runs if kind]
        for names in sorted(found, key=len, reverse=True):
            names, why = _votes_in(names, sample)
            if why:
                return names, why
    return [], ""


def guess_annotators(likely: Sequence[Profile]) -> tuple[str, ...]:
    """Columns that hold one annotator's label each, by name and content; empty: none."""
    groups: dict[str, list[Profile]] = {}
    for p in likely:
        if ANNOTATOR_NAMES & set(p.tokens):
            groups.setdefault("annotator", []).append(p)
        elif LABEL_NAMES.keys() & set(p.tokens[:1]) and all(
            token.isdigit() or len(token) == 1 for token in p.tokens[1:]
        ):
            groups.setdefault(p.tokens[0], []).append(p)
    for group in groups.values():
        plainest = min(group, key=lambda p: len(p.name))
        alike = [p.name for p in group if p is plainest or _same_values(p, plainest)]
        if len(alike) > 1:
            return tuple(sorted(alike))
    return ()


def guess_rater(
    profiles: Sequence[Profile], columns: pl.DataFrame, texts: pl.Series
) -> tuple[str | None, str | None, str]:
    """Of a table with a row for each rating: who rated, the item's id (if any), and why."""
    for found in (p for p in profiles if p.called(RATER_NAMES) and p.num_unique > 1):
        item = guess_item(profiles, columns, texts)
        pairs = pl.DataFrame(
            {"item": columns[item] if item else texts, "rater": columns[found.name]}
        ).drop_nulls()
        again = pairs.filter(pl.len().over("item") > 1)
        if again.height < _RATED_AGAIN * pairs.height or not again.height:
            continue
        # Ratings differ in the rater; rows alike in both would be copies, so not what this is.
        if again.n_unique() >= 0.9 * again.height:
            num_items, num_raters = pairs["item"].n_unique(), pairs["rater"].n_unique()
            why = f"its name; {counted(pairs.height, 'row')} about {num_items:,} items, each row "
            why += f"by one of {num_raters:,} raters; rows "
            why += f"with the same {item!r} are one item" if item else "of one text are one item"
            return found.name, item, why
    return None, None, ""


def guess_item(profiles: Sequence[Profile], columns: pl.DataFrame, texts: pl.Series) -> str | None:
    """The column of identifiers that repeat with the text they stand for."""
    for found in sorted((p for p in profiles if ID_NAMES & set(p.tokens)), key=_num_tokens):
        if found.called(RATER_NAMES):
            continue
        pairs = pl.DataFrame({"id": columns[found.name], "text": texts}).drop_nulls()
        num_ids = pairs["id"].n_unique()
        if num_ids < pairs.height and pairs.n_unique() <= 1.01 * num_ids:
            return found.name
    return None


def guess_group(
    profiles: Sequence[Profile], columns: pl.DataFrame
) -> tuple[str | None, list[Decision]]:
    """The column whose rows belong together in the split, and what to say about it."""
    named = [p for p in profiles if p.called(GROUP_NAMES.keys())]
    for found in sorted(named, key=lambda p: p.rank(GROUP_NAMES)):
        sizes = columns[found.name].drop_nulls().value_counts()["count"]
        total = int(sizes.sum())
        if len(sizes) == total or 2 * total < columns.height:
            continue
        largest = sizes.sort(descending=True)[0] / columns.height
        why = f"its name; {counted(len(sizes), 'value')} in {counted(total, 'row')}"
        if largest > _LARGEST_GROUP:
            why += f", but one of them is on {percent(largest)} of the rows"
            unused = f"{found.name!r} is not used"
            return None, [Decision(what="group column", value=unused, reason=why)]
        why += "; rows of one value stay on one side of the split (--group '' lifts this)"
        return found.name, [Decision(what="group column", value=repr(found.name), reason=why)]
    return None, []


def guess_time(profiles: Sequence[Profile]) -> tuple[str | None, str]:
    """The column that says when a row came about, and why."""
    dated = [p for p in profiles if p.is_date or (p.named(TIME_NAMES) and _is_epoch(p))]
    if not dated:
        return None, ""
    found = min(dated, key=lambda p: p.rank(TIME_NAMES))
    return found.name, "dates; used to split with --split-by time only"


def guess_weight(profiles: Sequence[Profile]) -> tuple[str | None, str]:
    """The column that says how much a row counts, and why. A bare `weight` may be a parcel's."""
    for found in profiles:
        if whole(found.name) in WEIGHT_NAMES and found.is_number:
            return found.name, "its name, and numbers in it; used only when asked for"
    return None, ""


def guess_id(profiles: Sequence[Profile]) -> tuple[str | None, str]:
    """The column whose value is another one in each row, and why."""
    for found in sorted((p for p in profiles if ID_NAMES & set(p.tokens)), key=_num_tokens):
        if found.unique_share == 1 and not found.is_wordy:
            return found.name, "its name, and another value in each row"
    return None, ""


def _same_values(one: Profile, other: Profile) -> bool:
    """Whether nearly all rows of both columns hold values that both have."""
    columns = [p.values.str.strip_chars().str.to_lowercase() for p in (one, other)]
    shared = list(set(columns[0]) & set(columns[1]))
    return all(mean(column.is_in(shared)) >= 0.8 for column in columns)


def _votes_in(names: list[str], sample: pl.DataFrame) -> tuple[list[str], str]:
    """The vote columns among neighbouring columns of whole numbers, and why they are."""
    votes = sample.select(counts_of(pl.col(name)).alias(name) for name in names)
    total = next((n for n in names if len(names) > 2 and _is_total(votes, n)), None)
    if total is not None:
        votes = votes.drop(total)
    names = votes.columns
    if len(names) < 2 or all(label.isdigit() for label in vote_labels(names).values()):
        return [], ""
    sums = votes.sum_horizontal()
    if votes.select(pl.max_horizontal(pl.all().max())).item() <= 1:
        single = mean(sums == 1)
        why = f"0 or 1 in each, and a single 1 in {percent(single)} of the rows"
        return names, why if single >= (0.5 if len(names) > 2 else 0.95) else ""
    filled = sums.filter(sums > 0)
    usual = mean(filled == filled.mode().min())
    zeros = mean(votes.select(pl.mean_horizontal(pl.all() == 0)).to_series())
    if all(VOTE_NAMES & set(tokens(name)) for name in names):
        return names, "their names, and whole numbers in each"
    why = f"whole numbers in each, which add up to the same in {percent(usual)} of the rows"
    return names, why if usual >= 0.5 and zeros >= 0.1 else ""


def _is_total(votes: pl.DataFrame, name: str) -> bool:
    rest = votes.drop(name).sum_horizontal()
    return bool((rest == votes[name]).all()) and bool((rest > 0).any())


def _kind(p: Profile) -> str:
    """`words` for true and false, `number 0/1`, `number` for other counts; empty: no votes."""
    found = p.values.str.strip_chars().str.to_lowercase().unique()
    if not len(found):
        return ""
    if found.is_in([*TRUE_CELLS, *FALSE_CELLS]).all():
        return "words"
    numbers = p.numbers.unique()
    if numbers.null_count() or not (numbers == numbers.floor()).all():
        return ""
    if not numbers.is_between(0, _MOST_VOTES).all():
        return ""
    return "number 0/1" if numbers.is_in([0.0, 1.0]).all() else "number"


def _is_other(p: Profile) -> bool:
    """Whether the name speaks against votes: identifiers, raters, groups, dates."""
    said = set(p.tokens)
    return bool(said & (NEITHER_NAMES | RATER_NAMES)) or p.called(GROUP_NAMES.keys())


def _is_epoch(p: Profile) -> bool:
    return p.is_number and bool(p.numbers.drop_nulls().is_between(*_EPOCH).all())


def _num_tokens(p: Profile) -> int:
    return len(p.tokens)
