"""What is sensitive is found and masked; what merely looks like it is left alone."""

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.texts.sensitive import KINDS, find, findings, held, mask, mask_text
from tunesmith.errors import ConfigError

EVERY = tuple(KINDS)
KEY = "sk-proj-abcd1234EFGH5678ijkl9012"
PIECES = (
    "ann@example.com", "@", "a.b", "+44 20 7946 0958", "0800 123 4567", "2125550199", "call ", "00",
    "4111 1111 1111 1111", "4111111111111111", "DE89370400440532013000", "GB82 WEST 1234 5698 7654",
    " 32", "192.168.1.10", "8.8.8.8", "2001:db8::1", ":", KEY, "AKIAIOSFODNN7EXAMPLE", "password: ",
    "Hunter2!xyz", "token=", "version ", "order ", "(555) 234-5678", "-", ".", "/", " ", "\n", "1",
    "7", "x", "é", "[", "]", "[EMAIL]", "[PHONE]", "-----BEGIN PRIVATE KEY-----", "MIIE", "--", "½",
)  # fmt: skip
messy = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=10).map("".join)


def masked(text: str) -> str:
    return mask_text(text, EVERY)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("write to joe.b@mail.example.co.uk.", "write to [EMAIL]."),
        ("<ann+x@example.org>, ünal@example.de", "<[EMAIL]>, [EMAIL]"),
        ("+44 (0)20 7946 0958 ok", "[PHONE] ok"),
        ("Tel:+49 30 123456", "Tel:[PHONE]"),
        ("0044 7911 123456", "[PHONE]"),
        ("+1-212-555-0199", "[PHONE]"),
        ("(555) 234-5678, 1-800-555-0199", "[PHONE], [PHONE]"),
        ("01 23 45 67 89", "[PHONE]"),
        ("030/1234567 or 07911 123456", "[PHONE] or [PHONE]"),
        ("txt WIN to 08712400603.", "txt WIN to [PHONE]."),
        ("help? 0845 2814032 16 up, 0844 861 85 85", "help? [PHONE] 16 up, [PHONE]"),
        ("call 2125550199 now", "call [PHONE] now"),
        ("about my order, call 2125550199", "about my order, call [PHONE]"),
        ("4111 1111 1111 1111 12/25 123", "[CARD] 12/25 123"),
        ("5555555555554444; 3782 822463 10005", "[CARD]; [CARD]"),
        ("6011-1111-1111-1117", "[CARD]"),
        ("to DE89 3704 0044 0532 0130 00 BIC", "to [IBAN] BIC"),
        ("GB82WEST12345698765432", "[IBAN]"),
        ("from 192.168.1.10, http://10.1.2.3:80", "from [IP], http://[IP]:80"),
        ("2001:db8::1 and fe80::1", "[IP] and [IP]"),
        (f"key {KEY} and AKIAIOSFODNN7EXAMPLE", "key [SECRET] and [SECRET]"),
        ("ghp_" + "aB3dE6gH9j" * 4, "[SECRET]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "[SECRET]"),
        ("my password is Hunter2!xyz. Ok", "my password is [SECRET]. Ok"),
        ('api_key="9f8d7c6b5a4e3f2d1c0b"', 'api_key="[SECRET]"'),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE+/=\nab=\n-----END RSA PRIVATE KEY----- bye",
            "[SECRET] bye",
        ),
    ],
)
def test_it_is_found_and_masked(raw: str, expected: str) -> None:
    assert masked(raw) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-15 10:30:12", "01.02.2024 12:30", "15/01/2024 1000", "order 2125550199",
        "order no. 0450-123456789", "tracking number 08712400603", "call about order 2125550199",
        "$1,234,567,890 and 12345678901", "+12,000,000 +10000000 +200000000", "200 300 4000",
        "4111 1111 1111 1112", "1234567812345670", "0.4111111111111111", "DE89370400440532013001",
        "v1.2.3.4 version 10.20.30.40 Chrome/120.10.20.30", "1.2.3.4", "255.255.255.0", "127.0.0.1",
        "300.1.2.3", "12:30:45", "std::vector 2020:12:30 feed::add", "icon@2x.png", "me@home",
        "git@github.com:a/b.git", "pip install x@1.2.3", "reset my password: the link expired",
        "the token is 1234567890123", "password: ********", "sk-learn", "my secret is chocolate",
        "password: https://example.com/Reset1", "password: must-have-8-letters",
        "a ticket@kiosk.Valid until 3 May", "+960397912423686", "4212883012996",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert masked(text) == text


def test_the_check_digits_decide_on_cards() -> None:
    """Of sixteen digits that differ in the last one only, one is a card."""
    cards = [f"411111111111111{digit}" for digit in range(10)]
    assert [card for card in cards if find(card)] == ["4111111111111111"]


def test_the_check_digits_decide_on_ibans() -> None:
    numbers = [f"DE{check:02}370400440532013000" for check in range(2, 99)]
    assert [number for number in numbers if find(number)] == ["DE89370400440532013000"]


def test_a_card_is_no_phone_number() -> None:
    assert mask_text("call 4111 1111 1111 1111", ["phone"]) == "call 4111 1111 1111 1111"


TEXTS = pl.Series(
    [
        f"I am {KEY}, a@example.com",
        "nothing",
        None,
        "a@example.com b@example.com",
        "+44 7911 123456",
    ]
)
LINES = pl.Series([2, 3, 4, 6, 9])


def test_texts_are_told_by_kind_and_never_shown_whole() -> None:
    found = held(TEXTS, LINES)
    assert {kind: here.lines for kind, here in found.items()} == {
        "secret": [2], "email": [2, 6], "phone": [9],
    }  # fmt: skip
    for here in found.values():
        assert "…" in here.example
        assert not find(here.example)
        assert not any(whole in here.example for whole in (KEY, "example", "7911"))
    assert held(pl.Series([], dtype=pl.String), LINES[:0]) == {}


def test_a_finding_names_the_lines_and_the_flag() -> None:
    secret, email, phone = findings(held(TEXTS, LINES))
    assert email.what.startswith("2 texts hold e-mail addresses: lines 2 and 6, such as")
    assert phone.what.startswith("1 text holds a phone number: line 9, such as")
    assert (secret.level, secret.line) == ("warning", 2)
    assert secret.fix == "Mask them with --mask secret,email,phone."
    assert findings(held(pl.Series(["plain", None]), LINES[:2])) == []


def test_only_the_chosen_kinds_are_masked() -> None:
    texts, counts = mask(TEXTS, ["email", "iban"])
    assert texts.to_list() == [
        f"I am {KEY}, [EMAIL]", "nothing", None, "[EMAIL] [EMAIL]", "+44 7911 123456",
    ]  # fmt: skip
    assert counts == {"texts": 2, "email": 2, "iban": 0}


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'email'"):
        mask(TEXTS, ["emails"])


@given(messy)
def test_masking_twice_changes_nothing(text: str) -> None:
    once = masked(text)
    assert find(once) == []
    assert masked(once) == once


@given(st.lists(st.none() | messy, max_size=10), st.sets(st.sampled_from(EVERY)))
def test_a_column_is_masked_as_each_text_is(texts: list[str | None], kinds: set[str]) -> None:
    column, counts = mask(pl.Series(texts, dtype=pl.String), tuple(kinds))
    assert column.to_list() == [None if t is None else mask_text(t, tuple(kinds)) for t in texts]
    found = [{span.kind for span in find(t)} & kinds for t in texts if t is not None]
    assert counts == {
        "texts": sum(map(bool, found)),
        **{kind: sum(kind in spans for spans in found) for kind in kinds},
    }


@given(messy)
def test_what_is_found_lies_apart_and_in_order(text: str) -> None:
    spans = find(text)
    assert all(a.end <= b.start for a, b in zip(spans, spans[1:], strict=False))
    assert all(span.start < span.end for span in spans)


def test_the_cheap_patterns_miss_nothing() -> None:
    """Whatever the exact search finds, the kind's own first pattern finds too."""
    draw = random.Random(0)
    texts = ["".join(draw.choices(PIECES, k=draw.randrange(1, 9))) for _ in range(20_000)]
    column = pl.Series(texts)
    found = [{span.kind for span in find(text)} for text in texts]
    for name, kind in KINDS.items():
        suspects = set(column.str.contains(kind.suspect).arg_true())
        holders = {i for i, kinds in enumerate(found) if name in kinds}
        assert len(holders) > 50
        assert holders <= suspects
