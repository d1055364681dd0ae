"""Steps of the causal learner against a plain loop: one row at a time, all logits, in float64."""

import json

import pytest
import torch
from conftest import chats
from torch.nn import functional

from tunesmith.errors import DataError
from tunesmith.model import causal
from tunesmith.training.causal import rows as examples
from tunesmith.training.causal.fit import _objective
from tunesmith.training.causal.learner import CausalLearner, Looks, Shape, noisy
from tunesmith.training.causal.rows import Rows, dev_slice, rendered
from tunesmith.training.job import Job

NEAR = 1e-5


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def opened(folder, *, kind=torch.float64, method="full"):
    job = Job.read(folder)
    model = causal.from_base(job.base, job.options, method=method, precision="fp32")
    if method != "qlora":
        model.network.to(kind)
    return job, model


def learner_of(job, model, *, packed, batch_size=8, budget=120):
    pairs = job.objective == "dpo"
    rows = examples.read(job.training_file, model, part="train", pairs=pairs)
    objective = _objective(job, model, packed=packed)
    if pairs:
        objective.reference |= {("train", line): torch.tensor([-3.0, -2.0]) for line in rows.lines}
    shape = Shape(batch_size=batch_size, budget=budget)
    return CausalLearner(job, model, objective, shape, Looks(fitting=rows, dev=rows, valid=None))


def log_prob(network, text):
    """Of the trained tokens of one row."""
    logits = network(input_ids=torch.tensor([text.ids])).logits[0, :-1]
    own = logits.log_softmax(-1).gather(1, torch.tensor(text.ids)[1:, None])[:, 0]
    return own[torch.tensor(text.trained)[1:]]


def plain(network, rows):
    """The mean loss of rows."""
    texts = rows.texts
    if len(texts[0]) == 1:
        return -torch.cat([log_prob(network, text) for (text,) in texts]).mean()
    margins = [
        0.1 * ((log_prob(network, good).sum() + 3) - (log_prob(network, bad).sum() + 2))
        for good, bad in texts
    ]
    return -functional.logsigmoid(torch.stack(margins)).mean()


TALKS = [
    {
        "messages": [
            {"role": "system", "content": "You answer in one sentence."},
            {"role": "user", "content": "The parcel is late again."},
            {"role": "assistant", "content": "I am sorry.", "weight": 0},
            {"role": "user", "content": "And nobody answers the phone!"},
            {"role": "assistant", "content": "Could you tell me the number?", "weight": 1},
            {"role": "user", "content": "48213"},
            {"role": "assistant", "content": "Thank you! " * 5},
        ]
    },
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Bonjour"}]},
]
CALL = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
TOOLS = {
    "messages": [
        {"role": "user", "content": "What is the weather like in Paris?"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": CALL}]},
        {"role": "tool", "content": "sunny", "tool_call_id": "a"},
        {"role": "assistant", "content": "It is sunny in Paris."},
    ],
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {}}}],
}


@pytest.mark.parametrize("base", ["llama", "qwen3", "gemma"])
@pytest.mark.parametrize("objective", ["supervised", "dpo"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("budget", [60, 10_000], ids=["accumulated", "at once"])
def test_a_step_has_the_plain_loss_and_its_gradients(causal_job, base, objective, packed, budget):
    # Qwen's template leaves out the reasoning of earlier turns; it cannot train these.
    more = [] if objective == "dpo" else [*TALKS, *([TOOLS] if base != "gemma" else [])]
    folder = causal_job(
        [*more, *chats(12, pairs=objective == "dpo")] if base != "qwen3" else
        [*more[1:], *chats(12, pairs=objective == "dpo")],
        base=base, objective=objective,
    )  # fmt: skip
    job, model = opened(folder)
    learner = learner_of(job, model, packed=packed, budget=budget)
    step = learner.steps(0)[0]
    assert (len(step) > 1) == (budget == 60)
    loss, _ = learner.gradients(step)
    ours = {name: p.grad.clone() for name, p in model.trained().items()}
    model.network.zero_grad()
    _, reference = opened(folder)
    with reference.answering() as network:
        network.train()
        expected = plain(network, learner.fitting.take([i for batch in step for i in batch]))
        expected.backward()
    assert loss == pytest.approx(expected.item(), rel=NEAR)
    for name, parameter in reference.trained().items():
        size = parameter.grad.abs().max()
        assert (ours[name] - parameter.grad).abs().max() <= NEAR * size, name


def test_an_adapter_alone_gets_gradients_and_begins_as_the_base(causal_job):
    folder = causal_job(lora_rank=4)
    job, model = opened(folder, method="lora", kind=torch.float32)
    names = set(model.trained())
    assert names and all("lora_" in name for name in names)
    assert sum(p.numel() for p in model.trained().values()) < 0.2 * model.num_parameters
    learner = learner_of(job, model, packed=True)
    _, base = opened(folder, kind=torch.float32)
    untouched = learner_of(job, base, packed=True)
    assert learner.look() == pytest.approx(untouched.look(), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}])
def test_activations_computed_twice_give_the_same_gradients(causal_job, options):
    folder = causal_job(lora_rank=4, **options)
    found = []
    for twice in (False, True):
        torch.manual_seed(3)
        job, model = opened(folder, method="lora", kind=torch.float32)
        model.compute_twice(twice)
        learner = learner_of(job, model, packed=True)
        found.append(learner.gradients(learner.steps(0)[0])[0])
        found.append({n: p.grad for n, p in model.trained().items()})
    assert found[0] == found[2]
    for name, grad in found[1].items():
        assert torch.equal(grad, found[3][name]), name


def test_noise_is_as_large_as_a_text_is_short(causal_job):
    _, model = opened(causal_job(), kind=torch.float32)
    embeddings, width = model.network.get_input_embeddings(), model.network.config.hidden_size
    seen = []
    handle = (
        model.network.get_decoder()
        .layers[0]
        .register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    )
    ids = torch.arange(1, 21)[None]
    groups, positions = ((1, 16), (1, 4)), torch.tensor([[*range(16), *range(4)]])
    with noisy(model.network, 5.0):
        model.network.get_decoder()(
            input_ids=ids, position_ids=positions, groups=groups, use_cache=False
        )
    model.network.get_decoder()(input_ids=ids, position_ids=positions, groups=groups)
    handle.remove()
    added = (seen[0] - seen[1])[0].abs()
    assert torch.equal(seen[1], embeddings(ids))
    for rows, length in ((slice(0, 16), 16), (slice(16, 20), 4)):
        limit = 5 / (length * width) ** 0.5
        assert 0.9 * limit < added[rows].max() <= limit * 1.001


def test_of_few_rows_none_is_kept_aside_and_of_many_a_tenth():
    assert dev_slice(19, seed=1, patience=3) == ([], list(range(19)))
    assert dev_slice(900, seed=1, patience=0)[0] == []
    dev, rest = dev_slice(2000, seed=1, patience=3)
    assert len(dev) == 200 and sorted([*dev, *rest]) == list(range(2000))
    assert dev_slice(2000, seed=1, patience=3)[0] == dev != dev_slice(2000, seed=2, patience=3)[0]
    assert len(dev_slice(10**5, seed=1, patience=3)[0]) == 500


@pytest.mark.parametrize(
    ("example", "options", "says"),
    [
        (
            {"messages": [*chats(1)[0]["messages"][:-1],
                          {"role": "assistant", "content": "x", "weight": 0}]},
            {}, "Nothing would be learnt from the example in line 3. Give each an answer",
        ),
        (
            {"messages": [{"role": "user", "content": "late " * 100},
                          {"role": "assistant", "content": "x"}]},
            {"max_length": 64}, "begins beyond max_length is cut off whole",
        ),
    ],
)  # fmt: skip
def test_a_row_that_trains_nothing_is_refused_with_its_line(causal_job, example, options, says):
    folder = causal_job([*chats(2), example, *chats(9)], **options)
    job, model = opened(folder)
    with pytest.raises(DataError, match="line 3") as refused:
        examples.read(job.training_file, model, part="train", pairs=False)
    assert says in str(refused.value)


def test_what_is_cut_is_told_by_line(causal_job):
    long = {"messages": [{"role": "user", "content": "late"},
                         {"role": "assistant", "content": "again " * 90}]}  # fmt: skip
    folder = causal_job([*chats(2), long, *chats(9)], max_length=64)
    job, model = opened(folder)
    rows = examples.read(job.training_file, model, part="train", pairs=False)
    whole = len(rendered(opened(causal_job())[1], long).ids)
    assert rows.cut == [(3, whole - 64)]
    assert isinstance(rows, Rows) and json.dumps(rows.cut)


def test_gradients_pass_through_weights_of_4_bits(causal_job):
    """They are those of the same adapter on the weights that the 4 bits stand for."""
    pytest.importorskip("bitsandbytes")
    folder = causal_job(lora_rank=4, method="qlora")
    found = []
    for bits in (4, 32):
        torch.manual_seed(3)
        job, model = opened(folder, method="qlora", kind=torch.float32)
        learner = learner_of(job, model, packed=True)
        learner.look()  # upon which they must not be laid out for answering alone
        if bits == 32:
            model.network.dequantize()
        for name, parameter in model.trained().items():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02, generator=torch.manual_seed(5))
        loss, _ = learner.gradients(learner.steps(0)[0])
        trained = model.trained().items()
        found.append((loss, {n: p.grad for n, p in trained if "lora_" in n}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for name, grad in found[1][1].items():
        assert torch.allclose(found[0][1][name], grad, atol=1e-3 * grad.abs().max()), name
