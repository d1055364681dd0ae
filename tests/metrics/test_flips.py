"""Rows that changed between two models."""

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.metrics.flips import flips


def test_each_kind_of_change():
    found = flips(
        ["a", "a", "a", "a", "a"],
        ["a", "b", "a", "b", "b"],
        ["a", "a", "b", None, "b"],
    )
    assert (found.mended, found.broken, found.otherwise) == ((1,), (2,), (3,))
    assert found.net == 0


@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 3)))
def test_the_net_is_the_difference_of_right_answers(rows):
    gold, before, after = zip(*rows, strict=True) if rows else ((), (), ())
    found = flips(gold, before, after)
    hits = [sum(g == p for g, p in zip(gold, side, strict=True)) for side in (before, after)]
    assert found.net == hits[1] - hits[0]
    back = flips(gold, after, before)
    assert (back.mended, back.broken) == (found.broken, found.mended)
