import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.model.ragged import plug_in
from tunesmith.model.rendering import Rendered
from tunesmith.training.causal.packs import (
    BATCH_TOKENS,
    Batch,
    needed,
    num_trained,
    packs,
    steps_of_epoch,
)

costs = st.lists(st.integers(1, 3000), min_size=1, max_size=150)
flags = st.lists(st.booleans(), min_size=1, max_size=12)
rendered = flags.map(lambda trained: Rendered(list(range(10, 10 + len(trained))), trained, 0))


def llama(**settings):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **settings,
    )
    return transformers.LlamaForCausalLM(config).double().eval()


def row(*ids, trained=None):
    return Rendered(list(ids), trained or [True] * len(ids), 0)


# --- which rows meet ----------------------------------------------------------------------------


@given(costs, st.integers(1, 40), st.booleans(), st.integers(0, 5), st.integers(0, 3))
def test_every_row_is_in_exactly_one_step(costs, batch_size, packed, seed, epoch):
    steps = steps_of_epoch(costs, batch_size=batch_size, packed=packed, seed=seed, epoch=epoch)
    assert sorted(i for step in steps for batch in step for i in batch) == list(range(len(costs)))
    sizes = sorted((sum(map(len, step)) for step in steps), reverse=True)
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= batch_size


@given(costs, st.integers(1, 40))
def test_no_pack_exceeds_the_budget(costs, batch_size):
    for step in steps_of_epoch(costs, batch_size=batch_size, packed=True, seed=0, epoch=0):
        assert all(step)
        for pack in step:
            assert len(pack) == 1 or sum(costs[i] for i in pack) <= BATCH_TOKENS


@given(costs, st.integers(1, 40))
def test_no_padded_batch_exceeds_the_budget(costs, batch_size):
    for step in steps_of_epoch(costs, batch_size=batch_size, packed=False, seed=0, epoch=0):
        for batch in step:
            assert len(batch) == 1 or len(batch) * max(costs[i] for i in batch) <= BATCH_TOKENS


@given(costs, st.integers(1, 4000))
def test_packs_are_few_and_even(costs, budget):
    found = packs(costs, range(len(costs)), budget)
    assert sorted(i for pack in found for i in pack) == list(range(len(costs)))
    loads = [sum(costs[i] for i in pack) for pack in found]
    assert all(load <= budget or len(pack) == 1 for load, pack in zip(loads, found, strict=True))
    if max(costs) <= budget:
        # Two packs that fit into one would have been one; one pack's row is all that differs.
        assert len(found) <= 2 * -(-sum(costs) // budget)
        assert max(loads) - min(loads) <= max(costs)


@pytest.mark.parametrize("packed", [True, False])
def test_epochs_differ_and_repeat_by_seed(packed):
    costs = [5 + i % 7 for i in range(500)]

    def draw(seed, epoch):
        return steps_of_epoch(costs, batch_size=8, packed=packed, seed=seed, epoch=epoch)

    assert draw(0, 0) == draw(0, 0)
    assert draw(0, 0) != draw(0, 1)
    assert draw(0, 0) != draw(1, 0)
    assert len(draw(0, 0)) == len(draw(0, 1)) == 63


def test_padded_rows_have_near_equal_lengths():
    costs = [20 + (i * 37) % 300 for i in range(2000)]
    steps = steps_of_epoch(costs, batch_size=8, packed=False, seed=0, epoch=0)
    padded = sum(len(b) * max(costs[i] for i in b) for step in steps for b in step)
    assert padded < 1.03 * sum(costs)


# --- batches ------------------------------------------------------------------------------------


@given(st.lists(rendered, min_size=1, max_size=6))
def test_a_batch_points_at_what_predicts_each_trained_token(rows):
    expected = sorted(
        (owner, row.ids[i - 1], row.ids[i])
        for owner, row in enumerate(rows)
        for i in range(1, len(row.ids))
        if row.trained[i]
    )
    assert len(expected) == sum(map(num_trained, rows))
    for batch in (Batch.packed(rows), Batch.padded(rows)):
        before = batch.ids.flatten()[batch.places]
        found = zip(batch.owners.tolist(), before.tolist(), batch.targets.tolist(), strict=True)
        assert sorted(found) == expected
        assert batch.num_rows == len(rows)
    packed = Batch.packed(rows)
    assert packed.ids.shape == packed.positions.shape == (1, sum(map(needed, rows)))
    assert torch.equal(packed.ids, packed.positions + 10)  # as they are drawn above
    assert Batch.padded(rows).ids.shape == (len(rows), max(map(needed, rows)))


def test_what_stands_behind_the_last_trained_token_is_left_out():
    assert needed(row(1, 2, 3, 4, 5, trained=[False, True, True, False, False])) == 2
    assert needed(row(1, 2, 3, trained=[True, False, False])) == 1
    assert Batch.packed([row(1, 2, 3), row(4, 5)]).ids.tolist() == [[4, 1, 2]]


def test_sums_are_by_row_in_the_order_given():
    batch = Batch.packed([row(1, 2, 3, 4), row(5, 6), row(7, trained=[True]), row(8, 9, 10)])
    sums = batch.per_row(torch.ones(len(batch.targets)))
    assert sums.tolist() == [3, 1, 0, 2]
    assert batch.to("cpu").ids.tolist() == batch.ids.tolist()


# --- contamination ------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_rows_do_not_see_each_other(packed):
    model = llama()
    assert not packed or plug_in(model) == ""
    make = Batch.packed if packed else Batch.padded
    one, two, new = row(3, 4, 5, 6, 7), row(8, 9, 10), row(11, 12, 13, 14, 15)
    with torch.no_grad():
        batch = make([one, two, one])
        before, after = batch.states(model), make([new, two, one]).states(model)
        alone = Batch.padded([two]).states(model)
    kept = batch.owners > 0
    assert torch.equal(before[kept], after[kept])
    assert (before[~kept] != after[~kept]).any(1).all()
    assert torch.allclose(before[batch.owners == 1], alone, rtol=0, atol=1e-6)


def test_a_row_gets_the_gradient_of_its_own_tokens_only():
    model = llama()
    assert plug_in(model) == ""
    batch = Batch.packed([row(3, 4, 5, 6, 7), row(8, 9, 10), row(11, 12)])
    batch.states(model)[batch.owners == 1].sum().backward()
    touched = model.get_input_embeddings().weight.grad.abs().sum(1).nonzero()[:, 0]
    assert set(touched.tolist()) <= {8, 9}
    assert len(touched)


def test_padded_batches_serve_models_that_cannot_pack():
    config = transformers.MambaConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=2, state_size=4
    )
    torch.manual_seed(0)
    model = transformers.MambaForCausalLM(config).double().eval()
    assert plug_in(model) != ""
    rows = [row(3, 4, 5, 6, 7, 8, 9), row(10, 11, 12)]
    with torch.no_grad():
        together = Batch.padded(rows).states(model)
        alone = torch.cat([Batch.padded([r]).states(model) for r in rows])
    assert torch.allclose(together, alone, rtol=0, atol=1e-5)
