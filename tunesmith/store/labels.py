"""What people say of the rows of labelling tasks: rows handed out, votes, decisions, taken back.

A row is handed out to one person, to more only where more votes are wanted, and comes back after a
while. Answers are never overwritten: who changes one adds another, and the old one is marked.
Does not know: who people are, what they see.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, select, update

from tunesmith.errors import NotFound, RequestError, StateError
from tunesmith.store.database import Database
from tunesmith.store.labelling import count_up, locked_task
from tunesmith.store.labelling_rows import (
    AnswerRow,
    HandoutRow,
    LabellingRow,
    LabellingTaskRow,
)
from tunesmith.store.paging import add, find
from tunesmith.store.rows import now
from tunesmith.store.tables import LABELLING_ANSWERS as ANSWERS
from tunesmith.store.tables import LABELLING_HANDOUTS as HANDOUTS
from tunesmith.store.tables import LABELLING_ROWS as ROWS

HOLD_SECONDS = 600.0
"""Who says nothing of a row for so long does not hold it any more."""
OF_ONE = ("vote", "skip")
"""Kinds of answers of which a person has one a row."""


class Labels:
    """Answers to the rows of tasks, of one project or all.

    All methods raise: NotFound when there is no such task or row; StateError when it has not begun.
    """

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def hand_out(self, task_id: str, annotator: str) -> LabellingRow | None:
        """The next row for that person, who holds it from now on; None when there is none left.

        Whoever holds a row already gets the same again.
        """
        with self._database.write() as connection:
            task = self._begun(connection, task_id)
            _give_back(connection, HANDOUTS.c.task_id == task_id, HANDOUTS.c.until <= time.time())
            row = _first(connection, _held(task, annotator))
            row = row or _first(connection, _next(task, annotator))
            if row is not None:
                _hold(connection, row, annotator)
            return row

    def hand_out_tie(self, task_id: str, annotator: str, *, after: int = 0) -> LabellingRow | None:
        """The next row with a tie, behind the one with the number `after`, for one to decide."""
        with self._database.write() as connection:
            self._begun(connection, task_id)
            _give_back(connection, HANDOUTS.c.task_id == task_id, HANDOUTS.c.until <= time.time())
            mine, tied = ROWS.c.task_id == task_id, ROWS.c.state == "tied"
            query = select(ROWS).where(mine, tied, ~_is_with_others(annotator))
            row = _first(connection, query.where(ROWS.c.number > after).order_by(ROWS.c.number))
            row = row or _first(connection, query.order_by(ROWS.c.number))
            if row is not None:
                _hold(connection, row, annotator)
            return row

    def release(self, task_id: str, row_id: str, annotator: str) -> None:
        """The person looks at the row no longer."""
        mine = HANDOUTS.c.row_id == row_id, HANDOUTS.c.annotator == annotator
        with self._database.write() as connection:
            _give_back(connection, HANDOUTS.c.task_id == task_id, *mine)

    def answer(self, task_id: str, row_id: str, annotator: str, label: str | None) -> LabellingRow:
        """That person's vote, in place of an earlier one; None: it is skipped. The row afterwards.

        Raises: RequestError for what is no label of the task.
        """
        kind = "vote" if label is not None else "skip"
        return self._say(task_id, row_id, AnswerRow(
            task_id=task_id, row_id=row_id, annotator=annotator, kind=kind, label=label
        ))  # fmt: skip

    def decide(self, task_id: str, row_id: str, annotator: str, label: str | None) -> LabellingRow:
        """Set the row's label, whatever the votes say; None: they count again. The row afterwards.

        Raises: RequestError for what is no label of the task.
        """
        return self._say(task_id, row_id, AnswerRow(
            task_id=task_id, row_id=row_id, annotator=annotator, kind="decision", label=label
        ))  # fmt: skip

    def withdraw(self, task_id: str, row_id: str, annotator: str) -> LabellingRow:
        """Take back what that person said of the row, but for decisions. The person holds it."""
        with self._database.write() as connection:
            task = self._begun(connection, task_id)
            row = _row(connection, task_id, row_id)
            _replace(connection, row_id, ANSWERS.c.annotator == annotator, OF_ONE)
            _hold(connection, row, annotator)
            return _settle(connection, task, row)

    def take_up_skipped(self, task_id: str, annotator: str) -> int:
        """Have what the person skipped, and is still open, come again; how many rows."""
        with self._database.write() as connection:
            self._begun(connection, task_id)
            open_ = select(ROWS.c.id).where(ROWS.c.task_id == task_id, ROWS.c.state == "open")
            skipped = [
                ANSWERS.c.task_id == task_id, ANSWERS.c.annotator == annotator,
                ANSWERS.c.kind == "skip", ANSWERS.c.replaced_at.is_(None),
                ANSWERS.c.row_id.in_(open_),
            ]  # fmt: skip
            taken = connection.execute(update(ANSWERS).where(*skipped).values(replaced_at=now()))
            return taken.rowcount

    def suggest(self, task_id: str, found: Sequence[tuple[str, str, float]]) -> None:
        """Note what a helper says of rows: id, label, how certain it is (0 to 1).

        Rows of which it is least certain are handed out first, before those it was not asked of.
        """
        with self._database.write() as connection:
            self._begun(connection, task_id)
            for row_id, label, certainty in found:
                mine = ROWS.c.id == row_id, ROWS.c.task_id == task_id
                said = {"suggestion": label, "certainty": certainty, "rank": certainty}
                connection.execute(update(ROWS).where(*mine).values(said))

    def forget_suggestions(self, task_id: str, ranks: Mapping[str, float]) -> None:
        """Forget what a helper said of these rows; they get those ranks."""
        with self._database.write() as connection:
            self._begun(connection, task_id)
            for row_id, rank in ranks.items():
                mine = ROWS.c.id == row_id, ROWS.c.task_id == task_id
                nothing = {"suggestion": None, "certainty": None, "rank": rank}
                connection.execute(update(ROWS).where(*mine).values(nothing))

    def _say(self, task_id: str, row_id: str, answer: AnswerRow) -> LabellingRow:
        with self._database.write() as connection:
            task = self._begun(connection, task_id)
            if answer.label is not None and answer.label not in task.labels:
                raise RequestError(f"{answer.label!r} is no label of this task.")
            row = _row(connection, task_id, row_id)
            kinds: tuple[str, ...] = OF_ONE
            by = ANSWERS.c.annotator == answer.annotator
            if answer.kind == "decision":
                by, kinds = ANSWERS.c.task_id == task_id, ("decision",)
            _replace(connection, row_id, by, kinds)
            if answer.kind != "decision" or answer.label is not None:
                add(connection, ANSWERS, [answer])
            mine = HANDOUTS.c.row_id == row_id, HANDOUTS.c.annotator == answer.annotator
            _give_back(connection, *mine)
            return _settle(connection, task, row)

    def _begun(self, connection: Connection, task_id: str) -> LabellingTaskRow:
        task = locked_task(connection, task_id, self._project)
        if task.state != "ready":
            raise StateError("The task has not begun.", fix="Choose its columns and labels first.")
        return task


# --- handing out ----------------------------------------------------------------------------------


def _held(task: LabellingTaskRow, annotator: str) -> Select[Any]:
    """The row the person holds already, if it still wants an answer of that person."""
    mine = HANDOUTS.c.task_id == task.id, HANDOUTS.c.annotator == annotator
    held = ROWS.c.id.in_(select(HANDOUTS.c.row_id).where(*mine))
    query = select(ROWS).where(held, ROWS.c.state == "open", ~_has_said(annotator))
    return query.order_by(ROWS.c.rank)


def _next(task: LabellingTaskRow, annotator: str) -> Select[Any]:
    """The first row that wants more votes than others are about to give, and one of this person."""
    others = (
        select(func.count())
        .where(HANDOUTS.c.row_id == ROWS.c.id, HANDOUTS.c.annotator != annotator)
        .scalar_subquery()
    )
    query = select(ROWS).where(ROWS.c.task_id == task.id, ROWS.c.state == "open")
    query = query.where(ROWS.c.num_votes + others < task.votes, ~_has_said(annotator))
    return query.order_by(ROWS.c.rank)


def _has_said(annotator: str) -> ColumnElement[bool]:
    return exists().where(
        ANSWERS.c.row_id == ROWS.c.id,
        ANSWERS.c.annotator == annotator,
        ANSWERS.c.kind.in_(OF_ONE),
        ANSWERS.c.replaced_at.is_(None),
    )


def _is_with_others(annotator: str) -> ColumnElement[bool]:
    return exists().where(HANDOUTS.c.row_id == ROWS.c.id, HANDOUTS.c.annotator != annotator)


def _hold(connection: Connection, row: LabellingRow, annotator: str) -> None:
    _give_back(connection, HANDOUTS.c.row_id == row.id, HANDOUTS.c.annotator == annotator)
    until = time.time() + HOLD_SECONDS
    held = HandoutRow(task_id=row.task_id, row_id=row.id, annotator=annotator, until=until)
    add(connection, HANDOUTS, [held])


def _give_back(connection: Connection, *which: ColumnElement[bool]) -> None:
    connection.execute(delete(HANDOUTS).where(*which))


def _first(connection: Connection, query: Select[Any]) -> LabellingRow | None:
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else LabellingRow(**row)


def _row(connection: Connection, task_id: str, row_id: str) -> LabellingRow:
    mine = ROWS.c.id == row_id, ROWS.c.task_id == task_id
    row = find(connection, ROWS, LabellingRow, *mine)
    if row is None:
        raise NotFound("There is no such row in this task.")
    return row


# --- what the answers say -------------------------------------------------------------------------


def _replace(
    connection: Connection, row_id: str, by: ColumnElement[bool], kinds: Sequence[str]
) -> None:
    stands = ANSWERS.c.row_id == row_id, ANSWERS.c.replaced_at.is_(None)
    mine = update(ANSWERS).where(*stands, by, ANSWERS.c.kind.in_(kinds))
    connection.execute(mine.values(replaced_at=now()))


def _settle(connection: Connection, task: LabellingTaskRow, row: LabellingRow) -> LabellingRow:
    """Write what the answers that stand say of the row, and the task's counts."""
    stands = ANSWERS.c.row_id == row.id, ANSWERS.c.replaced_at.is_(None)
    query = select(ANSWERS).where(*stands).order_by(ANSWERS.c.seq)
    answers = [AnswerRow(**found) for found in connection.execute(query).mappings()]
    settled = replace(row, **_verdict(answers, task.votes), answered_at=now() if answers else 0)
    changed = {name: value for name, value in vars(settled).items() if value != getattr(row, name)}
    if changed:
        connection.execute(update(ROWS).where(ROWS.c.id == row.id).values(changed))
    counts = {name: n - _counts(row)[name] for name, n in _counts(settled).items()}
    count_up(connection, task.id, counts)
    return settled


def _verdict(answers: Sequence[AnswerRow], wanted: int) -> dict[str, Any]:
    """state, label, decided_by, num_votes and num_labels of a row with these answers."""
    votes = Counter(str(answer.label) for answer in answers if answer.kind == "vote")
    decision = next((answer for answer in answers if answer.kind == "decision"), None)
    most = [label for label, count in votes.items() if count == max(votes.values())]
    state = "open"
    if votes.total() >= wanted:
        state = "done" if len(most) == 1 else "tied"
    return {
        "state": "done" if decision else state,
        "label": decision.label if decision else most[0] if len(most) == 1 else None,
        "decided_by": decision.annotator if decision else None,
        "num_votes": votes.total(),
        "num_labels": len(votes),
    }


def _counts(row: LabellingRow) -> dict[str, int]:
    return {
        "num_labelled": int(row.num_votes > 0 or row.decided_by is not None),
        "num_done": int(row.state == "done"),
        "num_tied": int(row.state == "tied"),
    }
