"""`tunesmith evaluate MODEL TABLE`: any model of labels on the rows of any table."""

import json
from pathlib import Path

import polars as pl
import pytest

FAST = ("--bootstrap", "50", "--no-baselines", "--no-advice")


@pytest.fixture
def model(here, table, provider):
    assert here("run", table, "--run-dir", "r", *FAST).code == 0
    return next(iter(provider.tuned))


@pytest.fixture
def fresh(table, place):
    """The same rows under other names, labels written otherwise, one of them not the model's."""
    rows = pl.read_csv(table).rename({"text": "note", "label": "kind"})
    kinds = pl.col("kind").str.to_uppercase()
    odd = pl.DataFrame({"note": ["where is my tax", "my card"], "kind": ["weather", None]})
    path = place / "fresh.csv"
    pl.concat([rows.with_columns(kinds), odd]).write_csv(path)
    return path


def test_every_row_is_scored_with_the_labels_of_the_model(here, model, fresh, provider):
    ended = here("evaluate", model, fresh, "--bootstrap", "50", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["num_examples"] == 61 and found["model"] == model
    assert found["labels"] == ["account", "billing", "shipping", "weather"]
    assert 0.9 < found["metrics"]["accuracy"] < 1, "a label that it does not know is never right"
    assert not found["baselines"] and not found["advice"] and found["worth"] is None
    assert any("they take the rows that the model learned from" in s for s in found["left_out"])
    home = Path(found["run_dir"])
    assert (home.parent.name, home.name) == ("runs", "fresh-1")
    page = (home / found["report"]).read_text()
    assert "labelled correctly" in page and "weather" in page
    told = pl.read_parquet(home / found["predictions"])
    assert told["line"].to_list() == [*range(2, 63)]
    fates = json.loads((home / "01-prepare/result.json").read_text())["fates"]
    assert fates["kept"] == 61 and sum(fates.values()) == 62
    assert provider.calls["create_job"] == 1 and provider.calls["embed"] == 0


def test_unknown_labels_are_told_of(here, model, fresh):
    ended = here("evaluate", model, fresh, "--bootstrap", "50")
    assert "1 row has a label that the model does not know: 'weather'" in ended.out
    assert "report     runs/fresh-1/05-evaluate/report.html" in ended.out


def test_it_is_a_gate_too(here, model, fresh, provider):
    one = ("evaluate", model, fresh, "--run-dir", "check", "--bootstrap", "50")
    passed = here(*one, "--require", "accuracy>=0.9")
    assert (passed.code, passed.err) == (0, "")
    asked = provider.calls["classify"]
    failed = here(*one, "--require", "accuracy>=0.999")
    assert failed.code == 1 and "accuracy is 0.98" in failed.err
    assert provider.calls["classify"] == asked, "the same rows are not asked for again"
    provider.tuned["ft:weak"] = {"billing": provider.tuned[model]["billing"]}
    worse = here("evaluate", "ft:weak", fresh, "--no-worse-than", model)
    assert worse.code == 1 and "more of the same rows rightly" in worse.err
    assert here("evaluate", model, fresh, "--no-worse-than", "ft:weak").code == 0


def test_the_columns_can_be_named_and_a_run_stands_for_its_model(here, model, fresh):
    named = ("--text", "note", "--label", "kind", "--slice", "kind")
    ended = here("evaluate", "r", fresh, "--bootstrap", "50", *named, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["model"] == model
    wrong = here("evaluate", "r", fresh, "--text", "nothing")
    assert wrong.code == 2 and "nothing" in wrong.err


def test_chat_examples_with_labels_are_rows_too(here, model):
    ended = here("evaluate", model, "r/01-prepare/validation.jsonl", "--bootstrap", "50", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["num_examples"] == 12


def test_what_cannot_be_scored_is_said_and_leaves_no_folder(here, model, fresh, provider):
    gone = here("evaluate", "ft:gone", fresh)
    assert gone.code == 2 and "There is no model ft:gone" in gone.err
    provider.writers["ft:notes"] = {}
    writes = here("evaluate", "ft:notes", fresh)
    assert writes.code == 2 and "has no labels" in writes.err
    assert here("evaluate", model, "gone.csv").code == 2
    assert not Path("runs").exists()
    no_table = here("evaluate", model)
    assert no_table.code == 2 and "tunesmith evaluate MODEL TABLE" in no_table.err
    stray = here("evaluate", "r", "--text", "note")
    assert stray.code == 2 and "none is given" in stray.err
