import json

import lowrank_adapters
import pytest
import tiny_causal
import torch
from safetensors.torch import load_file, save_file

from tunesmith.errors import ConfigError, NotFound, NotOffered
from tunesmith.model.cached import Cached, Chunk
from tunesmith.model.causal import load_network
from tunesmith.model.fixed import fix
from tunesmith.model.lowrank import Adapters

KINDS = {
    "lora": {"r": 4, "lora_alpha": 12},
    "rslora": {
        "r": 4,
        "lora_alpha": 6,
        "use_rslora": True,
        "target_modules": ["q_proj", "up_proj"],
    },
    "dora": {"r": 3, "lora_alpha": 6, "use_dora": True},
    "patterns": {
        "r": 4,
        "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6},
        "alpha_pattern": {"q_proj": 5, r".*\.1\.self_attn\.v_proj": 9},
    },
    "head": {"r": 2, "target_modules": ["lm_head", "o_proj"]},
}
IDS = list(range(20, 45))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_causal.tiny(tmp_path_factory.mktemp("base") / "llama", "llama")


@torch.inference_mode()
def save_adapter(base, folder, seed=0, **options):
    """Write an adapter; PEFT's own logits with it."""
    model = lowrank_adapters.save_adapter(base, folder, seed, **options)
    return model(input_ids=torch.tensor([IDS])).logits[0]


def shared(base):
    network = load_network(base, precision="fp32").requires_grad_(False)
    fix(network, "fp32")
    adapters = Adapters(network)
    return Cached(network, adapters), adapters


def read(reads, *adapters):
    """The logits of one text with each adapter, read in one pass."""
    caches = [reads.open(len(IDS)) for _ in adapters]
    rows = reads.forward(
        [
            Chunk(cache=cache, ids=IDS, told=range(len(IDS)), adapter=adapter)
            for cache, adapter in zip(caches, adapters, strict=True)
        ]
    )
    for cache in caches:
        reads.close(cache)
    return rows.split(len(IDS))


def near(ours, theirs):
    return torch.allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_adds_what_it_adds_in_peft(base, tmp_path, kind):
    expected = save_adapter(base, tmp_path, **KINDS[kind])
    reads, adapters = shared(base)
    (without,) = read(reads, None)
    (found,) = read(reads, adapters.load(tmp_path, torch.float32))
    assert near(found, expected)
    assert not torch.allclose(without, expected, atol=1e-2)


def test_texts_with_different_adapters_stand_in_one_pass(base, tmp_path):
    expected = {k: save_adapter(base, tmp_path / k, i, **KINDS[k]) for i, k in enumerate(KINDS)}
    reads, adapters = shared(base)
    (without,) = read(reads, None)
    loaded = {kind: adapters.load(tmp_path / kind, torch.float32) for kind in KINDS}
    order = ["dora", None, "lora", "dora", "patterns", None, "rslora", "head"]
    for kind, found in zip(order, read(reads, *map(loaded.get, order)), strict=True):
        assert near(found, without if kind is None else expected[kind])
    caches = [reads.open(len(IDS)) for _ in order]
    for token in IDS:
        rows = reads.forward(
            [
                Chunk(cache=cache, ids=[token], told=(0,), adapter=loaded.get(kind))
                for cache, kind in zip(caches, order, strict=True)
            ]
        )
    for kind, row in zip(order, rows, strict=True):
        assert near(row, (without if kind is None else expected[kind])[-1])


def test_layers_with_a_bias_keep_it(tmp_path):
    import transformers

    sizes = {"vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 40,
             "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip
    network = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes))
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)
    network.save_pretrained(tmp_path / "base")
    expected = save_adapter(tmp_path / "base", tmp_path / "dora", **KINDS["dora"])
    reads, adapters = shared(tmp_path / "base")
    assert near(read(reads, adapters.load(tmp_path / "dora", torch.float32))[0], expected)


def test_layers_kept_transposed_take_adapters(tmp_path):
    import transformers

    config = transformers.GPT2Config(vocab_size=600, n_embd=32, n_head=4, n_layer=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    options = {**KINDS["dora"], "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}
    expected = save_adapter(tmp_path / "base", tmp_path / "dora", **options)
    reads, adapters = shared(tmp_path / "base")
    assert near(read(reads, adapters.load(tmp_path / "dora", torch.float32))[0], expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "bias"),
        ({"target_modules": ["embed_tokens"]}, "lora_embedding"),
    ],
)
def test_what_is_not_served_is_refused(base, tmp_path, options, said):
    save_adapter(base, tmp_path, r=2, **options)
    _, adapters = shared(base)
    with pytest.raises(NotOffered, match=said):
        adapters.load(tmp_path, torch.float32)


def test_an_adapter_of_another_base_model_is_refused(base, tmp_path):
    save_adapter(base, tmp_path, r=2)
    _, adapters = shared(base)
    path = tmp_path / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name.replace("layers.1", "layers.7"): w for name, w in weights.items()}, path)
    with pytest.raises(ConfigError, match=r"layers\.7.* does not have"):
        adapters.load(tmp_path, torch.float32)
    save_file({n: w[:, :8].contiguous() if "lora_A" in n else w for n, w in weights.items()}, path)
    with pytest.raises(ConfigError, match="8 inputs"):
        adapters.load(tmp_path, torch.float32)
    save_file({n: w for n, w in weights.items() if "lora_A" not in n}, path)
    with pytest.raises(ConfigError, match="two factors"):
        adapters.load(tmp_path, torch.float32)


def test_files_that_are_gone_or_damaged_are_named(base, tmp_path):
    _, adapters = shared(base)
    with pytest.raises(NotFound, match="gone"):
        adapters.load(tmp_path, torch.float32)
    save_adapter(base, tmp_path, r=2)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match="cannot be read"):
        adapters.load(tmp_path, torch.float32)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))
    with pytest.raises((ConfigError, NotOffered)):
        adapters.load(tmp_path, torch.float32)
