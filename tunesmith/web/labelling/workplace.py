"""One person's way through the rows of a task: forward, back, undone, skipped; or through its ties.

Does not know: what the page looks like.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from tunesmith.store.labelling_rows import AnswerRow, LabellingRow, LabellingTaskRow
from tunesmith.store.store import Store

PAUSE_SECONDS = 60.0
"""Longer than that nobody looks at a row: it was a break."""
RECENT = 30
"""Answers from which the pace is told."""


@dataclass(kw_only=True)
class Workplace:
    """Where one page is. All methods that ask the store may wait for it."""

    store: Store
    """Of the project."""
    task: LabellingTaskRow
    annotator: str
    is_deciding: bool = False
    """Ties are decided, and no votes given."""
    row: LabellingRow | None = None
    """The row that is shown; None: there is none left."""
    said: list[AnswerRow] = field(default_factory=list)
    """What stands of it."""
    trail: list[str] = field(default_factory=list)
    """Rows that were answered before, the newest last."""
    at: int | None = None
    """Where in the trail the person looks; None: at the row that is next."""
    num_mine: int = 0
    """Votes of this person."""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def begin(self) -> None:
        """Show the first row."""
        if not self.is_deciding:
            self.trail = self.store.labelled.trail(self.task.id, self.annotator)
            self.num_mine, _ = self.store.labelled.num_since(self.task.id, self.annotator, 0)
        self._fresh()

    @property
    def current(self) -> str | None:
        """The label that this person gave the row, or that was decided."""
        kind = "decision" if self.is_deciding else "vote"
        return next((one.label for one in self._own if one.kind == kind), None)

    @property
    def is_skipped(self) -> bool:
        """Whether this person has skipped the row."""
        return any(one.kind == "skip" for one in self._own)

    @property
    def votes(self) -> list[AnswerRow]:
        """What people say of the row."""
        return [one for one in self.said if one.kind == "vote"]

    def answer(self, label: str | None) -> None:
        """Label the row that is shown, or skip it, and go on."""
        if self.row is None:
            return
        row_id, labels = self.row.id, self.store.labels
        had = self.current
        if self.is_deciding:
            if label is not None:
                labels.decide(self.task.id, row_id, self.annotator, label)
            else:
                labels.release(self.task.id, row_id, self.annotator)
        else:
            labels.answer(self.task.id, row_id, self.annotator, label)
            self.num_mine += (label is not None) - (had is not None)
        if label is not None:
            self.times.append(time.monotonic())
        if self.at is not None:
            self.forward()
            return
        if label is not None or not self.is_deciding:
            self.trail.append(row_id)
        self._fresh(after=self.row.number)

    def undo(self) -> str | None:
        """Take the last answer back and show its row; the label it was, None for nothing.

        While an earlier row is shown, it is that one's.
        """
        if not self.trail:
            return None
        place = len(self.trail) - 1 if self.at is None else self.at
        row_id = self.trail.pop(place)
        self._show(row_id)
        was = self.current
        if self.is_deciding:
            self.store.labels.decide(self.task.id, row_id, self.annotator, None)
        else:
            self.store.labels.withdraw(self.task.id, row_id, self.annotator)
            self.num_mine -= was is not None
        if self.times:
            self.times.pop()
        self.at = None
        self._show(row_id)
        return was or "skipped"

    def back(self) -> None:
        """Show the row before."""
        place = len(self.trail) if self.at is None else self.at
        if place > 0:
            self.at = place - 1
            self._show(self.trail[self.at])

    def forward(self) -> None:
        """Show the row behind, up to the one that is next."""
        if self.at is None:
            return
        self.at += 1
        if self.at >= len(self.trail):
            self._fresh()
        else:
            self._show(self.trail[self.at])

    def look_again(self) -> None:
        """Where no row was left, see whether there is one now."""
        if self.row is None and self.at is None:
            self._fresh()

    def take_up_skipped(self) -> int:
        """Have the rows come again that were skipped; how many."""
        count = self.store.labels.take_up_skipped(self.task.id, self.annotator)
        self._fresh()
        return count

    def refresh(self) -> None:
        """See how far the task is by now."""
        self.task = self.store.labelling.get(self.task.id) or self.task

    def leave(self) -> None:
        """Give the row back to whoever comes next."""
        if self.row is not None:
            self.store.labels.release(self.task.id, self.row.id, self.annotator)

    @property
    def pace(self) -> float | None:
        """Answers a minute, breaks left out; None before there are enough."""
        if len(self.times) < 4:
            return None
        moments = list(self.times)
        gaps = [min(PAUSE_SECONDS, b - a) for a, b in zip(moments, moments[1:], strict=False)]
        return 60 * len(gaps) / max(0.5, sum(gaps))

    @property
    def _own(self) -> list[AnswerRow]:
        if self.is_deciding:
            return [one for one in self.said if one.kind == "decision"]
        return [one for one in self.said if one.annotator == self.annotator]

    def _fresh(self, after: int = 0) -> None:
        self.at = None
        labels = self.store.labels
        if self.is_deciding:
            self.row = labels.hand_out_tie(self.task.id, self.annotator, after=after)
        else:
            self.row = labels.hand_out(self.task.id, self.annotator)
        self._look()
        self.refresh()

    def _show(self, row_id: str) -> None:
        self.row = self.store.labelled.row(self.task.id, row_id)
        self._look()
        self.refresh()

    def _look(self) -> None:
        if self.row is None or not (self.row.answered_at or self.is_deciding):
            self.said = []
        else:
            self.said = self.store.labelled.answers(self.task.id, [self.row.id])[self.row.id]
