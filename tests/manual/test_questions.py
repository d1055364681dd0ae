"""A newcomer's questions find their page; what we do not do is not documented. With the encoder.

The weights and the threshold in `tunesmith.manual` were chosen on the questions at even places of
choosing.toml; those at odd places and those of questions.toml chose nothing.
"""

import tempfile
import tomllib
from pathlib import Path

import pytest

from tunesmith.cli.docs import _encoder
from tunesmith.manual import pages
from tunesmith.manual.answering import NOTHING, PAGES, answer
from tunesmith.manual.passages import passages
from tunesmith.manual.ranking import Index, pages_of

HERE = Path(__file__).parent
KEPT = Path(tempfile.gettempdir()) / "tunesmith-tests-manual"
"""Vectors of the passages, by their checksum: made anew only when a page has changed."""
ASKED = tomllib.loads((HERE / "questions.toml").read_text(encoding="utf-8"))
CHOSEN_BY = tomllib.loads((HERE / "choosing.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def manual():
    found = pages.read(pages.folder())
    return Index(passages(found), _encoder(), KEPT), found


def first_three(manual, question):
    return list(pages_of(manual[0].search(question)))[:PAGES]


def test_a_newcomers_questions_find_their_page_among_the_first_three(manual):
    assert len(ASKED["asked"]) == 40
    missed = [
        (one["question"], found)
        for one in ASKED["asked"]
        if not set(found := first_three(manual, one["question"])) & set(one["pages"])
    ]
    assert len(missed) <= 4, missed


def test_they_are_answered_and_not_sent_away(manual):
    sent_away = [
        one["question"]
        for one in ASKED["asked"]
        if not answer(one["question"], *manual).is_documented
    ]
    assert len(sent_away) <= 4, sent_away


def test_what_we_do_not_do_is_not_documented(manual):
    assert len(ASKED["unknown"]) == 10
    for one in ASKED["unknown"]:
        found = answer(one["question"], *manual)
        assert (found.text, found.is_documented) == (NOTHING, False), one["question"]


@pytest.mark.parametrize("half", [0, 1], ids=["the half that chose", "the other half"])
def test_the_threshold_tells_them_apart(manual, half):
    documented = [one["question"] for one in CHOSEN_BY["documented"][half::2]]
    unknown = CHOSEN_BY["unknown"][half::2]
    answered = [answer(question, *manual).is_documented for question in documented]
    refused = [not answer(question, *manual).is_documented for question in unknown]
    assert sum(answered) >= 0.85 * len(answered)
    assert sum(refused) >= 0.85 * len(refused)


@pytest.mark.parametrize("half", [0, 1], ids=["the half that chose", "the other half"])
def test_the_ranking_finds_the_pages_of_both_halves(manual, half):
    asked = CHOSEN_BY["documented"][half::2]
    hits = [set(first_three(manual, one["question"])) & set(one["pages"]) for one in asked]
    assert sum(map(bool, hits)) >= 0.85 * len(hits)


def test_no_question_is_in_both_files():
    chose = {one["question"].lower() for one in CHOSEN_BY["documented"]}
    asked = {one["question"].lower() for one in (*ASKED["asked"], *ASKED["unknown"])}
    assert not asked & (chose | {question.lower() for question in CHOSEN_BY["unknown"]})
