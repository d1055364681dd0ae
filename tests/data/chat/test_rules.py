"""OpenAI's rules for one example: each has an example that breaks it, and that alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.chat.rules import Unreadable, faults, pair_faults, parse
from tunesmith.data.chat.spans import Span, spans

USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": "greeting"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def call(name: str = "c1", arguments: Any = "{}") -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    return {"id": name, "type": "function", "function": function}


def asking(*calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(name: Any = "c1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": "found"}


def shown(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def data_uri(kind: str, size: int = 9) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64," + "A" * size}}


def preference(**changes: Any) -> dict[str, Any]:
    whole = {
        "input": {"messages": [USER], "tools": [TOOL], "parallel_tool_calls": True},
        "preferred_output": [ANSWER],
        "non_preferred_output": [{**ANSWER, "content": "no"}],
    }
    return {k: v for k, v in {**whole, **changes}.items() if v is not None}


def broken(example: Any, method: Any = "supervised") -> list[str]:
    return [fault.rule for fault in faults(example, method)]


@pytest.mark.parametrize(
    "messages",
    [
        [USER, ANSWER],
        [{"role": "developer", "content": "x"}, USER, {**ANSWER, "weight": 0}, USER, ANSWER],
        [USER, {**ANSWER, "weight": None, "tool_calls": None, "name": None, "refusal": "no"}],
        [{**USER, "name": "ann", "weight": None}, ANSWER],
        [USER, asking(call())],
        [USER, asking(call(), call("c2")), result("c2"), result(), ANSWER],
        [USER, {**asking(call()), "content": "wait"}, result(), asking(call()), result(), ANSWER],
        [
            USER,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            ANSWER,
        ],
        [shown({"type": "text", "text": "a"}, IMAGE, data_uri("PNG")), ANSWER],
        [shown(*[IMAGE] * 10), ANSWER],
    ],
)
def test_right_messages(messages: Any) -> None:
    assert list(faults({"messages": messages})) == []


@pytest.mark.parametrize(
    ("messages", "rule", "words"),
    [
        ({}, "missing_messages_list", "must be a list"),
        ([USER, "hello", ANSWER], "data_type", "Message 2: it is not an object"),
        ([USER, {"content": "x"}, ANSWER], "message_missing_key", "'role' is missing"),
        ([{"role": ["user"], "content": ""}], "unrecognized_role", "the role a list is none"),
        ([{"role": "gpt" * 99, "content": ""}], "unrecognized_role", "gptg…' is none"),
        ([USER, {"role": "assistant", "content": None}], "missing_content", "is missing"),
        ([USER, {"role": "assistant"}], "message_missing_key", "'content' is missing"),
        ([{**USER, "content": []}, ANSWER], "missing_content", "list of parts, not a list"),
        ([{**USER, "content": 5}, ANSWER], "missing_content", "parts, not 5"),
        ([{**USER, "mood": 1}, ANSWER], "message_unrecognized_key", "extra key 'mood'"),
        ([{**USER, "weight": 1}, ANSWER], "message_unrecognized_key", "on assistant messages"),
        ([{**USER, "refusal": "x"}, ANSWER], "message_unrecognized_key", "on assistant messages"),
        ([{**USER, "tool_call_id": "c"}, ANSWER], "message_unrecognized_key", "on tool messages"),
        ([USER, {**ANSWER, "weight": True}], "weight", "0 or 1, not true"),
        ([USER, {**ANSWER, "weight": 0.5}], "weight", "0 or 1, not 0.5"),
        ([USER, {**ANSWER, "name": 7}], "data_type", "'name' must be a string"),
        ([{"role": "function", "content": "1"}, ANSWER], "message_missing_key", "'name'"),
        ([{"role": "tool", "content": "1"}, ANSWER], "message_missing_key", "'tool_call_id'"),
        ([USER], "example_missing_assistant_message", "no message from the assistant"),
        ([ANSWER, USER], "last_message", "last message must be from the assistant"),
        ([shown({"type": "audio"}), ANSWER], "content_part", "type text or image_url"),
        ([shown({"type": "text"}), ANSWER], "content_part", "part 1"),
        ([shown(*[IMAGE] * 11), ANSWER], "image", "11 images; at most 10"),
        ([USER, {**ANSWER, "content": [IMAGE]}], "image", "assistant's messages must not"),
        ([shown(data_uri("gif")), ANSWER], "image", "JPEG, PNG or WEBP"),
        ([shown(data_uri("png", 14_000_000)), ANSWER], "image", "larger than 10 MB"),
        ([shown({**IMAGE, "image_url": "x"}), ANSWER], "image", "must hold a 'url'"),
        ([USER, asking(call(arguments={})), result(), ANSWER], "tool_calls", "not an object"),
        ([USER, asking(call(arguments="{")), result(), ANSWER], "tool_calls", "not valid JSON"),
        ([USER, asking(call(arguments="[" * 99_999))], "tool_calls", "nested too deeply"),
        ([USER, asking("x")], "tool_calls", "call 1: it is not an object"),
        ([USER, asking({**call(), "id": None})], "tool_calls", "its 'id' is missing"),
        ([USER, asking({**call(), "type": "x"})], "tool_calls", "its 'type' must be"),
        ([USER, asking({**call(), "function": {"arguments": "{}"}})], "tool_calls", "name is"),
        ([USER, asking({"id": "c", "type": "function"})], "tool_calls", "name and arguments"),
        ([USER, {**asking(), "content": "x"}], "tool_calls", "at least one call"),
        ([USER, asking(call()), USER, ANSWER], "unanswered_call", "answers the call 'c1'"),
        (
            [USER, asking(call(), call("c2")), result(), ANSWER],
            "unanswered_call",
            "Message 2: no tool message answers the call 'c2'",
        ),
        ([USER, result(), ANSWER], "tool_call_id", "no earlier call has the id 'c1'"),
    ],
)
def test_each_rule_for_messages(messages: Any, rule: str, words: str) -> None:
    (fault,) = faults({"messages": messages})
    assert fault.rule == rule
    assert words in fault.message
    assert fault.in_format == (rule == "missing_messages_list")


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        ({"weight": 1}, "unrecognized_key"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"parallel_tool_calls": "yes"}, "tools"),
    ],
)
def test_each_rule_beside_the_messages(extra: dict[str, Any], rule: str) -> None:
    (fault,) = faults({"messages": [USER, ANSWER], **extra})
    assert (fault.rule, fault.in_format) == (rule, True)
    right = {"tools": [TOOL], "parallel_tool_calls": False, "functions": [{"name": "f"}]}
    assert broken({"messages": [USER, ANSWER], **right}) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"input": None}, "missing_input"),
        ({"input": [USER]}, "missing_messages_list"),
        ({"input": {"messages": []}}, "missing_messages_list"),
        ({"input": {"messages": [USER, ANSWER]}}, "last_message"),
        ({"input": {"messages": [USER], "mood": 1}}, "unrecognized_key"),
        ({"input": {"messages": [shown(IMAGE)]}}, "image"),
        ({"mood": 1}, "unrecognized_key"),
        ({"preferred_output": None}, "preference_answer"),
        ({"preferred_output": "greeting"}, "preference_answer"),
        ({"preferred_output": [ANSWER, ANSWER]}, "preference_answer"),
        ({"preferred_completion": [ANSWER]}, "preference_answer"),
        ({"non_preferred_output": [USER]}, "example_missing_assistant_message"),
        ({"non_preferred_output": [asking(call())]}, "preference_answer"),
    ],
)
def test_each_rule_for_preference_pairs(changes: dict[str, Any], rule: str) -> None:
    assert broken(preference(**changes), "dpo") == [rule]
    assert broken(preference(), "dpo") == []


def test_a_preference_pair_may_go_on_from_a_tool_result() -> None:
    given = {"messages": [USER, asking(call()), result()]}
    assert broken(preference(input=given), "dpo") == []


@pytest.mark.parametrize(
    ("messages", "rules"),
    [
        ([USER], []),
        ([{"role": "developer", "content": "x"}, USER, ANSWER, USER], []),
        ([USER, ANSWER], ["last_message"]),
        ([], ["missing_messages_list"]),
    ],
)
def test_reinforcement_examples_end_with_the_user(messages: Any, rules: list[str]) -> None:
    example = {"messages": messages, "reference_answer": {"any": 1}, "weight": 1}
    assert broken(example, "reinforcement") == rules


def test_both_texts_of_a_pair_are_needed() -> None:
    assert list(pair_faults({"prompt": "", "completion": "b"})) == []
    found = [fault.message for fault in pair_faults({"prompt": 1, "mood": 2})]
    assert found == [
        "It contains an extra key 'mood'.",
        "The key 'prompt' must be a string.",
        "The key 'completion' is missing.",
    ]


def test_all_that_is_wrong_is_said() -> None:
    twice = {"role": "user", "content": 5, "weight": 2, "mood": 1, "name": 3}
    rules = broken({"messages": [twice, ANSWER, {**ANSWER, "weight": 2}], "extra": 1})
    keys = ["message_unrecognized_key"] * 2
    assert rules == ["unrecognized_key", *keys, "data_type", "missing_content", "weight"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "role", "content", "tool_calls", "function", "id", "arguments", "x"]
                + ["input", "preferred_output", "type", "image_url", "url", "tools", "weight"]
            ),
            inner | st.sampled_from(["assistant", "user", "tool", "image_url", "function"]),
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(json_values)
def test_no_value_is_too_odd(value: Any) -> None:
    for method in ("supervised", "dpo", "reinforcement"):
        for example in (value, {"messages": value}, {"messages": [value]}, {"input": value}):
            assert all(fault.rule and fault.message for fault in faults(example, method))


def test_deep_values_are_no_trouble() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    for where in ({"role": deep}, {"content": deep}, {"weight": deep}, {"tool_calls": deep}):
        assert broken({"messages": [{**ANSWER, **where}]})
    assert isinstance(parse("[" * 100_000), Unreadable)


@pytest.mark.parametrize("text", ["", " ", "{", "NaN", "[-Infinity]", '"\\ud800"', "\ufeff{}"])
def test_what_is_no_json(text: str) -> None:
    assert isinstance(parse(text), Unreadable)
    assert isinstance(parse(text.encode()), Unreadable)


def test_what_is_json() -> None:
    assert parse('"\\ud83d\\ude00"') == "😀"
    assert parse(json.dumps({"a": [1, None]}).encode()) == {"a": [1, None]}
    assert isinstance(parse(b"\xff"), Unreadable)


def test_the_assistants_turns_are_trained_on_unless_their_weight_is_0() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        USER,
        {**ANSWER, "weight": 0},
        USER,
        asking(call(arguments='{"a": 1}')),
        result(),
        {**ANSWER, "weight": 1},
        {**ANSWER, "content": ""},
        {**ANSWER, "weight": None, "content": [{"type": "text", "text": "abc"}]},
    ]
    assert list(spans({"messages": messages, "tools": [TOOL]})) == [
        Span("tools", json.dumps([TOOL]), "read"),
        Span("system", "Be brief.", "read"),
        Span("user", "hello", "read"),
        Span("assistant", "greeting", "read"),
        Span("user", "hello", "read"),
        Span("assistant", '{"a": 1}', "trained", call="look"),
        Span("tool", "found", "read"),
        Span("assistant", "greeting", "trained"),
        Span("assistant", "abc", "trained"),
    ]
    assert [len(span) for span in spans({"messages": messages})][4:6] == [4 + 8, 5]


def test_of_a_pair_of_answers_one_is_to_be_said() -> None:
    asked = [{**USER}, {**ANSWER}, {**USER}]
    for good, bad in (
        ("preferred_output", "non_preferred_output"),
        ("preferred_completion", "non_preferred_completion"),
    ):
        example = {"input": {"messages": asked}, good: [ANSWER], bad: [{**ANSWER, "content": "no"}]}
        assert [(span.text, span.use) for span in spans(example)] == [
            *(("hello", "read"), ("greeting", "read"), ("hello", "read")),
            *(("greeting", "trained"), ("no", "avoided")),
        ]


def test_a_completion_is_trained_on() -> None:
    assert list(spans({"prompt": "a", "completion": "b"})) == [
        Span("prompt", "a", "read"),
        Span("completion", "b", "trained"),
    ]
    assert [span.who for span in spans({"prompt": "", "completion": "b"})] == ["completion"]


@pytest.mark.parametrize(
    "answers",
    [
        [{**ANSWER, "weight": 0}],
        [{**ANSWER, "content": ""}],
        [{**ANSWER, "content": [{"type": "text", "text": ""}]}],
        [{**ANSWER, "weight": 0}, USER, {**ANSWER, "content": ""}],
    ],
)
def test_an_example_that_trains_nothing_is_refused(answers: list[Any]) -> None:
    messages = [USER, *answers]
    (fault,) = faults({"messages": messages})
    assert fault.rule == "nothing_to_train" and not fault.in_format
    assert "empty or has the weight 0" in fault.message
    assert broken({"messages": [*messages, USER, ANSWER]}) == []
    assert broken({"messages": [*messages, USER]}, "reinforcement") == []
    # Where more is wrong, that is said instead.
    assert broken({"messages": [*messages, USER]}) == ["last_message"]


def test_an_empty_completion_trains_nothing() -> None:
    assert [f.rule for f in pair_faults({"prompt": "a", "completion": ""})] == ["nothing_to_train"]
