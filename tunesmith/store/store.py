"""The store: one database, seen table by table."""

from __future__ import annotations

from sqlalchemy import URL

from tunesmith.errors import storage_errors
from tunesmith.settings import Settings
from tunesmith.store.batches import Batches
from tunesmith.store.completions import Completions
from tunesmith.store.database import Database
from tunesmith.store.eval_runs import EvalRuns
from tunesmith.store.evals import Evals
from tunesmith.store.files import Files
from tunesmith.store.jobs import Jobs
from tunesmith.store.keys import Keys
from tunesmith.store.labelled import Labelled
from tunesmith.store.labelling import Labelling
from tunesmith.store.labels import Labels
from tunesmith.store.logged import Logged
from tunesmith.store.models import Models
from tunesmith.store.permissions import Permissions
from tunesmith.store.projects import Projects
from tunesmith.store.responses import Responses
from tunesmith.store.retention import Retention
from tunesmith.store.runs import Runs
from tunesmith.store.sessions import Sessions
from tunesmith.store.statistics import Statistics
from tunesmith.store.uploads import Uploads
from tunesmith.store.webhooks import Webhooks


class Store:
    """`store.files`, `store.jobs` and so on: the rows of all projects, as workers see them.

    `store.of(project)` is the same as that project sees it: of what bears a project, nothing but
    its own rows is found there, and new ones become its own.
    """

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._views: dict[str, Store] = {}
        self.projects = Projects(database)
        self.keys = Keys(database)
        self.statistics = Statistics(database)
        self.retention = Retention(database)
        self.files = Files(database, project)
        self.uploads = Uploads(database, project)
        self.jobs = Jobs(database, project)
        self.models = Models(database, project)
        self.completions = Completions(database, project)
        self.responses = Responses(database, project)
        self.batches = Batches(database, project)
        self.evals = Evals(database, project)
        self.eval_runs = EvalRuns(database, project)
        self.logged = Logged(database, project)
        self.runs = Runs(database, project)
        self.labelling = Labelling(database, project)
        self.labels = Labels(database, project)
        self.labelled = Labelled(database, project)
        self.sessions = Sessions(database)
        self.permissions = Permissions(database)
        self.webhooks = Webhooks(database)

    def of(self, project: str) -> Store:
        """The store as that project sees it."""
        if project not in self._views:
            self._views[project] = Store(self._database, project)
        return self._views[project]

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def open_store(settings: Settings) -> Store:
    """The store of these settings, with its tables up to date.

    Raises: StorageError when the data folder or the database cannot be used; ConfigError.
    """
    return Store(open_database(settings))


def open_database(settings: Settings) -> Database:
    """The same without a view of it. Raises: the same."""
    with storage_errors(settings.data_dir):
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    own = URL.create("sqlite", database=str(settings.data_dir / "tunesmith.db"))
    database = Database(settings.database_url or own)
    try:
        database.migrate()
    except BaseException:
        database.close()
        raise
    return database
