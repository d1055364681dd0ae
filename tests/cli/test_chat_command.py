"""`tunesmith chat` with a model that writes, the provider in memory."""

import io
import json
import sys

import pytest
from fake_provider import UNTUNED

MODEL = "ft:tiny-writer:fake::1"


@pytest.fixture
def asked(provider, monkeypatch):
    """The conversations that the model was asked, newest last."""
    provider.writers[MODEL] = {}
    seen = []
    monkeypatch.setattr(
        provider, "spoil_reply", lambda asked, reply: seen.append(asked.messages) or reply
    )
    return seen


def typed(monkeypatch, text, *, by_hand):
    lines = io.StringIO(text)
    lines.isatty = lambda: by_hand
    monkeypatch.setattr(sys, "stdin", lines)


def test_an_answer_is_printed_as_it_is_written(here, asked):
    ended = here("chat", MODEL, "Say hello.", "--system", "Be brief.")
    assert (ended.code, ended.out) == (0, f"{UNTUNED}\n")
    assert asked == [
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Say hello."},
        ]
    ]


def test_typed_lines_are_one_conversation(here, asked, monkeypatch):
    typed(monkeypatch, "One\n\ntwo\n", by_hand=True)
    assert here("chat", MODEL).out == f"› {UNTUNED}\n› › {UNTUNED}\n› "
    assert [[m["content"] for m in messages] for messages in asked] == [
        ["One"],
        ["One", UNTUNED, "two"],
    ]


def test_piped_lines_are_asked_apart(here, asked, monkeypatch):
    typed(monkeypatch, "One\ntwo\n", by_hand=False)
    found = [json.loads(line) for line in here("chat", MODEL, "--json").out.splitlines()]
    assert [(f["text"], f["answer"], f["finish_reason"]) for f in found] == [
        ("One", UNTUNED, "stop"),
        ("two", UNTUNED, "stop"),
    ]
    assert [len(messages) for messages in asked] == [1, 1]


def test_a_runs_folder_stands_for_its_model(here, provider, table):
    here("run", table, "--run-dir", "r", "--bootstrap", "50", "--no-baselines")
    asked = here("chat", "r", "my invoice and refund")
    assert (asked.code, asked.err) == (0, "")
    assert asked.out.split()[0] == "billing"


def test_a_folder_without_a_model_is_told(here, place):
    (place / "empty").mkdir()
    ended = here("chat", "empty", "hello")
    assert ended.code == 2
    assert "has deployed no model yet" in ended.err and "tunesmith run --run-dir empty" in ended.err
