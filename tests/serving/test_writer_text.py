import random

import pytest
import tiny_causal
from tokenizers import Tokenizer, decoders, models

from tunesmith.model.rendering import Renderer
from tunesmith.serving.causal.alphabet import Alphabet
from tunesmith.serving.causal.text import Growing

TEXT = "Straße, naïve 東京 привет 😀\n\n  and {so: on} <think>"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tiny_causal.tiny(tmp_path_factory.mktemp("models") / "qwen3", "qwen3")
    return Renderer(folder, max_length=64).tokenizer


def grown(growing, raw, cuts=()):
    pieces = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        pieces.append(growing.add(raw[start:end]))
        if growing.is_stopped:
            break
    return [*pieces, growing.end()]


def test_tokens_are_the_bytes_that_they_were_made_of(tokenizer):
    alphabet = Alphabet(tokenizer)
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert b"".join(map(alphabet.raw, ids)) == TEXT.encode()
    assert all(i in range(600) and alphabet.raw(i) for i in ids)


def test_special_tokens_have_a_name_and_no_text(tokenizer):
    alphabet = Alphabet(tokenizer)
    end, think = (tokenizer.token_to_id(token) for token in ("<|im_end|>", "<think>"))
    assert (alphabet.raw(end), alphabet.name(end)) == (b"", "<|im_end|>")
    assert (alphabet.raw(think), alphabet.name(think)) == (b"<think>", "<think>")
    assert alphabet.raw(100_000) == b""


def test_bytes_that_are_no_character_have_a_name(tokenizer):
    alphabet = Alphabet(tokenizer)
    half = next(i for i in range(600) if alphabet.raw(i) == b"\xf0")
    assert alphabet.name(half) == "\\xf0"


def test_tokens_in_the_manner_of_sentencepiece():
    vocabulary = {"<unk>": 0, "<0xF0>": 1, "<0x0A>": 2, "▁late": 3, "ly▁": 4}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(parts)
    alphabet = Alphabet(tokenizer)
    assert [alphabet.raw(i) for i in range(1, 5)] == [b"\xf0", b"\n", b" late", b"ly "]
    tokenizer.decoder = decoders.Metaspace()
    assert Alphabet(tokenizer).raw(3) == b" late"


def test_characters_come_out_whole():
    raw = TEXT.encode()
    pieces = grown(Growing(), raw, range(1, len(raw)))
    assert "".join(pieces) == TEXT
    assert "\ufffd" not in "".join(pieces)


def test_bytes_that_never_become_a_character_are_told_at_the_end():
    assert grown(Growing(), "ab😀".encode()[:-1]) == ["ab", "\ufffd"]
    assert grown(Growing(), b"a\xffb") == ["a\ufffdb", ""]


@pytest.mark.parametrize("seed", range(20))
def test_a_text_ends_before_its_first_stop_however_it_comes(seed):
    generator = random.Random(seed)
    text = "".join(generator.choice("abcé") for _ in range(60))
    stops = ["".join(generator.choice("abcé") for _ in range(generator.randint(1, 4)))
             for _ in range(3)]  # fmt: skip
    raw = text.encode()
    cuts = sorted(generator.sample(range(1, len(raw)), generator.randint(0, 30)))
    growing = Growing(stops)
    pieces = grown(growing, raw, cuts)
    ends = [text.find(stop) for stop in stops if stop in text]
    assert "".join(pieces) == text[: min(ends, default=len(text))]
    assert growing.is_stopped == bool(ends)


def test_what_is_no_stop_after_all_is_told():
    growing = Growing(["\n\nHuman"])
    assert [growing.add(b"a\n"), growing.add(b"\nHu"), growing.add(b"b")] == ["a", "", "\n\nHub"]
    assert growing.add(b"\n\nHum") + growing.end() == "\n\nHum"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>\n\n</think>\n\nYes", "Yes"),
        ("<think>\n\n</think>\n\n", ""),
        ("<think>\nHm.\n</think>\n\nYes", "<think>\nHm.\n</think>\n\nYes"),
        ("<thi", "<thi"),
        ("Yes <think>\n\n</think>\n\n", "Yes <think>\n\n</think>\n\n"),
        ("", ""),
    ],
)
def test_the_lead_is_left_out_where_the_text_begins_with_it(text, left):
    for cuts in ((), range(1, len(text))):
        growing = Growing(["\n\n\n"], lead="<think>\n\n</think>\n\n")
        assert "".join(grown(growing, text.encode(), cuts)) == left


def test_a_stop_in_the_lead_is_none():
    growing = Growing(["\n\n"], lead="<think>\n\n</think>\n\n")
    assert "".join(grown(growing, b"<think>\n\n</think>\n\nYes\n\nNo")) == "Yes"
