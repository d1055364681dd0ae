"""Options are made from the config fields, and lie over files and defaults in the right order."""

import re
import time
from dataclasses import fields
from pathlib import Path

import pytest

from tunesmith import config as configs
from tunesmith.cli.options import asked
from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError


def options_in_help(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", text))


@pytest.mark.parametrize("verb", ["prepare", "train", "deploy", "evaluate"])
def test_every_field_of_a_step_is_an_option_of_its_verb_and_of_run(here, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "200")
    kind = type(getattr(RunConfig(), verb))
    names = {field.name for field in fields(kind)} - {"table"}  # which is an argument
    expected = {"--" + name.replace("_", "-") for name in names}
    for command in (verb, "run"):
        shown = here(command, "--help")
        assert shown.code == 0
        assert expected <= options_in_help(shown.out)


def test_help_is_the_line_under_the_field(here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    shown = here("run", "--help").out
    assert configs.help_of(configs.TrainConfig)["weight_decay"] in shown
    assert "auto|smallest|repeat|weight|none" in shown


def test_help_answers_at_once(outside):
    best = 9.0
    for _ in range(3):
        started = time.monotonic()
        assert outside("--help").code == 0
        best = min(best, time.monotonic() - started)
    assert best < 1.0  # 0.3 s on an idle machine; heavy imports would take several seconds


def test_no_heavy_part_is_imported_for_help(outside):
    import subprocess
    import sys

    heavy = ("torch", "polars", "openai", "fastapi", "sqlalchemy", "sklearn", "pydantic", "numpy")
    code = f"import sys, tunesmith.cli; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_options_lie_over_the_file_and_set_over_both(tmp_path: Path):
    base = configs.from_dict(
        RunConfig, {"train": {"weight_decay": 0.2, "n_epochs": 2, "seed": 4}}, "file"
    )
    given = {"train": {"n_epochs": 5}, "prepare": {"annotators": "a,b", "table": "t.csv"}}
    config = asked(given, base=base, overrides=["train.n_epochs=6"], seed=None)
    assert (config.train.weight_decay, config.train.n_epochs, config.train.seed) == (0.2, 6, 4)
    assert config.prepare.annotators == ("a", "b")
    assert config.prepare.table == str(tmp_path / "t.csv")


def test_one_seed_sets_both():
    config = asked({}, base=RunConfig(), overrides=[], seed=9)
    assert (config.prepare.seed, config.train.seed) == (9, 9)


def test_an_impossible_choice_is_named():
    with pytest.raises(ConfigError, match="balance is 'evenly'.*smallest"):
        asked({"prepare": {"balance": "evenly"}}, base=RunConfig(), overrides=[])


def test_flags_have_two_sides(here, table):
    here("run", table, "--run-dir", "r", "--no-merge-labels", "--no-baselines")
    config = configs.load(Path("r/config.toml"))
    assert not config.prepare.merge_labels and not config.evaluate.baselines
