"""Keys and fingerprints depend on the text alone, and differ where the meaning does."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.likeness import fingerprints as module
from tunesmith.data.likeness.fingerprints import fingerprints, key, keys, mix, runs, spans

some_texts = st.lists(st.text(max_size=12), max_size=20)


def keyed(texts: list[str]) -> list[str]:
    return (
        pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
        .select(key("text"))["text"]
        .to_list()
    )


def numbers(texts: list[str]) -> list[int]:
    return fingerprints(pl.Series(texts, dtype=pl.String)).tolist()


@pytest.mark.parametrize(
    "texts",
    [
        (
            "Where is it, please?",
            "where is it please?",
            "WHERE  is\nit;  please ?",
            "«where is it please??»",
        ),
        ("Great!!!", "great !", "great"),
        ("Really?!", "really ??!", "really?"),
        ("It\u2019s ok.", "it's OK", "it s ok"),
        ("10:30, 1.5", "10 30 1,5"),
        ("ÜBER", "über"),
        ("你好。", "你好"),
    ],
)
def test_texts_with_one_key(texts: tuple[str, ...]) -> None:
    assert len(set(keyed(list(texts)))) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ("fine", "fine?", "fine :)", "fine :(", "fine \U0001f44d", "fine \U0001f44e"),
        ("c", "c++", "c#"),
        ("15", "1.5", "-1.5"),
        ("...", ",", ""),
        ("well known", "well-known"),
    ],
)
def test_texts_with_different_keys(texts: tuple[str, ...]) -> None:
    assert len(set(keyed(list(texts)))) == len(texts)


@given(some_texts)
def test_a_key_is_its_own_key_and_empty_for_the_empty_text_only(texts: list[str]) -> None:
    once = keyed(texts)
    assert keyed(once) == once
    assert [k == "" for k in once] == [t == "" for t in texts]


@given(some_texts)
def test_fingerprints_are_equal_where_texts_are(texts: list[str]) -> None:
    assert len(set(numbers(texts))) == len(set(texts))
    assert numbers(texts[::-1]) == numbers(texts)[::-1]
    assert [numbers([text])[0] for text in texts] == numbers(texts)


@given(some_texts)
def test_keys_are_the_fingerprints_of_the_key(texts: list[str]) -> None:
    rows = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
    assert keys(rows).to_list() == numbers(keyed(texts))
    assert keys(rows.with_columns(keys(rows) + 1)).equals(keys(rows) + 1)


def test_fingerprints_are_the_same_in_every_version_and_on_every_machine() -> None:
    assert numbers(["", "a", "Grüße, 你好"]) == [
        16294208416658607535,
        17360999193197444373,
        3481462863922813928,
    ]
    assert mix(np.array([0], np.uint64)).tolist() == [0xE220A8397B1DCDAF]  # SplitMix64 from 0


def test_fingerprints_are_spread_over_all_bits() -> None:
    bits = np.unpackbits(fingerprints(pl.Series([str(i) for i in range(2000)])).view(np.uint8))
    share = bits.reshape(2000, 64).mean(axis=0)
    assert 0.45 < share.min() <= share.max() < 0.55


@given(some_texts, st.integers(1, 30))
def test_chunks_make_no_difference(texts: list[str], size: int) -> None:
    rows = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
    expected, by_key = numbers(texts), keys(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", size)
        assert numbers(texts) == expected
        assert keys(rows).equals(by_key)


@given(st.lists(st.integers(0, 255), max_size=20), st.data())
def test_a_span_is_the_same_wherever_it_stands(values: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    inside = spans(np.array(values, np.uint8), np.array([start]), np.array([stop]))
    alone = spans(np.array(values[start:stop], np.uint8), np.array([0]), np.array([stop - start]))
    assert inside.tolist() == alone.tolist()


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 20))
def test_runs_cover_everything_in_pieces_of_about_the_size(sizes: list[int], most: int) -> None:
    slices = list(runs(np.array(sizes, np.intp), most))
    assert [i for start, stop in slices for i in range(start, stop)] == list(range(len(sizes)))
    for start, stop in slices:
        assert sum(sizes[start:stop]) < most + max(sizes[start:stop], default=0) + 1
