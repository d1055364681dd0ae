"""A table that is learnt at once, a run directory, and a workshop with the provider in memory."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_provider import FakeProvider
from table import write_table

from tunesmith.config import PrepareConfig, RunConfig
from tunesmith.events import Event
from tunesmith.pipeline import RunDir, Workshop


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sixty rows in three labels, each text another one."""
    return write_table(tmp_path / "mail.csv")


@pytest.fixture
def config(table: Path) -> RunConfig:
    config = RunConfig(prepare=PrepareConfig(table=str(table)))
    return replace(config, evaluate=replace(config.evaluate, bootstrap=50, baselines=False))


class Told(list[Event]):
    """Keeps the events it is told."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    @property
    def words(self) -> str:
        return "\n".join(event.message for event in self)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


@pytest.fixture
def shop(run_dir: RunDir, provider: FakeProvider, told: Told) -> Workshop:
    return Workshop(run_dir=run_dir, provider=provider, report=told)
