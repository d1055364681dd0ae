"""One spelling for each label, and which cells hold no label at all.

Knows: cells and how often each occurs.
Does not know: texts, columns, votes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from tunesmith.data.cleaning import clean_text
from tunesmith.data.findings import Finding, counted, enumerated, lines_phrase
from tunesmith.events import Decision

PLACEHOLDERS = frozenset({"na", "n/a", "#n/a", "null", "none", "nan", "-"})
_MAY_BE_A_LABEL = "none"
_SHARE_OF_A_LABEL = 0.02  # of the filled cells; rarer, `none` is taken for a missing label
_NEAR = 0.85  # difflib ratio of two spellings that may be one label
_RARE = 0.05  # a misspelling is at most this common beside the right spelling
_MOST_LABELS = 1_000  # beyond, comparing all spellings takes long and says little


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How cells become labels. Built from one table, it also reads another one's cells."""

    labels: Mapping[str, str]
    """Folded spelling → label."""
    counts: Mapping[str, int]
    """Label → cells that hold it, most frequent first."""
    variants: Mapping[str, tuple[str, ...]]
    """Label → the other spellings merged into it; labels with one spelling are absent."""
    missing: Mapping[str, int]
    """Placeholder as written → cells that hold it, which count as empty."""
    merge: bool

    def of(self, cell: str) -> str | None:
        """The label in a cell, None when it is empty or holds a placeholder.

        A cell with a label that was not there when this was built comes back cleaned.
        """
        cell = _one_line(cell)
        folded = _fold(cell, self.merge)
        if folded in self.labels:
            return self.labels[folded]
        return None if _is_placeholder(cell) else cell

    def apply(self, cells: pl.Series) -> pl.Series:
        """`of` over a String column."""
        found = cells.drop_nulls().unique()
        known = {cell: self.of(cell) for cell in found}
        if not known:
            return cells
        return cells.replace_strict(
            list(known), list(known.values()), default=None, return_dtype=pl.String
        )


def spelling(cells: pl.DataFrame, *, merge: bool) -> Spelling:
    """Learn the labels from columns of cells, one for each annotator.

    merge  whether spellings that differ in case or spaces are one label, the most frequent one
           winning; without it only spaces at the ends are dropped and runs of them tidied.
    """
    counts: dict[str, int] = {}
    column = cells.unpivot(value_name="cell").drop_nulls("cell")
    tally = column.group_by("cell", maintain_order=True).len()
    for cell, number in tally.iter_rows():
        if name := _one_line(cell):
            counts[name] = counts.get(name, 0) + number
    total = sum(counts.values())
    nones = sum(n for name, n in counts.items() if name.casefold() == _MAY_BE_A_LABEL)
    is_label = nones >= _SHARE_OF_A_LABEL * total
    groups: dict[str, dict[str, int]] = {}
    missing: dict[str, int] = {}
    for name, number in counts.items():
        if _is_placeholder(name) and not (is_label and name.casefold() == _MAY_BE_A_LABEL):
            missing[name] = number
        else:
            groups.setdefault(_fold(name, merge), {})[name] = number
    # max() and sorted() keep the first of equals, so the result depends on the table alone.
    labels = {folded: max(names, key=names.__getitem__) for folded, names in groups.items()}
    sums = {labels[folded]: sum(names.values()) for folded, names in groups.items()}
    variants = {
        labels[folded]: tuple(name for name in names if name != labels[folded])
        for folded, names in groups.items()
        if len(names) > 1
    }
    ordered = dict(sorted(sums.items(), key=lambda item: -item[1]))
    return Spelling(labels=labels, counts=ordered, variants=variants, missing=missing, merge=merge)


def decisions(spelled: Spelling) -> Iterator[Decision]:
    """What was settled about the spelling, in words."""
    if spelled.variants:
        merged = (
            f"{enumerated(map(repr, variants))} as {label!r}"
            for label, variants in spelled.variants.items()
        )
        why = "they differ in case or spaces only; the most frequent spelling stays"
        yield Decision(what="label spellings", value=enumerated(merged, "; "), reason=why)
    for label, number in spelled.counts.items():
        if label.casefold() == _MAY_BE_A_LABEL:
            why = f"{counted(number, 'cell')} of the table, too many for a gap"
            yield Decision(what=f"the word {label!r}", value="taken as a label", reason=why)


def placeholder_findings(spelled: Spelling, rows: pl.DataFrame) -> list[Finding]:
    """What stands in place of a label (rows: line, and the cells in all other columns)."""
    if not spelled.missing:
        return []
    written = list(spelled.missing)
    cells = pl.any_horizontal(pl.exclude("line").str.strip_chars().is_in(written))
    lines = rows.filter(cells)["line"].to_list()
    number = counted(sum(spelled.missing.values()), "cell")
    what = f"{number} with {enumerated(map(repr, written))} in place of a label"
    what += f": {lines_phrase(lines)}." if lines else "."
    fix = "They count as having no label."
    return [Finding("info", lines[0] if lines else None, what, fix)]


def near_spellings(counts: Mapping[str, int], first_lines: Mapping[str, int]) -> list[Finding]:
    """Rare labels that look like a misspelling of a frequent one.

    counts       label → its rows.
    first_lines  label → line of its first row.
    """
    if len(counts) > _MOST_LABELS:
        return []
    findings = []
    for label, number in counts.items():
        common = [name for name, n in counts.items() if number <= max(1, _RARE * n) and n > number]
        if near := difflib.get_close_matches(label, common, n=1, cutoff=_NEAR):
            what = (
                f"The label {label!r} ({counted(number, 'row')}, first on line "
                f"{first_lines[label]:,}) may be a misspelling of "
                f"{near[0]!r} ({counted(counts[near[0]], 'row')})."
            )
            findings.append(
                Finding("warning", first_lines[label], what, "If so, correct it in the table.")
            )
    return findings


def _one_line(cell: str) -> str:
    return " ".join(clean_text(cell).split())


def _fold(name: str, merge: bool) -> str:
    return "".join(name.casefold().split()) if merge else name


def _is_placeholder(name: str) -> bool:
    return not name or name.casefold() in PLACEHOLDERS
