import pytest
import torch
from torch import nn

from tunesmith.model.dropout import Dropout, cheapen


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_it_drops_that_share_and_keeps_the_mean(share):
    torch.manual_seed(0)
    out = Dropout(share)(torch.ones(1000, 1003))
    assert (out == 0).float().mean().item() == pytest.approx(share, abs=2e-3)
    assert out.mean().item() == pytest.approx(1.0, abs=4e-3)
    assert len(out.unique()) == 2


def test_neighbours_are_independent():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) > 0).float() - 0.5
    for apart in (1, 2, 3, 4, 8):
        assert abs((kept[:-apart] * kept[apart:]).mean().item()) < 2e-3


def test_the_seed_decides_and_the_gradient_follows_the_mask():
    layer = Dropout(0.3)
    torch.manual_seed(5)
    first = layer(torch.ones(50))
    torch.manual_seed(5)
    x = torch.ones(50, requires_grad=True)
    second = layer(x)
    second.sum().backward()
    assert torch.equal(first, second.detach())
    assert torch.equal(x.grad, first)


def test_out_of_training_nothing_changes():
    layer = Dropout(0.9).eval()
    x = torch.randn(7, 3)
    assert layer(x) is x


def test_cheapen_reaches_every_dropout():
    model = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.4)))
    cheapen(model)
    found = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    assert [type(m) for m in found] == [Dropout, Dropout]
    assert [m.p for m in found] == [0.2, 0.4]
