import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith import catalog
from tunesmith.model.tokens import Encoder, by_length


@pytest.fixture(scope="module")
def folder():
    return catalog.find("minilm-l6").files()


def test_what_is_cut_is_counted(folder):
    whole, short = Encoder(folder, max_length=512), Encoder(folder, max_length=10)
    text = "my parcel has not arrived " * 20
    assert len(short([text])[0].ids) == 10
    assert short([text])[0].cut == len(whole([text])[0].ids) - 10
    assert short(["hello"])[0].cut == 0


def test_a_cut_text_keeps_its_closing_token(folder):
    encoder = Encoder(folder, max_length=10)
    long, short = encoder(["word " * 50, "word"])
    assert long.ids[0] == short.ids[0]
    assert long.ids[-1] == short.ids[-1]


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_a_text_is_read_the_same_alone_and_in_company(texts):
    encoder = Encoder(catalog.find("minilm-l6").files(), max_length=16)
    assert encoder(texts) == [encoder([text])[0] for text in texts]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 200))
def test_batches_keep_the_budget_and_every_row(lengths, budget):
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches = list(by_length(lengths, order, budget))
    assert [i for batch in batches for i in batch] == order
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
