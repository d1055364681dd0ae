"""The data report: complete in itself, safe with any text, its numbers those that it was given."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from html_page import Page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.data.chat.spans import Span
from tunesmith.data.findings import Finding
from tunesmith.data.texts import tokens
from tunesmith.data.texts.tokens import Counted, Reader, reader
from tunesmith.errors import StorageError
from tunesmith.events import Decision
from tunesmith.pipeline.preparing.facts import (
    DataFacts,
    Duplicates,
    ExampleRow,
    Votes,
    example_rows,
    measure,
    measure_tokens,
    quoted_lines,
    trained,
)
from tunesmith.pipeline.preparing.report import (
    MAX_FINDINGS,
    MAX_LABELS,
    MAX_TURNS,
    headline,
    length_chart,
    share_bars,
    visible,
    write_data_report,
)

EVIL = '<script>evil()</script> & "quotes" {{ 7*7 }} <b onclick=evil()>'


def facts(text: str = "My card is lost.") -> DataFacts:
    """Facts with every part filled in; `text` stands wherever the user's own words can."""
    row = ExampleRow(text=text, after=text + "!", line=7, note=text, label=text)
    return DataFacts(
        title=text,
        files=[text, "validation.csv"],
        date="22 November 2026",
        num_rows=1000,
        fates={"kept": 900, "merged: duplicate of another row": 60, f"dropped: {text}": 40},
        num_train=700,
        num_validation=120,
        num_test=80,
        examples={"kept": [row], f"dropped: {text}": [row, row]},
        before={text: 600, "other": 340},
        train={text: 400, "other": 300},
        validation={text: 70, "other": 50},
        test={text: 50, "other": 30},
        balance=text,
        lengths=measure(pl.Series([3, 17, 40, 41, 300]), cut=64),
        languages={"English": 0.9, text: 0.0999, "Thai": 0.0001},
        duplicates=Duplicates(
            exact=60,
            conflicting=3,
            near=41,
            threshold=0.8,
            would_have_leaked=12,
            examples=[[row, row]],
        ),
        votes=Votes(
            method=text,
            num_rows=500,
            num_annotators=3,
            agreed=0.874,
            ties=9,
            kappa=0.7,
            alpha=0.55,
            examples=[row],
        ),
        sensitive={text: 4, "IBANs": 0},
        masked=True,
        decisions=[Decision(what=text, value=text, reason=text)],
        findings=[Finding("warning", 7, text, text), Finding("info", None, text)],
        quotes={7: text},
    )


def chat(*said: tuple[str, str], **more: Any) -> str:
    """A line of a chat file: (role, text) of each turn, and what else the example holds."""
    return json.dumps({"messages": [{"role": r, "content": t} for r, t in said], **more})


def talks(*lines: str) -> pl.DataFrame:
    return pl.DataFrame({"line": range(2, 2 + len(lines)), "text": lines})


def cut_texts(*texts: str, limit: int) -> Counted:
    """These texts, counted in tokens."""
    read = replace(reader("minilm-l6"), limit=limit)
    numbers = tokens.count(pl.Series(texts, dtype=pl.String), read.tokenizer)
    every = pl.DataFrame({"row": range(len(texts)), "tokens": numbers})
    cut = every.filter(pl.col("tokens") > limit)
    return Counted(reader=read, num_texts=len(texts), lengths=numbers, cut=cut)


def written(data: DataFacts, folder) -> tuple[str, Page]:
    path = folder / "report.html"
    write_data_report(path, data)
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


# --- the page -----------------------------------------------------------------------------------


def test_the_page_is_complete_in_itself(tmp_path):
    html, page = written(facts(), tmp_path)
    assert not re.findall(r"(?:src|href)=[\"'](?!#)|url\(|@import|https?:", html)
    policy = [a["content"] for tag, a in page.tags if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "prefers-color-scheme: dark" in html and 'content="width=device-width' in html
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    assert links == {f"#{name}" for name in page.ids()}
    assert len(page.ids()) == 8


def test_texts_are_shown_and_never_run(tmp_path):
    html, page = written(facts(EVIL), tmp_path)
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags and "<script>evil" not in html
    assert all("onclick" not in attrs for _, attrs in page.tags)
    assert page.words.count("evil()</script>") >= 15
    assert "{{ 7*7 }}" in page.text


@given(st.text(min_size=1, max_size=400))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_whatsoever_makes_a_well_formed_page(tmp_path, text):
    _, page = written(facts(text), tmp_path)
    assert len(page.ids()) == 8


def test_half_letters_do_not_break_the_file(tmp_path):
    _, page = written(facts("broken \ud83d emoji"), tmp_path)
    assert "broken \u27e8U+D83D\u27e9 emoji" in page.text


def test_only_what_is_known_is_talked_of(tmp_path):
    bare = DataFacts(
        title="t",
        files=["t.csv"],
        date="today",
        num_rows=10,
        fates={"kept": 10},
        num_train=8,
        num_validation=2,
    )
    _, page = written(bare, tmp_path)
    assert page.ids() == {"rows"}
    assert "All 10 rows are used: 8 to learn from and 2 to check with." in page.words
    assert "Nothing in the data asks for a look." in page.words
    assert "None" not in page.text
    _, page = written(replace(bare, sensitive={}), tmp_path)
    assert "Looked for, and none found." in page.words


def test_a_page_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(StorageError):
        write_data_report(tmp_path / "nowhere" / "report.html", facts())


# --- numbers and words --------------------------------------------------------------------------


def test_the_headline_accounts_for_the_rows():
    said = " ".join(headline(facts("no text"))).replace("\u202f", " ").replace("\xa0", " ")
    assert said == (
        "900 of 1,000 rows are used: 700 to learn from, 120 to check with and 80 for the final "
        "test. Not used: 60 × duplicate of another row, 40 × no text. "
        "1 thing in the data asks for a look; it is listed below."
    )


def test_every_part_says_its_numbers(tmp_path):
    _, page = written(facts(), tmp_path)
    for words in (
        "900", "90 % of them", "340 to 600 rows each",  # tiles
        "63.8 % → 57.8 %",  # shares of the first label
        "Half of the texts have 40 characters or fewer; the longest has 300.",
        "1 is longer than 64 characters",
        "under 0.1 %",  # of the texts are in Thai
        "(80 % of their words in common, or more)",
        "10.0 % of the validation rows could have been answered from memory.",
        "87.4 %", "0.70", "0.55", "moderate",  # agreement
        "It was masked before anything was written.",
    ):  # fmt: skip
        assert words in page.words, words
    assert "IBANs" not in page.words


def test_changed_texts_are_shown_before_and_after(tmp_path):
    rows = [ExampleRow(text="zero\u200bwidth \u202eevil", after="zerowidth evil")]
    _, page = written(replace(facts(), examples={"kept": rows}), tmp_path)
    assert "in the filezero⟨U+200B⟩width ⟨U+202E⟩evil" in page.words
    assert "as the model sees itzerowidth evil" in page.words
    assert visible("a\nb\tc ü 👩\u200d🔬") == "a\nb\tc ü 👩\u200d🔬"


def test_findings_that_ask_for_a_look_come_before_the_others(tmp_path):
    found = [Finding("info", None, "all fine"), Finding("warning", 7, "not fine", "do it")]
    _, page = written(replace(facts(), findings=found), tmp_path)
    assert page.words.index("not fine do it line 7 My card is lost.") < page.words.index("all fine")
    many = [Finding("warning", None, f"w{i};") for i in range(MAX_FINDINGS + 3)]
    _, page = written(replace(facts(), findings=many), tmp_path)
    assert f"w{MAX_FINDINGS - 1};" in page.text and f"w{MAX_FINDINGS};" not in page.text
    assert "3 more in findings.jsonl" in page.words


def test_many_labels_are_folded_most_frequent_first(tmp_path):
    before = {f"label_{i:03}": 1000 - i for i in reversed(range(77))}
    _, page = written(replace(facts(), before=before, train=before), tmp_path)
    assert f"The other {77 - MAX_LABELS} labels" in page.words
    assert re.findall(r"label_\d{3}", page.text) == sorted(before)


def test_what_is_trained_is_marked_and_counted(tmp_path):
    asked = (("system", "Be brief."), ("user", "Hi?"))
    called = {"function": {"name": "look", "arguments": '{"at": 1}'}}
    example = chat(*asked, ("assistant", "Hello!"), tools=[{"a": 1}])
    message = {"role": "assistant", "content": None, "tool_calls": [called]}
    taught = trained(talks(example, json.dumps({"messages": [message]})))
    assert taught.characters == {
        "read": len("Be brief.Hi?") + len('[{"a": 1}]'),
        "trained": len("Hello!") + len('look{"at": 1}'),
    }
    assert taught.tokens is None
    assert taught.lengths is not None and taught.lengths.unit == "characters"
    assert taught.lengths.longest == len('Be brief.Hi?Hello![{"a": 1}]')
    html, page = written(replace(facts(), trained=taught), tmp_path)
    assert "systemBe brief.userHi?assistant · learnedHello!" in page.words
    assert 'assistant calls look · learned{"at": 1}' in page.words
    assert "learns to say19 charactersonly reads22 characters" in page.words
    assert html.count('<li class="trained">') == 2
    assert html.count('<li class="read">') == 3
    assert "46 %of the characters; the rest is only read" in page.words
    assert "0Labels" not in page.words and "Length of an example" in page.words


def test_of_pairs_of_answers_one_is_learned_and_one_avoided(tmp_path):
    pair = {
        "input": {"messages": [{"role": "user", "content": "Hi?"}]},
        "preferred_output": [{"role": "assistant", "content": "Hello!"}],
        "non_preferred_output": [{"role": "assistant", "content": "What?!"}],
    }
    taught = trained(talks(json.dumps(pair)))
    assert taught.characters == {"read": 3, "trained": 6, "avoided": 6}
    html, page = written(replace(facts(), trained=taught), tmp_path)
    assert "assistant · learnedHello!assistant · avoidedWhat?!" in page.words
    assert "to give the better one, and to avoid the worse one" in page.words
    assert html.count('<li class="avoided">') == 1


def test_what_is_trained_is_counted_in_tokens_where_there_is_a_tokenizer(tmp_path):
    lines = [chat(("user", "one two three"), ("assistant", "four five"))] * 3
    taught = trained(talks(*lines), num_examples=9, tokenizer=reader("minilm-l6").tokenizer)
    assert taught.tokens == {"read": 9, "trained": 6}
    assert taught.lengths is not None
    assert (taught.lengths.unit, taught.lengths.median, taught.lengths.num_texts) == (
        "tokens",
        5,
        9,
    )
    data = replace(facts(), trained=taught, lengths=taught.lengths)
    _, page = written(data, tmp_path)
    assert "learns to say27 characters, 6 tokens" in page.words
    assert "Counted in 3 of 9 examples, evenly spread." in page.words
    assert "Half of the examples have 5 tokens or fewer; the longest looked at has 5." in page.words
    assert "The bars show 3 of 9 examples, evenly spread." in page.words


def test_examples_of_different_kinds_are_shown_and_long_ones_folded(tmp_path):
    short = chat(("user", "a"), ("assistant", "b"))
    told = chat(("system", "s"), ("user", "a"), ("assistant", "b"))
    long = chat(*[("user", "q"), ("assistant", "r")] * MAX_TURNS)
    taught = trained(talks(short, short, short, short, told, long))
    assert [line for line, _ in taught.shown] == [2, 3, 6]
    assert taught.shown[0][1] == [Span("user", "a", "read"), Span("assistant", "b", "trained")]
    _, page = written(replace(facts(), trained=trained(talks(long))), tmp_path)
    assert f"{MAX_TURNS} more" in page.words
    assert trained(talks(short)).shown[0][0] == 2 and len(trained(talks(short, short)).shown) == 2


def test_no_sensitive_data_is_on_the_page(tmp_path):
    secret = "write to jane.doe@example.org"
    row = ExampleRow(text=secret, after=secret, line=7)
    taught = trained(talks(chat(("user", secret), ("assistant", secret))))
    lengths = measure_tokens(cut_texts(secret, limit=5), TABLE, pl.Series([secret]).gather)
    data = replace(
        facts(),
        trained=taught,
        lengths=lengths,
        examples={"kept": [row]},
        findings=[Finding("warning", 7, "look")],
        quotes={7: secret},
    )
    html, page = written(data, tmp_path)
    assert "jane" not in html and "example.org" not in html
    assert page.words.count("write to [EMAIL]") >= 5


# --- rows to show -------------------------------------------------------------------------------


def test_rows_of_each_fate_are_chosen_those_that_cleaning_changed_first():
    rows = pl.DataFrame(
        {
            "fate": ["kept"] * 5 + ["dropped: no text"],
            "line": range(2, 8),
            "note": [None, None, None, None, "used 2 times", None],
            "text": ["a", "b", "c", "d", "e", None],
            "raw": ["a", "b", " c", "d", "e ", "\u200b"],
            "label": ["x"] * 5 + [None],
        }
    )
    shown = example_rows(rows, each=3)
    assert [row.line for row in shown["kept"]] == [4, 6, 2]
    assert shown["kept"][1] == ExampleRow(
        text="e ", after="e", line=6, note="used 2 times", label="x"
    )
    assert shown["kept"][2].after is None
    assert [(r.text, r.after) for r in shown["dropped: no text"]] == [("\u200b", None)]
    plain = example_rows(rows.drop("raw", "label"), each=1)
    assert plain["kept"] == [ExampleRow(text="a", line=2)]


def test_the_lines_that_findings_name_are_quoted():
    rows = pl.DataFrame({"line": [2, 3, 4], "text": ["a", "b", None]})
    found = [Finding("info", n, "") for n in (3, 4, None, 99)]
    assert quoted_lines(rows, found) == {3: "b"}


# --- what is cut --------------------------------------------------------------------------------

TABLE = pl.DataFrame(
    {"row": range(5), "line": range(2, 7), "source": ["table"] * 4 + ["validation"]}
)


def test_the_texts_of_which_most_is_cut_are_shown_around_the_place(tmp_path):
    texts = ["a b c d e f g h", "a b", "one two three four five six seven", "x " * 300, "y " * 400]
    found = measure_tokens(cut_texts(*texts, limit=6), TABLE, pl.Series(texts).gather)
    assert found is not None
    assert (found.cut, found.num_cut, found.longest, found.num_texts) == (6, 4, 402, None)
    assert found.num_lost == (10 - 6) + (9 - 6) + (302 - 6) + (402 - 6)
    assert [(text.line, text.num_tokens) for text in found.worst] == [(6, 402), (5, 302), (2, 10)]
    worst = found.worst[0]
    assert worst.is_validation and not found.worst[1].is_validation
    assert (worst.read, worst.lost[:4], worst.lost[-2:]) == ("y y y y", " y y", "y…")
    assert (found.worst[2].read, found.worst[2].lost) == ("a b c d", " e f g h")
    _, page = written(replace(facts(), lengths=found), tmp_path)
    for words in (
        "4 are longer than 6 tokens; of these only the beginning counts, and 699 tokens are lost.",
        "The tokens are those of minilm-l6.",
        "a b c dcut here e f g hline 2 · 10 tokens, 4 of them lost",
        "line 6 of the validation file · 402 tokens, 396 of them lost",
    ):
        assert words in page.words, words


def test_the_end_of_what_is_read_is_shown():
    text = "word " * 200
    found = measure_tokens(cut_texts(text, limit=102), TABLE, pl.Series([text]).gather)
    assert found is not None
    assert found.worst[0].read.startswith("…word word") and found.worst[0].read.endswith("word")
    assert len(found.worst[0].read) < 200


def test_a_cut_through_sensitive_data_shows_none_of_it():
    text = "write to jane.doe@example.org or call"
    for limit in range(3, 15):
        found = measure_tokens(cut_texts(text, limit=limit), TABLE, pl.Series([text]).gather)
        assert found is not None
        for cut in found.worst:
            assert cut.read + cut.lost == "write to [EMAIL] or call"


def test_where_nothing_is_cut_that_is_said(tmp_path):
    found = measure_tokens(cut_texts("a b", limit=64), TABLE, pl.Series(["a b"]).gather)
    _, page = written(replace(facts(), lengths=found), tmp_path)
    assert "None is longer than the 64 tokens that the model reads." in page.words
    assert "Where the longest are cut" not in page.words
    nothing = Counted(
        reader=Reader(name="m", tokenizer=reader("minilm-l6").tokenizer, limit=9),
        num_texts=0,
        lengths=pl.Series([], dtype=pl.UInt32),
        cut=cut_texts("a", limit=9).cut,
    )
    assert measure_tokens(nothing, TABLE, pl.Series([""]).gather) is None


def test_a_sample_shows_the_bars_and_all_texts_the_cut(tmp_path):
    longer = pl.Series([300, 900])
    found = measure(pl.Series([3, 5, 9]), unit="tokens", cut=256, longer=longer, num_texts=3_000)
    assert found is not None
    assert (found.num_cut, found.num_lost, found.longest) == (2, 44 + 644, 900)
    assert sum(found.counts) + found.num_longer == 3
    assert "cut at 256" in length_chart(found)
    _, page = written(replace(facts(), lengths=found), tmp_path)
    assert "5 tokens or fewer; the longest has 900." in page.words
    assert "The bars show 3 of 3,000 texts, evenly spread; those that are cut" in page.words


# --- charts -------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=200),
    st.none() | st.integers(1, 100_000),
)
@settings(deadline=None)
def test_the_histogram_counts_every_text_and_stays_in_its_frame(numbers, cut):
    lengths = measure(pl.Series(numbers), unit="tokens", cut=cut)
    assert lengths is not None
    assert sum(lengths.counts) + lengths.num_longer == len(numbers)
    for place, count in enumerate(lengths.counts):
        low = place * lengths.width
        assert count == sum(low <= number < low + lengths.width for number in numbers)
    assert lengths.longest == max(numbers)
    assert lengths.num_cut == (0 if cut is None else sum(number > cut for number in numbers))
    drawn = length_chart(lengths)
    for x, y, width, height in re.findall(
        r' x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawn
    ):
        assert float(x) >= 20 and float(x) + float(width) <= 420.1
        assert float(y) >= 28 and float(y) + float(height) <= 178.1
    assert ("cut at" in drawn) == ('class="cut" d=' in drawn)
    if lengths.num_cut:
        assert f"cut at {cut:,}" in drawn


def test_lengths_of_nothing_are_not_drawn():
    assert measure(pl.Series([], dtype=pl.UInt32)) is None


def test_share_bars_are_as_wide_as_the_largest_share():
    drawn = share_bars(0.1, 0.2, 0.2)
    assert re.findall(r'width="([\d.]+)%"', drawn) == ["50.00", "100.00"]
    assert 'aria-label="before: 10.0\u202f%, after: 20.0\u202f%"' in drawn
