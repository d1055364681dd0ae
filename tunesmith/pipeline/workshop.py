"""Where a run works: its directory, who does the work, and who is told about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tunesmith import providers, settings
from tunesmith.config import ProviderConfig
from tunesmith.events import Event
from tunesmith.pipeline.rundir import RunDir
from tunesmith.providers import Provider

Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What every verb needs besides its config and the earlier results."""

    run_dir: RunDir
    provider: Provider
    report: Report


@contextmanager
def open_workshop(config: ProviderConfig, run_dir: RunDir, report: Report) -> Iterator[Workshop]:
    """A workshop that no other process can open on the same directory meanwhile.

    Raises: StateError when another process is at work there; StorageError; ConfigError.
    """
    with run_dir.lock(), providers.connect(config, settings.load()) as provider:
        yield Workshop(run_dir=run_dir, provider=provider, report=report)
