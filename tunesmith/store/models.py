"""The table of tuned models. Rows are added by `Jobs.write`, together with the job's success."""

from __future__ import annotations

from sqlalchemy import delete, select

from tunesmith.store.database import Database
from tunesmith.store.paging import find
from tunesmith.store.rows import ModelRow
from tunesmith.store.tables import MODELS


class Models:
    """Tuned models by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> ModelRow | None:
        """The model, if there is one."""
        with self._database.read() as connection:
            return find(connection, MODELS, ModelRow, MODELS.c.id == name)

    def all(self) -> list[ModelRow]:
        """Every model, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(MODELS).order_by(MODELS.c.seq.desc())).mappings()
            return [ModelRow(**row) for row in rows]

    def delete(self, name: str) -> ModelRow | None:
        """Forget the model; its row as it was, or None when there is none."""
        with self._database.write() as connection:
            row = find(connection, MODELS, ModelRow, MODELS.c.id == name)
            connection.execute(delete(MODELS).where(MODELS.c.id == name))
            return row
