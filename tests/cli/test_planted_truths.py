"""What a run is known to suffer from, planted for real: its report must say so.

Real commands, servers, trainings and endpoints throughout; what is tiny is the data and, where it
does not matter, the base model.
"""

import csv
import json
import random
from pathlib import Path

import planted
import polars as pl
import pytest
import tiny_causal
from tiny_base import make_tiny_base

BITEXT = Path(__file__).parents[3] / "shared/data/bitext_customer"
TABLE = BITEXT / "Bitext_Sample_Customer_Service_Training_Dataset.csv"
ONE = {"TUNESMITH_THREADS": "1"}
"""Models this small only wait for a second thread."""
QUICK = ("--bootstrap", 50, "--precision", "fp32", "--json")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def run(outside, place):
    """run(table, …): a whole run; what it printed as JSON, and its report."""

    def run(*arguments):
        ended = outside("run", *arguments, "--run-dir", "r", *QUICK, environ=ONE)
        assert ended.code == 0, ended.err
        return json.loads(ended.out), (place / "r/05-evaluate/report.html").read_text()

    return run


def advised(found) -> dict[str, dict]:
    return {one["kind"]: one for one in found["advice"]}


# --- over- and underfitting -----------------------------------------------------------------------


def test_a_run_that_learns_noise_by_heart_overfits(run, base, place):
    noisy, _ = planted.flipped(planted.rows(150), 0.3)
    found, page = run(
        planted.write(place / "noisy.csv", noisy), "--base-model", base, "--method", "full",
        "--n-epochs", 20, "--learning-rate-multiplier", 12, "--batch-size", 8,
        "--weight-decay", 0, "--early-stopping-patience", 0, "--no-baselines",
    )  # fmt: skip
    assert "overfitting" in advised(found) and "underfitting" not in advised(found)
    assert "verfitting" in page and advised(found)["overfitting"]["evidence"] in page


def test_a_run_that_hardly_moves_underfits(run, place):
    some = planted.rows(150)
    texts = [text for text, _ in some]
    base = tiny_causal.tiny(place / "base", "llama", texts=texts)
    found, page = run(
        planted.write(place / "mail.csv", some), "--base-model", base, "--method", "lora",
        "--n-epochs", 1, "--learning-rate-multiplier", 0.001, "--batch-size", 4,
        "--early-stopping-patience", 0, "--no-baselines",
    )  # fmt: skip
    assert "underfitting" in advised(found) and "overfitting" not in advised(found)
    assert "nderfitting" in page and advised(found)["underfitting"]["evidence"] in page


# --- leaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", ["exact", "nearly"])
def test_validation_rows_that_stand_in_training_are_told_of(run, base, place, copies):
    some = planted.rows(200)
    fresh = planted.rows(230, seed=5)[200:]
    leaked = [(text if copies == "exact" else f"{text} now", label) for text, label in some[:20]]
    held = planted.write(place / "held.csv", [*fresh, *leaked])
    searched = () if copies == "exact" else ("--near-duplicates", 0)
    found, page = run(
        planted.write(place / "mail.csv", some), "--validation", held, *searched,
        "--base-model", base, "--method", "head", "--no-baselines",
    )  # fmt: skip
    if copies == "exact":  # those cannot be kept: training gives way
        assert found["verdict"][-1].startswith("20 rows of the table that are in the validation")
        assert found["verdict"][-1] in page
        return
    leak = advised(found)["leak"]
    assert leak["evidence"].startswith("20 scored rows are nearly the same as a training row")
    assert leak["evidence"] in page and "lines 32" in leak["evidence"]


# --- tuning that made it worse --------------------------------------------------------------------


def test_a_base_that_beats_the_tuned_model_makes_tuning_not_worth_it(run, place):
    """The tuned model reads eight tokens of each text, which say nothing; its base reads all."""
    draw = random.Random(3)
    some = [
        (" ".join([*draw.sample(planted.FILLERS, 8), text]), label)
        for text, label in planted.rows(400)
    ]
    found, page = run(
        planted.write(place / "mail.csv", some),
        *("--method", "head", "--max-length", 8, "--no-advice"),
    )
    base = next(b for b in found["baselines"] if b["name"] == "embeddings_logistic")
    assert base["comparison"]["verdict"] == "worse" and base["metrics"]["accuracy"] > 0.9
    assert found["worth"] == "no" and found["metrics"]["accuracy"] < 0.6
    assert found["verdict"][0].startswith("Tuning was not worth it: ")
    assert "No, by these rows." in page


# --- wrong labels ---------------------------------------------------------------------------------


def clean_rows(number: int) -> list[tuple[str, str]]:
    """Rows of a clean public set, as many of each label."""
    with TABLE.open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["utterance"], row["intent"]) for row in csv.DictReader(file)]
    labels = sorted({label for _, label in rows})[:12]
    draw = random.Random(0)
    return [
        row
        for label in labels
        for row in draw.sample([r for r in rows if r[1] == label], number // len(labels))
    ]


@pytest.mark.skipif(not TABLE.exists(), reason=f"there is no public set in {BITEXT}")
def test_flipped_labels_are_among_the_first_rows_of_the_review(run, place):
    clean = clean_rows(900)
    draw, labels = random.Random(1), sorted({label for _, label in clean})
    wrong = set(draw.sample(range(len(clean)), len(clean) // 20))
    flipped = [
        (text, draw.choice([name for name in labels if name != label]) if i in wrong else label)
        for i, (text, label) in enumerate(clean)
    ]
    found, _ = run(planted.write(place / "mail.csv", flipped), "--method", "head", "--no-baselines")
    review = pl.read_csv(place / "r" / found["review"])
    trained = set(review["line"] - 2) & wrong
    first = set((review["line"] - 2).head(review.height // 10))
    assert len(trained) >= 30
    assert len(first & trained) / len(trained) >= 0.7
    assert found["noise"] == pytest.approx(0.05, abs=0.03)


# --- an untuned model that can answer -------------------------------------------------------------


def test_an_untuned_model_that_writes_is_scored_on_the_same_rows(run, place):
    some = planted.rows(100)
    texts = [text for text, _ in some]
    base = tiny_causal.tiny(place / "base", "gemma", texts=[*texts, " ".join(planted.TOPICS)])
    found, page = run(
        planted.write(place / "mail.csv", some), "--base-model", base, "--method", "lora",
        "--n-epochs", 1, "--no-advice",
    )  # fmt: skip
    rivals = {b["name"]: b for b in found["baselines"]}
    assert {"zero_shot", "few_shot"} <= rivals.keys(), found["left_out"]
    for name in ("zero_shot", "few_shot"):
        told = rivals[name]["comparison"]
        assert told["num_rows"] == found["num_examples"]
        assert rivals[name]["metrics"]["recall_micro"] == rivals[name]["metrics"]["precision_micro"]
        assert rivals[name]["running"]["seconds"] > 0 and rivals[name]["title"] in page
