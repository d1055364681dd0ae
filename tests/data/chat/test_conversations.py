"""One row's conversation, in each spelling, becomes OpenAI's messages."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.chat import conversations
from tunesmith.data.chat.conversations import (
    Unfit,
    chat,
    messages,
    pair,
    preference,
    transcript,
    turns,
)
from tunesmith.data.chat.rules import faults

ASK = {"from": "human", "value": "hello"}
SAY = {"from": "gpt", "value": "hi"}
USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": "hi"}


def call(name: str, number: int, arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def result(number: int, content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": f"call_{number}"}


def test_sharegpt_roles() -> None:
    listed = [{"from": "system", "value": "Be brief."}, ASK, {"from": "Assistant", "value": "hi"}]
    assert messages(listed) == [{"role": "system", "content": "Be brief."}, USER, ANSWER]


def test_sharegpt_calls_get_ids_and_results_find_them() -> None:
    def asked(**value: Any) -> dict[str, Any]:
        return {"from": "function_call", "value": json.dumps(value)}

    listed = [
        ASK,
        asked(name="look", arguments={"at": "é"}),
        {"from": "observation", "value": "found"},
        SAY,
        ASK,
        asked(name="a", arguments="{}"),
        asked(name="b"),
        {"from": "function", "value": {"n": 1}},
        {"from": "tool", "value": "2"},
        SAY,
    ]
    said = messages(listed)
    looked = {"role": "assistant", "content": None, "tool_calls": [call("look", 1, '{"at": "é"}')]}
    both = {"role": "assistant", "content": None, "tool_calls": [call("a", 2), call("b", 3)]}
    assert said[1:3] == [looked, result(1, "found")]
    assert said[5:8] == [both, result(2, '{"n": 1}'), result(3, "2")]
    assert list(faults({"messages": said})) == []


def test_several_calls_in_one_turn() -> None:
    value = json.dumps([{"name": "a"}, {"name": "b", "parameters": {"x": 1}}])
    (message,) = messages([{"from": "function_call", "value": value}])
    assert message["tool_calls"] == [call("a", 1), call("b", 2, '{"x": 1}')]


def test_messages_as_tables_store_them_are_put_right() -> None:
    called = {"function": {"name": "f", "arguments": {"a": None}}, "id": None, "type": None}
    listed = [
        {**USER, "tool_calls": None, "weight": 0.0, "timestamp": 5},
        {"role": "assistant", "content": None, "tool_calls": [called], "name": None},
        {"role": "tool", "content": {"b": 1}},
        {**ANSWER, "weight": 1.0, "tool_calls": []},
    ]
    assert messages(listed) == [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call("f", 1, '{"a": null}')]},
        result(1, '{"b": 1}'),
        {**ANSWER, "weight": 1},
    ]
    assert conversations.unknown_keys(listed) == {"timestamp"}


def test_right_messages_stay_as_they_are() -> None:
    said = [
        {"role": "developer", "content": "x"},
        {**USER, "name": "ann"},
        {"role": "assistant", "content": "", "tool_calls": [call("f", 7), call("g", 9)]},
        result(9, "1"),
        result(7, "2"),
        {**ANSWER, "weight": 0},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}, "content": None},
        {"role": "function", "name": "f", "content": "3"},
        ANSWER,
    ]
    assert messages(said) == said


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        ({"from": "function_call", "value": "look()"}, "no JSON object with a name"),
        ({"from": "function_call", "value": "[[[["}, "no JSON object with a name"),
        ({"from": "function_call", "value": '{"arguments": {}}'}, "no JSON object with a name"),
        ({"from": "observation", "value": "x"}, "a tool result without a call"),
        ({"from": "narrator", "value": "x"}, "breaks the rule unrecognized_role"),
        ({"from": None, "value": "x"}, "breaks the rule unrecognized_role"),
        ({"from": "gpt", "value": None}, "breaks the rule missing_content"),
        ({"role": "assistant", "content": "x", "weight": 2}, "breaks the rule weight"),
    ],
)
def test_what_gives_no_example(turn: dict[str, Any], why: str) -> None:
    with pytest.raises(Unfit, match=why) as caught:
        chat([ASK, turn, SAY])
    assert caught.value.detail or "without a call" in why


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([ASK], "no turn of the assistant"),
        ([ASK, {**SAY, "value": ""}], "nothing to train on"),
        ([ASK, {**SAY, "weight": 0}], "nothing to train on"),
    ],
)
def test_an_example_trains_on_something(listed: Any, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        chat(listed)


def test_a_chat_ends_with_the_assistant() -> None:
    assert chat([ASK, SAY, ASK]) == {"messages": [USER, ANSWER]}
    assert conversations.ends_unanswered([ASK, SAY, ASK])
    assert not conversations.ends_unanswered([ASK, SAY])


def test_system_and_tools_stand_beside_the_turns() -> None:
    tool = {"name": "f", "parameters": {}}
    wrapped = {"type": "function", "function": tool}
    example = chat([ASK, SAY], system="Be brief.", tools=json.dumps([tool, wrapped]))
    assert example["messages"][0] == {"role": "system", "content": "Be brief."}
    assert example["tools"] == [wrapped, wrapped]
    own = {"from": "system", "value": "Be kind."}
    assert chat([own, ASK, SAY], system="Be brief.")["messages"][0]["content"] == "Be kind."
    assert "tools" not in chat([ASK, SAY], tools="[]")
    for odd in ("{", "7", "[7]"):
        with pytest.raises(Unfit, match="tools that are no list"):
            chat([ASK, SAY], tools=odd)


def test_cells_with_turns() -> None:
    assert turns(json.dumps([ASK, SAY])) == [ASK, SAY]
    assert turns(json.dumps(SAY)) == [SAY]
    for cell in ("hello", "", "[]", "{}", '["a"]', "[1", '[{"from": "human"}]', "[" * 99_999):
        assert turns(cell) is None
        assert conversations.why_no_turns(cell).endswith(".")
    why = conversations.why_no_turns(json.dumps([ASK, {"form": "gpt", "value": "x"}]))
    assert why == "Turn 2 has neither role and content nor from and value."


def test_transcripts() -> None:
    listed = transcript("\n\nHuman: hello\n\nAssistant: a\n\nb\n\nHuman: c\n\nAssistant:")
    assert listed is not None
    assert [turn["value"] for turn in listed] == ["hello", "a\n\nb", "c"]
    assert messages(listed)[0] == USER
    assert transcript("So: \n\nHuman: a\n\nAssistant: b") is None
    assert transcript("Human: a") is None


def test_history_comes_before_the_prompt() -> None:
    example = pair("hello", "hi", history='[["a", "b"]]', system="S")
    assert [m["content"] for m in example["messages"]] == ["S", "a", "b", "hello", "hi"]
    for odd in ("x", '["a"]', "{}", '[["a"]]'):
        with pytest.raises(Unfit, match="history"):
            pair("hello", "hi", history=odd)


WANTED = {
    "input": {"messages": [USER]},
    "preferred_output": [ANSWER],
    "non_preferred_output": [{"role": "assistant", "content": "no"}],
}


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        ("hello", "hi", "no"),
        ([ASK], SAY, {"from": "gpt", "value": "no"}),
        ([USER], [ANSWER], [{**ANSWER, "content": "no"}]),
        ({"messages": [USER], "tools": None}, [ANSWER], [{**ANSWER, "content": "no"}]),
        ("", [USER, ANSWER], [USER, {**ANSWER, "content": "no"}]),
        ("hello", [USER, ANSWER], [USER, {**ANSWER, "content": "no"}]),
        ("", "\n\nHuman: hello\n\nAssistant: hi", "\n\nHuman: hello\n\nAssistant: no"),
        ("\n\nHuman: hello\n\nAssistant:", "hi", "no"),
    ],
)
def test_preference_pairs_in_each_spelling(prompt: Any, chosen: Any, rejected: Any) -> None:
    cells = (c if isinstance(c, str) else json.dumps(c) for c in (prompt, chosen, rejected))
    assert preference(*cells) == WANTED


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "why"),
    [
        ("hello", "hi", "hi", "both answers are the same"),
        ("", "hi", "no", "no prompt"),
        ("", [USER, ANSWER], [{**USER, "content": "x"}, ANSWER], "differ before the answer"),
        ([USER, ANSWER], "a", "b", "breaks the rule last_message"),
        ("hello", USER, ANSWER, "breaks the rule example_missing_assistant_message"),
        ({"messages": ["hello"]}, "a", "b", "a prompt that is no list of messages"),
    ],
)
def test_what_is_no_preference(prompt: Any, chosen: Any, rejected: Any, why: str) -> None:
    cells = (c if isinstance(c, str) else json.dumps(c) for c in (prompt, chosen, rejected))
    with pytest.raises(Unfit, match=why):
        preference(*cells)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
exchange = st.tuples(text, text, st.lists(text, max_size=2))


@given(st.lists(exchange, min_size=1, max_size=4))
def test_every_whole_conversation_gives_a_valid_example(talk: list[Any]) -> None:
    listed = []
    for question, answer, lookups in talk:
        listed.append({"from": "human", "value": question})
        for found in lookups:
            asked = {"name": "look", "arguments": {"for": question}}
            listed.append({"from": "function_call", "value": json.dumps(asked)})
            listed.append({"from": "observation", "value": found})
        listed.append({"from": "gpt", "value": answer})
    example = chat(listed)
    assert list(faults(example)) == []
    said = [m["content"] for m in example["messages"]]
    assert said == [None if t["from"] == "function_call" else t["value"] for t in listed]
