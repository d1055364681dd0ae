import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from tunesmith.training.classify.head import choose_head, fit_head


def clusters(rows=300, labels=4, width=16, seed=0):
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(labels, width, generator=draw)
    targets = torch.arange(rows) % labels
    features = centres[targets] + 1.2 * torch.randn(rows, width, generator=draw)
    return torch.nn.functional.normalize(features, dim=1), targets


def test_it_is_the_optimum_that_scikit_learn_finds():
    features, targets = clusters()
    ours = fit_head(features, targets, torch.ones(4), strength=10.0, iterations=300)
    peer = LogisticRegression(C=10.0, max_iter=2000, tol=1e-8).fit(features, targets)
    both = np.abs(peer.predict_log_proba(features) - torch.log_softmax(ours(features), 1).numpy())
    assert both.max() < 0.02


def test_class_weights_are_the_same_as_repeating_rows():
    features, targets = clusters(rows=120, labels=3)
    weights = torch.tensor([3.0, 1.0, 1.0])
    weighted = fit_head(features, targets, weights, strength=3.0)
    again = torch.cat([torch.arange(120), (targets == 0).nonzero().flatten().repeat(2)])
    # The penalty is shared out over the rows, the weighted mean over their weights.
    repeated = fit_head(
        features[again], targets[again], torch.ones(3), strength=3.0 * 120 / len(again)
    )
    assert torch.allclose(weighted.weight, repeated.weight, atol=5e-3)


def test_the_chosen_strength_has_the_lowest_dev_loss():
    features, targets = clusters(rows=400)
    dev = torch.arange(0, 400, 5)
    head, loss = choose_head(features, targets, torch.ones(4), dev=dev)
    rest = torch.tensor([i for i in range(400) if i % 5])
    for strength in (10.0, 30.0, 100.0):
        other = fit_head(features[rest], targets[rest], torch.ones(4), strength=strength)
        reached = torch.nn.functional.cross_entropy(other(features[dev]), targets[dev]).item()
        assert loss <= reached + 2e-3, f"{head.strength} against {strength}"
