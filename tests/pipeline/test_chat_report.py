"""The report of a model that writes: complete in itself, safe with any text, right in words."""

import re
from dataclasses import replace

import pytest
from html_page import Page

from tunesmith.events import Decision
from tunesmith.pipeline.evaluating.run_facts import CurvePoint
from tunesmith.pipeline.evaluating.writing.report import (
    METRICS,
    AnswerRow,
    ChatReportData,
    between,
    gained,
    headlines,
    shown,
    verdict,
    write_chat_report,
)
from tunesmith.pipeline.results import EvaluatedText, Parity, UntunedScores

NASTY = "<script>alert('x')</script> & \"quotes\" \ud83d \u202e {{ 7 * 7 }}"


def result(**changes) -> EvaluatedText:
    metrics = {name: 0.5 for name in METRICS} | {"judge_score": 3.25}
    spans = {name: (0.4, 0.6) for name in METRICS} | {"judge_score": (2.5, 4.0)}
    untuned = UntunedScores(
        model="base", metrics={**metrics, "exact_match": 0.125}, intervals=spans,
        gains=dict.fromkeys(METRICS, 0.375), gain_intervals=dict.fromkeys(METRICS, (0.25, 0.5)),
    )  # fmt: skip
    found = EvaluatedText(
        model="ft:base:local:notes:Ab3dE9xY", num_examples=200, main="exact_match",
        metrics=metrics, intervals=spans, counts=dict.fromkeys(METRICS, 200), untuned=untuned,
        verdict=(), report="r", predictions="p",
    )  # fmt: skip
    return replace(found, **changes)


def report(text: str = "plain", **changes) -> ChatReportData:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": [
        {"type": "text", "text": text}]}, {"role": "user", "content": text}]  # fmt: skip
    row = AnswerRow(
        messages=[{"role": "system", "content": text}, *turns], gold=text, answer=text * 40,
        untuned=text, finish_reason="length", scores={"exact_match": 0.0, "judge_score": 1.0},
        judged=text, line=1234,
    )  # fmt: skip
    data = ChatReportData(
        title=text, model="m", base_model=text, date="26 November 2026", result=result(),
        rows=[row] * 7, num_rows=1200, fates={"kept": 1100, f"dropped: {text}": 100},
        num_train=900, num_validation=200, cut=(3, 1500),
        curve=[
            CurvePoint(step=i, train_loss=2 / (i + 1), valid_loss=2.1 / (i + 1) if i % 5 == 0 else
                       None, total_steps=40) for i in range(41)
        ],
        method="lora", chosen_step=40,
        parity=Parity(compared=50, label_disagreements=0, max_logprob_gap=2e-6, tolerance=1e-4,
                      passed=True, by="tokens", ties=2),
        decisions=[("evaluate", Decision(what="answers", value=text, reason=text))],
        preference={"valid_reward_accuracy": 0.9, "valid_reward_margin": 1.5},
        timings={"train": 93.0},
    )  # fmt: skip
    return replace(data, **changes)


def written(data: ChatReportData, tmp_path) -> tuple[str, Page]:
    path = tmp_path / "report.html"
    write_chat_report(data, path)
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


@pytest.mark.parametrize("text", ["plain", NASTY, "", "Übung\nmit Zeilen " * 60])
def test_the_page_is_well_formed_safe_and_loads_nothing(tmp_path, text):
    html, page = written(report(text), tmp_path)
    assert page.count("html") == page.count("style") == 1 and page.count("script") == 0
    assert not re.search(r"https?://|url\(|@import|<link|<img|<iframe", html)
    assert "default-src 'none'" in html
    assert "alert('x')</script>" not in html and "49" not in page.words.replace("149", "")
    links = {attrs["href"] for _, attrs in page.tags if attrs.get("href")}
    assert {link.removeprefix("#") for link in links} <= page.ids()


def test_numbers_and_words_are_there(tmp_path):
    _, page = written(report(), tmp_path)
    for words in (
        "50.0 % of 200 held-out prompts are answered exactly right (95 % sure: between 40.0 and",
        "The untuned model reaches 12.5 % on the same rows. Tuning was worth it: +37.5 points",
        "3.25 of 5",
        "line 1,234",
        "did not stop by itself",
        "3 training conversations were cut, by 1,500 tokens together",
        "50 held-out conversations were sent to the deployed model: 50 got the trainer’s own",
        "2 of them part where two tokens are as likely as each other",
        "by a margin of 1.50",
        "1 earlier turn",
        "held-out examples",
    ):
        assert words in page.words, words


def test_the_diagnosis_of_the_curves_is_told(tmp_path):
    curve = [
        CurvePoint(step=i, train_loss=3 * 0.9**i, valid_loss=1 + abs(i - 12) / 20, total_steps=40)
        for i in range(41)
    ]
    _, page = written(replace(report(), curve=curve, chosen_step=12), tmp_path)
    assert "Overfitting. The loss on held-out rows was lowest at step 12" in page.words


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"main": "token_f1"}, "Its answers have 50.0 % of their words in common with the right"),
        ({"main": "judge_score"}, "The judge gives the answers to 200 held-out prompts 3.25 of 5"),
        ({"main": "tool_call_match"}, "are answered with the right calls"),
        ({"num_refused": 1}, "1 prompt is longer than the model reads"),
        ({"num_unjudged": 3}, "3 grades of the judge could not be read and count nowhere."),
        ({"num_examples": 20}, "Only 20 rows were held out"),
    ],
)
def test_the_verdict_in_each_case(changes, words):
    assert words in " ".join(verdict(report(result=result(**changes)))).replace("\u202f", " ")


@pytest.mark.parametrize(
    "span, words",
    [((0.1, 0.2), "was worth it"), ((-0.2, -0.1), "was not worth it"),
     ((-0.1, 0.2), "is not decided: +37.5 points (95 % sure: −10.0 to +20.0)")],
)  # fmt: skip
def test_whether_tuning_was_worth_it(span, words):
    untuned = replace(result().untuned, gain_intervals=dict.fromkeys(METRICS, span))
    told = verdict(report(result=result(untuned=untuned)))[1]
    assert words in told.replace("\u202f", " ").replace("\u00a0", " ")


def test_all_right_is_said_as_such():
    metrics = {"exact_match": 1.0, "stops_by_itself": 1.0}
    told = verdict(report(result=result(metrics=metrics, untuned=None)))
    assert told[0].startswith("Every one of 200 held-out prompts is answered exactly right")
    assert len(told) == 2  # and the preference


def test_the_least_that_is_known_is_enough(tmp_path):
    scores = {"metrics": {"exact_match": 0.0}, "intervals": {"exact_match": (0.0, 0.7)}}
    least = result(untuned=None, counts={"exact_match": 3}, **scores)
    data = ChatReportData(title="t", model="m", base_model="b", date="d", result=least)
    _, page = written(data, tmp_path)
    assert "The provider reported no measurements while training." in page.words
    assert "Was tuning worth it?" not in page.words


def test_scores_in_words():
    assert shown("exact_match", 0.9999) == "99.9\u202f%"
    assert (shown("judge_score", 4.25), gained("judge_score", -0.5)) == ("4.25 of 5", "−0.50")
    assert between("judge_score", (1.5, 3)) == "1.50 and 3.00"
    assert headlines(result(main="json_match"))[:3] == [
        "json_match", "exact_match", "schema_match",
    ]  # fmt: skip
