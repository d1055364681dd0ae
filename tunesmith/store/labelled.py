"""What has come of labelling tasks: rows listed and searched, histories, counts, the whole table.

Does not know: how any of it is shown or written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from tunesmith.store.database import Database
from tunesmith.store.labelling import require_task
from tunesmith.store.labelling_rows import AnswerRow, LabellingRow
from tunesmith.store.paging import Page, find, no_anchor
from tunesmith.store.tables import LABELLING_ANSWERS as ANSWERS
from tunesmith.store.tables import LABELLING_ROWS as ROWS

ROWS_AT_ONCE = 1000
GROUPS = ("labelled", "tied", "apart", "decided", "skipped", "open")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which rows of a task are asked for."""

    group: str = "labelled"
    """labelled, tied, apart (votes differ), decided, skipped or open."""
    search: str = ""
    """What the text holds."""
    label: str = ""
    """The row's label; of one annotator's votes, if that is given: that vote's."""
    annotator: str = ""
    """Who has labelled (or skipped) it."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one person has done."""

    annotator: str
    votes: int = 0
    skips: int = 0
    decisions: int = 0
    last_at: int = 0


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """So many rows have `size` votes, of which `alike` give this one label."""

    label: str
    size: int
    alike: int
    num_rows: int


class Labelled:
    """Rows and answers of tasks, of one project or all.

    All methods raise: NotFound when there is no such task.
    """

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def row(self, task_id: str, row_id: str) -> LabellingRow | None:
        """The row, if there is one."""
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            mine = ROWS.c.id == row_id, ROWS.c.task_id == task_id
            return find(connection, ROWS, LabellingRow, *mine)

    def page(
        self, task_id: str, asked: Asked, *, after: str = "", limit: int = 50
    ) -> Page[LabellingRow]:
        """Rows behind the one with the id `after`: open ones in the file's order, all others with
        those first that were answered last.

        Raises: RequestError when there is no such row.
        """
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            query = select(ROWS).where(ROWS.c.task_id == task_id, *_matching(asked))
            anchor = None
            if after:
                mine = ROWS.c.id == after, ROWS.c.task_id == task_id
                anchor = find(connection, ROWS, LabellingRow, *mine)
                if anchor is None:
                    raise no_anchor(after)
            if asked.group == "open":
                query = query.order_by(ROWS.c.number)
                query = query.where(ROWS.c.number > (anchor.number if anchor else 0))
            else:
                query = query.order_by(ROWS.c.answered_at.desc(), ROWS.c.seq.desc())
                if anchor:
                    query = query.where(_is_behind(anchor))
            found = connection.execute(query.limit(limit + 1)).mappings()
            rows = [LabellingRow(**row) for row in found]
            return Page(data=rows[:limit], has_more=len(rows) > limit)

    def answers(
        self, task_id: str, row_ids: Collection[str], *, with_replaced: bool = False
    ) -> dict[str, list[AnswerRow]]:
        """Row id → what was said of it, the oldest first; only what stands, or all."""
        where = [ANSWERS.c.task_id == task_id, ANSWERS.c.row_id.in_(row_ids)]
        if not with_replaced:
            where.append(ANSWERS.c.replaced_at.is_(None))
        said: dict[str, list[AnswerRow]] = {row_id: [] for row_id in row_ids}
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            query = select(ANSWERS).where(*where).order_by(ANSWERS.c.seq)
            for found in connection.execute(query).mappings():
                said[found["row_id"]].append(AnswerRow(**found))
        return said

    def trail(self, task_id: str, annotator: str, *, limit: int = 200) -> list[str]:
        """Ids of the rows that person has voted on or skipped last, the newest last."""
        mine = [
            ANSWERS.c.task_id == task_id, ANSWERS.c.annotator == annotator,
            ANSWERS.c.kind.in_(("vote", "skip")), ANSWERS.c.replaced_at.is_(None),
        ]  # fmt: skip
        query = select(ANSWERS.c.row_id).where(*mine).order_by(ANSWERS.c.seq.desc()).limit(limit)
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            return list(connection.execute(query).scalars())[::-1]

    def num_since(self, task_id: str, annotator: str, since: float) -> tuple[int, int]:
        """How many votes of that person stand, in all and since then (unix seconds)."""
        mine = [
            ANSWERS.c.task_id == task_id, ANSWERS.c.annotator == annotator,
            ANSWERS.c.kind == "vote", ANSWERS.c.replaced_at.is_(None),
        ]  # fmt: skip
        lately = func.count().filter(ANSWERS.c.created_at >= since)
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            total, new = connection.execute(select(func.count(), lately).where(*mine)).one()
            return total, new

    def shares(self, task_id: str) -> list[Share]:
        """Who has done how much, the most first."""
        stands = ANSWERS.c.task_id == task_id, ANSWERS.c.replaced_at.is_(None)
        query = select(
            ANSWERS.c.annotator, ANSWERS.c.kind, func.count(), func.max(ANSWERS.c.created_at)
        )
        query = query.where(*stands).group_by(ANSWERS.c.annotator, ANSWERS.c.kind)
        found: dict[str, dict[str, int]] = {}
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            for annotator, kind, count, last in connection.execute(query):
                of = found.setdefault(annotator, {})
                of[f"{kind}s"] = count
                of["last_at"] = max(of.get("last_at", 0), last)
        shares = [Share(annotator=annotator, **of) for annotator, of in found.items()]
        return sorted(shares, key=lambda share: (-share.votes, -share.decisions, share.annotator))

    def labels(self, task_id: str) -> dict[str, int]:
        """Label → rows that bear it by now, the most frequent first."""
        mine = ROWS.c.task_id == task_id, ROWS.c.answered_at > 0, ROWS.c.label.is_not(None)
        query = select(ROWS.c.label, func.count()).where(*mine).group_by(ROWS.c.label)
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            counts = {str(label): count for label, count in connection.execute(query)}
        return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))

    def likenesses(self, task_id: str) -> list[Likeness]:
        """How alike the votes are, on rows with two or more."""
        alike = func.count().label("alike")
        stands = ANSWERS.c.task_id == task_id, ANSWERS.c.replaced_at.is_(None)
        of_row = (
            select(ANSWERS.c.row_id, ANSWERS.c.label, alike)
            .where(*stands, ANSWERS.c.kind == "vote")
            .group_by(ANSWERS.c.row_id, ANSWERS.c.label)
            .subquery()
        )
        number = func.count()
        query = (
            select(of_row.c.label, ROWS.c.num_votes, of_row.c.alike, number)
            .join_from(of_row, ROWS, ROWS.c.id == of_row.c.row_id)
            .where(ROWS.c.num_votes > 1)
            .group_by(of_row.c.label, ROWS.c.num_votes, of_row.c.alike)
        )
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            return [
                Likeness(label=label, size=size, alike=count, num_rows=rows)
                for label, size, count, rows in connection.execute(query)
            ]

    def unsure(self, task_id: str, limit: int) -> list[LabellingRow]:
        """Open rows that no helper was asked of, in the order in which they would be handed out."""
        mine = ROWS.c.task_id == task_id, ROWS.c.state == "open", ROWS.c.certainty.is_(None)
        # Those that were asked of come first by rank, which is at most 1 for them.
        query = select(ROWS).where(*mine, ROWS.c.rank > 1).order_by(ROWS.c.rank).limit(limit)
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            return [LabellingRow(**row) for row in connection.execute(query).mappings()]

    def num_asked(self, task_id: str) -> int:
        """Open rows that a helper was asked of."""
        mine = ROWS.c.task_id == task_id, ROWS.c.state == "open", ROWS.c.rank <= 1
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            return connection.execute(select(func.count()).where(*mine)).scalar_one()

    def asked(self, task_id: str) -> list[str]:
        """Ids of the rows that a helper was asked of."""
        mine = ROWS.c.task_id == task_id, ROWS.c.certainty.is_not(None)
        with self._database.read() as connection:
            require_task(connection, task_id, self._project)
            return list(connection.execute(select(ROWS.c.id).where(*mine)).scalars())

    def table(
        self, task_id: str, *, only_labelled: bool
    ) -> Iterator[Sequence[tuple[LabellingRow, Sequence[AnswerRow]]]]:
        """All rows with what was said of them and stands, in the file's order, some at a time."""
        number, mine = 0, [ROWS.c.task_id == task_id]
        if only_labelled:
            mine.append(or_(ROWS.c.num_votes > 0, ROWS.c.decided_by.is_not(None)))
        while True:
            query = select(ROWS).where(*mine, ROWS.c.number > number).order_by(ROWS.c.number)
            with self._database.read() as connection:
                require_task(connection, task_id, self._project)
                found = connection.execute(query.limit(ROWS_AT_ONCE)).mappings()
                rows = [LabellingRow(**row) for row in found]
            if not rows:
                return
            said = self.answers(task_id, [row.id for row in rows if row.answered_at])
            yield [(row, said.get(row.id, ())) for row in rows]
            number = rows[-1].number


def _matching(asked: Asked) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if asked.group == "open":
        where.append(ROWS.c.state == "open")
    else:
        where.append(ROWS.c.answered_at > 0)
    if asked.group == "labelled":
        where.append(or_(ROWS.c.num_votes > 0, ROWS.c.decided_by.is_not(None)))
    elif asked.group == "tied":
        where.append(ROWS.c.state == "tied")
    elif asked.group == "apart":
        where.append(ROWS.c.num_labels > 1)
    elif asked.group == "decided":
        where.append(ROWS.c.decided_by.is_not(None))
    if asked.search:
        where.append(ROWS.c.text.icontains(asked.search, autoescape=True))
    if asked.annotator or asked.group == "skipped":
        where.append(_answered(asked))
    elif asked.label:
        where.append(ROWS.c.label == asked.label)
    return where


def _answered(asked: Asked) -> ColumnElement[bool]:
    """That the annotator, or anybody, has skipped it or voted (for that label)."""
    kind = "skip" if asked.group == "skipped" else "vote"
    said = [
        ANSWERS.c.row_id == ROWS.c.id, ANSWERS.c.kind == kind, ANSWERS.c.replaced_at.is_(None),
    ]  # fmt: skip
    if asked.annotator:
        said.append(ANSWERS.c.annotator == asked.annotator)
    if asked.label and kind == "vote":
        said.append(ANSWERS.c.label == asked.label)
    return exists().where(*said)


def _is_behind(anchor: LabellingRow) -> ColumnElement[bool]:
    earlier = ROWS.c.answered_at < anchor.answered_at
    same = and_(ROWS.c.answered_at == anchor.answered_at, ROWS.c.seq < anchor.seq)
    return or_(earlier, same)
