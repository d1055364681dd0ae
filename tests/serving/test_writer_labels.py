import dataclasses
import random

import pytest
import tiny_causal
import torch
from causal_desk import GREEDY, HELLO, Asking

from tunesmith.errors import ConfigError, NotOffered
from tunesmith.model.cards import CausalCard
from tunesmith.model.causal import load_network
from tunesmith.model.rendering import Renderer
from tunesmith.serving.causal import labels
from tunesmith.serving.causal.labels import Comparison

LABELS = ("a", "ab", "billing", "billing address", "delivery", "东京")


def card(**more):
    return CausalCard(
        base_model="tiny", base_folder="", method="full", max_length=64, labels=LABELS, **more
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    folders = {name: tiny_causal.tiny(made / name, name) for name in tiny_causal.ARCHITECTURES}
    for folder in folders.values():
        card().save(folder)
    return folders


@pytest.fixture(scope="module")
def asking():
    return Asking(max_loaded=3)


@torch.inference_mode()
def plain(folder, messages):
    """The labels' log-probabilities, each read in full behind the prompt."""
    network, renderer = load_network(folder, precision="fp32"), Renderer(folder, max_length=512)
    prompt = renderer.prompt(messages)
    sums = []
    for label in LABELS:
        said = [*messages, {"role": "assistant", "content": label}]
        rendered = renderer.example({"messages": said})
        ids = rendered.ids[: 1 + max(i for i, wanted in enumerate(rendered.trained) if wanted)]
        logprobs = network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        sums.append(sum(logprobs[i - 1, ids[i]].item() for i in range(len(prompt), len(ids))))
    return torch.tensor(sums).log_softmax(0).tolist(), len(prompt)


@pytest.mark.parametrize("name", tiny_causal.ARCHITECTURES)
def test_labels_have_the_probability_of_being_the_whole_answer(asking, folders, name):
    conversations = [HELLO, [{"role": "user", "content": "My invoice was charged twice. " * 4}]]
    asked = [asking.choose(folders[name], messages) for messages in conversations]
    beside = asking.ask(folders[name], most=10, drawing=GREEDY)
    asking.run()
    for answer, messages in zip(asked, conversations, strict=True):
        found = answer.classification
        expected, length = plain(folders[name], messages)
        assert found.labels == LABELS
        assert found.logprobs == pytest.approx(expected, abs=1e-4)
        assert sum(torch.tensor(found.logprobs).exp()) == pytest.approx(1)
        assert (found.prompt_tokens, found.cut_tokens) == (length, 0)
    assert beside.ended().reason == "length"


def test_large_trees_are_read_in_parts(asking, folders, monkeypatch):
    together = asking.choose(folders["llama"])
    asking.run()
    monkeypatch.setattr(labels, "TREE", 4)
    in_parts = asking.choose(folders["llama"])
    asking.run()
    expected = together.classification.logprobs
    assert in_parts.classification.logprobs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_a_tree_adds_up_what_each_answer_would_alone(seed, monkeypatch):
    monkeypatch.setattr(labels, "TREE", 9)
    generator = random.Random(seed)
    answers = [
        [*(generator.randrange(3) for _ in range(generator.randrange(5))), 9] for _ in range(12)
    ]

    def logits(prefix):
        return torch.randn(10, generator=torch.Generator().manual_seed(hash(tuple(prefix)) % 10**6))

    comparison = Comparison(answers)
    comparison.take_prompt(logits([]))
    for tree in comparison.trees:
        ways = []
        for token, parent in zip(tree.ids, tree.parents, strict=True):
            ways.append([*(ways[parent] if parent >= 0 else []), token])
        comparison.take(tree, torch.stack([logits(way) for way in ways]))
    sums = [
        sum(logits(answer[:i]).log_softmax(0)[token].item() for i, token in enumerate(answer))
        for answer in answers
    ]
    expected = torch.tensor(sums, dtype=torch.float64).log_softmax(0).tolist()
    assert comparison.logprobs() == pytest.approx(expected, abs=1e-5)


def test_texts_are_cleaned_as_when_training(asking, tmp_path):
    folder = tiny_causal.tiny(tmp_path / "cleaning", "llama")
    dataclasses.replace(card(), cleaning=("html", "whitespace"), mask=("email",)).save(folder)
    dirty = [{"role": "user", "content": "Where   is <b>my</b> parcel? me@here.org"}]
    clean = [{"role": "user", "content": "Where is my parcel? [EMAIL]"}]
    pair = [asking.choose(folder, messages) for messages in (dirty, clean)]
    asking.run()
    one, other = (answer.classification for answer in pair)
    assert one.prompt_tokens == other.prompt_tokens
    assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_a_base_model_chooses_among_given_labels_only(asking, folders, tmp_path):
    base = tiny_causal.tiny(tmp_path / "base", "llama")
    none = asking.choose(base)
    given = asking.choose(base, labels=LABELS)
    long = asking.choose(folders["llama"], [{"role": "user", "content": "late " * 600}])
    asking.run()
    assert isinstance(none.error, NotOffered)
    expected, _ = plain(base, HELLO)
    assert given.classification.labels == LABELS
    assert given.classification.logprobs == pytest.approx(expected, abs=1e-4)
    assert isinstance(long.error, ConfigError)
    assert "the model reads" in long.error.what


def test_choices_that_begin_in_the_pass_in_which_labels_are_read_are_their_own(asking, folders):
    folder, other = folders["llama"], [{"role": "user", "content": "Charged twice, and it is cold"}]
    alone = asking.answer(folder, most=3, n=2, top=0)
    answer = asking.ask(folder, most=3, n=2, top=0)
    asking.choose(folder, other)
    asking.run()
    for choice in (0, 1):
        ours, theirs = (one.tokens(choice)[0].logprob for one in (answer, alone))
        assert ours == pytest.approx(theirs, abs=1e-5)
