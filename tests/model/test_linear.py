import pytest
import torch
from torch.nn import functional

from tunesmith.model.linear import Linear


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return Linear(24, 40)


def expected(layer, x, gelu=None, plus=None):
    out = functional.linear(x, layer.weight, layer.bias)
    if gelu is not None:
        return functional.gelu(out, approximate=gelu)
    return out if plus is None else out + plus


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("after", [{}, {"gelu": "none"}, {"gelu": "tanh"}, {"plus": 1}])
def test_laid_out_or_not_it_computes_the_same(layer, rows, after):
    x = torch.randn(rows, 24)
    more = {"plus": torch.randn(rows, 40)} if "plus" in after else after
    with torch.no_grad():
        plain = layer.train()(x, **more)
        fast = layer.eval()(x, **more)
    assert torch.allclose(plain, expected(layer, x, **more), atol=1e-6)
    assert torch.allclose(fast, plain, atol=1e-5)


def test_a_layer_that_learnt_answers_with_its_new_weights(layer):
    x = torch.randn(3, 24)
    layer.eval()
    layer.train()
    with torch.no_grad():
        layer.weight += 1
        assert torch.allclose(layer.eval()(x), expected(layer, x), atol=1e-5)


def test_weights_loaded_while_it_answers_count_at_once(layer):
    x, other = torch.randn(3, 24), Linear(24, 40)
    layer.eval()
    layer.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert torch.allclose(layer(x), expected(other, x), atol=1e-5)


def test_gradients_flow_out_of_training_too(layer):
    layer.eval()(torch.randn(3, 24)).sum().backward()
    assert layer.weight.grad is not None
