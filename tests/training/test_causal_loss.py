"""The chunked losses against a plain one: one row at a time, all logits, no packing, in float64."""

import random

import pytest
import torch
import transformers
from tiny_causal import ARCHITECTURES, tiny
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tunesmith.errors import NotOffered
from tunesmith.model.ragged import plug_in
from tunesmith.model.rendering import Rendered, Renderer
from tunesmith.training.causal import causal_loss
from tunesmith.training.causal.causal_loss import (
    Head,
    answers,
    cross_entropy,
    dpo,
    log_probs,
    reference,
)
from tunesmith.training.causal.packs import Batch, num_trained

VOCABULARY, WIDTH = 600, 64
NEAR = 1e-6
"""Of the largest gradient; norms compute in fp32 whatever their input."""

SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 96,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ODD = {
    "gemma2": ("Gemma2", {"head_dim": 16, "sliding_window": 16, "final_logit_softcapping": 0.5}),
    "granite": ("Granite", {"logits_scaling": 0.25}),
    "cohere": ("Cohere", {"logit_scale": 2.0}),
    "phi": ("Phi", {}),
}
"""Heads with a soft cap, two scales and a bias."""


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small only wait for a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("causal")
    return {name: tiny(root / name, name) for name in ARCHITECTURES}


@pytest.fixture
def load(folders):
    def load(name, kind=torch.float64):
        if name in folders:
            auto = transformers.AutoModelForCausalLM
            return auto.from_pretrained(folders[name], dtype=kind, local_files_only=True).train()
        family, settings = ODD[name]
        config = getattr(transformers, f"{family}Config")(**SIZES, **settings)
        torch.manual_seed(0)
        model = getattr(transformers, f"{family}ForCausalLM")(config)
        with torch.no_grad():  # small random logits would hide what is done to them
            model.get_output_embeddings().weight.mul_(20)
        return model.to(kind).train()

    return load


def text(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}
CHATS = [
    {"messages": [text("user", "How do I reset it?"), text("assistant", "Hold the button.")]},
    {
        "messages": [
            text("system", "You answer in one sentence."),
            text("user", "The parcel is late again."),
            text("assistant", "I am sorry to hear that.", weight=0),
            text("user", "And nobody answers the phone!"),
            text("assistant", "Could you tell me the order number?", weight=1),
        ]
    },
    {
        "messages": [
            text("user", "Translate: good morning"),
            text("assistant", "Bonjour"),
            text("user", "and good night"),
            text("assistant", "Bonne nuit, mes amis. " * 4),
            text("user", "thank you"),
            text("assistant", "You are welcome", weight=0),
        ]
    },
    {
        "messages": [
            text("user", "What is the weather like in Paris?"),
            {"role": "assistant", "tool_calls": [CALL]},
            text("tool", "sunny, 23 degrees", tool_call_id="c1"),
            text("assistant", "It is sunny in Paris."),
        ],
        "tools": [TOOL],
    },
]
PAIRS = [
    {
        "input": {"messages": chat["messages"][:cut]},
        "preferred_output": [text("assistant", better)],
        "non_preferred_output": [text("assistant", worse)],
    }
    for chat, cut, better, worse in (
        (CHATS[0], 1, "Hold the button for five seconds.", "No."),
        (CHATS[1], 4, "What is your order number?", "The courier left the box at the wrong door."),
        (CHATS[2], 3, "Bonne nuit.", "Good night, and thank you for asking me that."),
    )
]


def chats(folders, name):
    renderer = Renderer(folders[name], max_length=512)
    return [renderer.example(c) for c in CHATS if name != "gemma" or "tools" not in c]


def noise(*lengths):
    draw = random.Random(1)
    return [
        Rendered([draw.randrange(VOCABULARY) for _ in range(n)], [draw.random() < 0.5] * n, 0)
        if n % 2
        else Rendered(
            [draw.randrange(VOCABULARY) for _ in range(n)], [i % 3 > 0 for i in range(n)], 0
        )
        for n in lengths
    ]


def batches(rows, *, packed, num, step=1):
    """`rows` in `num` micro-batches, cut at multiples of `step`."""
    make = Batch.packed if packed else Batch.padded
    size = -(-len(rows) // (num * step)) * step
    return [make(rows[i : i + size]) for i in range(0, len(rows), size)]


def plain_log_probs(model, row):
    """log p of each trained token of one row, from all its logits."""
    logits = model(input_ids=torch.tensor([row.ids])).logits[0, :-1]
    own = logits.log_softmax(-1).gather(1, torch.tensor(row.ids)[1:, None])[:, 0]
    return own[torch.tensor(row.trained)[1:]]


def plain_loss(model, rows):
    nll = [
        functional.cross_entropy(
            model(input_ids=torch.tensor([row.ids])).logits[0, :-1],
            torch.tensor([i if t else -100 for i, t in zip(row.ids, row.trained, strict=True)])[1:],
            reduction="sum",
        )
        for row in rows
        if any(row.trained[1:])
    ]
    return sum(nll) / sum(map(num_trained, rows))


def gradients(model, *losses):
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return {k: p.grad for k, p in model.named_parameters() if p.requires_grad}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, grad in theirs.items():
        assert (ours[name] - grad).abs().max() <= NEAR * grad.abs().max(), name


def sft(model, rows, *, packed, num):
    """Our losses of each micro-batch."""
    head, total = Head.of(model), sum(map(num_trained, rows))
    for batch in batches(rows, packed=packed, num=num):
        yield cross_entropy(batch.states(model), batch.targets, head, num_trained=total)[0]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("num", [1, 3])
def test_sft_is_the_plain_loss_with_its_gradients(folders, load, name, packed, num):
    model, rows = load(name), chats(folders, name)
    expected = plain_loss(model, rows)
    theirs = gradients(model, expected)
    if packed:
        assert plug_in(model) == ""
    losses = list(sft(model, rows, packed=packed, num=num))
    assert sum(losses).item() == pytest.approx(expected.item(), rel=1e-9)
    assert_same(gradients(model, *losses), theirs)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("num", [1, 3])
def test_dpo_is_the_plain_loss_with_its_gradients(folders, load, name, packed, num):
    model, base = load(name), load(name)
    with torch.no_grad():
        for p in base.parameters():
            p.add_(torch.randn_like(p), alpha=0.02)
    renderer = Renderer(folders[name], max_length=512)
    pairs = [renderer.pair(pair) for pair in PAIRS]
    rows = [row for pair in pairs for row in (pair.preferred, pair.other)]
    own = torch.stack([plain_log_probs(model, row).sum() for row in rows]).view(-1, 2)
    with torch.no_grad():
        other = torch.stack([plain_log_probs(base, row).sum() for row in rows]).view(-1, 2)
    margins = 0.3 * ((own - other)[:, 0] - (own - other)[:, 1])
    expected = -functional.logsigmoid(margins).mean()
    theirs = gradients(model, expected)
    if packed:
        assert plug_in(model) == plug_in(base) == ""
    micro = batches(rows, packed=packed, num=num, step=2)
    known = reference(base, micro, Head.of(base)).split([batch.num_rows for batch in micro])
    head = Head.of(model)
    found = [
        dpo(answers(model, batch, head), kept, beta=0.3, num_pairs=len(pairs))
        for batch, kept in zip(micro, known, strict=True)
    ]
    losses = [preference.loss for preference in found]
    assert sum(losses).item() == pytest.approx(expected.item(), rel=1e-9)
    assert torch.cat([preference.margins for preference in found]).tolist() == pytest.approx(
        margins.tolist(), rel=1e-6
    )
    assert sum(int(preference.hits) for preference in found) == int((margins > 0).sum())
    assert_same(gradients(model, *losses), theirs)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("packed", [True, False])
def test_odd_heads_are_computed_as_the_model_does(load, name, packed):
    model, rows = load(name), noise(5, 30, 12, 12, 41, 7)
    expected = plain_loss(model, rows)
    theirs = gradients(model, expected)
    if packed:
        assert plug_in(model) == ""
    losses = list(sft(model, rows, packed=packed, num=2))
    assert sum(losses).item() == pytest.approx(expected.item(), rel=1e-7)
    assert_same(gradients(model, *losses), theirs)


def test_log_probs_have_gradients_of_their_own(load):
    model, (row,) = load("gemma2"), noise(30)
    head, batch = Head.of(model), Batch.padded([row])
    weights = torch.randn(len(batch.targets), dtype=torch.float64)
    theirs = gradients(model, plain_log_probs(model, row) @ weights)
    ours = gradients(model, log_probs(batch.states(model), batch.targets, head) @ weights)
    assert_same(ours, theirs)


def test_blocks_do_not_change_anything(load, monkeypatch):
    model, rows = load("llama"), noise(30, 41)
    whole = [loss for loss in sft(model, rows, packed=False, num=1)]
    theirs = gradients(model, *whole)
    monkeypatch.setattr(causal_loss, "LOGITS", 7 * VOCABULARY)
    blocks = [loss for loss in sft(model, rows, packed=False, num=1)]
    assert blocks[0].item() == pytest.approx(whole[0].item(), rel=1e-12)
    assert_same(gradients(model, *blocks), theirs)


class Widest(TorchDispatchMode):
    """The most tokens that any tensor has logits of."""

    def __init__(self):
        super().__init__()
        self.tokens = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and VOCABULARY in tensor.shape:
                others = tensor.numel() // VOCABULARY
                if WIDTH not in tensor.shape:  # else it is the weight's
                    self.tokens = max(self.tokens, others)
        return out


@pytest.mark.parametrize("method", ["sft", "dpo", "reference"])
def test_logits_are_never_made_of_more_tokens_than_a_block_has(load, monkeypatch, method):
    monkeypatch.setattr(causal_loss, "LOGITS", 10 * VOCABULARY + 5)
    model = load("llama", torch.float32)
    head, batch = Head.of(model), Batch.padded(noise(31, 30, 41, 24))
    assert len(batch.targets) > 30
    with Widest() as widest:
        if method == "sft":
            loss, _ = cross_entropy(batch.states(model), batch.targets, head, num_trained=9)
            loss.backward()
        elif method == "dpo":
            dpo(answers(model, batch, head), torch.zeros(4), beta=0.1, num_pairs=2).loss.backward()
        else:
            reference(model, [batch], head)
    assert 0 < widest.tokens <= 10


def test_nothing_of_a_blocks_size_is_kept_for_the_gradients(load):
    model = load("llama", torch.float32)
    head, batch = Head.of(model), Batch.padded(noise(31, 30))
    states, kept = batch.states(model), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        log_probs(states, batch.targets, head)
        cross_entropy(states, batch.targets, head, num_trained=9)
    assert all(VOCABULARY not in shape for shape in kept)


def test_a_frozen_head_gets_no_gradient(load, monkeypatch):
    model, rows = load("llama"), noise(30, 41)
    theirs = gradients(model, plain_loss(model, rows))
    assert theirs.pop("lm_head.weight").abs().max() > 0
    model.lm_head.requires_grad_(False)
    products = []
    adds = causal_loss._add
    monkeypatch.setattr(
        causal_loss, "_add", lambda grads, *rest: (products.append(grads[1]), adds(grads, *rest))
    )
    assert_same(gradients(model, *sft(model, rows, packed=False, num=1)), theirs)
    assert products == [None]


def test_guesses_are_counted(load):
    model, rows = load("llama"), noise(30, 41)
    batch, head = Batch.padded(rows), Head.of(model)
    with torch.no_grad():
        logits = head.logits(batch.states(model))
        targets = batch.targets.clone()
        targets[::3] = logits.argmax(1)[::3]
        loss, hits = cross_entropy(batch.states(model), targets, head, num_trained=len(targets))
    assert int(hits) == int((logits.argmax(1) == targets).sum()) >= len(targets) // 3
    assert loss.item() == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-9)


def test_rows_without_trained_tokens_cost_nothing_and_break_nothing(load):
    model = load("llama")
    rows = [Rendered([1, 2, 3], [True, False, False], 0)]
    batch, head = Batch.padded(rows), Head.of(model)
    loss, hits = cross_entropy(batch.states(model), batch.targets, head, num_trained=5)
    assert (loss.item(), int(hits)) == (0, 0)
    assert all(not grad.any() for grad in gradients(model, loss).values())
    assert answers(model, batch, head).tolist() == [0]


@pytest.mark.parametrize("how", ["autocast", "whole"])
def test_products_may_be_in_bf16(load, how):
    rows = noise(30, 41)
    exact = load("llama", torch.float32)
    expected = plain_loss(exact, rows)
    theirs = gradients(exact, expected)
    model = load("llama", torch.float32 if how == "autocast" else torch.bfloat16)
    head, batch = Head.of(model), Batch.padded(rows)
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        loss, _ = cross_entropy(
            batch.states(model), batch.targets, head, num_trained=len(batch.targets)
        )
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=5e-3)
    ours = gradients(model, loss)
    assert ours["lm_head.weight"].dtype == model.lm_head.weight.dtype
    error = (ours["lm_head.weight"].float() - theirs["lm_head.weight"]).norm()
    assert 0 < error < 0.02 * theirs["lm_head.weight"].norm()


class Adapter:
    """A low-rank addition to one product, that can be switched off."""

    def __init__(self, layer):
        kind = layer.weight.dtype
        self.down = torch.randn(2, layer.in_features, dtype=kind).mul_(0.1).requires_grad_()
        self.up = torch.zeros(layer.out_features, 2, dtype=kind, requires_grad=True)
        self.on = True
        layer.register_forward_hook(self)

    def __call__(self, layer, given, out):
        return out + given[0] @ self.down.T @ self.up.T if self.on else out


def test_of_an_adapter_the_base_is_the_reference(load):
    model, rows = load("qwen3").requires_grad_(False), noise(31, 30, 41, 24)
    adapter, head = Adapter(model.model.layers[1].self_attn.q_proj), Head.of(model)
    batch = Batch.padded(rows)
    adapter.on = False
    known = reference(model, [batch], head)
    assert not known.requires_grad
    adapter.on = True
    first = dpo(answers(model, batch, head), known, beta=0.1, num_pairs=2)
    assert first.loss.item() == pytest.approx(0.6931471805599453, rel=1e-9)
    assert first.margins.tolist() == [0, 0]
    first.loss.backward()
    with torch.no_grad():
        adapter.up -= 100 * adapter.up.grad
    second = dpo(answers(model, batch, head), known, beta=0.1, num_pairs=2)
    assert second.loss < first.loss
    assert second.margins.sum() > 0


def test_the_reference_has_no_dropout(load):
    model = load("llama")
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    batch, head = Batch.padded(noise(31, 30)), Head.of(model)
    assert torch.equal(reference(model, [batch], head), reference(model, [batch], head))
    assert model.training
    assert not torch.equal(answers(model, batch, head), reference(model, [batch], head))


def test_a_head_that_is_not_understood_is_refused(load):
    model = load("llama")
    model.config.logits_scaling = 2.0  # which Llama does not do
    with pytest.raises(NotOffered, match="output layer"):
        Head.of(model)
    model = load("qwen3")
    model.lm_head = torch.nn.Sequential(model.lm_head, torch.nn.Identity())
    with pytest.raises(NotOffered, match="leave the output layer out"):
        Head.of(model)
    assert model.training
