"""`tunesmith iterate`: train with other settings until a target is met or a budget is spent.

Knows: which directory and which config the command means, and what is told when.
Does not know: how settings are found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.options import Given, asked, of_run_dir, takes_config
from tunesmith.cli.paying import Paying
from tunesmith.cli.places import run_folder
from tunesmith.cli.run import ConfigFile, Json, Place, Seed, Set, Yes
from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError

STEPS = ("prepare", "upload", "iterate", "deploy", "evaluate")
"""What is done, one after the other; each comes to a result."""
WORKERS = "TUNESMITH_WORKERS"

Start = Annotated[Path, typer.Argument(metavar="TABLE|RUN_DIR", help="A table, or a run's folder.")]


@takes_config("iterate", "prepare", "train", "deploy", "evaluate", "provider")
def iterate(
    given: Given,
    start: Start,
    run_dir: Place = None,
    config: ConfigFile = None,
    set_: Set = None,
    seed: Seed = None,
    as_json: Json = False,
    yes: Yes = False,
) -> None:
    """Train again with other settings until a target is met or a budget is spent.

    Then the best model is deployed and evaluated, once, on rows that chose nothing.
    """
    settled, place = _settle(given, start, run_dir, config, (set_ or [], seed))
    with _at_work(settled, place, as_json=as_json, yes=yes) as (shop, terminal, table):
        _go(settled, shop, terminal, table)


def _settle(
    given: Given,
    start: Path,
    run_dir: Path | None,
    config: Path | None,
    further: tuple[list[str], int | None],
) -> tuple[RunConfig, Path | None]:
    """What is asked for, and the run's folder: None for a new one. Raises: ConfigError."""
    from tunesmith import config as configs

    overrides, seed = further
    if (start / "config.toml").is_file():
        if run_dir is not None:
            raise ConfigError(
                f"{start} is a run's folder, and --run-dir names another one.",
                fix="Give a table, or leave out --run-dir.",
            )
        base = of_run_dir(start, config)
        return asked(given, base=base, overrides=overrides, seed=seed), start
    given.setdefault("prepare", {})["table"] = str(start)
    base = configs.load(config) if config else RunConfig()
    return asked(given, base=base, overrides=overrides, seed=seed), run_dir


def _go(settled: RunConfig, shop: Any, terminal: Any, table: Any) -> None:
    from tunesmith import pipeline

    verbs = iter(STEPS)
    terminal.begin(next(verbs))
    results: list[Any] = []
    for result in pipeline.iterate(settled, shop):
        table.close()
        results.append(result)
        if not isinstance(result, pipeline.Searched | pipeline.Iterated):
            terminal.result(result, reused=len(results) == 1 and "prepare" in shop.run_dir.reused)
        terminal.begin(next(verbs, ""))
    iterated, own = results[-1], pipeline.RunDir(shop.run_dir.path / results[-1].run_dir)
    if len(results) == 2:  # all was done before
        terminal.plain("Nothing has changed since the last time, so nothing was done again.")
    kind = pipeline.Evaluated if results[0].task == "classify" else pipeline.EvaluatedText
    _tell(iterated, own.latest("evaluate", kind), own, shop, terminal)


def _tell(result: Any, evaluated: Any, own: Any, shop: Any, terminal: Any) -> None:
    from tunesmith.cli.terminal import shortest

    at = None if shop.provider.place == "embedded" else shop.provider.endpoint().base_url
    home = shop.run_dir.path
    if evaluated is not None:
        terminal.summary(evaluated, own, base_url=at)
    terminal.plain()
    for sentence in result.verdict:
        terminal.plain(sentence)
    terminal.plain()
    terminal.plain(f"search     {shortest(home / result.report)}")
    terminal.plain(f"its run    {shortest(own.path)}")
    terminal.json(
        {
            **asdict(result),
            "run_dir": str(home),
            "chosen_run_dir": str(own.path),
            "report": str(home / result.report),
            "table": str(home / result.table),
        }
    )


@contextmanager
def _at_work(
    config: RunConfig, place: Path | None, *, as_json: bool, yes: bool
) -> Iterator[tuple[Any, Any, Any]]:
    """(workshop, terminal, table of trials) for an iteration in `place`, or in a new folder."""
    from tunesmith import pipeline
    from tunesmith.cli.terminal import Terminal
    from tunesmith.cli.trials import TrialTable

    pipeline.check(config)
    paying = Paying(yes=yes, max_cost=config.iterate.max_cost)
    terminal = Terminal(as_json=as_json)
    table = TrialTable(terminal, as_json=as_json)
    with (
        run_folder(config, place, terminal, go_on="tunesmith iterate", yes=yes) as run_dir,
        closing(table),
        _workers(config.iterate.parallel),
        pipeline.open_workshop(config.provider, run_dir, table, paying.spending()) as shop,
    ):
        pipeline.keep_config(config, run_dir)
        yield shop, terminal, table


@contextmanager
def _workers(number: int) -> Iterator[None]:
    """A server that is started for the command trains as many jobs at once, unless told."""
    if WORKERS in os.environ:
        yield
        return
    os.environ[WORKERS] = str(number)
    try:
        yield
    finally:
        del os.environ[WORKERS]
