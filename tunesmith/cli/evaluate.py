"""`tunesmith evaluate`: a run's model on its held-out rows, or any model on the rows of a table.

Knows: which of the two the command means. Does not know: how a model is scored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Given, asked, of_run_dir, takes_config
from tunesmith.cli.paying import Paying
from tunesmith.cli.run import ConfigFile, Json, MaxCost, Place, Set, Yes, at_work, one_verb, tell
from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError, NotFound

Name = Annotated[
    str, typer.Argument(metavar="RUN_DIR|MODEL", help="Folder of a run, or, with DATA, a model.")
]
Data = Annotated[
    Path | None,
    typer.Argument(help="A table to score a model of labels on. Empty: the run's held-out rows."),
]
Text = Annotated[str | None, typer.Option(help="Column of DATA with the text. Empty: guessed.")]
Label = Annotated[str | None, typer.Option(help="Column of DATA with the label. Empty: guessed.")]


@takes_config("evaluate", "provider")
def evaluate(
    given: Given,
    run_dir_or_model: Name,
    data: Data = None,
    text: Text = None,
    label: Label = None,
    run_dir: Place = None,
    config: ConfigFile = None,
    set_: Set = None,
    as_json: Json = False,
    yes: Yes = False,
    max_cost: MaxCost = None,
) -> None:
    """Score a run's deployed model, or any model on a table, and write the report."""
    paying = Paying(yes=yes, max_cost=max_cost)
    if data is not None:
        given["prepare"] = {"table": str(data), "text": text, "label": label}
        settled = _settled(given, config, set_ or [])
        _on_table(run_dir_or_model, settled, run_dir, as_json=as_json, paying=paying)
        return
    place = Path(run_dir_or_model)
    _check_run(place, only_with_data=(text, label, run_dir))
    settled = asked(given, base=of_run_dir(place, config), overrides=set_ or [])
    one_verb("evaluate", settled, place, as_json=as_json, paying=paying)


def _settled(given: Given, config: Path | None, overrides: list[str]) -> RunConfig:
    from tunesmith import config as configs

    base = configs.load(config) if config else RunConfig()
    return asked(given, base=base, overrides=overrides)


def _check_run(place: Path, *, only_with_data: tuple[object, ...]) -> None:
    if any(given is not None for given in only_with_data):
        raise ConfigError(
            "--text, --label and --run-dir are for a table to score a model on; none is given.",
            fix="Say which: tunesmith evaluate MODEL TABLE",
        )
    if not place.exists():
        raise NotFound(
            f"There is no run in {place}.",
            fix="Give the folder of a run; or, for a model, a table too: "
            "tunesmith evaluate MODEL TABLE",
        )


def _on_table(
    name: str, settled: RunConfig, place: Path | None, *, as_json: bool, paying: Paying
) -> None:
    from tunesmith import pipeline

    go_on = f"tunesmith evaluate {name} {settled.prepare.table} --run-dir"
    work = at_work(settled, place, as_json=as_json, yes=False, go_on=go_on, paying=paying)
    with work as (shop, terminal):
        terminal.begin("evaluate")
        tell("evaluate", pipeline.evaluate_on(settled, name, shop), shop, terminal, settled)
