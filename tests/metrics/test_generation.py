import json
import math
import re
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.chrf import CHRF

from tunesmith.errors import ConfigError, DataError
from tunesmith.metrics.generation import (
    LIKENESS,
    METRICS,
    Call,
    Pair,
    Vote,
    chrf,
    compare,
    majority,
    shape_of,
    token_f1,
)
from tunesmith.wire.schemas import Schema, faults

WORDS = ["the", "a", "cat", "Cat", "cats", "sat", "mat,", "on", "3.5", "don't", "naïve", "!"]
sentences = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
numbers = st.floats(allow_nan=False, allow_infinity=False)
keys = st.text(max_size=3)
values = st.recursive(
    scalars | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=4)


def row(gold, answer, **rest):
    return compare([Pair(gold=gold, answer=answer, **rest)]).rows[0]


def call(name, arguments="{}"):
    return Call(name=name, arguments=arguments)


# --- texts --------------------------------------------------------------------------------------


def test_a_pair_worked_out_by_hand():
    found = row("The cat is on the mat.", "There is a cat on the mat", finish_reason="stop")
    # Bags: {cat, is, on, mat} and {there, is, cat, on, mat}: 4 in common.
    assert found["token_f1"] == pytest.approx(2 * 4 / (4 + 5))
    # Words: the cat is on the mat; there is a cat on the mat: "cat on the mat" in common.
    assert found["rouge_l"] == pytest.approx(2 * 4 / (6 + 7))
    assert found["exact_match"] == 0
    assert found["stops_by_itself"] == 1
    assert "json_valid" not in found
    assert "tool_call_match" not in found


def test_the_likeness_of_characters_worked_out_by_hand():
    # "abcd" and "abed": 3 of 4 characters, 1 of 3 pairs (ab), none longer; four orders.
    assert chrf("a b c d", "abed") == pytest.approx((3 / 4 + 1 / 3) / 4)
    # Nothing too much but half missing: precision 1, recall (1/2 + 1/3) / 2, F2.
    recall = (1 / 2 + 1 / 3) / 2
    assert chrf("ab", "abcd") == pytest.approx(5 * recall / (4 + recall))


def test_an_exact_match_looks_past_white_space_at_the_ends_only():
    assert row("Yes, 42.", " Yes, 42.\n")["exact_match"] == 1
    assert row("Yes, 42.", "Yes,  42.")["exact_match"] == 0
    assert row("Yes, 42.", "yes, 42.")["exact_match"] == 0


def test_words_of_scripts_without_spaces_are_their_characters():
    assert token_f1("我想退货。", "我要退货") == pytest.approx(2 * 3 / 8)
    assert token_f1("ขอเงินคืน", "ขอเงินคืน!") == 1
    assert token_f1("型号 X200", "x200 型号") == 1


def test_texts_without_words_are_alike_and_like_nothing_else():
    assert token_f1("the!", "...") == 1
    assert token_f1("", "cat") == 0
    assert set(row("!?", "!?").values()) == {1.0}
    assert set(row("", "").values()) == {1.0}
    assert set(row("…", "").values()) == {0.0, 1.0}  # neither has words; chrf sees a character


def squad_f1(text, reference):
    """The published evaluation's steps: lower, punctuation, articles, white space."""

    def bag(one):
        plain = "".join(c for c in one.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", plain).split()

    ours, theirs = bag(text), bag(reference)
    hits = sum((Counter(ours) & Counter(theirs)).values())
    if not ours or not theirs:
        return float(ours == theirs)
    if not hits:
        return 0.0
    precision, recall = hits / len(ours), hits / len(theirs)
    return 2 * precision * recall / (precision + recall)


@settings(deadline=None)
@given(sentences, sentences)
def test_scores_are_those_of_the_programs_known_for_them(text, reference):
    found = row(reference, text)
    if text.strip() == reference.strip():
        return
    assert found["token_f1"] == pytest.approx(squad_f1(text, reference))
    assert found["chrf"] == pytest.approx(CHRF().sentence_score(text, [reference]).score / 100)
    ascii_only = [one.replace("ï", "i") for one in (reference, text)]
    rouge = RougeScorer(["rougeL"]).score(*ascii_only)["rougeL"].fmeasure
    assert row(*ascii_only)["rouge_l"] == pytest.approx(rouge)


@settings(deadline=None)
@given(st.text(), st.text())
def test_chrf_is_that_of_sacrebleu_for_any_characters(text, reference):
    expected = CHRF().sentence_score(text, [reference]).score / 100
    assert chrf(text, reference) == pytest.approx(expected)


@settings(deadline=None)
@given(st.text(), st.text())
def test_scores_lie_between_nothing_and_all(gold, answer):
    assert all(0 <= value <= 1 for value in row(gold, answer, finish_reason="length").values())


@settings(deadline=None)
@given(st.text() | objects.map(json.dumps))
def test_a_right_answer_gets_full_marks(text):
    found = row(text, text, gold_calls=[call("f")], answer_calls=[call("f")], finish_reason="stop")
    assert set(found.values()) == {1.0}


@settings(deadline=None)
@given(sentences, sentences)
def test_words_in_common_are_in_common_both_ways(one, other):
    for name in ("exact_match", "token_f1", "rouge_l"):
        assert row(one, other)[name] == pytest.approx(row(other, one)[name])


@pytest.mark.parametrize("metric", LIKENESS)
def test_long_answers_are_scored_too(metric):
    assert 0 < LIKENESS[metric]("word and " * 8_000, "word or " * 8_000) < 1


# --- JSON ---------------------------------------------------------------------------------------

GOLD = '{"topic": "delivery", "order": null, "count": 2, "items": ["tent", "rope"]}'


def test_json_is_compared_by_what_it_says():
    answer = '{"count":2.0,"items":["tent","rope"],"order":null,\n"topic":"delivery"}'
    found = row(GOLD, answer)
    assert (found["exact_match"], found["json_match"], found["json_valid"]) == (0, 1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        GOLD.replace("2", "3"),
        GOLD.replace("null", '"null"'),
        GOLD.replace('"tent", "rope"', '"rope", "tent"'),
        GOLD.replace("}", ', "more": 1}'),
        GOLD.replace('"count": 2, ', ""),
        "[]",
        "2",
    ],
)
def test_other_json_is_valid_but_no_match(answer):
    found = row(GOLD, answer)
    assert (found["json_match"], found["json_valid"]) == (0, 1)


@pytest.mark.parametrize(
    "answer",
    ["", GOLD[:-1], f"```json\n{GOLD}\n```", f"Sure: {GOLD}", '{"count": NaN}', "[" * 9999],
)
def test_what_is_no_json_is_not_valid(answer):
    found = row(GOLD, answer)
    assert (found["json_match"], found["json_valid"]) == (0, 0)


@pytest.mark.parametrize(
    ("one", "other"), [("[1]", "[true]"), ("[0]", "[false]"), ("[{}]", "[[]]")]
)
def test_values_of_other_kinds_are_other_values(one, other):
    assert row(one, other)["json_match"] == 0


def test_a_number_or_a_word_as_answer_is_no_json_to_measure():
    for gold in ("42", '"yes"', "true", "null"):
        assert "json_valid" not in row(gold, "42")


def test_deeply_nested_json_is_compared_without_falling_over():
    deep = "[" * 400 + "]" * 400
    assert row(deep, deep + " ")["json_match"] == 1
    shape = shape_of([f'{{"a": {deep}}}'])
    assert row(f'{{"a": {deep}}}', f'{{"a": {deep}}}', schema=shape)["schema_match"] == 1


def test_a_schema_is_fitted_by_its_rules_whatever_the_right_answer_says():
    schema = {
        "type": "object",
        "properties": {"topic": {"enum": ["delivery", "defect"]}},
        "required": ["topic"],
    }
    answers = {'{"topic": "defect"}': 1, '{"topic": "weather"}': 0, "{}": 0, "no": 0}
    for answer, fits in answers.items():
        assert row('{"topic": "delivery"}', answer, schema=schema)["schema_match"] == fits
    assert row("as text", "as text", schema=schema)["json_valid"] == 0


def test_a_long_answer_may_fit_its_schema():
    long = json.dumps({"numbers": list(range(5000))})
    assert row(long, long, schema=shape_of([long]))["schema_match"] == 1


def test_a_schema_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"The JSON schema cannot be used: .*array.*Correct"):
        row("{}", "{}", schema={"type": "array"})


# --- the shape of answers -----------------------------------------------------------------------


def test_the_shape_of_records():
    answers = [
        '{"topic": "delivery", "order": null, "price": 3, "items": []}',
        '{"topic": "defect", "order": "A1234", "price": 2.5, "items": [{"n": 1}], "note": "x"}',
        '{"topic": "defect", "order": "A1234", "price": 7, "items": [{"n": 2}], "note": "y"}',
    ]
    one = {"n": {"type": "integer"}}
    assert shape_of(answers) == {
        "type": "object",
        "properties": {
            "topic": {"type": "string"},
            "order": {"type": ["null", "string"]},
            "price": {"type": "number"},
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": one,
                    "required": ["n"],
                    "additionalProperties": False,
                },
            },
            "note": {"type": "string"},
        },
        "required": ["topic", "order", "price", "items"],
        "additionalProperties": False,
    }


def test_keys_that_stand_in_one_answer_only_are_taken_to_be_open():
    shape = shape_of(['{"Paris": 3, "n": 1}', '{"Lisbon": 4, "n": 1}'])
    assert shape["required"] == ["n"]
    assert "additionalProperties" not in shape
    assert shape_of(['{"Paris": 3}'])["additionalProperties"] is False


@pytest.mark.parametrize("answers", [[], ["yes"], ["{}", "yes"], ["[1]"], ["42"], ["{}", ""]])
def test_other_answers_have_no_shape(answers):
    assert shape_of(answers) is None


@settings(deadline=None)
@given(st.lists(objects, min_size=1, max_size=4))
def test_all_answers_fit_their_shape_and_it_can_be_asked_for(records):
    answers = [json.dumps(record) for record in records]
    shape = shape_of(answers)
    assert list(faults(shape, strict=False)) == []
    assert all(Schema(shape).fits(json.loads(answer)) for answer in answers)
    assert not Schema(shape).fits([])


# --- calls and endings --------------------------------------------------------------------------


def test_calls_match_in_any_order_and_spelling():
    gold = [call("search", '{"q": "tent", "n": 2}'), call("stop"), call("stop")]
    answer = [call("stop", ""), call("search", '{"n":2,"q":"tent"}'), call("stop", " {} ")]
    found = row("", "", gold_calls=gold, answer_calls=answer, finish_reason="tool_calls")
    assert found == {"exact_match": 1, "tool_call_match": 1, "stops_by_itself": 1}


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [call("search", '{"q": "tents"}')],
        [call("find", '{"q": "tent"}')],
        [call("search", '{"q": "tent"')],
        [call("search", '{"q": "tent"}')] * 2,
    ],
)
def test_other_calls_do_not_match(answer):
    found = row("", "", gold_calls=[call("search", '{"q": "tent"}')], answer_calls=answer)
    assert found == {"exact_match": 0, "tool_call_match": 0}


def test_a_call_too_many_spoils_an_exact_match():
    found = row("Hello", "Hello", answer_calls=[call("search")])
    assert found["exact_match"] == 0
    assert found["rouge_l"] == 1
    assert "tool_call_match" not in found


def test_arguments_that_are_no_json_match_as_texts():
    broken = [call("f", '{"q": ')]
    assert row("", "", gold_calls=broken, answer_calls=broken)["tool_call_match"] == 1


@pytest.mark.parametrize(
    ("reason", "value"),
    [("stop", 1), ("tool_calls", 1), ("function_call", 1), ("length", 0), ("content_filter", 0)],
)
def test_an_answer_that_ran_into_a_limit_did_not_stop_by_itself(reason, value):
    assert row("x", "x", finish_reason=reason)["stops_by_itself"] == value


# --- all rows -----------------------------------------------------------------------------------


def test_each_metric_is_the_mean_of_the_rows_that_have_it():
    scores = compare(
        [
            Pair(gold="yes", answer="yes"),
            Pair(gold="no", answer="yes", finish_reason="length"),
            Pair(gold='{"a": 1}', answer="{}", finish_reason="stop"),
            Pair(gold="", answer="", gold_calls=[call("f")], answer_calls=[call("f")]),
        ]
    )
    assert [len(one) for one in scores.rows] == [4, 5, 7, 2]
    assert list(scores.metrics) == [name for name in METRICS if name != "schema_match"]
    assert scores.metrics["exact_match"] == 0.5
    assert scores.metrics["json_valid"] == 1
    assert scores.metrics["stops_by_itself"] == 0.5
    assert scores.metrics["rouge_l"] == pytest.approx(1 / 3)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="There are no rows to score"):
        compare([])


# --- votes --------------------------------------------------------------------------------------


def test_the_most_frequent_answer_wins():
    assert majority(["b", "a", "b"], [-3, -0.1, -2]) == Vote("b", tied=False)
    assert majority(["a"], [-1]) == Vote("a", tied=False)


def test_a_tie_goes_to_the_more_probable_answer_and_is_told():
    assert majority(["a", "b", "b", "a", "c"], [-1, -3, -0.2, -1.1, 0]) == Vote("a", tied=True)
    assert majority(["a", "b"], [-2, -1]) == Vote("b", tied=True)
    assert majority(["b", "a"], [-1, -1]) == Vote("b", tied=True)
    assert majority(["b", "a"], [-math.inf, -1]) == Vote("a", tied=True)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-9, 0)), min_size=1, max_size=9))
def test_nothing_is_more_frequent_than_the_winner(votes):
    answers, logprobs = zip(*votes, strict=True)
    vote = majority(answers, logprobs)
    counts = Counter(answers).most_common()
    assert counts[0][1] == answers.count(vote.label)
    assert vote.tied == (len(counts) > 1 and counts[1][1] == counts[0][1])
