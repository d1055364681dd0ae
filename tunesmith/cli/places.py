"""The folder that a command's run works in: a new one, or one that is there.

Knows: where runs go that nobody named a folder for. Does not know: what is done there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tunesmith.config import RunConfig
from tunesmith.errors import RequestError, StateError

if TYPE_CHECKING:
    from tunesmith.cli.terminal import Terminal
    from tunesmith.pipeline import RunDir

RUNS = Path("runs")


@contextmanager
def run_folder(
    config: RunConfig, place: Path | None, terminal: Terminal, *, go_on: str, yes: bool
) -> Iterator[RunDir]:
    """The run's folder: `place`, or a new one.

    go_on  the command that goes on after Ctrl-C, up to the folder; yes: whether another table may
           take the place of the one that a run in `place` is on, unasked.

    A folder in which nothing came about is removed. The terminal is closed.
    Raises: StateError when it may not; StorageError.
    """
    from tunesmith.cli.terminal import shortest
    from tunesmith.pipeline import RunDir

    path = place or _next_folder(Path(config.prepare.table).stem)
    is_new = place is None or not path.exists()
    try:
        _check_same_table(config, path, yes=yes)
        yield RunDir(path)
    except KeyboardInterrupt:
        terminal.close()
        typer.echo(f"\nStopped. To go on: {go_on} {shortest(path.absolute())}", err=True)
        raise typer.Exit(130) from None
    except RequestError:
        if is_new:
            _forget_if_empty(path)
        raise
    finally:
        terminal.close()


def _next_folder(stem: str) -> Path:
    """runs/<stem>-<n> with the first free n, created so that no other start takes it.

    Raises: StorageError.
    """
    from tunesmith.errors import storage_error

    number = 1
    while True:
        folder = RUNS / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise storage_error(error, folder) from None


def _check_same_table(config: RunConfig, path: Path, *, yes: bool) -> None:
    """Ask before a run on one table is replaced by one on another.

    Raises: StateError when the answer is no, or nobody can be asked.
    """
    from tunesmith import config as configs
    from tunesmith.cli.terminal import is_interactive

    if yes or not (path / "config.toml").is_file():
        return
    before = configs.load(path / "config.toml").prepare.table
    if before == config.prepare.table:
        return
    question = f"{path} holds a run on {before}. Replace it by one on {config.prepare.table}?"
    if not (is_interactive() and typer.confirm(question, err=True)):
        raise StateError(
            f"{path} holds a run on another table, {before}.",
            fix="Choose another --run-dir, or say --yes to replace it.",
        )


def _forget_if_empty(path: Path) -> None:
    bookkeeping = {".lock", "run-id", "config.toml"}
    if all(file.name in bookkeeping for file in path.rglob("*") if file.is_file()):
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # it holds other runs
            RUNS.rmdir()
