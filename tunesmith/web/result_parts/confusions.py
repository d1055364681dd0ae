"""What a model of labels mixes up: the confusion matrix, whose cells open their rows, and the worst
pairs in words.

Does not know: how rows are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.findings import counted
from tunesmith.web.controls import button, details, panel, table, tag, text
from tunesmith.web.result_parts.looked import OTHERS, Looked
from tunesmith.web.result_parts.rows import Rows
from tunesmith.web.results.words import percent

MOST_IN_TABLE = 12
"""Labels up to which the matrix is a table with numbers; above, a map."""
NUM_PAIRS = 6
Numbers = Mapping[str, Any]


class Confusions:
    """The part of the page."""

    def __init__(self, looked: Looked, rows: Rows) -> None:
        self._looked = looked
        self._rows = rows
        self._labels = looked.labels
        self._columns = [*looked.labels, *([OTHERS] if looked.report["has_others"] else [])]

    def build(self) -> None:
        """The part."""
        report = self._looked.report
        wrong = sum(n for i, j, n in report["cells"] if i != j)
        with panel("What it mixes up").set(id="confusions"):
            if not wrong:
                text(
                    f"Nothing: all {counted(report['num_examples'], 'row')} are answered rightly.",
                    "quiet",
                )
                return
            text(
                "Down: the right label; across: the answer. What is off the diagonal is wrong. "
                "A cell opens the rows behind it.", "quiet",
            )  # fmt: skip
            with tag("div", kind="mixed"):
                if len(self._labels) <= MOST_IN_TABLE:
                    self._table(report["cells"])
                else:
                    self._map(report["cells"])
                self._pairs(report["pairs"])
            self._each(report["per_class"])

    def _table(self, cells: Sequence[tuple[int, int, int]]) -> None:
        counts = {(i, j): n for i, j, n in cells}
        totals = [sum(n for i, _, n in cells if i == k) for k in range(len(self._labels))]
        name = "Confusion matrix: right labels down, answers across"
        with (
            tag("div", kind="scroll", tabindex=0, role="region", aria_label=name),
            tag("table", kind="confusion"),
        ):
            tag("caption", name, kind="unseen")
            with tag("thead"), tag("tr"):
                tag("th", "right ↓ answer →", scope="col")
                for column in self._columns:
                    tag("th", column, scope="col")
            with tag("tbody"):
                for i, label in enumerate(self._labels):
                    with tag("tr"):
                        tag("th", label, scope="row")
                        for j, column in enumerate(self._columns):
                            self._cell(i, j, counts.get((i, j), 0), totals[i], (label, column))

    def _cell(self, i: int, j: int, n: int, total: int, names: tuple[str, str]) -> None:
        kind = "hit" if i == j else "miss"
        share = n / total if total else 0
        with tag("td", kind=f"{kind} {_shade(share) if n else ''}"):
            if n:
                label = f"{counted(n, 'row')} of {names[0]} answered as {names[1]}"
                button(f"{n:,}", self._rows.behind(*names), kind="cell", aria_label=label)

    def _map(self, cells: Sequence[tuple[int, int, int]]) -> None:
        told = {"rows": self._labels, "columns": self._columns, "cells": cells}
        with tag("div", kind="stack tight grow"):
            drawn = tag(
                "confusion-map",
                data=json.dumps(told, ensure_ascii=False),
                aria_label=f"Confusion matrix of {len(self._labels):,} labels",
            )
            text(
                "Labels that are mixed up stand side by side. Turn the wheel over it, or press + "
                "and −, to look closer; drag to move; with the keyboard arrows move from cell to "
                "cell and Enter opens one.", "quiet small",
            )  # fmt: skip

            async def opened(event: Any) -> None:
                i, j = event.args
                await self._rows.behind(self._labels[int(i)], self._columns[int(j)])()

            drawn.on("cell", opened, js_handler="(event) => emit(event.detail)")

    def _pairs(self, pairs: Sequence[Numbers]) -> None:
        if not pairs:
            return
        with tag("div", kind="stack tight worst"):
            tag("h3", "The worst pairs")
            with tag("ol", kind="pairs"):
                for pair in pairs[:NUM_PAIRS]:
                    with tag("li"):
                        tag("p", pair["said"])
                        with tag("div", kind="row"):
                            for gold, answer, n in (
                                (pair["first"], pair["second"], pair["forth"]),
                                (pair["second"], pair["first"], pair["back"]),
                            ):
                                if n:
                                    button(
                                        f"{counted(n, 'row')}: {gold} → {answer}",
                                        self._rows.behind(gold, answer), kind="small wrap",
                                    )  # fmt: skip

    def _each(self, per_class: Sequence[Numbers]) -> None:
        order = sorted(per_class, key=lambda c: (not c["support"], c["f1"], c["label"]))

        def wrong(label: str, number: int) -> Any:
            async def show() -> None:
                await self._rows.show(gold=label, show="wrong")

            name = f"{counted(number, 'wrong answer')} to {label}"
            said = f"{number:,}"
            return lambda: button(said, show, kind="small", aria_label=name) if number else None

        with details(f"Each of the {len(order):,} labels, the weakest first"):
            table(
                ("Label", "Rows", "Wrong", "F1", "Precision", "Recall"),
                [
                    (c["label"], c["support"],
                     wrong(c["label"], round(c["support"] * (1 - c["recall"]))),
                     percent(c["f1"]), percent(c["precision"]), percent(c["recall"]))
                    for c in order
                ],
                caption="Scores of each label",
                kind="numbers",
            )  # fmt: skip


def _shade(share: float) -> str:
    """A class for how much of the row a cell holds."""
    return f"s{min(9, int(10 * share**0.5))}"
