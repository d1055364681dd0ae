"""Where a run works: its directory, who does the work, and who is told about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tunesmith import providers, settings
from tunesmith.config import ProviderConfig
from tunesmith.events import Event
from tunesmith.pipeline.rundir import RunDir
from tunesmith.pipeline.spending import Spending
from tunesmith.providers import Provider

Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What every verb needs besides its config and the earlier results."""

    run_dir: RunDir
    provider: Provider
    report: Report
    spending: Spending = field(default_factory=Spending)


@contextmanager
def open_workshop(
    config: ProviderConfig, run_dir: RunDir, report: Report, spending: Spending | None = None
) -> Iterator[Workshop]:
    """A workshop that no other process can open on the same directory meanwhile.

    spending  what may be spent. None: nothing.
    Raises: StateError when another process is at work there; StorageError; ConfigError.
    """

    def tell(what: str) -> None:
        report(Event(kind="note", message=what))

    with run_dir.lock(), providers.connect(config, settings.load(), tell) as provider:
        yield Workshop(
            run_dir=run_dir, provider=provider, report=report, spending=spending or Spending()
        )
