from hypothesis import given
from hypothesis import strategies as st

from tunesmith.training.batches import STEP_TOKENS, steps_of_epoch

lengths = st.lists(st.integers(3, 300), min_size=1, max_size=200)


@given(lengths, st.integers(1, 40) | st.none(), st.integers(0, 5), st.integers(0, 3))
def test_every_row_is_in_exactly_one_step(lengths, batch_size, seed, epoch):
    rows = list(range(0, len(lengths), 2)) or [0]
    steps = steps_of_epoch(lengths, rows, batch_size=batch_size, seed=seed, epoch=epoch)
    assert sorted(i for step in steps for batch in step for i in batch) == rows


@given(lengths, st.integers(1, 40) | st.none())
def test_no_micro_batch_exceeds_the_budget(lengths, batch_size):
    rows = range(len(lengths))
    for step in steps_of_epoch(lengths, rows, batch_size=batch_size, seed=0, epoch=0):
        for batch in step:
            assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= STEP_TOKENS


@given(lengths, st.integers(1, 40))
def test_a_batch_size_is_kept(lengths, batch_size):
    steps = steps_of_epoch(lengths, range(len(lengths)), batch_size=batch_size, seed=0, epoch=0)
    sizes = sorted((sum(map(len, step)) for step in steps), reverse=True)
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size


def test_epochs_differ_and_repeat_by_seed():
    lengths = [5 + i % 7 for i in range(500)]

    def draw(seed, epoch):
        return steps_of_epoch(lengths, range(500), batch_size=None, seed=seed, epoch=epoch)

    assert draw(0, 0) == draw(0, 0)
    assert draw(0, 0) != draw(0, 1)
    assert draw(0, 0) != draw(1, 0)
    assert len(draw(0, 0)) == len(draw(0, 1)), "the number of steps is planned ahead"
