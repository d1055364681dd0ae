"""The store: one database, seen table by table."""

from __future__ import annotations

from sqlalchemy import URL

from tunesmith.errors import storage_errors
from tunesmith.settings import Settings
from tunesmith.store.database import Database
from tunesmith.store.files import Files
from tunesmith.store.jobs import Jobs
from tunesmith.store.keys import Keys
from tunesmith.store.models import Models


class Store:
    """`store.keys`, `store.files`, `store.jobs`, `store.models`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.keys = Keys(database)
        self.files = Files(database)
        self.jobs = Jobs(database)
        self.models = Models(database)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def open_store(settings: Settings) -> Store:
    """The store of these settings, with its tables up to date.

    Raises: StorageError when the data folder or the database cannot be used; ConfigError.
    """
    with storage_errors(settings.data_dir):
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    own = URL.create("sqlite", database=str(settings.data_dir / "tunesmith.db"))
    database = Database(settings.database_url or own)
    database.migrate()
    return Store(database)
