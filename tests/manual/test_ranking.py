"""Passages found by words and by vectors; vectors kept, and made again where they do not fit."""

import numpy as np
import pytest

from tunesmith.manual.passages import Passage
from tunesmith.manual.ranking import Hit, Index, pages_of, vectors
from tunesmith.manual.words import Lexicon, words


def passage(page, text, heading="title"):
    return Passage(
        page=page, headings=(heading,), anchor="", sentences=(text,), code=(), source=text
    )


KEYS = passage("server", "A revoked key stops working.", "API keys")
LOSS = passage("train", "The loss falls while training.", "Curves")
SPLIT = passage("prepare", "Rows are split by their label.", "Split")


class Embedder:
    """Vectors by a word that is asked about otherwise; it counts what it embeds."""

    def __init__(self):
        self.texts = 0

    def __call__(self, texts):
        self.texts += len(texts)
        ways = [[("password" in t) or ("key" in t), "loss" in t, 0.1] for t in texts]
        found = np.array(ways, np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_words_are_stems_without_those_that_say_nothing():
    assert words("How do I train? Trained, trains, TRAINING!") == ["train"] * 4
    assert words("copies of a copy") == ["cop", "cop"]
    assert words("overfitting") == words("overfit")
    assert words("classify classification classifier") == ["class"] * 3


def test_rare_words_count_more_and_holding_them_all_counts_most():
    lexicon = Lexicon([words(t) for t in ("key revoked", "key made", "key listed", "rows")])
    held = lexicon.held(words("revoke a key"))
    assert held.argmax() == 0 and held[3] == 0 and 0 < held[1] < held[0] < 1
    assert lexicon.weight("revok") > lexicon.weight("key")
    assert not lexicon.held([]).any()


def test_by_words_alone():
    best, *rest = Index([LOSS, KEYS, SPLIT]).search("How do I revoke keys?")
    assert best.passage is KEYS and rest[0].score == 0


def test_meaning_finds_what_shares_no_word():
    index = Index([LOSS, KEYS, SPLIT], Embedder())
    assert index.search("forgotten password")[0].passage is KEYS


def test_vectors_are_kept_by_the_texts_they_are_of(tmp_path):
    embed = Embedder()
    first = Index([LOSS, KEYS], embed, tmp_path / "kept")
    asked = embed.texts
    Index([LOSS, KEYS], embed, tmp_path / "kept")
    assert embed.texts == asked == 2
    Index([LOSS, SPLIT], embed, tmp_path / "kept")
    assert embed.texts == 4
    assert len(list((tmp_path / "kept").iterdir())) == 1  # those of earlier texts are gone
    assert first.search("loss")[0].passage is LOSS


@pytest.mark.parametrize("content", [b"", b"no numbers", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_made_again(tmp_path, content):
    made = vectors(["a key"], Embedder(), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert (vectors(["a key"], Embedder(), tmp_path) == made).all()


def test_where_nothing_can_be_kept_it_works_nevertheless(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert len(vectors(["a"], Embedder(), tmp_path / "file" / "kept")) == 1


def test_pages_by_their_best_passage_and_a_part_of_the_second():
    hits = [
        Hit(passage=LOSS, score=0.80),
        Hit(passage=KEYS, score=0.78),
        Hit(passage=KEYS, score=0.70),
    ]
    assert list(pages_of(hits)) == ["server", "train"]
