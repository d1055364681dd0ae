"""The gate of `evaluate` and `run`, and `compare`: exit codes, sentences, JSON, relative places."""

import json
from pathlib import Path

import pytest

FAST = ("--bootstrap", "50", "--no-baselines", "--no-advice")


@pytest.fixture
def finished(here, table):
    assert here("run", table, "--run-dir", "r", *FAST).code == 0
    return "r"


def test_what_holds_passes_and_what_does_not_is_exit_code_1_with_a_sentence(here, finished):
    passed = here("evaluate", finished, "--require", "f1_macro>=0.9", "--require", "accuracy>0.5")
    assert (passed.code, passed.err) == (0, "")
    assert "All that is required of the model holds." in passed.out
    failed = here("evaluate", finished, "--require", "log_loss<0.01", "--require", "accuracy>0.5")
    assert failed.code == 1
    assert failed.err.startswith("error: The model does not pass: log_loss is 0.")
    assert failed.err.count("error") == 1 and "report     r/05-evaluate" in failed.out


def test_a_requirement_is_checked_again_without_asking_again(here, finished, provider):
    before = provider.calls["classify"]
    assert here("evaluate", finished, "--require", "accuracy>=0.99").code == 0
    assert provider.calls["classify"] == before
    assert here("run", "--run-dir", finished, "--require", "log_loss<0.01").code == 1


def test_an_unknown_metric_is_refused_with_the_names_before_anything_starts(here, table, provider):
    ended = here("run", table, "--run-dir", "new", "--require", "f1>=0.9")
    assert ended.code == 2
    assert "'f1>=0.9' names no metric" in ended.err and "f1_macro" in ended.err
    assert provider.calls["create_job"] == 0


def test_json_holds_the_gate_and_stays_one_object(here, finished):
    ended = here("evaluate", finished, "--require", "log_loss<0.01", "--json")
    found = json.loads(ended.out)
    assert ended.code == 1 and ended.out.count("\n") == 1
    assert found["gate"]["passed"] is False and "log_loss" in found["gate"]["failures"][0]
    assert "gate" not in json.loads(here("evaluate", finished, "--json", "--set",
                                         "evaluate.require=[]").out)  # fmt: skip


def test_another_run_is_the_measure_wherever_one_stands(here, table, finished, provider):
    here("run", table, "--run-dir", "weak", *FAST)
    model = json.loads((Path("weak") / "04-deploy/result.json").read_text())["model"]
    provider.tuned[model] = {"billing": provider.tuned[model]["billing"]}
    good = here("evaluate", finished, "--no-worse-than", "weak")
    assert good.code == 0 and "points better than weak" in good.out
    bad = here("evaluate", "weak", "--bootstrap", "60", "--no-worse-than", finished)
    assert bad.code == 1
    assert "r answers 66.7 points more of the same rows rightly" in bad.err
    assert here("evaluate", finished, "--no-worse-than", "ft:gone").code == 2


def test_compare_tells_a_table_and_how_sure_it_is(here, finished, provider):
    model = next(iter(provider.tuned))
    provider.tuned["ft:weak"] = {"billing": provider.tuned[model]["billing"]}
    ended = here("compare", finished, "ft:weak")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split()[4:] == ["accuracy", "f1_macro", "precision_macro", "recall_macro"]
    assert lines[1].startswith("r ") and lines[2].startswith("ft:weak ")
    assert "ft:weak is 66.7 points worse than r (95 % sure: " in ended.out
    assert Path("compare.html").is_file()
    found = json.loads(here("compare", finished, "ft:weak", "--html", "c.html", "--json").out)
    assert found["num_rows"] == 12 and found["duels"][0]["comparison"]["verdict"] == "worse"
    assert len(found["duels"][0]["flips"]["broken"]) == 8 and "predicted" not in found["models"][0]
    assert Path("c.html").is_file()


def test_compare_on_rows_of_a_file(here, finished, provider, table):
    rows = table.read_text().splitlines()
    Path("fresh.csv").write_text("\n".join(["note,kind", *rows[1:]]).replace(" and ", " plus "))
    model = next(iter(provider.tuned))
    data = ("--data", "fresh.csv", "--text", "note", "--label", "kind")
    ended = here("compare", model, finished, *data)
    assert ended.code == 0 and "not decided with these" in ended.out
    assert here("compare", model, finished).code == 2
    assert here("compare", finished).code == 2
    assert here("compare", model, finished, "--data", "gone.csv").code == 2
