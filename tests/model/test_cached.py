import pytest
import torch
import transformers

from tunesmith.errors import NotOffered
from tunesmith.model.alone import Alone
from tunesmith.model.cached import NAME, Cached, Chunk
from tunesmith.model.fixed import fix, multiplying

SIZES = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
FAMILIES = {
    "Llama": {},
    "Mistral": {"sliding_window": 5},
    "Qwen2": {},
    "Qwen3": {"head_dim": 8},
    "Gemma": {"head_dim": 8},
    "Gemma2": {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8},
    "Gemma3": {"head_dim": 8, "sliding_window": 6},
    "Phi3": {},
    "SmolLM3": {},
}


def model(family="Llama", **more):
    torch.manual_seed(0)
    name = "Gemma3Text" if family == "Gemma3" else family
    config = getattr(transformers, f"{name}Config")(**SIZES, **FAMILIES[family], **more)
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


def text(length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 100, (length,), generator=generator).tolist()


@torch.inference_mode()
def plain(network, ids):
    """The logits after each token, computed in one go."""
    return network(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def near(ours, theirs):
    return torch.allclose(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_that_go_on_side_by_side_are_computed_as_if_alone(family):
    network, reference = model(family), model(family)
    reads = Cached(network)
    texts = [text(length, seed) for seed, length in enumerate((3, 20, 41, 7))]
    caches = [reads.open(len(ids)) for ids in texts]
    found = [[] for _ in texts]
    done = [0] * len(texts)
    rounds = [(3, 5, 40, 1), (0, 9, 1, 1), *[(1, 1, 1, 1)] * 30]
    texts[0] += text(30, 9)
    for lengths in rounds:
        chunks, whose = [], []
        for i, length in enumerate(lengths):
            ids = texts[i][done[i] : done[i] + length]
            if ids:
                chunks.append(Chunk(cache=caches[i], ids=ids, told=range(len(ids))))
                whose.append(i)
                done[i] += len(ids)
        rows = reads.forward(chunks)
        for i, chunk in zip(whose, chunks, strict=True):
            found[i].append(rows[: len(chunk.ids)])
            rows = rows[len(chunk.ids) :]
    for i, parts in enumerate(found):
        assert near(torch.cat(parts), plain(reference, texts[i])[: done[i]])


def test_a_text_that_outgrows_its_room_moves_and_keeps_what_it_has():
    network, reference = model(), model()
    reads = Cached(network)
    texts = [text(100, seed) for seed in range(3)]
    caches = [reads.open(2) for _ in texts]
    starts = (60, 62, 30)
    chunks = [Chunk(cache=c, ids=t[:s]) for c, t, s in zip(caches, texts, starts, strict=True)]
    assert reads.forward(chunks).shape == (0, 100)
    for step in range(30):
        rows = reads.forward(
            [
                Chunk(cache=c, ids=[t[s + step]], told=(0,))
                for c, t, s in zip(caches, texts, starts, strict=True)
            ]
        )
    for row, ids, start in zip(rows, texts, starts, strict=True):
        assert near(row, plain(reference, ids[: start + 30])[-1])
    assert caches[0].block is caches[1].block is not caches[2].block


def test_a_text_may_begin_with_one_token_beside_others_that_go_on():
    network, reference = model(), model()
    reads = Cached(network)
    old, new = text(9, 1), text(4, 2)
    first, second = reads.open(len(old)), reads.open(len(new))
    reads.forward([Chunk(cache=first, ids=old[:-1], told=())])
    rows = [reads.forward([Chunk(cache=first, ids=old[-1:], told=(0,))])]
    rows += [reads.forward([Chunk(cache=second, ids=[token], told=(0,))]) for token in new]
    assert near(rows[0], plain(reference, old)[-1:])
    assert near(torch.cat(rows[1:]), plain(reference, new))


def test_one_that_leaves_gives_its_slot_to_the_last():
    network, reference = model(), model()
    reads = Cached(network)
    texts = [text(12, seed) for seed in range(4)]
    caches = [reads.open(10) for _ in texts]
    reads.forward([Chunk(cache=c, ids=t[:10]) for c, t in zip(caches, texts, strict=True)])
    step = [Chunk(cache=c, ids=t[10:11], told=(0,)) for c, t in zip(caches, texts, strict=True)]
    reads.forward(step)
    reads.close(caches.pop(1))
    del texts[1]
    assert [cache.slot for cache in caches] == [0, 2, 1]
    rows = reads.forward(
        [Chunk(cache=c, ids=t[11:12], told=(0,)) for c, t in zip(caches, texts, strict=True)]
    )
    for row, ids in zip(rows, texts, strict=True):
        assert near(row, plain(reference, ids)[-1])
    block = caches[0].block
    for cache in caches:
        reads.close(cache)
    assert not block.keys


def test_a_block_that_has_emptied_gives_memory_back():
    network, reference = model(), model()
    reads = Cached(network)
    prompt = text(9)
    first = reads.open(9)
    reads.forward([Chunk(cache=first, ids=prompt)])
    caches = [reads.copy(first) for _ in range(20)]
    slots = len(caches[0].block.keys[0])
    for cache in caches[:3] + caches[4:]:
        reads.close(cache)
    assert slots >= 20
    assert len(caches[3].block.keys[0]) <= 4
    rows = reads.forward([Chunk(cache=caches[3], ids=[5], told=(0,))])
    assert near(rows[0], plain(reference, [*prompt, 5])[-1])


def test_some_of_those_in_a_block_may_go_on_alone():
    network, reference = model(), model()
    reads = Cached(network)
    texts = [text(8, seed) for seed in range(3)]
    caches = [reads.open(5) for _ in texts]
    reads.forward([Chunk(cache=c, ids=t[:5]) for c, t in zip(caches, texts, strict=True)])
    reads.forward([Chunk(cache=c, ids=t[5:6]) for c, t in zip(caches, texts, strict=True)])
    reads.forward([Chunk(cache=caches[2], ids=texts[2][6:7])])
    rows = reads.forward(
        [Chunk(cache=caches[2], ids=texts[2][7:], told=(0,)),
         Chunk(cache=caches[0], ids=texts[0][6:8], told=(0, 1))]
    )  # fmt: skip
    assert near(rows[0], plain(reference, texts[2])[-1])
    assert near(rows[1:], plain(reference, texts[0])[6:])


@pytest.mark.parametrize("family", ["Llama", "Gemma3", "Gemma2"])
@pytest.mark.parametrize("kind", [Cached, Alone])
def test_a_tree_is_many_ways_to_go_on_and_is_not_kept(family, kind):
    network, reference = model(family), model(family)
    reads = kind(network)
    prompt = text(9)
    cache = reads.open(len(prompt) + 5)
    reads.forward([Chunk(cache=cache, ids=prompt)])
    ids, parents = [5, 6, 7, 8, 9], [-1, 0, 0, -1, 2]
    ways = [[5], [5, 6], [5, 7], [8], [5, 7, 9]]
    for _ in range(2):
        tree = Chunk(cache=cache, ids=ids, parents=parents, told=range(5))
        for row, way in zip(reads.forward([tree]), ways, strict=True):
            assert near(row, plain(reference, prompt + way)[-1])
    row = reads.forward([Chunk(cache=cache, ids=[11], told=(0,))])[0]
    assert near(row, plain(reference, [*prompt, 11])[-1])


@pytest.mark.parametrize("kind", [Cached, Alone])
def test_a_copy_goes_its_own_way(kind):
    network, reference = model(), model()
    reads = kind(network)
    prompt = text(9)
    one = reads.open(len(prompt))
    reads.forward([Chunk(cache=one, ids=prompt)])
    other = reads.copy(one)
    rows = reads.forward(
        [Chunk(cache=one, ids=[5], told=(0,)), Chunk(cache=other, ids=[6], told=(0,))]
    )
    assert near(rows[0], plain(reference, [*prompt, 5])[-1])
    assert near(rows[1], plain(reference, [*prompt, 6])[-1])


def test_the_logits_come_in_the_order_of_the_chunks():
    network, reference = model(), model()
    reads = Cached(network)
    prompts = [text(4, 1), text(9, 2), text(6, 3)]
    caches = [reads.open(10) for _ in prompts]
    reads.forward([Chunk(cache=caches[1], ids=prompts[1][:8])])
    rows = reads.forward(
        [
            Chunk(cache=caches[0], ids=prompts[0], told=(3,)),
            Chunk(cache=caches[1], ids=prompts[1][8:], told=(0,)),
            Chunk(cache=caches[2], ids=prompts[2], told=(1, 5)),
        ]
    )
    assert near(rows[0], plain(reference, prompts[0])[-1])
    assert near(rows[1], plain(reference, prompts[1])[-1])
    assert near(rows[2:], plain(reference, prompts[2])[[1, 5]])


def test_bytes_of_a_token_are_those_of_all_layers():
    assert Cached(model()).bytes_per_token == 3 * 2 * 2 * 8 * 4


def test_models_that_cannot_are_told_apart_and_left_as_they_were():
    sinks = transformers.GptOssForCausalLM(
        transformers.GptOssConfig(**SIZES, num_local_experts=2, num_experts_per_tok=1, head_dim=8)
    )
    before = sinks.config._attn_implementation
    with pytest.raises(NotOffered, match="s_aux"):
        Cached(sinks)
    assert sinks.config._attn_implementation == before
    mixing = model()
    mixing.model.layers[0].mlp.register_forward_hook(lambda m, given, out: out + out.roll(1, 1))
    with pytest.raises(NotOffered, match="something else"):
        Cached(mixing)
    assert mixing.config._attn_implementation != NAME


def test_what_has_no_plug_goes_on_with_its_own_cache():
    layers = {**SIZES, "num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]}
    torch.manual_seed(0)
    network = transformers.Lfm2ForCausalLM(transformers.Lfm2Config(**layers)).eval()
    with pytest.raises(NotOffered, match="conv"):
        Cached(network)
    reads = Alone(network)
    texts = [text(10, 1), text(13, 2)]
    caches = [reads.open(13) for _ in texts]
    first = reads.forward(
        [Chunk(cache=c, ids=t[:9], told=range(9)) for c, t in zip(caches, texts, strict=True)]
    )
    last = reads.forward([Chunk(cache=caches[1], ids=texts[1][9:], told=(0, 3))])
    assert near(first, torch.cat([plain(network, t[:9]) for t in texts]))
    assert near(last, plain(network, texts[1])[[9, 12]])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fixed_layers_compute_what_the_plain_ones_do(precision):
    network, reference = model(), model()
    fix(network, precision)
    ids = text(12)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected = plain(reference, ids)
    with multiplying(network, precision):
        found = plain(network, ids)
    assert found.dtype == expected.dtype
    limit = 1e-5 if precision == "fp32" else 2e-2
    assert (found - expected).abs().max().item() < limit
    rows = Cached(network, precision=precision)
    cache = rows.open(12)
    in_parts = [rows.forward([Chunk(cache=cache, ids=[token], told=(0,))]) for token in ids]
    assert (torch.cat(in_parts) - expected).abs().max().item() < 3 * limit
    assert network.lm_head.weight.shape == (100, 32)
    assert (
        network.model.layers[0]
        .mlp.up_proj.weight.float()
        .equal(reference.model.layers[0].mlp.up_proj.weight.to(network.lm_head.kind).float())
    )
