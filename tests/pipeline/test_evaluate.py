"""evaluate: every validation example is asked, scored, compared and kept."""

import json
from dataclasses import replace

import polars as pl
import pytest

from tunesmith import pipeline


@pytest.fixture
def results(config, shop, provider):
    """A run whose endpoint answers two thirds of the billing rows with another label."""

    def go(**changes):
        return list(
            pipeline.run(replace(config, evaluate=replace(config.evaluate, **changes)), shop)
        )

    return go


def misread(provider):
    """After the gate, the endpoint takes every text about an invoice for one about an account."""
    gate = provider.classify

    def classify(model, texts, *, concurrency):
        if concurrency > 16:
            provider.spoil = lambda text, answer: (
                replace(answer, label="account", cut_tokens=3) if "invoice" in text else answer
            )
        return gate(model, texts, concurrency=concurrency)

    return classify


def test_scores_rows_and_report_agree(results, shop, provider, monkeypatch, table):
    monkeypatch.setattr(provider, "classify", misread(provider))
    prepared, _, _, _, evaluated = results()
    rows = pl.read_parquet(shop.run_dir.path / evaluated.predictions)
    assert rows.height == evaluated.num_examples == prepared.num_validation
    wrong = rows.filter(~pl.col("correct"))
    assert 0 < wrong.height < rows.height
    assert evaluated.metrics["accuracy"] == 1 - wrong.height / rows.height
    assert set(wrong["predicted"]) == {"account"} and set(wrong["label"]) == {"billing"}
    assert evaluated.num_cut == wrong.height
    low, high = evaluated.intervals["accuracy"]
    assert low < evaluated.metrics["accuracy"] < high
    assert sum(map(sum, evaluated.confusion)) == rows.height
    page = (shop.run_dir.path / evaluated.report).read_text()
    assert wrong["text"][0] in page and evaluated.verdict[0].split()[0] in page


def test_each_row_carries_its_line_in_the_users_file(results, shop, table):
    evaluated = results()[-1]
    lines = table.read_text().splitlines()
    rows = pl.read_parquet(shop.run_dir.path / evaluated.predictions)
    assert rows["line"].is_sorted()
    for line, text, label in rows.select("line", "text", "label").iter_rows():
        assert lines[line - 1] == f'"{text}",{label}'


def test_probabilities_are_kept_for_the_best_labels(results, shop):
    rows = pl.read_parquet(shop.run_dir.path / results()[-1].predictions)
    top = rows["top"][0].to_list()
    assert {t["label"] for t in top} == {"billing", "shipping", "account"}
    assert rows["label_probability"].is_between(0, 1).all()


def test_baselines_are_scored_on_the_same_rows(results, shop):
    evaluated = results(baselines=True)[-1]
    names = ["majority_class", "tfidf_logistic", "embeddings_logistic"]
    assert [b.name for b in evaluated.baselines] == names
    majority = evaluated.baselines[0]
    assert majority.metrics["accuracy"] == pytest.approx(1 / 3)
    assert majority.gains["accuracy"] == pytest.approx(2 / 3)
    assert majority.comparison.only_ours == 8 and majority.comparison.verdict == "better"
    assert any("On the same rows" in sentence for sentence in evaluated.verdict)
    stored = json.loads((shop.run_dir.path / "05-evaluate/result.json").read_text())
    assert {"num_examples", "metrics", "intervals", "per_class", "natural", "baselines"} <= set(
        stored
    )
    assert stored["metrics"]["accuracy"] == 1.0


def test_progress_is_told_row_by_row(results, told):
    results()
    asking = [e.data for e in told if e.kind == "progress" and e.message == "Asking the model"]
    # 0: the gate's, before the model is loaded.
    assert [d["done"] for d in asking] == list(range(13))
    assert all(d["total"] == 12 for d in asking)


def test_the_rows_that_are_scored_are_named_where_a_test_was_split_off(config, shop, table):
    config = replace(config, prepare=replace(config.prepare, split="60/15/25"))
    prepared, *_, evaluated = pipeline.run(config, shop)
    rows = pl.read_parquet(shop.run_dir.path / evaluated.predictions)
    assert rows.height == prepared.num_test != prepared.num_validation
    lines = table.read_text().splitlines()
    for line, text, label in rows.select("line", "text", "label").iter_rows():
        assert lines[line - 1] == f'"{text}",{label}'
    page = (shop.run_dir.path / evaluated.report).read_text()
    assert "for the final score" in page
