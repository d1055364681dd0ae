"""Further columns in the text: one stable form, no gap without a policy, no row lost unsaid."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.columns.fields import (
    Field,
    check,
    giveaways,
    learn,
    parse,
    places,
    render,
)
from tunesmith.data.texts.cleaning import clean_text
from tunesmith.errors import ConfigError

letters = st.characters(exclude_categories=["Cs"])
cells = st.none() | st.sampled_from(["", "n/a", "high", "7.0", "0.1", "-3"]) | st.text(letters)
policies = st.sampled_from(["omit", "drop", "own", "fill"])


def table(texts: list[str | None], *columns: list[str | None], source: str = "table"):
    number = len(texts)
    frame = {
        "row": pl.Series(range(number), dtype=pl.UInt32),
        "source": pl.Series([source] * number, dtype=pl.String),
        "line": pl.Series(range(2, number + 2), dtype=pl.Int64),
        "fate": pl.Series([None] * number, dtype=pl.String),
        "text": pl.Series(texts, dtype=pl.String),
    }
    named = {f"field {i}": pl.Series(c, dtype=pl.String) for i, c in enumerate(columns)}
    return pl.DataFrame({**frame, **named})


def made(rows: pl.DataFrame, *specs: str, **settings) -> list[str | None]:
    texts, _ = render(rows, learn(rows, parse(specs)), **settings)
    return texts.to_list()


# --- what the user asks for ---------------------------------------------------------------------


def test_fields_are_read_from_the_command_line():
    specs = ["priority", "age=fill:mean", "plan = basic=own", "x=fill:a=own", "c=drop", "d=omit"]
    assert parse(specs) == (
        Field("priority"),
        Field("age", "fill", "mean"),
        Field("plan = basic", "own"),
        Field("x", "fill", "a=own"),
        Field("c", "drop"),
        Field("d"),
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("age=dorp", "Did you mean 'drop'"),
        ("age=fill", "needs a value"),
        ("age=fill: ", "needs a value"),
        ("age=drop:3", "takes no value"),
        ("=drop", "not of the form"),
        ("", "not of the form"),
        ("age=", "not of the form"),
    ],
)
def test_a_field_that_cannot_be_read_says_why(spec, says):
    with pytest.raises(ConfigError, match=says):
        parse([spec])


def test_fields_that_cannot_be_used_say_why():
    with pytest.raises(ConfigError, match="twice"):
        parse(["a", "a=own"])
    with pytest.raises(ConfigError, match="Did you mean 'priority'"):
        check(parse(["priorty"]), ["id", "priority"], ["text"])
    with pytest.raises(ConfigError, match="is the text or the label"):
        check(parse(["label"]), ["text", "label"], ["text", "label"])
    check(parse(["priority"]), ["text", "label", "priority"], ["text", "label"])


# --- the form -----------------------------------------------------------------------------------


def test_each_field_is_a_line_above_or_below_the_text():
    rows = table(["hello\nyou", "x"], ["high", "low"], ["mail", "chat\nroom"])
    assert made(rows, "priority", "came by") == [
        "priority: high\ncame by: mail\nhello\nyou",
        "priority: low\ncame by: chat room\nx",
    ]
    form = learn(rows, parse(["priority", "came by"]), where="below")
    assert render(rows, form)[0][0] == "hello\nyou\npriority: high\ncame by: mail"
    assert form.decisions[0].value == "a line 'priority: high' below the text"


def test_numbers_have_one_form():
    column = ["3.0", "+12", "1234567", "0.30000000000000004", "1234567.891", "1e3", "-0.0", ".5"]
    rows = table(["t"] * 11, [*column, "4", "5", "many"])
    written = [text.removeprefix("n: ").removesuffix("\nt") for text in made(rows, "n")]
    assert written[8:] == ["4", "5", "many"]
    assert written[:8] == ["3", "12", "1234567", "0.3", "1234570", "1000", "0", "0.5"]


def test_codes_with_leading_zeros_and_words_stay_as_written():
    rows = table(["t"] * 3, ["01234", "99.0", "1.50"], ["1.0", "two", "three"])
    assert made(rows, "zip", "size")[1:] == ["zip: 99.0\nsize: two\nt", "zip: 1.50\nsize: three\nt"]
    assert made(rows, "zip", "size")[0] == "zip: 01234\nsize: 1.0\nt"


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12), st.data())
def test_any_cells_make_clean_texts_and_every_row_is_accounted_for(drawn, data):
    texts = [clean_text(t or "") or None for t, _, _ in drawn]
    rows = table(texts, [a for _, a, _ in drawn], [b for _, _, b in drawn])
    hows = [data.draw(policies), data.draw(policies)]
    fields = [
        Field(name, how, "other" if how == "fill" else "")
        for name, how in zip(("priority", "a\u0301ge {}"), hows, strict=True)
    ]
    where = data.draw(st.sampled_from(["above", "below"]))
    try:
        form = learn(rows, fields, where=where)
    except ConfigError as error:
        assert "would leave no row" in str(error)
        return
    rendered, step = render(rows, form)
    assert len(rendered) == rows.height
    assert step.verdicts["row"].is_unique().all()
    out = set(step.verdicts["row"])
    for row, (text, before) in enumerate(zip(rendered, texts, strict=True)):
        if text is not None:
            assert clean_text(text) == text
            assert before is None or before in text
        else:
            assert before is None
        if row not in out and text is not None:
            for name, how in zip(("priority: ", "\u00e1ge {}: "), hows, strict=True):
                assert name in text or how == "omit"


# --- missing values -----------------------------------------------------------------------------

GAPS = ["high", "N/A ", None, "", " - ", "?", "low", "high"]


def test_a_gap_leaves_the_line_out_unless_told_otherwise():
    rows = table(["t"] * 8, GAPS)
    assert made(rows, "p") == ["p: high\nt", *["t"] * 5, "p: low\nt", "p: high\nt"]
    assert made(rows, "p=own")[1] == "p: unknown\nt"
    assert made(rows, "p=fill:none yet")[3] == "p: none yet\nt"
    assert made(rows, "p=fill:most-frequent")[4] == "p: high\nt"
    form = learn(rows, parse(["p"]))
    assert "5 rows without a value have no such line" in form.decisions[0].reason


def test_rows_with_a_gap_are_dropped_when_asked_and_listed():
    rows = table(["t"] * 8, GAPS)
    texts, step = render(rows, learn(rows, parse(["p=drop"])))
    assert step.verdicts["row"].to_list() == [1, 2, 3, 4, 5]
    assert set(step.verdicts["fate"]) == {"dropped: no p"}
    assert step.findings[0].line == 3
    assert "5 rows without a value in 'p': lines 3, 4, 5 and 2 more." in step.findings[0].what
    assert texts[0] == "p: high\nt"


def test_a_row_is_dropped_once_and_one_that_has_a_fate_keeps_it():
    rows = table(["t"] * 3, [None, None, "x"], [None, "y", None])
    rows = rows.with_columns(fate=pl.Series(["dropped: not a JSON object", None, None]))
    _, step = render(rows, learn(rows, parse(["p=drop", "q=drop"])))
    assert dict(step.verdicts.select("row", "fate").iter_rows()) == {
        1: "dropped: no p",
        2: "dropped: no q",
    }


def test_numbers_are_filled_with_what_the_training_rows_say():
    rows = table(["t"] * 4, ["1", "2", "6.0", None])
    assert made(rows, "n=fill:mean")[3] == "n: 3\nt"
    assert made(rows, "n=fill:median")[3] == "n: 2\nt"
    form = learn(rows, parse(["n=fill:mean"]))
    other = table(["t", "t"], ["100", None], source="validation")
    assert render(other, form)[0].to_list() == ["n: 100\nt", "n: 3\nt"]


def test_of_equally_frequent_values_the_first_in_the_alphabet_fills():
    for column in (["b", "a", None], ["a", "b", None]):
        assert made(table(["t"] * 3, column), "p=fill:most-frequent")[2] == "p: a\nt"


def test_fillings_that_a_column_cannot_give_are_refused():
    rows = table(["t"] * 2, ["high", None], [None, "n/a"])
    for specs, says in (
        (["p=fill:mean", "q"], "holds no numbers, so it has no mean"),
        (["p", "q=fill:most-frequent"], "holds no values"),
        (["p", "q=fill:median"], "holds no numbers"),
        (["p", "q=drop"], "would leave no row"),
    ):
        with pytest.raises(ConfigError, match=says):
            learn(rows, parse(specs))
    (finding,) = learn(rows, parse(["p", "q"])).findings
    assert "'q', given as a field, has no value in any row" in finding.what


def test_without_a_text_the_fields_alone_are_the_text():
    rows = table([None, None, "t", None], ["high", None, "low", "low"])
    texts, step = render(rows, learn(rows, parse(["p"])))
    assert texts.to_list() == ["p: high", None, "p: low\nt", "p: low"]
    (finding,) = step.findings
    assert "2 rows without a text, but with fields: lines 2 and 5." in finding.what
    assert made(rows, "p", empty_text="drop") == [None, None, "p: low\nt", None]
    assert made(rows, "p=own")[1] is None, "what was filled in makes no text of its own"


def test_lines_of_the_validation_file_are_called_so():
    both = pl.concat([table(["t"], ["x"]), table(["t"], [None], source="validation")])
    both = both.with_columns(row=pl.Series([0, 1], dtype=pl.UInt32))
    _, step = render(both, learn(both.head(1), parse(["p=drop"])))
    assert "1 row of the validation file without a value in 'p'" in step.findings[0].what


def test_without_fields_nothing_happens():
    rows = table(["a", None])
    texts, step = render(rows, learn(rows, ()))
    assert texts.to_list() == ["a", None] and step.verdicts.is_empty() and places(()) == []


# --- fields that tell the label -----------------------------------------------------------------


def test_a_field_that_gives_the_label_away_is_noticed():
    labels = ["spam", "ham"] * 50
    ids = ["1", "2"] * 50
    channels = ["mail"] * 50 + ["chat"] * 50
    rows = table(["t"] * 100, ids, channels, [str(i) for i in range(100)])
    rows = rows.with_columns(label=pl.Series(labels))
    form = learn(rows, parse(["label_id", "channel", "order"]))
    (finding,) = giveaways(rows, form)
    assert "'label_id' alone tells the label in 100 % of rows" in finding.what
