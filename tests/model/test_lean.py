"""Layers that keep less, against transformers' own."""

import copy

import pytest
import torch
import transformers

from tunesmith.model import lean

SIZES = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2", "SmolLM3", "Phi3")


def pair(family, **more):
    """A model, and the same that keeps less."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES, **more)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():  # norms begin as all ones or zeros, which would hide mistakes
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    made = copy.deepcopy(model)
    lean.plug_in(made)
    return model, made


def changed(model):
    return {type(m).__name__ for m in model.modules() if "forward" in vars(m)}


def outcome(model, kind=None):
    """Logits, gradients, and bytes kept between forward and backward."""
    ids = torch.arange(2, 32).view(2, 15)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor, storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"),
    ):
        logits = model(input_ids=ids, use_cache=False).logits
    logits.float().square().mean().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return logits, grads, sum(size for _, size in kept.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_comes_out_and_less_is_kept(family):
    model, made = pair(family)
    expected, theirs, before = outcome(model)
    logits, ours, after = outcome(made)
    assert torch.equal(logits, expected)
    assert ours.keys() == theirs.keys()
    for name, grad in theirs.items():
        assert torch.allclose(ours[name], grad, rtol=1e-4, atol=1e-5 * grad.abs().max()), name
    # Phi3 has gate and up in one product, which is left as it is.
    assert changed(made) == {f"{family}RMSNorm"} | ({f"{family}MLP"} - {"Phi3MLP"})
    assert after < (0.95 if family == "Phi3" else 0.8) * before


@pytest.mark.parametrize("how", ["autocast", "whole"])
@pytest.mark.parametrize("family", ["Llama", "Gemma"])
def test_in_bf16_too(family, how):
    model, made = pair(family)
    if how == "whole":
        model, made = model.bfloat16(), made.bfloat16()
    expected, theirs, _ = outcome(model, how)
    logits, ours, _ = outcome(made, how)
    assert logits.dtype == expected.dtype
    assert torch.equal(logits, expected)
    for name, grad in theirs.items():
        assert ours[name].dtype == grad.dtype
        assert (ours[name] - grad).norm() < 0.03 * grad.norm(), name


def test_frozen_weights_get_no_gradient():
    model, made = pair("Llama")
    for one in (model, made):
        one.requires_grad_(False)
        one.model.layers[0].mlp.up_proj.requires_grad_(True)
    (_, theirs, _), (_, ours, _) = outcome(model), outcome(made)
    assert ours.keys() == theirs.keys() == {"model.layers.0.mlp.up_proj.weight"}
    assert all(torch.allclose(ours[k], theirs[k], rtol=1e-4, atol=1e-7) for k in ours)


def test_an_adapter_that_drops_at_random_goes_with_it():
    from peft import LoraConfig, get_peft_model

    model, _ = pair("Llama")
    config = LoraConfig(r=2, lora_dropout=0.5, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(model, config).train()
    made = copy.deepcopy(adapted)
    lean.plug_in(made.get_base_model())
    assert changed(made) == {"LlamaRMSNorm", "LlamaMLP"}
    assert all(m.training for m in made.modules())
    torch.manual_seed(1)
    expected, theirs, _ = outcome(adapted)
    torch.manual_seed(1)
    logits, ours, _ = outcome(made)
    assert torch.equal(logits, expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[k], theirs[k], rtol=1e-4, atol=1e-5) for k in theirs)


def test_computing_twice_goes_with_it():
    model, made = pair("Llama")
    _, theirs, _ = outcome(model.train())
    made.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    _, ours, _ = outcome(made.train())
    assert all(torch.allclose(ours[k], theirs[k], rtol=1e-4, atol=1e-6) for k in theirs)


class Clipped(torch.nn.Module):
    """Looks like a norm, and is none."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(32))
        self.eps = 1e-6

    def forward(self, states):
        return self.weight * states.clamp(-1, 1)


def test_other_layers_stay_as_they_are():
    model, _ = pair("Llama")
    model.model.norm = Clipped()
    for layer in model.model.layers:
        layer.mlp.act_fn = torch.nn.Dropout(0.5)
    before = {name: type(m) for name, m in model.named_modules()}
    lean.plug_in(model.eval())
    assert {name: type(m) for name, m in model.named_modules()} == before
    assert "forward" not in vars(model.model.norm)
    assert all("forward" not in vars(layer.mlp) for layer in model.model.layers)
    gpt, made = pair_of_gpt2()
    assert changed(made) == set()
    assert torch.equal(outcome(gpt)[0], outcome(made)[0])


def pair_of_gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=100, n_embd=32, n_head=4, n_layer=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    made = copy.deepcopy(model)
    lean.plug_in(made)
    return model, made
