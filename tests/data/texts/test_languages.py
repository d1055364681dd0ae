"""Guessing a text's language: right on plain sentences, unsure rather than wrong on scraps."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.texts.languages import UNSURE, guess, shares

SENTENCES = {
    "English": ("Where is my parcel?", "My card doesn't work at the cash machine"),
    "German": ("Wo ist mein Paket?", "Straße gesperrt, Lieferung später"),
    "French": ("Où est mon colis ?", "J'ai perdu ma carte"),
    "Spanish": ("¿Dónde está mi paquete?", "la tarjeta no funciona"),
    "Portuguese": ("Onde está a minha encomenda?", "não consigo entrar"),
    "Italian": ("Dov'è il mio pacco?", "la carta non funziona più"),
    "Dutch": ("Waar is mijn pakket?", "het geld is niet aangekomen"),
    "Swedish": ("Var är mitt paket?", "jag kan inte logga in"),
    "Danish or Norwegian": ("Hvor er min pakke?", "jeg får ikke logget inn på kontoen"),
    "Polish": ("Gdzie jest moja paczka?", "nie mogę się zalogować"),
    "Turkish": ("Kartım çalışmıyor ve para gelmedi", "bu ne kadar sürer?"),
    "Indonesian or Malay": ("Di mana paket saya?", "kartu saya tidak bisa dipakai"),
    "Russian or another Cyrillic language": ("Где моя посылка?",),
    "Greek": ("Πού είναι το δέμα μου;",),
    "Arabic, Persian or Urdu": ("أين طردي؟",),
    "Hebrew": ("איפה החבילה שלי",),
    "Chinese": ("我的包裹在哪里",),
    "Japanese": ("私の荷物はどこですか", "東京都の荷物"),
    "Korean": ("내 소포는 어디 있나요",),
    "Hindi or another Devanagari language": ("मेरा पार्सल कहाँ है",),
    "Thai": ("พัสดุของฉันอยู่ที่ไหน",),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_are_told_by_script_and_small_words(language: str) -> None:
    found = guess(pl.Series(SENTENCES[language]))
    assert found.to_list() == [language] * len(SENTENCES[language])


@pytest.mark.parametrize("scrap", ["", "ok", "12345", "?!", "refund", "a", "я", "de la"])
def test_scraps_are_unsure(scrap: str) -> None:
    assert guess(pl.Series([scrap])).to_list() == [UNSURE]


def test_mixed_scripts_go_by_the_most_letters() -> None:
    assert guess(pl.Series(["Где моя карта Visa?"])).to_list() == [
        "Russian or another Cyrillic language"
    ]


def test_shares_come_most_frequent_first_and_unsure_last() -> None:
    texts = pl.Series(["12"] * 6 + ["Where is it?"] * 3 + ["Wo ist es?"] + [None] * 5)
    assert list(shares(texts).items()) == [("English", 0.3), ("German", 0.1), (UNSURE, 0.6)]
    assert shares(pl.Series([None, None], dtype=pl.String)) == {}


def test_many_texts_are_sampled_over_their_whole_length() -> None:
    texts = pl.Series(["Where is it?"] * 20_000 + ["Wo ist es?"] * 20_001)
    found = shares(texts)
    assert found["German"] == pytest.approx(0.5, abs=0.01)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_any_texts_have_shares_that_sum_to_one(texts: list[str]) -> None:
    found = shares(pl.Series(texts, dtype=pl.String))
    assert sum(found.values()) == pytest.approx(1 if texts else 0)
    assert all(share > 0 for share in found.values())
