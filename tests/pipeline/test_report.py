"""The report: complete in itself, safe with any text, right in words and numbers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from html_page import Page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.data.findings import Finding
from tunesmith.errors import StorageError
from tunesmith.events import Decision
from tunesmith.metrics.abstaining import abstain
from tunesmith.metrics.classification import OTHER, score
from tunesmith.metrics.confusion import worst_pairs
from tunesmith.metrics.intervals import bootstrap
from tunesmith.metrics.learning_curve import Growth, LearningCurve
from tunesmith.metrics.significance import Comparison, compare_answers
from tunesmith.metrics.slices import by_slice, value_slices
from tunesmith.pipeline.evaluating.labels.report import (
    ReportData,
    arranged,
    confused_pairs,
    decimal,
    duration,
    receipt,
    write_numbers,
    write_report,
)
from tunesmith.pipeline.evaluating.labels.report_rows import AnsweredRow, Flipped, Needy
from tunesmith.pipeline.evaluating.labels.teaching import Lessons, NearRow, Noise, SuspectRow
from tunesmith.pipeline.evaluating.run_facts import CurvePoint
from tunesmith.pipeline.evaluating.verdict import verdict, worth
from tunesmith.pipeline.pages import charts
from tunesmith.pipeline.pages.page import shortened
from tunesmith.pipeline.results import Advice, Parity, Rival, Running


def report(num_labels: int = 3, num_rows: int = 300, *, right: float = 0.9, other: bool = False):
    """A report of made-up answers, all parts filled in."""
    generator = np.random.default_rng(0)
    labels = [f"label_{i:03}" for i in range(num_labels)]
    gold = [labels[i % num_labels] for i in range(num_rows)]
    predicted: list[str | None] = [
        g if generator.random() < right else labels[(labels.index(g) + 1) % num_labels]
        for g in gold
    ]
    if other:
        predicted[0] = None
    sure = [0.95 if p == g else 0.6 for p, g in zip(predicted, gold, strict=True)]
    scores = score(gold, predicted, labels=labels, answer_probabilities=sure)
    always = [labels[0]] * num_rows
    weak = score(gold, always, labels=labels)
    right_ones = [p == g for p, g in zip(predicted, gold, strict=True)]
    growth = Growth(
        label="", num_rows=1100, sizes=(220.0, 880.0), scores=(0.8, 0.9), exponent=0.3, gain=0.02,
        interval=(0.01, 0.03),
    )  # fmt: skip
    suspect = SuspectRow(
        text="a suspect text", line=77, given=labels[0], proposed=labels[1],
        given_probability=0.01, proposed_probability=0.98,
    )  # fmt: skip
    noise = Noise(
        share=0.05, num_rows=1, num_judged=1100, relabelled=0.01, interval=(0.0, 0.02),
        worst=(suspect,),
    )  # fmt: skip
    return ReportData(
        title="tickets",
        model="ft:minilm-l6:local:tickets:Ab3dE9xY",
        base_model="minilm-l6",
        date="22 November 2026",
        num_examples=num_rows,
        labels=scores.labels,
        metrics=scores.metrics,
        intervals=bootstrap(scores, resamples=100),
        per_class=scores.per_class,
        confusion=scores.confusion,
        natural={"accuracy": 0.5, "f1_weighted": 0.51},
        natural_shares={label: 1 / num_labels for label in labels},
        balanced={"accuracy": 0.51},
        pairs=worst_pairs(scores.counts, scores.labels),
        calibration=scores.calibration,
        abstaining=abstain(sure, right_ones),
        slices=by_slice(gold, predicted, value_slices("source", [i % 2 for i in range(num_rows)])),
        running=Running(cost=None, seconds=0.0123),
        left_out=["There is no baseline on frozen embeddings."],
        advice=[
            Advice(
                kind=f"kind {i}",
                evidence=f"Evidence {i}.",
                change=f"Change {i}.",
                expected=f"Expected {i}.",
            )
            for i in range(4)
        ],
        lessons=Lessons(
            by="TF-IDF", noise=noise, growth=LearningCurve(overall=growth, labels=(growth,))
        ),
        needy=[Needy(label=labels[0], num_rows=366, recall=0.9, gain=0.021, interval=(0.0, 0.03))],
        review="05-evaluate/review.csv",
        flipped=[
            Flipped(
                title="the earlier model",
                num_mended=9,
                num_broken=1,
                mended=(),
                broken=(AnsweredRow(text="now wrong", gold=labels[0], predicted=None),),
            )
        ],
        baselines=[
            Rival(
                name="majority_class",
                title="always answering the most frequent label",
                description="Looks at no text.",
                metrics=weak.metrics,
                intervals=bootstrap(weak, resamples=100),
                comparison=compare_answers(gold, predicted, always),
                running=Running(cost=0.0),
            )
        ],
        mistakes=[
            AnsweredRow(
                text=f"wrong text {i}",
                gold=g,
                predicted=p,
                probability=0.6,
                gold_probability=0.3,
                line=i + 2,
                nearest=(NearRow(text="a near text", label=labels[1], line=99, likeness=0.87),),
            )
            for i, (g, p) in enumerate(zip(gold, predicted, strict=True))
            if g != p
        ],
        num_cut=1,
        num_rows=1500,
        fates={"kept": 1400, "merged: duplicate of another row": 60, "dropped: no text": 40},
        num_train=1100,
        num_validation=num_rows,
        train_counts=dict.fromkeys(labels, 5),
        validation_counts=dict.fromkeys(labels, 1),
        curve=[
            CurvePoint(
                step=i,
                train_loss=1 / (i + 1),
                train_accuracy=0.9,
                dev_loss=0.5 if i % 5 == 0 else None,
                dev_accuracy=0.91 if i % 5 == 0 else None,
            )
            for i in range(21)
        ],
        chosen_step=10,
        parity=Parity(
            compared=50, label_disagreements=0, max_logprob_gap=3.2e-6, tolerance=1e-4, passed=True
        ),
        decisions=[("train", Decision(what="n_epochs", value="3", reason="as asked"))],
        findings=[Finding("warning", 14, "The label is missing.", "Fill it in.")],
        timings={"prepare": 1.0, "train": 93.0},
    )


def written(data: ReportData, tmp_path) -> tuple[str, Page]:
    path = tmp_path / "report.html"
    write_report(data, path)
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


# --- the page as a whole ------------------------------------------------------------------------


@pytest.mark.parametrize("num_labels", [2, 3, 8, 25, 26, 77, 150])
def test_the_page_is_well_formed_and_loads_nothing(tmp_path, num_labels):
    html, page = written(report(num_labels, other=True), tmp_path)
    assert page.count("html") == page.count("script") == page.count("style") == 1
    assert not re.search(r"https?://|url\(|@import|<link|<img|<iframe", html)
    assert all("src" not in attrs for _, attrs in page.tags)
    assert all((attrs.get("href") or "#").startswith("#") for _, attrs in page.tags)
    assert "default-src 'none'" in html
    assert len(html) < 600_000


def test_every_link_within_the_page_has_its_target(tmp_path):
    for num_labels in (3, 8, 77):
        _, page = written(report(num_labels), tmp_path)
        ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
        links = {attrs["href"] for _, attrs in page.tags if attrs.get("href")}
        assert {link.removeprefix("#") for link in links} <= ids


def test_numbers_and_words_are_there(tmp_path):
    data = report()
    _, page = written(data, tmp_path)
    assert (
        f"{100 * data.metrics['accuracy']:.1f} % of 300 held-out texts are labelled" in page.words
    )
    for words in (
        "ft:minilm-l6:local:tickets:Ab3dE9xY · tuned from minilm-l6 · 22 November 2026",
        "Always answering the most frequent label. Looks at no text.",
        "1,500 rows read",
        "merged: duplicate of another row60",
        "1 held-out text was longer than the model reads",
        "line 14",
        "Fill it in.",
        "as asked",
        "50 got the trainer’s own answer",
        "differs by more than 0.000003 (allowed: 0.0001)",
        "together 1 min 34 s",
        "accuracy would be 50.0 %",
        "To be expected: Expected 0.",
        "Balanced accuracy",
        "There is no baseline on frozen embeddings.",
        "source: 0",
        "a near text",
        "likeness 0.87",
        "a suspect text",
        "are in 05-evaluate/review.csv.",
        "taught with a part of the training rows: 220 rows 80.0 %, 880 rows 90.0 % right",
        "+2.1",
        "Good to bad: 1",
        "12 ms",
    ):
        assert words in page.words, words


def test_a_failed_gate_says_so(tmp_path):
    parity = Parity(
        compared=50, label_disagreements=7, max_logprob_gap=0.31, tolerance=1e-4, passed=False
    )
    _, page = written(replace(report(), parity=parity), tmp_path)
    assert "7 got another answer than the trainer’s own" in page.words
    assert "failed" in page.classes() and "passed" not in page.classes()


def test_the_least_that_is_known_is_enough(tmp_path):
    scores = score(["yes", "no"], ["no", "yes"], labels=["no", "yes"])
    data = ReportData(
        title="t",
        model="m",
        base_model="b",
        date="today",
        num_examples=2,
        labels=scores.labels,
        metrics=scores.metrics,
        intervals={},
        per_class=scores.per_class,
        confusion=scores.confusion,
    )
    _, page = written(data, tmp_path)
    assert "0.0 % of 2 held-out texts are labelled correctly." in page.words
    assert "The provider reported no measurements while training." in page.words
    assert "Was tuning worth it?" not in page.words


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(StorageError):
        write_report(report(), tmp_path / "no such folder" / "report.html")
    assert list(tmp_path.iterdir()) == []


# --- texts are only texts -----------------------------------------------------------------------

NASTY = "</script><script>evil()</script><b onclick='x'>&amp;\"{{ 7*7 }}{% x %}"


def poisoned(text: str) -> ReportData:
    """A report in which every text that comes from outside is `text`."""
    scores = score([text, text + "2"], [text, None], labels=[text, text + "2"])
    row = AnsweredRow(text=text, gold=text + "2", predicted=None, probability=0.1, line=1)
    return replace(
        report(),
        title=text,
        model=text,
        base_model=text,
        date=text,
        num_examples=2,
        labels=scores.labels,
        metrics=scores.metrics,
        per_class=scores.per_class,
        confusion=scores.confusion,
        mistakes=[row, replace(row, predicted=text)],
        natural_shares={text: 1.0},
        train_counts={text: 1},
        fates={f"dropped: {text}": 3, text: 2},
        decisions=[(text, Decision(what=text, value=text, reason=text))],
        findings=[Finding("error", 1, text, text)],
        baselines=[Rival(name=text, title=text, description=text, metrics=scores.metrics)],
        pairs=worst_pairs(scores.counts, scores.labels),
        needy=[],
        advice=[Advice(kind=text, evidence=text, change=text, expected=text)],
        left_out=[text],
        review=text,
        slices=[],
        flipped=[Flipped(title=text, num_mended=1, num_broken=1, mended=(row,), broken=(row,))],
        timings={text: 1.0},
        verdict=[text],
    )


@pytest.mark.parametrize("num_labels", [2, 30])
def test_markup_in_texts_stays_text(tmp_path, num_labels):
    data = poisoned(NASTY)
    if num_labels > 2:
        labels = [f"{NASTY}{i}" for i in range(num_labels)]
        confusion = [[1] * num_labels for _ in labels]
        data = replace(data, labels=labels, confusion=confusion, mistakes=())
    html, page = written(data, tmp_path)
    assert page.count("script") == 1
    assert all("onclick" not in attrs for _, attrs in page.tags)
    assert "evil()" in page.text and "{{ 7*7 }}" in page.text and "&amp;" in page.text
    assert "<script>evil" not in html


@given(st.text(min_size=1, max_size=400))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_whatsoever_makes_a_well_formed_page(tmp_path, text):
    _, page = written(poisoned(text), tmp_path)
    assert page.count("script") == 1


def test_half_letters_do_not_break_the_file(tmp_path):
    _, page = written(poisoned("broken \ud83d emoji"), tmp_path)
    assert "broken ? emoji" in page.text


def test_long_texts_are_shortened_and_still_whole(tmp_path):
    long = "many words and " * 400 + "the end"
    row = AnsweredRow(text=long, gold="label_000", predicted="label_001")
    _, page = written(replace(report(), mistakes=[row]), tmp_path)
    assert shortened(long) in page.text and long in page.text
    assert long not in shortened(long)


@given(st.text(max_size=500), st.integers(10, 100))
def test_shortening_keeps_the_beginning_and_says_that_it_cut(text, most):
    short = shortened(text, most)
    assert len(short) <= max(most + 1, 0)
    if len(text) <= most:
        assert short == text
    else:
        assert short.endswith("…") and text.startswith(short[:-1])


# --- the verdict --------------------------------------------------------------------------------


def rival(title: str, accuracy: float, comparison: Comparison | None = None) -> Rival:
    metrics = {"accuracy": accuracy}
    return Rival(name=title, title=title, description="", metrics=metrics, comparison=comparison)


def against(only_ours: int, only_theirs: int, num_rows: int = 1000) -> Comparison:
    """Two models that are both right on all other rows."""
    gold = ["a"] * num_rows
    ours = ["b"] * only_theirs + ["a"] * (num_rows - only_theirs)
    theirs = ["a"] * (num_rows - only_ours) + ["b"] * only_ours
    return compare_answers(gold, ours, theirs)


def said(data: ReportData, accuracy: float, *rivals: Rival) -> str:
    metrics = {**data.metrics, "accuracy": accuracy}
    return " ".join(verdict(replace(data, metrics=metrics, baselines=rivals)))


def test_the_verdict_says_first_whether_it_was_worth_it_then_score_and_rivals_best_first():
    data = replace(report(), num_examples=3080, intervals={"accuracy": (0.929, 0.946)})
    rivals = (
        rival("the majority", 0.013, against(930, 5)),
        rival("TF-IDF", 0.893, against(60, 15)),
    )
    words = said(data, 0.938, *rivals)
    assert re.match(
        "Tuning was worth it: 4.5 points above the best alternative, TF-IDF "
        r"\(95\u202f%\u00a0sure: 2.\d to 6.\d\). "
        "93.8\u202f% of 3,080 held-out texts are labelled correctly "
        r"\(95\u202f%\u00a0sure: between 92.9 and 94.6\u202f%\). "
        "On the same rows: TF-IDF 89.3\u202f%; the majority 1.3\u202f%.",
        words,
    )
    assert worth(rivals) == "yes"


def test_the_verdict_admits_chance_and_says_how_many_rows_would_decide():
    data, chance = report(), rival("TF-IDF", 0.89, against(25, 15))
    words = said(data, 0.9, chance)
    assert words.startswith(
        "Whether tuning was worth it is not decided with these 1,000 rows; about 3,400 would"
    )
    assert "Against the best alternative, TF-IDF, the difference is +1.0 points, which may" in words
    assert re.search("sure: −0.\\d to \\+2.\\d", words)
    assert worth([chance]) == "undecided"
    equal = said(data, 0.9, rival("TF-IDF", 0.9, against(9, 9)))
    assert "rows: the best alternative, TF-IDF, gets just as many right." in equal
    assert "+0.0" not in equal


def test_the_verdict_admits_defeat():
    better = rival("TF-IDF", 0.9, against(10, 60))
    assert said(report(), 0.85, better).startswith(
        "Tuning was not worth it: TF-IDF is 5.0 points better (95\u202f%\u00a0sure: 3."
    )
    assert worth([rival("the majority", 0.1, against(800, 0)), better]) == "no"
    assert worth([]) is None


@pytest.mark.parametrize(
    "comparison, words",
    [
        (against(60, 10), "It is 5.0 points better than old (95\u202f%\u00a0sure: "),
        (against(10, 60), "It is 5.0 points worse than old (95\u202f%\u00a0sure: "),
        (against(9, 10), "Against old nothing is decided: the difference is −0.1 points"),
        (against(9, 9), "old gets just as many right."),
    ],
)
def test_the_verdict_on_another_model_is_a_sentence_of_its_own(comparison, words):
    data = replace(report(), baselines=(), against=[rival("old", 0.9, comparison)])
    assert any(sentence.startswith(words) for sentence in verdict(data))


def test_the_verdict_of_perfect_few_and_weak():
    few = replace(report(), num_examples=24)
    assert said(few, 1.0).startswith("Every one of 24 held-out texts is labelled correctly")
    assert "Only 24 rows were held out" in said(few, 1.0)
    weakest = min(few.per_class, key=lambda c: c.f1)
    weak = replace(few, per_class=[replace(weakest, f1=0.61), *few.per_class[1:]])
    assert f"least reliable on “{weakest.label}” (F1 61.0\u202f%)" in said(weak, 0.8)


def test_a_given_verdict_is_taken(tmp_path):
    _, page = written(replace(report(), verdict=["All is well."]), tmp_path)
    assert "All is well." in page.text and "labelled correctly" not in page.text


# --- parts --------------------------------------------------------------------------------------


def test_few_labels_get_a_table_and_many_a_heat_map(tmp_path):
    _, few = written(report(25, 500), tmp_path)
    assert "matrix" in few.classes() and "heat" not in few.classes()
    html, many = written(report(26, 500), tmp_path)
    assert "heat" in many.classes() and "matrix" not in many.classes()
    # What a cell says stands beside the map's scrolling frame, in the same figure.
    (figure,) = (part for part in html.split("<figure>") if 'class="heat"' in part)
    assert "heat-says" in figure.split("</figure>")[0] and 'map.closest("figure")' in html
    assert re.search(r"label_000: \d+ of \d+ rows answered rightly", many.text)


def test_the_matrix_holds_every_count_and_the_other_column(tmp_path):
    data = replace(report(), confusion=[[97, 0, 2, 1], [0, 100, 0, 0], [5, 0, 95, 0]])
    _, page = written(data, tmp_path)
    titles = [attrs.get("title") for tag, attrs in page.tags if tag == "td" and "title" in attrs]
    assert titles == [
        "label_000 → label_000: 97 of 100",
        "label_000 → label_002: 2 of 100",
        f"label_000 → {OTHER}: 1 of 100",
        "label_001 → label_001: 100 of 100",
        "label_002 → label_000: 5 of 100",
        "label_002 → label_002: 95 of 100",
    ]


def test_confused_pairs_come_most_frequent_first_with_a_few_texts():
    data = report()
    rows = [AnsweredRow(text=f"{i}", gold="label_002", predicted="label_000") for i in range(9)]
    rows += [AnsweredRow(text="none", gold="label_000", predicted=None)]
    data = replace(data, mistakes=rows, confusion=[[97, 0, 2, 1], [0, 100, 0, 0], [9, 0, 91, 0]])
    pairs = confused_pairs(data, examples=4)
    assert [(p.gold, p.predicted, p.num_rows) for p in pairs] == [
        ("label_002", "label_000", 9),
        ("label_000", "label_002", 2),
        ("label_000", OTHER, 1),
    ]
    assert [row.text for row in pairs[0].examples] == ["0", "1", "2", "3"]
    assert [row.text for row in pairs[2].examples] == ["none"]
    assert pairs[0].share == pytest.approx(0.09)
    assert len(confused_pairs(data, most=1)) == 1


def test_labels_come_weakest_first_and_those_without_rows_last(tmp_path):
    data = report()
    a, b, c = data.per_class
    classes = [replace(a, f1=0.9), replace(b, f1=0.0, support=0), replace(c, f1=0.4)]
    _, page = written(replace(data, per_class=classes), tmp_path)
    order = [attrs["data-v"] for tag, attrs in page.tags if tag == "th" and "data-v" in attrs]
    assert order == [c.label, a.label, b.label]
    labels = page.text[page.text.index("The weakest first") : page.text.rindex("All scores")]
    assert labels.count("–") == 3, "what was not measured is not called 0 %"


def test_no_mistake_is_said_and_not_listed(tmp_path):
    _, page = written(replace(report(right=1.1), mistakes=(), pairs=()), tmp_path)
    assert "Nothing: every held-out row was answered rightly." in page.text
    assert "mixed up most" not in page.text and "Its worst answers" not in page.text


def test_only_so_many_worst_rows_are_listed(tmp_path):
    data = replace(report(num_rows=600, right=0.5), num_worst=12, confusion=report().confusion)
    _, page = written(replace(data, flipped=()), tmp_path)
    assert page.text.count("right: ") == 12


def test_a_threshold_is_told_only_where_it_is_sure(tmp_path):
    """Half the answers are surer than the others and always right."""
    sure = [0.9] * 400 + [0.5] * 400
    found = abstain(sure, [True] * 400 + [True, False] * 200)
    _, page = written(replace(report(), abstaining=found), tmp_path)
    assert "90 %0.90050.0 %" in page.words and "99 %not surely reached" not in page.words
    few = abstain([0.9, 0.5, 0.4], [True, True, False])
    _, page = written(replace(report(), abstaining=few), tmp_path)
    assert "99 %not surely reached with these rows" in page.words


def test_many_labels_stand_by_whom_they_are_mixed_up_with():
    labels = [f"{i:02}" for i in range(20)]
    gold = [label for label in labels for _ in range(4)]
    swap = {"00": "19", "19": "00"}
    predicted = [swap.get(g, g) if i % 4 == 0 else g for i, g in enumerate(gold)]
    predicted[5] = None
    order, table = arranged(score(gold, predicted, labels=labels))
    assert abs(order.index("00") - order.index("19")) == 1
    assert sorted(order) == labels
    for i, label in enumerate(order):
        assert sum(table[i]) == 4
        assert table[i][i] == (3 if label in ("00", "01", "19") else 4)
    assert [row[20] for row in table] == [int(label == "01") for label in order]
    few, plain = arranged(score(["b", "a"], ["a", "a"], labels=["a", "b"]))
    assert (few, plain) == (["a", "b"], [[1, 0], [1, 0]])


def test_what_helps_most_comes_first_and_the_rest_is_folded(tmp_path):
    _, page = written(report(), tmp_path)
    text = page.words
    assert (
        text.index("Change 0.")
        < text.index("Change 2.")
        < text.index("1 more")
        < text.index("Change 3.")
    )


def test_the_numbers_are_plain_json_whatever_the_texts(tmp_path):
    data = replace(poisoned("broken \ud83d emoji"), metrics={"accuracy": math.nan})
    write_numbers(data, tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert found["metrics"]["accuracy"] is None and found["labels"][0] == "broken \ud83d emoji"
    assert found["slices"] == [] and found["mistakes"][0]["line"] == 1


def test_the_receipt_lists_kept_then_merged_then_dropped():
    fates = {"dropped: no text": 3, "kept": 90, "merged: duplicate": 2, "dropped: tie": 5, "x": 0}
    assert receipt(fates) == [
        ("kept", 90, "kept"),
        ("merged: duplicate", 2, "merged"),
        ("dropped: tie", 5, "dropped"),
        ("dropped: no text", 3, "dropped"),
    ]


# --- curves -------------------------------------------------------------------------------------


def test_curves_mark_the_chosen_step(tmp_path):
    _, page = written(replace(report(), stopped_early=True), tmp_path)
    assert page.text.count("kept: step 10") == 2
    assert "Training stopped early" in page.text


def test_a_head_alone_shows_numbers_and_no_curve(tmp_path):
    point = CurvePoint(step=1, train_loss=0.21, train_accuracy=0.99, dev_loss=0.3, dev_accuracy=0.9)
    data = replace(report(), curve=[point], method="head", chosen_step=1)
    _, page = written(data, tmp_path)
    assert "Only a head was fitted" in page.text
    assert "0.210" in page.text and "kept: step" not in page.text


def test_a_start_that_no_step_beat_is_told_as_such(tmp_path):
    _, page = written(replace(report(), method="head", chosen_step=0), tmp_path)
    assert "No later step was better on it than the start (step 0)" in page.words


def test_without_a_dev_slice_none_is_talked_about(tmp_path):
    curve = [CurvePoint(step=i, train_loss=1.0) for i in range(5)]
    _, page = written(replace(report(), curve=curve, chosen_step=None), tmp_path)
    assert "dev slice" not in page.text
    assert "training examples of each step" in page.text


def test_a_loss_that_is_no_number_is_left_out(tmp_path):
    curve = [CurvePoint(step=i, train_loss=math.nan if i == 2 else 1.0) for i in range(5)]
    html, _ = written(replace(report(), curve=curve, chosen_step=None), tmp_path)
    assert "nan" not in re.findall(r'points="([^"]*)"', html)[0]


def test_long_curves_are_thinned_and_keep_their_ends():
    points = [(float(x), 1.0 + x) for x in range(10_000)]
    drawn = charts.curves(
        [charts.Line(name="training", css="train", points=points)],
        marked=None,
        scale="loss",
        title="loss",
    )
    places = re.search(r'points="([^"]*)"', drawn)[1].split()
    assert 100 < len(places) <= charts.MAX_POINTS
    assert places[0].startswith("46.0,") and places[-1].startswith("428.0,")


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=400),
    st.sampled_from(["loss", "share"]),
)
@settings(deadline=None)
def test_curves_stay_within_their_frame(values, scale):
    values = [v / 1e6 for v in values] if scale == "share" else values
    line = charts.Line(name="x", css="dev", points=[(float(i), v) for i, v in enumerate(values)])
    drawn = charts.curves([line], marked=0, scale=scale, title="x")
    for place in re.search(r'points="([^"]*)"', drawn)[1].split():
        x, y = map(float, place.split(","))
        assert 46 <= x <= 428 and 21.9 <= y <= 212.1


# --- charts and words ---------------------------------------------------------------------------


def test_bars_hold_their_value_and_interval_within_the_frame():
    drawn = charts.bar(0.938, (0.929, 1.02), css="ours")
    assert 'width="93.80%"' in drawn and 'aria-label="93.8\u202f%"' in drawn
    assert 'x1="92.90%" x2="100.00%"' in drawn
    assert "whisker" not in charts.bar(0.5)


def test_small_parts_of_a_stack_keep_a_visible_width():
    drawn = charts.stacked([("kept", 1_000_000, "kept"), ("dropped", 1, "dropped")])
    widths = [float(w) for w in re.findall(r' width="([\d.]+)%"', drawn)]
    assert widths[1] > 0.3 and sum(widths) == pytest.approx(100, abs=0.01)


def test_a_heat_map_draws_the_largest_mistakes_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(charts, "MAX_CELLS", 1)
    drawn = charts.heat_map([[5, 1, 0], [0, 5, 4], [0, 0, 5]], list("abc"), list("abc"))
    assert drawn.count('class="miss"') == 1
    assert "b: 4 of 9 rows answered as c" in drawn


def test_a_few_rows_are_still_seen():
    assert charts.shade(1, 10_000, right=False) >= 0.45
    assert charts.shade(0, 0, right=True) == 0.0


@pytest.mark.parametrize(
    ("share", "words"),
    [(1.0, "100.0"), (0.99999, "99.9"), (0.938, "93.8"), (0.0, "0.0"), (0.5, "50.0")],
)
def test_a_percentage_never_claims_all_for_less(share, words):
    assert charts.percent(share) == f"{words}\u202f%"


def test_durations_and_small_numbers_are_read_by_people():
    assert duration(4.21) == "4.2\u202fs"
    assert duration(59.99) == "1\u202fmin 0\u202fs"
    assert duration(94) == "1\u202fmin 34\u202fs"
    assert duration(7260) == "2\u202fh 1\u202fmin"
    assert decimal(3.2e-6) == "0.000003"
    assert decimal(1e-4) == "0.0001"
    assert decimal(0.31) == "0.3"
    assert decimal(0.0) == "0"
