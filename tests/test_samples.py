"""The samples in examples/ are what their description says."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from tunesmith.data.chat.files import check_chat
from tunesmith.metrics.generation import shape_of

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTES = EXAMPLES / "support_notes.jsonl"
KEYS = ["topic", "product", "order", "urgency", "wants"]
VALUES = {
    "topic": {
        "delivery", "defect", "return", "payment", "change", "advice", "account", "feedback",
    },
    "urgency": {"low", "normal", "high"},
    "wants": {"refund", "replacement", "repair", "change", "answer", "nothing"},
}  # fmt: skip


@pytest.fixture(scope="module")
def chats():
    with NOTES.open(encoding="utf-8") as file:
        return [json.loads(line)["messages"] for line in file]


@pytest.fixture(scope="module")
def notes(chats):
    """(message, record)"""
    return [(user["content"], json.loads(answer["content"])) for _, user, answer in chats]


def words(text):
    return re.findall(r"\w+", text.lower())


def test_the_notes_can_be_trained_on(chats):
    assert list(check_chat(NOTES)) == []
    assert len(chats) >= 320
    assert {tuple(m["role"] for m in chat) for chat in chats} == {("system", "user", "assistant")}
    assert len({chat[0]["content"] for chat in chats}) == 1


def test_every_record_has_the_same_keys_and_known_values(chats, notes):
    for _, record in notes:
        assert list(record) == KEYS
        for key, known in VALUES.items():
            assert record[key] in known
        assert record["product"] is None or re.fullmatch(r"[a-z][a-z' -]+", record["product"])
    for chat in chats:
        answer = chat[2]["content"]
        assert answer == json.dumps(json.loads(answer), ensure_ascii=False)
    assert shape_of([chat[2]["content"] for chat in chats])["required"] == KEYS


def test_the_order_number_is_the_one_in_the_message(notes):
    for message, record in notes:
        found = re.search(r"\b([a-z])[- ]?(\d{4})\b", message, re.IGNORECASE)
        assert record["order"] == (found and (found[1] + found[2]).upper()), message


def test_who_wants_nothing_is_in_no_hurry(notes):
    for message, record in notes:
        if record["wants"] == "nothing" or record["topic"] == "feedback":
            assert record["urgency"] == "low", message
        if record["topic"] == "feedback":
            assert record["wants"] == "nothing", message


def test_no_message_is_like_another(notes):
    bags = [(message, set(words(message))) for message, _ in notes]
    for (one, ours), (other, theirs) in combinations(bags, 2):
        assert len(ours & theirs) < 0.4 * len(ours | theirs), (one, other)
    orders = Counter(record["order"] for _, record in notes if record["order"])
    assert set(orders.values()) == {1}


def test_messages_are_of_many_lengths_and_every_value_is_frequent_enough(notes):
    lengths = sorted(len(message.split()) for message, _ in notes)
    assert lengths[0] >= 8
    assert 60 <= lengths[-1] <= 80
    for key, known in VALUES.items():
        counts = Counter(record[key] for _, record in notes)
        assert min(counts[value] for value in known) >= 20, counts
    topics = Counter(record["topic"] for _, record in notes)
    assert max(topics.values()) <= 1.5 * min(topics.values())


def test_the_sources_name_every_file_and_its_size(notes):
    text = (EXAMPLES / "SOURCES.md").read_text(encoding="utf-8")
    assert f"| {len(notes)} messages" in text
    for path in EXAMPLES.iterdir():
        if path.suffix in (".csv", ".jsonl"):
            assert f"| `{path.name}` |" in text
