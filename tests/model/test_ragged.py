import pytest
import torch
import transformers
from torch.nn import functional

from tunesmith.errors import NotOffered
from tunesmith.model import ragged

LENGTHS = (3, 9, 9, 11)
GROUPS = ((1, 3), (2, 9), (1, 11))
SIZES = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def states():
    torch.manual_seed(0)
    shape = (1, 4, sum(LENGTHS), 8), (1, 2, sum(LENGTHS), 8), (1, 2, sum(LENGTHS), 8)
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shape]


def plain(query, key, value, *, window=None, cap=None, scale=8**-0.5):
    """All tokens at once, with a mask that says who sees whom."""
    text = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    i, j = torch.arange(len(text))[:, None], torch.arange(len(text))[None]
    seen = (text[:, None] == text[None]) & (j <= i) & (i - j < (window or len(text)))
    key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    scores = query @ key.mT * scale
    if cap is not None:
        scores = functional.tanh(scores / cap) * cap
    return (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("window", [None, 1, 5, 11])
@pytest.mark.parametrize("cap", [None, 0.7])
@pytest.mark.parametrize("scale", [None, 0.2])
def test_it_is_masked_attention_without_the_mask(window, cap, scale):
    query, key, value = states()
    module = torch.nn.Identity()
    out, _ = ragged.attend(
        module, query, key, value, None,
        groups=GROUPS, sliding_window=window, softcap=cap, scaling=scale,
    )  # fmt: skip
    expected = plain(query, key, value, window=window, cap=cap, scale=scale or 8**-0.5)
    assert torch.allclose(out, expected, rtol=0, atol=1e-12)
    ours = torch.autograd.grad(out.square().sum(), (query, key, value))
    theirs = torch.autograd.grad(expected.square().sum(), (query, key, value))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_without_groups_every_row_is_a_text():
    query, key, value = (x.view(2, x.shape[1], 16, 8) for x in states())
    out, _ = ragged.attend(torch.nn.Identity(), query, key, value, None)
    expected = functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=True
    )
    assert torch.allclose(out, expected.transpose(1, 2))


@pytest.mark.parametrize("options", [{"s_aux": torch.ones(4)}, {"is_causal": False}])
def test_what_it_does_not_compute_is_refused(options):
    with pytest.raises(NotOffered, match="its attention has"):
        ragged.attend(torch.nn.Identity(), *states(), None, groups=GROUPS, **options)


def test_a_mask_is_refused():
    mask = torch.ones(1, 1, 35, 35, dtype=torch.bool)
    with pytest.raises(NotOffered, match="a mask of its own"):
        ragged.attend(torch.nn.Identity(), *states(), mask, groups=GROUPS)


@pytest.mark.parametrize("family", ["Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Phi3", "GPT2"])
def test_common_families_take_it(family):
    sizes = SIZES if family != "GPT2" else {"vocab_size": 100, "n_embd": 32, "n_head": 4}
    more = {"sliding_window": 3} if family == "Mistral" else {}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, f"{family}Config")(**sizes, **more, **ends)
    name = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    assert ragged.plug_in(getattr(transformers, name)(config)) == ""


def test_a_model_whose_layers_mix_tokens_is_found_out_and_left_as_it_was():
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).train()
    before = model.config._attn_implementation

    def leak(module, given, out):
        return out + out.roll(1, 1)

    model.model.layers[0].mlp.register_forward_hook(leak)
    assert ragged.plug_in(model) == "its texts see each other"
    assert model.config._attn_implementation == before
    assert model.training


def test_other_kinds_of_models_are_told_apart():
    sinks = transformers.GptOssForCausalLM(
        transformers.GptOssConfig(**SIZES, num_local_experts=2, num_experts_per_tok=1, head_dim=8)
    )
    assert "s_aux" in ragged.plug_in(sinks)
    layers = transformers.Lfm2ForCausalLM(
        transformers.Lfm2Config(**SIZES, layer_types=["conv", "full_attention"])
    )
    assert ragged.plug_in(layers) == "it has layers of another kind: conv"
