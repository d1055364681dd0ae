"""Chat files: written, read back, and checked by OpenAI's rules."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.chat.files import (
    check,
    check_chat,
    prompt_text,
    read_classification,
    write_classification,
)
from tunesmith.errors import DataError, NotFound, StorageError

Write = Callable[..., Path]
USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": "greeting"}
GOOD = {"messages": [USER, ANSWER]}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
PAIR = {"prompt": "a", "completion": "b"}
any_text = st.text(st.characters(exclude_categories=["Cs"]))


def chat_file(write: Write, *examples: Any, good: int = 10) -> Path:
    lines = [e if isinstance(e, str) else json.dumps(e) for e in (*examples, *[GOOD] * good)]
    return write("\n".join(lines) + "\n", "chat.jsonl")


@given(
    st.lists(st.tuples(any_text, st.text('ab "\\\u2028é', min_size=1)), min_size=10, max_size=15)
)
def test_what_is_written_is_read_and_passes(
    tmp_path_factory: pytest.TempPathFactory, examples: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("chat") / "train.jsonl"
    texts, labels = [t for t, _ in examples], [label for _, label in examples]
    write_classification(path, zip(texts, labels, strict=True))
    assert read_classification(path) == (texts, [label.strip() for label in labels])
    assert list(check_chat(path)) == []
    first = json.loads(path.read_bytes().split(b"\n")[0])
    assert first == {
        "messages": [
            {"role": "user", "content": texts[0]},
            {"role": "assistant", "content": labels[0]},
        ]
    }


def test_a_full_disk_is_said_plainly() -> None:
    with pytest.raises(StorageError, match="The disk is full"):
        write_classification(Path("/dev/full"), [("a", "b")] * 10_000)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([USER], "hello"),
        ([{"role": "system", "content": "Be brief."}, USER, ANSWER], "Be brief.\n\nhello"),
        ([USER, ANSWER, {"role": "user", "content": "more"}], "hello\n\nmore"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}],
            "a",
        ),
        ([{"role": "user", "content": None}, USER], "hello"),
        ([], ""),
    ],
)
def test_the_text_to_classify(messages: list[dict[str, Any]], text: str) -> None:
    assert prompt_text(messages) == text


@pytest.mark.parametrize(
    ("example", "code", "words"),
    [
        ("{not json", "invalid_file_format", "not valid JSON"),
        ('"text"', "invalid_file_format", "not a JSON object"),
        ({"prompt": "a", "completion": "b"}, "invalid_file_format", "'messages' is missing"),
        ({**GOOD, "weight": 1}, "invalid_file_format", "extra key 'weight'"),
        ({"messages": []}, "invalid_file_format", "at least one message"),
        ({"messages": ["hello"]}, "invalid_training_file", "Message 1: it is not an object"),
        ({"messages": [{"role": "bot", "content": ""}]}, "invalid_training_file", "role 'bot'"),
        ({"messages": [USER]}, "invalid_training_file", "no message from the assistant"),
        ({"messages": [ANSWER, USER]}, "invalid_training_file", "last message must be"),
        ({"messages": [USER, {"role": "assistant"}]}, "invalid_training_file", "'content' is"),
        ({"messages": [{**USER, "weight": 1}, ANSWER]}, "invalid_training_file", "'weight'"),
        ({"messages": [USER, {**ANSWER, "weight": 2}]}, "invalid_training_file", "'weight'"),
        ("", "invalid_file_format", "it is blank"),
        ("[" * 100_000, "invalid_file_format", "nested too deeply"),
        ('{"messages": [], "tools": NaN}', "invalid_file_format", "NaN is no JSON value"),
        ('{"n": ' + "9" * 5000 + "}", "invalid_file_format", "not valid JSON"),
        ({"messages": [{**USER, "mood": "x"}, ANSWER]}, "invalid_training_file", "key 'mood'"),
        ({"messages": [{**USER, "content": 5}, ANSWER]}, "invalid_training_file", "a string or"),
    ],
)
def test_a_wrong_example_is_named(write: Write, example: Any, code: str, words: str) -> None:
    (problem,) = check_chat(chat_file(write, GOOD, example))
    assert (problem.code, problem.param, problem.example) == (code, "training_file", 2)
    assert problem.message.startswith("Example 2 (line 2): ")
    assert words in problem.message


@pytest.mark.parametrize(
    "text",
    [
        b"half \\ud83d",
        b"bad \\x escape",
        b"control \x01",
        b"not utf-8 \xff",
        b"cut \\",
        b'quote " quote',
        b"\\u12",
    ],
)
def test_a_line_that_looks_right_at_a_glance_is_read_closely(write: Write, text: bytes) -> None:
    good = json.dumps(GOOD, separators=(",", ":")).encode()
    path = write(b"\n".join([good] * 10 + [good.replace(b"hello", text)]), "chat.jsonl")
    (problem,) = check_chat(path)
    assert (problem.code, problem.example) == ("invalid_file_format", 11)
    assert "not valid JSON" in problem.message


def test_a_validation_file_is_named_as_such(write: Write) -> None:
    (problem,) = check_chat(chat_file(write, {"messages": [USER]}, good=1), "validation_file")
    assert (problem.code, problem.param) == ("invalid_validation_file", "validation_file")


@pytest.mark.parametrize(
    "message",
    [
        {**ANSWER, "weight": 1},
        {**ANSWER, "name": "ann", "refusal": None},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
    ],
)
def test_what_openai_allows_passes(write: Write, message: dict[str, Any]) -> None:
    example = {"messages": [{"role": "developer", "content": "x"}, USER, message], "tools": []}
    assert list(check_chat(chat_file(write, example))) == []


def test_ten_examples_are_needed_for_training_only(write: Write) -> None:
    path = chat_file(write, good=9)
    (problem,) = check_chat(path)
    assert problem.code == "invalid_n_examples"
    assert "has 9 example(s), but must have at least 10" in problem.message
    assert list(check_chat(path, "validation_file")) == []
    empty = write("", "empty.jsonl")
    assert [p.code for p in check_chat(empty, "validation_file")] == ["invalid_n_examples"]


def test_examples_that_are_no_classification_are_refused_with_the_line(write: Write) -> None:
    parts = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    with pytest.raises(DataError, match=r"chat.jsonl:2: The assistant's answer is not one text"):
        read_classification(chat_file(write, GOOD, {"messages": [USER, parts]}))
    with pytest.raises(DataError, match=r"chat.jsonl:1: The line is not valid JSON"):
        read_classification(chat_file(write, "{"))
    with pytest.raises(NotFound):
        read_classification(Path("nowhere.jsonl"))


def test_all_problems_of_all_lines_come_at_once(write: Write) -> None:
    wrong = {"messages": [{**USER, "mood": 1}, {**ANSWER, "weight": 3}], "extra": 1}
    found = list(check(chat_file(write, wrong, GOOD, {"messages": [ANSWER, USER]})))
    assert [(p.example, p.rule, p.code) for p in found] == [
        (1, "unrecognized_key", "invalid_file_format"),
        (1, "message_unrecognized_key", "invalid_training_file"),
        (1, "weight", "invalid_training_file"),
        (3, "last_message", "invalid_training_file"),
    ]


def test_pairs_are_for_completion_models(write: Write) -> None:
    path = chat_file(write, *[PAIR] * 10, good=0)
    assert {p.rule for p in check(path)} == {"missing_messages_list"}
    assert list(check(path, completions=True)) == []


def test_pairs_and_chats_do_not_mix(write: Write) -> None:
    found = list(check(chat_file(write, PAIR, GOOD, PAIR, "7", good=8), completions=True))
    assert [p.rule for p in found] == ["mixed_shapes", "data_type", *["mixed_shapes"] * 8]
    assert [p.example for p in found[:2]] == [2, 4]
    assert "either prompt/completion pairs or chat messages" in found[0].message
    (only,) = check(chat_file(write, GOOD, PAIR), completions=True)
    assert (only.rule, only.example) == ("missing_messages_list", 2)
    assert "expected chat messages, but this is a prompt/completion pair" in only.message


def test_preference_pairs_are_checked_in_both_spellings(write: Write) -> None:
    answers = {"preferred_output": [ANSWER], "non_preferred_output": [{**ANSWER, "content": "x"}]}
    other = {name.replace("output", "completion"): value for name, value in answers.items()}
    given = {"input": {"messages": [USER]}}
    path = chat_file(write, *[{**given, **answers}] * 5, *[{**given, **other}] * 5, good=0)
    assert list(check(path, "dpo")) == []
    (problem, *_) = check(chat_file(write, answers, good=0), "dpo")
    assert (problem.code, problem.rule) == ("invalid_file_format", "missing_input")
    assert "'input' is missing" in problem.message


def test_reinforcement_files_have_a_largest_size(write: Write) -> None:
    example = {"messages": [USER], "reference_answer": "greeting"}
    path = chat_file(write, *[example] * 1001, good=0)
    assert list(check(path, "reinforcement")) == []
    (problem,) = check(path, "reinforcement", "validation_file")
    assert (problem.code, problem.rule) == ("invalid_n_examples", "size")
    assert "has 1,001 examples, but must have at most 1,000" in problem.message


def test_so_many_examples_may_hold_images(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.data.chat.files.MOST_WITH_IMAGES", 10)
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    shown = {"messages": [{"role": "user", "content": [image]}, ANSWER]}
    assert list(check(chat_file(write, *[shown] * 10))) == []
    (problem,) = check(chat_file(write, *[shown] * 11))
    assert (problem.code, problem.rule) == ("invalid_training_file", "size")


@given(st.lists(st.binary(max_size=60), max_size=12))
def test_no_bytes_are_too_odd_to_check(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("odd") / "odd.jsonl"
    path.write_bytes(b"\n".join(lines))
    for method in ("supervised", "dpo", "reinforcement"):
        problems = list(check(path, method))
        with path.open("rb") as file:
            assert {p.example for p in problems} - {None} == set(range(1, len(list(file)) + 1))
