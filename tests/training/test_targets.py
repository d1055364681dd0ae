import pytest
import torch
from torch.nn import functional

from tunesmith.training.classify.examples import class_weights, dev_slice, score
from tunesmith.training.classify.head import fit_head
from tunesmith.training.classify.targets import counts, heaviest, mean_loss, shares, weight_of

LABELS, VOTES = 3, 4


@pytest.fixture
def polled():
    """Four votes on each of six texts: (text of each vote, label of each vote, shares)."""
    draw = torch.Generator().manual_seed(0)
    text = torch.arange(6).repeat(VOTES)
    votes = torch.randint(LABELS, (len(text),), generator=draw)
    return text, votes, shares(text, votes, LABELS)


def test_shares_are_counted_votes():
    found = shares(torch.tensor([0, 1, 0, 0, 0]), torch.tensor([2, 1, 2, 0, 2]), LABELS)
    assert found.tolist() == [[0.25, 0, 0.75], [0, 1, 0]]
    assert heaviest(found).tolist() == [2, 1]
    assert heaviest(torch.tensor([[0.5, 0, 0.5]])).tolist() == [0], "of equal ones the first"
    assert counts(found, LABELS).tolist() == [0.25, 1, 0.75]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [3.0, 0.5, 1.0]])
def test_gradients_are_those_of_a_line_for_each_vote(polled, weights, smoothing):
    text, votes, targets = polled
    weights = torch.tensor(weights)
    logits = torch.randn(6, LABELS, requires_grad=True)

    def gradient(logits_of, towards):
        """As the loop has it: the sum, over the weight of all rows."""
        loss = functional.cross_entropy(
            logits_of, towards, weight=weights, reduction="sum", label_smoothing=smoothing
        )
        (found,) = torch.autograd.grad(loss / weight_of(towards, weights), logits)
        return found

    assert torch.allclose(gradient(logits, targets), gradient(logits[text], votes), atol=1e-6)
    soft = mean_loss(logits, targets, weights)
    assert torch.isclose(soft, mean_loss(logits[text], votes, weights))


def test_hard_labels_are_reckoned_as_torch_does_to_the_bit(polled):
    text, votes, _ = polled
    logits, weights = torch.randn(len(text), LABELS), torch.tensor([3.0, 0.5, 1.0])
    expected = functional.cross_entropy(logits, votes, weight=weights)
    assert torch.equal(mean_loss(logits, votes, weights), expected)
    assert torch.equal(weight_of(votes, weights), weights[votes].sum())
    assert heaviest(votes) is votes


def test_shares_of_a_single_vote_are_hard_labels():
    votes = torch.arange(60) % LABELS
    targets = shares(torch.arange(60), votes, LABELS)
    logits, weights = torch.randn(60, LABELS), torch.tensor([3.0, 0.5, 1.0])
    soft, hard = score(logits, targets, weights), score(logits, votes, weights)
    assert (soft.loss, soft.accuracy) == (pytest.approx(hard.loss), hard.accuracy)
    assert dev_slice(targets, seed=3) == dev_slice(votes, seed=3)
    for balanced in (True, False):
        of_soft = class_weights(targets, LABELS, balanced=balanced)
        assert torch.allclose(of_soft, class_weights(votes, LABELS, balanced=balanced))


def test_a_head_fitted_to_votes_of_three_to_one_is_three_quarters_sure():
    features = torch.eye(8)
    targets = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).repeat(4, 1)
    head = fit_head(features, targets, torch.ones(2), strength=1e5)
    assert torch.allclose(torch.softmax(head(features), 1), targets, atol=0.01)
