"""Products in bf16: close to fp32, in answers and in gradients, and chosen by measuring."""

import pytest
import torch

from tunesmith import catalog
from tunesmith.model import classifier, precision
from tunesmith.model.linear import Linear


@pytest.fixture
def layers():
    torch.manual_seed(0)
    plain, rounded = Linear(64, 96), Linear(64, 96)
    rounded.load_state_dict(plain.state_dict())
    rounded.multiply_in("bf16")
    return plain, rounded


@pytest.mark.parametrize("gelu", [None, "none", "tanh"])
def test_a_product_is_close_to_that_in_fp32(layers, gelu):
    plain, rounded = layers
    states = torch.randn(32, 64)
    for learning in (True, False):
        plain.train(learning), rounded.train(learning)
        with torch.set_grad_enabled(learning):
            expected, found = plain(states, gelu=gelu), rounded(states, gelu=gelu)
        torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.01)
        assert not torch.equal(found.float(), expected)


def test_what_is_added_is_not_rounded(layers):
    rounded = layers[1].eval()
    states, plus = torch.randn(32, 64), torch.randn(32, 96) * 1000
    with torch.no_grad():
        found = rounded(states, plus=plus)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found - plus, rounded(states).float(), atol=1e-3, rtol=1e-3)


def test_gradients_are_close_to_those_in_fp32(layers):
    states = torch.randn(32, 64)
    grads = []
    for layer in layers:
        inputs = states.clone().requires_grad_()
        layer(inputs).square().sum().backward()
        grads.append([inputs.grad, layer.weight.grad, layer.bias.grad])
    for expected, found in zip(*grads, strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 0.01 * expected.norm()


def test_a_classifier_keeps_its_precision_and_can_answer_in_another(tmp_path):
    base = catalog.find(catalog.DEFAULT)
    classifier.from_base(base, ["a", "b"], precision="bf16").save(tmp_path)
    model = classifier.load(tmp_path)
    assert model.card.precision == "bf16"
    encoded = model.tokens(["where is my card?", "the espresso is cold", "a"])
    rounded = model.over(model.features, encoded)
    model.multiply_in("fp32")
    exact = model.over(model.features, encoded)
    assert 0 < (rounded - exact).abs().max() < 5e-3


@pytest.mark.parametrize("times, chosen", [(0.01, "fp32"), (1.1, "fp32"), (4.0, "bf16")])
def test_the_faster_one_is_chosen_and_the_reason_is_the_measurement(monkeypatch, times, chosen):
    monkeypatch.setattr(precision, "speed_up", lambda: times)
    found, reason = precision.faster()
    assert found == chosen and f"{times:g} times" in reason.replace("4.0", "4")


def test_it_is_measured():
    assert precision.speed_up() > 0
