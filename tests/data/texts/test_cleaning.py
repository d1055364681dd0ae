"""Texts leave cleaning plain, the same way for one text and for a column, whatever steps are on."""

import random
import sys
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.texts import cleaning
from tunesmith.data.texts.cleaning import DEFAULT, PLAIN, STEPS, chosen, clean, clean_text
from tunesmith.errors import ConfigError

AWKWARD = "ab é\u0301\u200b\u200d\ufeff\xad\xa0\u2003\t\n\r\x0b\u2028\x00\x1f\u1100\u1161\u11a8가😭"
awkward = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])))
PIECES = (
    *AWKWARD, *"<>/&#;=\"'x3AÃÂâð", "amp;", "#38;", "#36;", "#233;", "#x27;", "lt;", "quot;", "&lt",
    "&amp;", "&lt;", "&#60;", "&gt;", "&nbsp;", "<b>", "</b>", "<br/>", "<title>", "</title>", "<p",
    "<!--", "-->", "<script>", "</script>", "Ã©", "â€™", "ðŸ˜€", "Ãƒ", "Ð¿", "\x83", "€", "”",
    "“", "′", "-- \n", "\nSent from my phone", "\nOn Monday 3 May Ann wrote:\n", "\n> so", "\n-- ",
)  # fmt: skip
messy = st.lists(st.sampled_from(PIECES) | awkward, max_size=12).map("".join)
some_steps = st.sets(st.sampled_from(list(STEPS))).map(tuple)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  two\t words\xa0here ", "two words here"),
        ("one \r\n\r\n  two\x0bthree\u2028four", "one\ntwo\nthree\nfour"),
        ("\ufeffzero\u200bwidth\x00 and\x07 control", "zerowidth and control"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        (" \n\t ", ""),
    ],
)
def test_a_text_becomes_plain(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean
    assert clean_text(raw, PLAIN) == clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("don’t read â€œthisâ€\x9d", "don’t read “this”"),
        ("donâ€™t, cafÃ©, Â£5, 20Â°C", "don’t, café, £5, 20°C"),
        ("voilÃ\xa0 la", "voilà la"),
        ("Ã¢â‚¬â„¢s", "’s"),
        ("dziÄ™kujÄ™", "dziękuję"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "привет"),
        ("great ðŸ˜€", "great 😀"),
        ("HÃ”TEL", "HÔTEL"),
        ("That\x92s \x93it\x94", "That’s “it”"),
        ("ï»¿text", "text"),
        ("â€œÃœber AnnÃ©eâ€", "“Über Annéeâ€"),
    ],
)
def test_mojibake_is_read_again(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@pytest.mark.parametrize(
    "text",
    [
        "“CAFÉ”, “AMANHÃ”",
        "CAFÉ® CAFÉ’s",
        "l’été… l’été”",
        "É«",
        "Ã",
        "2×½",
        "i‰Ûªm",
        "“là”",
        "São Tomé",
    ],
)
def test_real_letters_and_signs_are_no_mojibake(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("fish &amp; chips", "fish & chips"),
        ("&#8364;5 &#x27;a&#39; &eacute;", "€5 'a' é"),
        ("one<br>two<BR />three", "one\ntwo\nthree"),
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ('a <a href="x?a>b" class=y>link</a>.', "a link."),
        ("un<b>believ</b>able", "unbelievable"),
        ("<td>1</td><td>2</td>", "1 2"),
        ("&amp;lt;b&amp;gt;bold&lt;/b&gt;", "bold"),
        ("a<!-- <b>no</b> -->b<script>if (a<b) x()</script>c", "a\nb\nc"),
        ("<title>hello</title>", "hello"),
        ("<!DOCTYPE html><html>hi</html>", "hi"),
    ],
)
def test_markup_goes(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d", "I <3 you", "Ann <ann@example.com>", "<https://example.com>", "<#> sent",
        "<<48/2=24>>", "if a <b and c> d", "the <title> of <address>", "AT&T; R&D", "&bogus; &#0;",
        "vector<int> x", "your <order_number>", "<DECIMAL> pounds at <TIME>", "?a=1&copy=2",
    ],
)  # fmt: skip
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("#36;46 a barrel", "$46 a barrel"),
        ("it #39;s Reuters#39; view", "it 's Reuters' view"),
        ("&amp;#39;tis", "'tis"),
        ("a&nbsp b &lt c", "a b < c"),
        ("quot;Hi,quot; lt;b gt;he said", '"Hi," he said'),
        ("caf#233; au lait", "café au lait"),
        ("#x27;tis", "'tis"),
    ],
)
def test_broken_entities_are_mended(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@pytest.mark.parametrize(
    "text",
    [
        "see #36; and #37; too", "#12; is it", "#12;3", "color:#222;font", "#65;bc",
        "a guitar amp; then", "?a=1&lt=2", "C#36; D", "issue#1234;",
    ],
)  # fmt: skip
def test_numbers_of_things_are_no_entities(text: str) -> None:
    assert clean_text(text) == text


def test_quotes_are_straightened_on_request_only() -> None:
    text = "“don’t” 5′ 3″"
    assert clean_text(text) == text
    assert clean_text(text, ("quotes",)) == '"don\'t" 5\' 3"'


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Help!\n-- \nAnn\nAcme Ltd", "Help!"),
        ("Help!\r\n--\r\nAnn", "Help!"),
        ("Help!\n\nSent from my iPhone", "Help!"),
        ("Help!\nOn Mon, 3 May 2021 at 10:00, Ann <a@b.org> wrote:\n> hi\n>\n> there", "Help!"),
        ("Help!\n----- Original Message -----\nFrom: Ann", "Help!"),
        ("Help!\nSent from my iPhone\n-- \nAnn", "Help!"),
        ("-- \nAnn", "--\nAnn"),
        ("\n-- \nAnn", "--\nAnn"),
        ("a -- b\n--c", "a -- b\n--c"),
        ("Sent from my iPhone it looks\nodd, see", "Sent from my iPhone it looks\nodd, see"),
        ("On Monday Ann wrote:\nI like it", "On Monday Ann wrote:\nI like it"),
    ],
)
def test_signatures_go_on_request_only(raw: str, clean: str) -> None:
    assert clean_text(raw, chosen(["+signatures"])) == clean
    assert clean_text(raw) == clean_text(raw, PLAIN)


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        ((), DEFAULT),
        (["none"], ()),
        (["whitespace", "html"], ("html", "whitespace")),
        (["+signatures"], (*DEFAULT[:-1], "signatures", DEFAULT[-1])),
        (["-html", "-mojibake"], tuple(n for n in DEFAULT if n not in ("html", "mojibake"))),
    ],
)
def test_the_steps_are_chosen(spec: list[str], steps: tuple[str, ...]) -> None:
    assert chosen(spec) == steps


@pytest.mark.parametrize("spec", [["-htm"], ["htm"], ["+htm", "-quotes"]])
def test_an_unknown_step_is_answered_with_the_nearest(spec: list[str]) -> None:
    with pytest.raises(ConfigError, match="'html'"):
        chosen(spec)


@pytest.mark.parametrize("spec", [["+quotes", "html"], ["none", "html"], [""]])
def test_an_impossible_list_of_steps_is_refused(spec: list[str]) -> None:
    with pytest.raises(ConfigError):
        chosen(spec)


def test_no_steps_change_nothing() -> None:
    text = " <b>&amp;\u200b\n\n "
    assert clean_text(text, ()) == text
    assert clean(pl.Series([text]), ())[0].to_list() == [text]


@given(messy)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@given(messy, some_steps)
def test_cleaning_twice_changes_nothing_whatever_the_steps(
    text: str, steps: tuple[str, ...]
) -> None:
    once = clean_text(text, steps)
    assert clean_text(once, steps) == once


@given(messy)
def test_plain_steps_are_done_in_one_round(text: str) -> None:
    once = clean_text(text, PLAIN)
    for name in PLAIN:
        assert STEPS[name].apply(once) == once


@pytest.mark.parametrize(
    "text", ["<" * 40 + "b>" * 40, "Ã" + "\x83" * 60, "<b" * 30 + ">" * 30 + " \x00 end "]
)
def test_a_text_without_rest_is_cleaned_plainly(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert once in (clean_text(text, PLAIN), clean_text(clean_text(text, PLAIN)))


@given(awkward)
def test_a_clean_text_is_composed_and_has_no_stray_space(text: str) -> None:
    cleaned = clean_text(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip(" \n\t\r")
    assert not any(pair in cleaned for pair in ("  ", "\n\n", " \n", "\n ", "\r", "\t", "\x00"))


@given(st.lists(st.none() | messy, max_size=20), some_steps)
def test_a_column_is_cleaned_as_each_text_is(
    texts: list[str | None], steps: tuple[str, ...]
) -> None:
    column, counts = clean(pl.Series(texts, dtype=pl.String), steps)
    assert column.to_list() == [None if t is None else clean_text(t, steps) for t in texts]
    changed = [t for t in texts if t is not None and clean_text(t, steps) != t]
    assert counts["texts"] == len(changed)
    assert set(counts) == {"texts", *steps}
    assert all(number <= len(changed) for number in counts.values())


@pytest.mark.parametrize("name", STEPS)
def test_a_step_leaves_alone_what_its_pattern_does_not_suspect(name: str) -> None:
    """Each step against its own pattern, over many texts: the fast path skips nothing."""
    draw = random.Random(0)
    texts = ["".join(draw.choices(PIECES, k=draw.randrange(1, 8))) for _ in range(20_000)]
    column = pl.Series(texts)
    skipped = column.filter(~column.str.contains(STEPS[name].suspect))
    assert 100 < len(skipped) < len(texts)
    for text in skipped:
        assert STEPS[name].apply(text) == text


def test_the_counts_tell_what_was_done() -> None:
    texts = ["plain", "two  spaces", "zero\u200bwidth", "cafe\u0301 ", "a&nbsp;<b>b</b>", None]
    _, counts = clean(pl.Series(texts))
    assert counts == {
        "texts": 4, "mojibake": 0, "controls": 1, "unicode": 1, "broken_entities": 0, "html": 1,
        "whitespace": 3,
    }  # fmt: skip


def test_the_characters_that_skip_cleaning_need_none() -> None:
    """All that the fast path lets through is left alone by the slow path, alone and in company."""
    safe = pl.Series([chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000])
    safe = safe.filter(safe.str.contains(f"^[{cleaning.SAFE}]$"))
    seconds = {
        parts[1]
        for c in range(sys.maxunicode + 1)
        if (decomposed := unicodedata.decomposition(chr(c))) and "<" not in decomposed
        if len(parts := [chr(int(p, 16)) for p in decomposed.split()]) == 2
    }
    assert len(safe) > 30_000
    for character in safe:
        assert clean_text(f"a{character}b") in (f"a{character}b", f"a{character}b".strip())
        assert unicodedata.combining(character) == 0
        assert character not in seconds


def test_real_messages_keep_their_words(data: Path) -> None:
    """SMS texts hold entities (`&lt;#&gt;`) and signs that look like tags once decoded."""
    lines = (data / "sms_spam" / "SMSSpamCollection").read_text(encoding="utf-8").splitlines()
    texts = pl.Series([line.partition("\t")[2] for line in lines])
    cleaned, counts = clean(texts)
    assert counts["html"] > 300
    assert int(cleaned.str.contains("<#>", literal=True).sum()) > 100
    assert cleaned.str.contains("&[a-z]+;").sum() == 0
