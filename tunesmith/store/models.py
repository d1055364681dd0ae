"""The table of tuned models. Rows are added by `Jobs.write`, together with the job's success."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from tunesmith.store.database import Database
from tunesmith.store.paging import Cursor, Page, find, own, page
from tunesmith.store.rows import ModelRow
from tunesmith.store.tables import JOBS, MODELS, PERMISSIONS


class Models:
    """Tuned models by name: all, or a project's own and those it may use."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def get(self, name: str) -> ModelRow | None:
        """The model, if there is one to use."""
        with self._database.read() as connection:
            return find(connection, MODELS, ModelRow, MODELS.c.id == name, *self._usable())

    def own(self, name: str) -> ModelRow | None:
        """The model, if it is the project's own."""
        with self._database.read() as connection:
            return find(connection, MODELS, ModelRow, *self._mine(name))

    def all(self) -> list[ModelRow]:
        """Every model there is to use, newest first."""
        query = select(MODELS).where(*self._usable()).order_by(MODELS.c.seq.desc())
        with self._database.read() as connection:
            return [ModelRow(**row) for row in connection.execute(query).mappings()]

    def page(self, cursor: Cursor, *, search: str = "") -> Page[ModelRow]:
        """One page of the models to use whose name, title or base model holds `search`."""
        with self._database.read() as connection:
            return page(connection, MODELS, ModelRow, cursor, *self._matching(search))

    def count(self, *, search: str = "") -> int:
        """How many models there are to use whose name, title or base model holds `search`."""
        query = select(func.count()).select_from(MODELS).where(*self._matching(search))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def folders(self) -> list[str]:
        """The folders of all models of one's own."""
        query = select(MODELS.c.folder).where(*own(MODELS, self._project))
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def of_job(self, job_id: str) -> list[ModelRow]:
        """The models to use that a job has made, its checkpoints in the order of their steps."""
        query = select(MODELS).where(MODELS.c.job_id == job_id, *self._usable())
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(MODELS.c.seq)).mappings()
            return [ModelRow(**row) for row in rows]

    def made_from(self, name: str) -> list[ModelRow]:
        """The models of one's own that were tuned from that tuned model, newest first."""
        jobs = select(JOBS.c.id).where(JOBS.c.start_from == name, *own(JOBS, self._project))
        mine = (MODELS.c.job_id.in_(jobs), *own(MODELS, self._project))
        with self._database.read() as connection:
            rows = connection.execute(select(MODELS).where(*mine).order_by(MODELS.c.seq.desc()))
            return [ModelRow(**row) for row in rows.mappings()]

    def rename(self, name: str, title: str | None) -> bool:
        """Call a model of one's own so on pages; False when there is none."""
        with self._database.write() as connection:
            renamed = update(MODELS).where(*self._mine(name)).values(title=title)
            return bool(connection.execute(renamed).rowcount)

    def delete(self, name: str) -> ModelRow | None:
        """Forget a model of one's own; its row as it was, or None when there is none."""
        with self._database.write() as connection:
            row = find(connection, MODELS, ModelRow, *self._mine(name))
            gone = connection.execute(delete(MODELS).where(*self._mine(name)))
            if not gone.rowcount:  # there was none, or somebody else was quicker
                return None
            connection.execute(delete(PERMISSIONS).where(PERMISSIONS.c.model_id == name))
            return row

    def _mine(self, name: str) -> list[ColumnElement[bool]]:
        return [MODELS.c.id == name, *own(MODELS, self._project)]

    def _matching(self, search: str) -> list[ColumnElement[bool]]:
        columns = (MODELS.c.id, MODELS.c.title, MODELS.c.base_model)
        held = [column.icontains(search, autoescape=True) for column in columns]
        return [*self._usable(), *([or_(*held)] if search else [])]

    def _usable(self) -> list[ColumnElement[bool]]:
        if self._project is None:
            return []
        lent = select(PERMISSIONS.c.model_id).where(PERMISSIONS.c.project_id == self._project)
        return [(MODELS.c.project_id == self._project) | MODELS.c.id.in_(lent)]
