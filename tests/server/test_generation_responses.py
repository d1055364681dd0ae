"""/v1/responses of a model that writes, through the OpenAI SDK."""

import openai
import pytest

from tunesmith.errors import ProviderError
from tunesmith.serving.writing import Call, TooLong

TEXT = "Hello there, größer 🙂."
TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": False}
CALLS = (Call("look_up", '{"id": 7}'), Call("look_up", "{}"))


@pytest.fixture
def server(shared):
    shared.writers.__init__()
    return shared


@pytest.fixture(scope="module")
def model(shared):
    return shared.causal()


@pytest.fixture
def ask(server, model):
    def ask(input="Say hello.", **asked):
        return server.client.responses.create(**{"model": model, "input": input, **asked})

    return ask


@pytest.fixture
def asked(server):
    return lambda: server.writers.asked[-1]


def test_what_was_written_is_the_response(server, ask, asked):
    response = ask(instructions="Be brief.", temperature=0.5, top_p=0.5, max_output_tokens=9)
    body = response.to_dict()
    assert (response.output_text, body["status"], body["temperature"]) == (TEXT, "completed", 0.5)
    assert body["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }
    assert asked().messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say hello."}]},
    ]
    assert (asked().drawing.temperature, asked().drawing.top_p, asked().most) == (0.5, 0.5, 9)
    assert server.client.responses.retrieve(response.id).to_dict() == body
    assert ask().temperature == 1.0


def test_log_probabilities_where_they_are_asked_for(ask, asked):
    include = ["message.output_text.logprobs"]
    (part,) = ask(include=include, top_logprobs=1).output[0].content
    assert [entry.token for entry in part.logprobs] == ["Hello ", "there, ", "größer ", "🙂."]
    assert [top.token for top in part.logprobs[0].top_logprobs] == ["Hello 0"]
    assert ask(top_logprobs=1).output[0].content[0].logprobs == []
    assert asked().top is None


def test_a_schema_and_tools(ask, asked):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "name": "a", "schema": schema}
    ask(text={"format": form}, tools=[TOOL], tool_choice={"type": "function", "name": "look_up"})
    assert asked().schema == schema
    function = {k: v for k, v in TOOL.items() if k != "type"}
    assert asked().tools == [{"type": "function", "function": function}]
    assert asked().call == {"name": "look_up"}
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "look_up"}]}
    ask(tools=[TOOL, {**TOOL, "name": "b"}], tool_choice=allowed, parallel_tool_calls=False)
    assert (len(asked().tools), asked().call, asked().parallel) == (1, "auto", False)


def test_calls_are_items_and_their_results_go_on(server, ask, asked):
    server.writers.text, server.writers.calls, server.writers.reason = "", CALLS, "tool_calls"
    first = ask(tools=[TOOL])
    assert [item.type for item in first.output] == ["function_call"] * 2
    assert (first.output[0].name, first.output[0].arguments) == ("look_up", '{"id": 7}')
    ids = [item.call_id for item in first.output]
    assert all(id.startswith("call_") for id in ids)
    server.writers.__init__()
    results = [
        {"type": "function_call_output", "call_id": id, "output": f"found {i}"}
        for i, id in enumerate(ids)
    ]
    second = ask(results, previous_response_id=first.id)
    assert second.output_text == TEXT
    user, assistant, *tools = asked().messages
    assert user["content"] == [{"type": "text", "text": "Say hello."}]
    assert [(c["id"], c["function"]["name"]) for c in assistant["tool_calls"]] == [
        (id, "look_up") for id in ids
    ]
    assert [(t["role"], t["tool_call_id"], t["content"]) for t in tools] == [
        ("tool", ids[0], "found 0"),
        ("tool", ids[1], "found 1"),
    ]
    third = ask("And now?", previous_response_id=second.id)
    assert [m["role"] for m in asked().messages[-2:]] == ["assistant", "user"]
    assert asked().messages[-2]["content"] == [{"type": "text", "text": TEXT}]
    assert third.previous_response_id == second.id


def test_a_cut_response_is_incomplete(server, ask):
    server.writers.reason = "length"
    response = ask(max_output_tokens=4)
    assert (response.status, response.completed_at) == ("incomplete", None)
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete"
    assert list(ask(stream=True))[-1].type == "response.incomplete"


def test_a_stream_is_openais_events(server, ask):
    events = list(ask(stream=True, include=["message.output_text.logprobs"]))
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added",
        *["output_text.delta"] * 4,
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type.endswith("delta")) == TEXT
    assert events[4].logprobs[0].token == "Hello "
    last = events[-1].response
    assert (last.output_text, last.usage.total_tokens) == (TEXT, 8)
    assert server.client.responses.retrieve(last.id).to_dict() == last.to_dict()


def test_the_sdk_puts_calls_together(server, model):
    server.writers.text, server.writers.calls = "Wait. ", CALLS
    asked = {"model": model, "input": "Say", "tools": [TOOL]}
    with server.client.responses.stream(**asked) as stream:
        seen = [event.type for event in stream]
        final = stream.get_final_response()
    assert seen.count("response.function_call_arguments.done") == 2
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
    assert final.output[1].arguments == '{"id": 7}'


def test_a_stream_that_breaks_off_says_why_and_is_not_stored(server, ask):
    server.writers.error, server.writers.error_after = ProviderError("The process died."), 2
    seen = []
    with pytest.raises(openai.APIError, match="The process died"):
        for event in ask(stream=True):
            seen.append(event)
    with pytest.raises(openai.NotFoundError):
        server.client.responses.retrieve(seen[0].response.id)


@pytest.mark.parametrize(
    ("given", "param", "message"),
    [
        ({"tool_choice": "required"}, "tool_choice", "only allowed when 'tools' are"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type", "'function' is"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "input[0].call_id", "Missing"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            "messages.[0].role",
            "must be a response to",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input",
            "reads text only",
        ),
        ({"background": True}, "background", "answers at once"),
    ],
)
def test_impossible_requests_are_refused_by_name(ask, given, param, message):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(**given)
    assert caught.value.param == param
    assert message in caught.value.body["message"]


def test_an_input_that_is_too_long(server, ask):
    server.writers.error = TooLong("Too long.", prompt_tokens=70, context=64)
    with pytest.raises(openai.BadRequestError) as caught:
        ask()
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


def test_a_causal_model_with_labels_answers_like_a_classifier(server):
    model = server.causal(labels=("a", "b"))
    response = server.client.responses.create(model=model, input="x", instructions="Sort it.")
    assert (response.output_text, response.temperature) == ("größer", 0.0)
    (chosen,) = server.writers.chosen
    assert [m["role"] for m in chosen.messages] == ["system", "user"]
