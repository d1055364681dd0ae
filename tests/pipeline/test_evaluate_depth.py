"""What an evaluation finds out beyond scores: planted truths are named, clean runs let alone."""

import json
import random
from dataclasses import replace

import planted
import polars as pl
import pytest

from tunesmith import pipeline
from tunesmith.config import PrepareConfig, RunConfig
from tunesmith.errors import ConfigError, NotFound, NotOffered
from tunesmith.pipeline.evaluating.labels import rivals
from tunesmith.providers import Answer


@pytest.fixture
def go(shop, tmp_path):
    """A whole run on some rows; `prepare` settings and `evaluate` settings."""

    def run(some, *, prepare=None, columns=None, **evaluate):
        table = planted.write(tmp_path / "mail.csv", some, **(columns or {}))
        config = RunConfig(prepare=PrepareConfig(table=str(table), **(prepare or {})))
        chosen = replace(config.evaluate, bootstrap=50, **{"baselines": False, **evaluate})
        return list(pipeline.run(replace(config, evaluate=chosen), shop))

    return run


def advised(evaluated, kind):
    return next((one for one in evaluated.advice if one.kind == kind), None)


def numbers(shop):
    return json.loads((shop.run_dir.path / "05-evaluate/report.json").read_text())


def page(shop):
    return " ".join((shop.run_dir.path / "05-evaluate/report.html").read_text().split())


# --- wrong labels -------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["embeddings", "words"])
def test_flipped_labels_are_among_the_first_rows_of_the_review(go, shop, provider, by):
    if by == "words":
        provider.embedders.clear()
    some, wrong = planted.flipped(planted.rows(600), 0.05)
    prepared, *_, evaluated = go(some)
    review = pl.read_csv(shop.run_dir.path / evaluated.review)
    assert review.height == prepared.num_train, "every training row is ranked"
    trained = set(review["line"] - 2) & wrong
    first = set(review["line"].head(review.height // 10) - 2)
    assert len(first & wrong) / len(trained) >= 0.7
    found = advised(evaluated, "noise")
    assert "review.csv" in found.change and evaluated.noise == pytest.approx(0.05, abs=0.04)
    assert "Labels that are probably wrong" in page(shop)


def test_the_review_is_read_back_by_prepare(go, shop, tmp_path):
    """The proposed labels of what is surely wrong are taken over; the right ones come back."""
    clean = planted.rows(400)
    some, wrong = planted.flipped(clean, 0.05)
    evaluated = go(some)[-1]
    review = pl.read_csv(shop.run_dir.path / evaluated.review)
    decided = pl.when("is_probably_wrong").then("proposed").otherwise(pl.lit(""))
    filled = tmp_path / "filled.csv"
    review.with_columns(decided.alias("decision")).write_csv(filled)
    number = int(review["is_probably_wrong"].sum())
    prepared = go(some, prepare={"review": str(filled), "balance": "none"})[0]
    what = [finding.what for finding in prepared.findings]
    assert any(f"{number} rows labelled as decided in the review" in words for words in what)
    lines = (shop.run_dir.path / prepared.train).read_text().splitlines()
    lines += (shop.run_dir.path / prepared.validation).read_text().splitlines()
    pairs = [[m["content"] for m in json.loads(line)["messages"]] for line in lines]
    labels = dict(pairs)
    mended = [i for i in wrong if labels[clean[i][0]] == clean[i][1]]
    assert len(mended) >= 0.6 * len(set(review["line"] - 2) & wrong)


def test_a_review_in_use_is_not_written_over_and_its_decisions_live_on(go, shop):
    some, _ = planted.flipped(planted.rows(300), 0.05)
    evaluated = go(some)[-1]
    path = shop.run_dir.path / evaluated.review
    review = pl.read_csv(path)
    decided = ["billing"] * 3 + [""] * (review.height - 3)
    review.with_columns(pl.Series("decision", decided)).write_csv(path)
    before = path.read_bytes()
    again = go(some, prepare={"review": str(path), "balance": "none"})[-1]
    assert path.read_bytes() == before
    assert again.review.endswith("review-again.csv")
    second = pl.read_csv(shop.run_dir.path / again.review)
    kept = second.filter(pl.col("decision") == "billing")
    assert set(kept["line"]) == set(review["line"].head(3)), "also those no longer in training"
    path = shop.run_dir.path / again.review
    more = second.with_columns(pl.lit("billing").alias("decision"))
    more.head(40).write_csv(path)
    third = go(some, prepare={"review": str(path), "balance": "none"})[-1]
    assert third.review.endswith("review.csv")
    last = pl.read_csv(shop.run_dir.path / third.review)
    assert last.filter(pl.col("decision") == "billing").height == 40


def test_clean_rows_get_no_advice_on_labels_leaks_or_sides(go):
    evaluated = go(planted.rows(500))[-1]
    assert {"noise", "leak", "shift", "confusion"}.isdisjoint(a.kind for a in evaluated.advice)


# --- leaks and sides ----------------------------------------------------------------------------


def test_a_leaked_validation_set_is_named_with_number_and_lines(go, shop, provider, tmp_path):
    some = planted.rows(300)
    fresh = planted.rows(340, seed=5)[300:]
    leaked = [(f"{text} now", label) for text, label in some[:20]]
    answer_wrongly(provider, 0.2, spared={text for text, _ in leaked})
    validation = planted.write(tmp_path / "held.csv", [*fresh, *leaked])
    evaluated = go(some, prepare={"validation": str(validation), "near_duplicates": 0.0})[-1]
    found = evaluated.advice[0]
    assert found.kind == "leak", "before all else: the score is not true"
    assert "20 scored rows are nearly the same as a training row (lines 42, 43, 44 and 17 more" in (
        found.evidence
    )
    assert "of the other 40 rows" in found.expected
    assert found.evidence in page(shop) and numbers(shop)["lessons"]["leaks"]["lines"][0] == 42


def test_leaked_rows_that_prepare_has_left_out_are_told_of(go, tmp_path):
    some = planted.rows(300)
    held = [*planted.rows(340, seed=5)[300:], *some[:15]]
    validation = planted.write(tmp_path / "held.csv", held)
    evaluated = go(some, prepare={"validation": str(validation)})[-1]
    assert advised(evaluated, "leak") is None
    assert "15 rows of the table that are in the validation table too" in evaluated.verdict[-1]


def test_scored_rows_of_another_kind_are_named(go, tmp_path):
    draw = random.Random(3)
    other = ["sent", "from", "mobile", "app", "version", "two", "beta"]
    held = [
        (" ".join([*text.split()[:5], *draw.sample(other, 4)]), label)
        for text, label in planted.rows(120, seed=9)
    ]
    validation = planted.write(tmp_path / "held.csv", held)
    evaluated = go(planted.rows(300), prepare={"validation": str(validation)})[-1]
    found = advised(evaluated, "shift")
    assert "area under the ROC curve of 1.00" in found.evidence


# --- worth it, or not ---------------------------------------------------------------------------


def answer_wrongly(provider, share: float, spared=frozenset()):
    """From the evaluation on, the endpoint answers that share of the texts with another label."""
    gate = provider.classify
    draw = random.Random(0)
    wrong: dict[str, bool] = {}

    def spoil(text, answer):
        if text not in spared and wrong.setdefault(text, draw.random() < share):
            label = min(answer.top, key=answer.top.get)
            return replace(answer, label=label, logprob=answer.top[label])
        return answer

    def classify(model, texts, *, concurrency):
        provider.spoil = spoil if concurrency > 16 else (lambda text, answer: answer)
        return gate(model, texts, concurrency=concurrency)

    provider.classify = classify


def test_a_base_that_is_better_than_the_tuned_model_makes_tuning_not_worth_it(go, shop, provider):
    answer_wrongly(provider, 0.5)
    evaluated = go(planted.rows(400), baselines=True, advice=False)[-1]
    assert evaluated.worth == "no"
    assert evaluated.verdict[0].startswith("Tuning was not worth it: ")
    best = max(evaluated.baselines, key=lambda b: b.metrics["accuracy"])
    assert best.title in evaluated.verdict[0] and best.comparison.verdict == "worse"
    assert "No, by these rows." in page(shop)


def test_too_few_rows_decide_nothing_and_the_number_that_would_is_told(go, provider):
    answer_wrongly(provider, 0.1)
    evaluated = go(planted.rows(250), baselines=True, advice=False)[-1]
    assert evaluated.worth == "undecided"
    assert "is not decided with these 50 rows; about " in evaluated.verdict[0]


def test_a_base_without_embeddings_is_left_out_and_that_is_said(go, shop, provider):
    provider.embedders.clear()
    evaluated = go(planted.rows(200), baselines=True)[-1]
    assert [b.name for b in evaluated.baselines] == ["majority_class", "tfidf_logistic"]
    assert any("no baseline on frozen embeddings: minilm-l6" in s for s in evaluated.left_out)
    assert "no baseline on frozen embeddings" in page(shop)


def test_costs_and_latencies_are_told_where_they_are_known(go, provider):
    evaluated = go(planted.rows(200), baselines=True, advice=False)[-1]
    by_name = {b.name: b.running for b in evaluated.baselines}
    assert evaluated.running.cost == 0.0 and evaluated.running.seconds > 0
    assert by_name["tfidf_logistic"].seconds is None
    assert by_name["embeddings_logistic"].seconds > 0
    provider.place = "http://elsewhere/v1"
    again = go(planted.rows(205), baselines=True, advice=False)[-1]
    assert again.running.cost is None, "nobody knows what another's endpoint costs"


# --- curves -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, change",
    [
        ("overfitting", "Lower n_epochs to 40 % of what it was."),
        ("underfitting", "Raise learning_rate_multiplier: double it, say."),
    ],
)
def test_what_the_curves_show_is_advised(go, provider, kind, change):
    sentence = f"The curves show {kind}."
    provider.facts = {
        "diagnoses": [{"kind": kind, "step": 9, "sentence": sentence, "change": change}]
    }
    evaluated = go(planted.rows(200))[-1]
    found = advised(evaluated, kind)
    assert (found.evidence, found.change) == (sentence, change)
    if kind == "underfitting":
        assert evaluated.advice[0].kind == kind


# --- other models, slices, untuned --------------------------------------------------------------


def test_another_model_answers_the_same_rows_and_what_flipped_is_told(go, shop, provider):
    some = planted.rows(300)
    first = go(some, advice=False)[-1]
    words = provider.tuned[first.model]
    provider.tuned["ft:old"] = {label: words[label] for label in ("billing", "shipping", "account")}
    evaluated = go(some, advice=False, against=("ft:old",))[-1]
    (other,) = evaluated.against
    assert other.name == "ft:old" and other.metrics["accuracy"] == pytest.approx(0.6)
    assert len(other.flips.mended) == 24 and not other.flips.broken
    assert any("better than ft:old" in sentence for sentence in evaluated.verdict)
    assert "Bad to good: 24" in page(shop)
    with pytest.raises(NotFound):
        go(some, against=("ft:gone",))


def test_rows_are_scored_by_length_language_source_and_any_column(go, shop):
    some = planted.rows(400)
    shop_of = ["north" if i % 2 else "south" for i in range(400)]
    source = [("web", "phone", "mail")[i % 3] for i in range(400)]
    columns = {"shop": shop_of, "source": source}
    go(some, columns=columns, advice=False, slice=("shop",))
    names = {one["name"] for one in numbers(shop)["slices"]}
    assert {"shop: north", "shop: south", "source: web", "source: mail"} <= names
    assert any(name.endswith("characters") for name in names)
    with pytest.raises(ConfigError, match="no column 'shops'"):
        go(some, columns=columns, slice=("shops",))


def test_a_table_that_is_gone_or_changed_is_not_scored_by_its_columns(go, shop, tmp_path):
    some = planted.rows(200)
    shop_of = {"shop": ["north", "south"] * 100}
    results = go(some, columns=shop_of, advice=False)
    table = tmp_path / "mail.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:150]))
    config = replace(
        RunConfig(prepare=PrepareConfig(table=str(table))).evaluate,
        bootstrap=50,
        baselines=False,
        advice=False,
        slice=("shop",),
    )
    prepared, _, trained, deployed, _ = results
    evaluated = pipeline.evaluate(config, prepared, trained, deployed, shop)
    assert "not scored by shop: mail.csv is no longer as it was" in evaluated.left_out[0]
    table.unlink()
    evaluated = pipeline.evaluate(replace(config, bootstrap=51), prepared, trained, deployed, shop)
    assert "not scored by shop" in evaluated.left_out[0]


def test_an_untuned_model_that_writes_is_asked_with_the_labels(shop, provider, tmp_path):
    table = planted.write(tmp_path / "mail.csv", planted.rows(200))
    config = RunConfig(prepare=PrepareConfig(table=str(table)))
    asked = []

    def choice(given, labels):
        asked.append(given)
        return None if len(asked) == 1 else Answer(label=labels[1], logprob=-0.1)

    provider.choice = choice
    config = replace(
        config,
        train=replace(config.train, base_model="tiny-writer"),
        evaluate=replace(config.evaluate, bootstrap=50, advice=False),
    )
    evaluated = list(pipeline.run(config, shop))[-1]
    names = [b.name for b in evaluated.baselines]
    assert names == ["majority_class", "tfidf_logistic", "zero_shot", "few_shot"]
    first, last = asked[0].messages, asked[-1].messages
    assert len(first) == 1 and "account, billing, product" in first[0]["content"]
    assert [m["role"] for m in last] == ["user", "assistant"] * 5 + ["user"]
    assert "account, billing, product" in last[0]["content"]
    zero, few = evaluated.baselines[2:]
    assert few.metrics["accuracy"] == 0.2, "one of five labels, always"
    assert zero.metrics["accuracy"] <= 0.2, "what it cannot read counts as wrong"
    assert few.running.seconds > 0 and "most probable" in few.description


def test_more_labels_than_a_prompt_holds_are_not_put_to_the_untuned_model(
    shop, provider, tmp_path, monkeypatch
):
    monkeypatch.setattr(rivals, "MOST_LABELS", 4)
    table = planted.write(tmp_path / "mail.csv", planted.rows(200))
    config = RunConfig(prepare=PrepareConfig(table=str(table)))
    config = replace(
        config,
        train=replace(config.train, base_model="tiny-writer"),
        evaluate=replace(config.evaluate, bootstrap=50, advice=False),
    )
    evaluated = list(pipeline.run(config, shop))[-1]
    assert any("5 labels do not fit into a prompt" in what for what in evaluated.left_out)
    assert provider.calls["choose"] == 0


def test_the_order_of_the_rows_changes_nothing(go, provider):
    some, _ = planted.flipped(planted.rows(300), 0.2)
    mixed = some.copy()
    random.Random(7).shuffle(mixed)
    first, second = (go(rows, baselines=True)[-1] for rows in (some, mixed))
    for name in ("intervals", "per_class", "confusion"):
        assert getattr(first, name) == getattr(second, name), name
    for name in ("metrics", "natural", "balanced"):  # the model in memory adds in its rows' order
        assert getattr(first, name) == pytest.approx(getattr(second, name)), name
    assert (first.worth, first.verdict) == (second.worth, second.verdict)
    reached = [
        [(one.name, one.metrics, one.intervals, one.gains) for one in run.baselines]
        for run in (first, second)
    ]
    assert reached[0] == reached[1]


# --- what is kept -------------------------------------------------------------------------------


def test_the_worst_rows_stand_beside_the_training_rows_like_them(go, shop, provider):
    answer_wrongly(provider, 0.2)
    go(planted.rows(300))
    worst = numbers(shop)["mistakes"][0]
    assert len(worst["nearest"]) == 3
    likeness = [near["likeness"] for near in worst["nearest"]]
    assert likeness == sorted(likeness, reverse=True) and likeness[0] > 0.3


def test_every_score_is_there_weighed_three_ways(go, shop):
    evaluated = go(planted.rows(200), advice=False)[-1]
    assert {"balanced_accuracy", "f1_micro", "brier", "log_loss", "f1_weighted"} <= set(
        evaluated.metrics
    )
    assert evaluated.balanced["accuracy"] == pytest.approx(1.0)
    found = numbers(shop)
    assert found["abstaining"]["points"][-1]["coverage"] == 1.0
    assert found["metrics"] == evaluated.metrics


def test_texts_are_only_looked_into_where_that_is_asked(go, provider):
    go(planted.rows(200), advice=False)
    assert provider.calls["embed"] == 0
    results = go(planted.rows(205), advice=True)
    assert provider.calls["embed"] == 205
    assert results[-1].review and not results[-1].baselines


def test_what_labels_have_and_answers_have_not_is_refused_before_training(shop, provider, tmp_path):
    table = tmp_path / "chat.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": "a"}]}
        for i in range(30)
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = RunConfig(prepare=PrepareConfig(table=str(table), task="chat"))
    config = replace(config, evaluate=replace(config.evaluate, slice=("shop",)))
    with pytest.raises(NotOffered, match="--slice is for models of labels"):
        list(pipeline.run(config, shop))
    assert provider.calls["create_job"] == 0
