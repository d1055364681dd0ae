"""Written answers from the command line to the endpoint, all of it real, with a tiny base model."""

import json
import os
from pathlib import Path

import pytest
from tiny_causal import tiny

from tunesmith.config import ProviderConfig
from tunesmith.events import read_events
from tunesmith.providers import Conversation, connect
from tunesmith.settings import Settings

SAMPLE = Path(__file__).parents[2] / "examples" / "support_notes.jsonl"
ROWS = int(os.environ.get("TUNESMITH_TEST_SAMPLE_ROWS", "40"))
"""Rows of the sample that are learned by heart: all 352 take a few minutes alone on two cores."""
ONE = {"TUNESMITH_THREADS": "1"}
"""Models this small only wait for a second thread."""
BY_HEART = (
    "--early-stopping-patience", 0, "--batch-size", 4, "--n-epochs", 50, "--precision", "fp32",
    "--learning-rate-multiplier", 40, "--weight-decay", 0, "--validation-interval", 10_000,
)  # fmt: skip


def sample(place, number):
    lines = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)[:number]
    table = place / "notes.jsonl"
    table.write_text("".join(lines), encoding="utf-8")
    examples = [json.loads(line)["messages"] for line in lines]
    texts = [message["content"] for messages in examples for message in messages]
    return table, tiny(place / "base", "llama", texts=texts, width=128)


@pytest.fixture
def ask(place):
    """Asks the server of the data folder that the commands of a test use."""
    with connect(ProviderConfig(), Settings(data_dir=place / "data")) as provider:

        def ask(model, examples):
            asked = [Conversation(messages=messages[:-1]) for messages in examples]
            replies = dict(provider.chat(model, asked, concurrency=8))
            return [replies[i] for i in range(len(asked))]

        yield ask


def test_the_sample_is_learned_by_heart_and_answered_over_http(outside, place, ask):
    table, base = sample(place, ROWS)
    ended = outside(
        "run", table, "--base-model", base, "--run-dir", "r", *BY_HEART, "--no-untuned", "--json",
        environ=ONE,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    parity = json.loads((place / "r/04-deploy/parity.json").read_text())
    assert parity["passed"] and parity["by"] == "tokens" and parity["compared"] >= 5
    lines = (place / "r/01-prepare/train.jsonl").read_text(encoding="utf-8").splitlines()
    examples = [json.loads(line)["messages"] for line in lines]
    replies = ask(found["model"], examples)
    right = [messages[-1]["content"] for messages in examples]
    assert [reply.text for reply in replies] == right
    assert {reply.finish_reason for reply in replies} == {"stop"}
    assert found["metrics"]["stops_by_itself"] == 1
    assert (place / "r/05-evaluate/report.html").stat().st_size > 10_000


def test_pairs_are_preferred_as_they_were_given(outside, place, causal_pairs):
    table, base = causal_pairs
    ended = outside(
        "run", table, "--base-model", base, "--run-dir", "r", "--n-epochs", 8, "--beta", 0.2,
        "--learning-rate-multiplier", 300, "--method", "full", "--no-untuned", "--json",
        environ=ONE,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    events = [event for event, _ in read_events(place / "r/03-train/events.jsonl")]
    margins = [e.data["train_reward_margin"] for e in events if e.kind == "metric"]
    assert margins[-1] > margins[0] + 0.5
    facts = json.loads((place / "r/03-train/result.json").read_text())["facts"]
    assert facts["full_valid_reward_accuracy"] > 0.9
    assert json.loads((place / "r/04-deploy/parity.json").read_text())["passed"]


@pytest.fixture
def causal_pairs(place):
    things, states = ("parcel", "refund", "machine", "invoice"), ("late", "again", "wrong", "twice")
    table = place / "pairs.jsonl"
    with table.open("w", encoding="utf-8") as file:
        for i in range(96):
            thing, state = things[i % 4], states[i // 4 % 4]
            asked = [{"role": "user", "content": f"The {thing} is {state} {i}"}]
            pair = {
                "input": {"messages": asked},
                "preferred_output": [{"role": "assistant", "content": f"{state} {thing}"}],
                "non_preferred_output": [{"role": "assistant", "content": f"{thing} {state}"}],
            }
            file.write(json.dumps(pair) + "\n")
    return table, tiny(place / "base", "llama")
