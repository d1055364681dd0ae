"""What a Tunesmith process is told by its environment: places, limits, how to reach a server.

Knows: the TUNESMITH_… variables, their defaults and meaning.
Does not know: what any run asks for (that is `config`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tunesmith.errors import ConfigError, nearest

PREFIX = "TUNESMITH_"
SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per variable: `data_dir` is TUNESMITH_DATA_DIR, and so on."""

    data_dir: Path = Path("~/.tunesmith")
    """Folder of the database, the blobs and the jobs."""
    database_url: str = ""
    """PostgreSQL's, as postgresql+psycopg://user@host/name. Empty: SQLite, in the data folder."""
    blob_url: str = ""
    """fsspec URL for files' contents. Empty: a folder in the data folder."""
    runner: str = "local"
    """Where training processes run: local."""
    server: str = ""
    """Base URL of a running server to use instead of an embedded one, such as http://host:8000/v1."""
    api_key: str = ""
    """API key for that server."""
    organization: str = "local"
    """Organization slug inside the names of tuned models."""
    max_loaded_models: int = 4
    """Models held in memory at once; the least recently used one makes room."""
    max_batch_tokens: int = 2048
    """Tokens of one forward pass when serving an encoder."""
    max_file_bytes: int = 512 * 1024 * 1024
    """Largest file that can be uploaded."""
    max_body_bytes: int = 16 * 1024 * 1024
    """Largest request that is not an upload."""
    requests_per_minute: int = 0
    """Requests a minute that one API key may make. 0: any number."""
    workers: int = 1
    """Jobs that train at the same time, each under a worker process of its own."""
    lease_seconds: float = 30.0
    """A job whose worker has been silent this long is taken over by another."""
    threads: int = 0
    """CPU threads for torch. 0: all cores. Jobs that train at the same time share them."""
    result_encoding: str = "base64"
    """Body of a job's result file: base64 (as OpenAI sends it) or plain."""
    keep_events_days: int = 0
    """Events of jobs that ended longer ago are removed. 0: never."""
    keep_answers_days: int = 30
    """Stored completions and responses older than this are removed. 0: never."""
    keep_evals_days: int = 0
    """Output items of eval runs that ended longer ago are removed. 0: never."""
    keep_logs_days: int = 0
    """What is left on disk of jobs that ended longer ago, such as logs, is removed. 0: never."""
    allow_folders: bool = False
    """A job may name a folder on the server's disk as its base model: 1 or 0."""
    docs_model: str = ""
    """Model that words the answers at /docs, from excerpts only. Empty: their own sentences."""

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tunesmith.db'}"

    @property
    def blobs(self) -> str:
        """The blob URL in force."""
        return self.blob_url or str(self.data_dir / "blobs")

    @property
    def jobs_dir(self) -> Path:
        """Where training processes work, one folder a job."""
        return self.data_dir / "jobs"

    @property
    def shared_dir(self) -> Path:
        """What training processes find for each other, such as features of the same texts."""
        return self.data_dir / "shared"

    @property
    def models_dir(self) -> Path:
        """Where tuned models are kept, one folder a model."""
        return self.data_dir / "models"

    @property
    def base_models_dir(self) -> Path:
        """Where base models that were pulled or added are kept, one folder a model."""
        return self.data_dir / "base-models"

    @property
    def manual_dir(self) -> Path:
        """Where the vectors of the documentation's passages are kept."""
        return self.data_dir / "manual"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises: ConfigError for a TUNESMITH_ variable that is not one, or a number that is none.
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + f.name.upper(): f for f in fields(Settings)}
    given: dict[str, object] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or not text:
            continue
        if name not in known:
            raise ConfigError(f"There is no setting {name}.", fix=nearest(name, known))
        try:
            given[known[name].name] = _parsed(text, known[name].default)
        except ValueError as error:
            raise ConfigError(f"{name} is {text!r}.", fix=str(error)) from None
    settings = Settings(**given)  # type: ignore[arg-type]
    object.__setattr__(settings, "data_dir", settings.data_dir.expanduser().absolute())
    return settings


def environ(settings: Settings) -> dict[str, str]:
    """The variables from which `load` makes these settings, for a process of ours."""
    return {PREFIX + f.name.upper(): str(getattr(settings, f.name)) for f in fields(settings)}


def _parsed(text: str, default: object) -> object:
    """`text` as the type of `default`. Raises: ValueError that says what to give."""
    if isinstance(default, bool):  # before int, which bool is a kind of
        if text.lower() not in SWITCH:
            raise ValueError("Give 1 or 0.")
        return SWITCH[text.lower()]
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise ValueError("Give a number.") from None
    return Path(text) if isinstance(default, Path) else text
