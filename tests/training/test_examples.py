import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.training.classify.examples import class_weights, dev_slice

counts = st.lists(st.integers(1, 60), min_size=2, max_size=12)


@given(counts, st.integers(0, 9))
def test_the_dev_slice_is_a_stratified_part(counts, seed):
    targets = torch.tensor([label for label, n in enumerate(counts) for _ in range(n)])
    dev, rest = dev_slice(targets, seed=seed)
    assert sorted(dev + rest) == list(range(len(targets)))
    assert dev
    if max(counts) > 1:
        assert set(targets[rest].tolist()) == set(range(len(counts))), "a label vanished"
    for label, n in enumerate(counts):
        taken = sum(int(targets[i]) == label for i in dev)
        assert taken <= 0.2 * n + 1.01


def test_at_most_two_thousand_rows_are_kept_aside():
    targets = torch.arange(100_000) % 5
    dev, _ = dev_slice(targets, seed=0)
    assert abs(len(dev) - 2000) <= 5


def test_balanced_weights_make_labels_weigh_alike():
    targets = torch.tensor([0] * 90 + [1] * 10)
    weights = class_weights(targets, 2, balanced=True)
    assert torch.isclose(weights[0] * 90, weights[1] * 10)
    assert torch.isclose(weights[targets].mean(), torch.tensor(1.0))
    assert class_weights(targets, 2, balanced=False).tolist() == [1.0, 1.0]
