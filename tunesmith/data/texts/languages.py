"""Guesses which languages texts are in, for the report: by script, and by small words for Latin.

Rough on purpose: it serves to notice that a table is in more languages than its owner thought,
or in one that the base model does not know. Texts that are too short, or could be one as well as
another, are unsure.
Does not know: columns, labels, base models.
"""

from __future__ import annotations

import polars as pl

UNSURE = "unsure"

_SAMPLE = 5_000  # texts looked at, spread over all of them
_MOST_CHARACTERS = 1_000  # of a text; its language shows by then
_FEWEST_LETTERS = 2
_SURE = 0.5  # a Latin text needs a small word that at most two of the languages have

# Scripts, each with the language or family it stands for. Japanese mixes kana and Han, so kana
# decides; Han alone is Chinese.
_SCRIPTS = {
    "Latin": r"\p{Latin}",
    "Russian or another Cyrillic language": r"\p{Cyrillic}",
    "Greek": r"\p{Greek}",
    "Arabic, Persian or Urdu": r"\p{Arabic}",
    "Hebrew": r"\p{Hebrew}",
    "Chinese": r"\p{Han}",
    "Japanese": r"[\p{Hiragana}\p{Katakana}]",
    "Korean": r"\p{Hangul}",
    "Hindi or another Devanagari language": r"\p{Devanagari}",
    "Bengali": r"\p{Bengali}",
    "Tamil": r"\p{Tamil}",
    "Thai": r"\p{Thai}",
    "Georgian": r"\p{Georgian}",
    "Armenian": r"\p{Armenian}",
}

# Words so frequent that hardly a sentence does without them; they count the more, the fewer of
# these languages have them. Then letters that give a language away.
_WORDS = {
    "English": "the a an and or of to in is are was it i my you your for on with this that have "
    "not do does did be been what how when where why which who can will would could should me at "
    "but from they we he she if so no by as all any there their has had get got need want about "
    "out up just only please am t s m",
    "German": "der die das und oder ist nicht ich sie wir mir mich mein meine ein eine einen zu "
    "den dem des mit auf für von wie was kann bei es aber auch habe hat im am noch sich wenn",
    "French": "le la les un une et ou est je tu il elle nous vous de du des que qui ne pas pour "
    "mon ma mes dans sur avec ce cette au aux en j l c d qu n m s mais plus sont ai comment",
    "Spanish": "el la los las un una y o es no que de del en por para con mi mis su se me lo yo "
    "al como pero está este esta muy más qué cómo tengo hay ha ser fue son cuando",
    "Portuguese": "o a os as um uma e ou é não que de do da dos das em no na por para com meu "
    "minha se me eu mas como mais está este esta você muito foi são ao tem quando isso",
    "Italian": "il lo la gli le un una e o è non che di del della dei in per con mio mia si mi "
    "io ma come più sono ho ha questo questa al alla nel nella da quando anche perché",
    "Dutch": "de het een en of is niet ik je jij wij we van op te in dat die voor met mijn zijn "
    "er maar ook aan naar hoe wat kan heb heeft was bij nog als worden deze geen",
    "Swedish": "och eller är inte jag du vi det den en ett att på för med som min mitt har av "
    "om men till kan hur vad mig sig från nu var så de inga när skulle",
    "Danish or Norwegian": "og eller er ikke jeg du vi det den en et at på for med som min mit "
    "har af av om men til kan hvordan hva hvad mig meg fra nå nu var så de når skal",
    "Polish": "i nie jest w z na do się to że jak co mi mój moja moje nam czy ale po od za dla "
    "mam są był była tak już tylko przez został gdy o jestem mnie proszę",
    "Turkish": "ve bir bu ne için ile de da mi mı değil çok ama var yok ben sen biz o benim "
    "daha gibi kadar nasıl olarak sonra en her şey olan ki",
    "Indonesian or Malay": "yang dan di ke dari tidak ini itu saya anda kami untuk dengan ada "
    "akan pada sudah bisa apa atau belum juga bagaimana karena dalam kalau",
}
_LETTERS = {
    "German": "ß",
    "Spanish": "ñ¿¡",
    "Portuguese": "ãõ",
    "Danish or Norwegian": "æø",
    "Polish": "ąęłńśźż",
    "Turkish": "ğış",
}


def shares(texts: pl.Series) -> dict[str, float]:
    """Language → its share of the texts, the most frequent first and `unsure` last.

    texts  String; at most 5,000 of those that are not null are looked at, evenly spread.
    The shares sum to 1. Empty without a text.
    """
    every = texts.drop_nulls()
    if every.is_empty():
        return {}
    sample = every.gather_every(-(-len(every) // _SAMPLE))
    counts = (
        guess(sample).value_counts(name="texts").sort("texts", "language", descending=[True, False])
    )
    found: dict[str, int] = dict(counts.iter_rows())
    unsure = found.pop(UNSURE, 0)
    ordered = {**found, UNSURE: unsure} if unsure else found
    return {language: number / len(sample) for language, number in ordered.items()}


def guess(texts: pl.Series) -> pl.Series:
    """The language of each text, or `unsure` (takes and returns a String series, without nulls)."""
    frame = texts.alias("text").to_frame().select(pl.col("text").str.head(_MOST_CHARACTERS))
    scripts = frame.select(
        pl.col("text").str.count_matches(pattern).alias(script)
        for script, pattern in _SCRIPTS.items()
    ).with_columns(
        # A Japanese text is kana and Han together.
        pl.when(pl.col("Japanese") > 0).then(pl.col("Chinese") + pl.col("Japanese")).otherwise(0)
        .alias("Japanese"),
        pl.when(pl.col("Japanese") > 0).then(0).otherwise("Chinese").alias("Chinese"),
    )  # fmt: skip
    names = pl.Series(list(_SCRIPTS), dtype=pl.String)
    most = pl.concat_list(pl.all())
    script = scripts.select(
        pl.when(most.list.max() >= _FEWEST_LETTERS)
        .then(pl.lit(names).gather(most.list.arg_max()))
        .alias("script")
    )["script"]
    both = pl.DataFrame({"script": script, "latin": _latin(frame["text"])})
    is_latin = pl.col("script") == "Latin"
    language = pl.when(is_latin).then("latin").otherwise("script").fill_null(UNSURE)
    return both.select(language.alias("language"))["language"]


def _latin(texts: pl.Series) -> pl.Series:
    """The language of each text by its small words, null where they do not tell."""
    lowered = texts.alias("text").str.to_lowercase().to_frame().with_row_index("place")
    letters = "".join(_LETTERS.values())
    pieces = pl.concat_list(
        pl.col("text").str.extract_all(r"\p{L}+"), pl.col("text").str.extract_all(f"[{letters}]")
    )
    found = (
        lowered.select("place", pieces.alias("word"))
        .explode("word")
        .join(_weights(), on="word")
        .group_by("place", "language")
        .agg(pl.col("weight").sum())
        .sort("place", "weight", "language", descending=[False, True, False])
        .group_by("place", maintain_order=True)
        .agg(
            pl.col("language").first(),
            pl.col("weight").first().alias("best"),
            pl.col("weight").get(1, null_on_oob=True).fill_null(0).alias("second"),
        )
        .filter(pl.col("best") >= _SURE, pl.col("best") > pl.col("second"))
    )
    return lowered.join(found, on="place", how="left", maintain_order="left")["language"]


def _weights() -> pl.DataFrame:
    """word, language, weight: 1 divided by the number of languages that have the word."""
    pairs = [
        (word, language)
        for table in ({name: words.split() for name, words in _WORDS.items()}, _LETTERS)
        for language, words in table.items()
        for word in words
    ]
    frame = pl.DataFrame(pairs, schema=["word", "language"], orient="row").unique()
    return frame.with_columns((1 / pl.len().over("word")).alias("weight"))
