"""Running commands: in this process with the provider in memory, or as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_provider import FakeProvider
from table import write_table

from tunesmith import cli, providers


@dataclass(frozen=True)
class Ended:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sixty rows in three labels."""
    return write_table(tmp_path / "mail.csv")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command works in a folder of its own, and leaves the interpreter as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    return tmp_path


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    fake = FakeProvider()
    monkeypatch.setitem(providers.APIS, "openai", lambda *_: fake)
    return fake


@pytest.fixture
def here(provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """here("run", table, …): the command in this process, with the provider in memory."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def outside(place: Path) -> Callable[..., Ended]:
    """outside("run", table, …): `python -m tunesmith` as a process of its own."""

    def run(*arguments: object, environ: dict[str, str] | None = None, text: str = "") -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "tunesmith", *map(str, arguments)],
            cwd=place,
            env={**os.environ, **(environ or {})},
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run
