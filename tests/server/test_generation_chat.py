"""POST /v1/chat/completions of a model that writes, through the OpenAI SDK."""

import openai
import pytest

from tunesmith.errors import NotOffered, ProviderError
from tunesmith.serving.writing import Call, TooLong

ASK = [{"role": "user", "content": "Say hello."}]
TEXT = "Hello there, größer 🙂."
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}
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
    def ask(messages=ASK, **asked):
        return server.client.chat.completions.create(
            **{"model": model, "messages": messages, **asked}
        )

    return ask


@pytest.fixture
def asked(server):
    """What the engine was asked last."""
    return lambda: server.writers.asked[-1]


# --- what is asked --------------------------------------------------------------------------------


def test_what_was_written_is_the_answer(server, model, ask, asked):
    answer = ask()
    assert answer.to_dict() == {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": TEXT,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 5,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }
    row = server.store.models.get(model)
    assert (asked().model, asked().folder) == (model, server.settings.models_dir / row.folder)
    assert (list(asked().messages), asked().prompt, asked().tools) == (ASK, None, [])
    assert (asked().n, asked().most, asked().stop, asked().top) == (1, None, [], None)
    assert (asked().call, asked().parallel, asked().schema) == ("auto", True, False)
    drawing = asked().drawing
    assert (drawing.temperature, drawing.top_p, drawing.seed) == (1.0, 1.0, None)


def test_all_that_shapes_the_drawing_reaches_the_engine(ask, asked):
    ask(
        temperature=0.25,
        top_p=0.5,
        seed=-3,
        frequency_penalty=1,
        presence_penalty=-1,
        logit_bias={"17": -100, "3": 2.5},
        stop=["a", "", "b"],
        max_tokens=9,
        n=3,
        logprobs=True,
        top_logprobs=4,
    )
    drawing = asked().drawing
    assert (drawing.temperature, drawing.top_p, drawing.seed) == (0.25, 0.5, 2**63 - 3)
    assert (drawing.frequency_penalty, drawing.presence_penalty) == (1, -1)
    assert drawing.bias == {17: -100, 3: 2.5}
    assert (asked().stop, asked().most, asked().n, asked().top) == (["a", "b"], 9, 3, 4)
    ask(max_completion_tokens=5, max_tokens=9, temperature=0, stop="x", logprobs=True)
    assert (asked().most, asked().drawing.temperature) == (5, 0)
    assert (asked().stop, asked().top) == (["x"], 0)


@pytest.mark.parametrize(
    ("format", "schema"),
    [
        ({"type": "text"}, False),
        ({"type": "json_object"}, True),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, True),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}},
            },
            {"type": "object", "properties": {}},
        ),
    ],
)
def test_the_answer_fits_a_format(ask, asked, format, schema):
    ask(response_format=format)
    assert asked().schema == schema


def test_tools_and_whether_they_are_called(ask, asked):
    other = {"type": "function", "function": {"name": "other"}}
    ask(tools=[TOOL, other], parallel_tool_calls=False)
    assert (asked().tools, asked().call, asked().parallel) == ([TOOL, other], "auto", False)
    for word in ("none", "auto", "required"):
        ask(tools=[TOOL], tool_choice=word)
        assert asked().call == word
    ask(tools=[TOOL, other], tool_choice={"type": "function", "function": {"name": "other"}})
    assert (asked().call, len(asked().tools)) == ({"name": "other"}, 2)
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "other"}}]}
    ask(tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert (asked().call, asked().tools) == ("required", [other])


def test_functions_are_the_older_tools(ask, asked):
    ask(functions=[TOOL["function"]], function_call={"name": "look_up"})
    assert (asked().tools, asked().call, asked().parallel) == ([TOOL], {"name": "look_up"}, False)
    ask(functions=[TOOL["function"]], function_call="none")
    assert asked().call == "none"


def test_what_was_called_before_reaches_the_engine_as_it_was_sent(ask, asked):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "7"}]},
    ]
    ask(messages)
    assert asked().messages == messages


@pytest.mark.parametrize(
    ("given", "param", "message"),
    [
        ({"logit_bias": {"x": 1}}, "logit_bias", "Invalid key in 'logit_bias': x."),
        ({"logit_bias": {"1": 101}}, "logit_bias", "from -100 to 100"),
        ({"logit_bias": {"-1": 1}}, "logit_bias", "non-negative integers"),
        ({"tool_choice": "required"}, "tool_choice", "only allowed when 'tools' are specified"),
        ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice", "'none', 'auto', 'required'"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
            "Tool choice 'x' not found in 'tools' parameter",
        ),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice", "by its name"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "'custom'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages",
            "reads text only, not 'image_url'",
        ),
        (
            {"messages": [*ASK, {"role": "tool", "tool_call_id": "c", "content": "x"}]},
            "messages.[1].role",
            "must be a response to a preceeding message with 'tool_calls'",
        ),
        (
            {"messages": [*ASK, {"role": "tool", "content": "x"}]},
            "messages.[1].tool_call_id",
            "must have a 'tool_call_id'",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {
                                "id": "call_9",
                                "type": "function",
                                "function": {"name": "f", "arguments": ""},
                            }
                        ],
                    },
                    *ASK,
                ]
            },
            "messages",
            "did not have response messages: call_9",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}]},
            "messages[0].tool_calls[0].function.name",
            "Missing required parameter",
        ),
        ({"stream_options": {"include_usage": True}}, "stream_options", "'stream' is enabled"),
        ({"top_logprobs": 2}, "top_logprobs", "needs 'logprobs'"),
        ({"modalities": ["audio"]}, "modalities", "text only"),
    ],
)
def test_impossible_requests_are_refused_by_name(server, ask, given, param, message):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(**given)
    assert caught.value.param == param
    assert message in caught.value.body["message"]
    assert not server.writers.asked


def test_a_strict_schema_is_checked_as_ever(ask):
    schema = {"name": "a", "strict": True, "schema": {"type": "object", "properties": {}}}
    with pytest.raises(openai.BadRequestError, match="'additionalProperties' is required"):
        ask(response_format={"type": "json_schema", "json_schema": schema})


# --- what is answered -----------------------------------------------------------------------------


def test_log_probabilities_are_those_of_the_text(ask):
    tokens = ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert [t.token for t in tokens] == ["Hello ", "there, ", "größer ", "🙂."]
    assert b"".join(bytes(t.bytes) for t in tokens).decode() == TEXT
    assert [t.logprob for t in tokens] == [-0.1, -0.2, -0.3, -0.4]
    assert [t.token for t in tokens[0].top_logprobs] == ["Hello 0", "Hello 1"]
    assert ask(logprobs=True).choices[0].logprobs.content[0].top_logprobs == []


def test_token_ids_cover_the_prompt_and_all_that_was_written(ask):
    answer = ask(logprobs=True, extra_body={"return_token_ids": True})
    assert answer.prompt_token_ids == [7, 8, 9]
    choice = answer.choices[0]
    assert choice.token_ids == [1, 2, 3, 4, 0]
    assert [t.logprob for t in choice.logprobs.content] == [-0.1, -0.2, -0.3, -0.4, -0.5]


def test_each_choice_is_whole(ask):
    answer = ask(n=3)
    assert [(c.index, c.message.content) for c in answer.choices] == [(i, TEXT) for i in range(3)]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 15)


def test_an_answer_that_was_cut_says_so(server, ask):
    server.writers.reason = "length"
    assert ask(max_tokens=4).choices[0].finish_reason == "length"


def test_calls_of_functions(server, ask):
    server.writers.text, server.writers.calls, server.writers.reason = "", CALLS, "tool_calls"
    choice = ask(tools=[TOOL]).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    calls = choice.message.tool_calls
    assert [(c.type, c.function.name, c.function.arguments) for c in calls] == [
        ("function", "look_up", '{"id": 7}'),
        ("function", "look_up", "{}"),
    ]
    assert all(c.id.startswith("call_") for c in calls) and calls[0].id != calls[1].id
    server.writers.text = "Wait. "
    assert ask(tools=[TOOL]).choices[0].message.content == "Wait. "


def test_a_call_in_the_older_way(server, ask):
    server.writers.text, server.writers.calls, server.writers.reason = "", CALLS[:1], "tool_calls"
    choice = ask(functions=[TOOL["function"]]).choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call.name == "look_up"
    assert choice.message.tool_calls is None
    chunks = list(ask(functions=[TOOL["function"]], stream=True))
    assert [c.choices[0].delta.function_call for c in chunks][1].name == "look_up"
    assert chunks[-1].choices[0].finish_reason == "function_call"


# --- labels to choose among -----------------------------------------------------------------------


def test_a_model_that_writes_chooses_among_given_labels(server, model, ask):
    labels = {"tunesmith": {"labels": ["late", "lost", "found"]}}
    answer = ask(extra_body=labels, logprobs=True, top_logprobs=2, temperature=0)
    (chosen,) = server.writers.chosen
    assert (chosen.model, chosen.labels) == (model, ("late", "lost", "found"))
    assert answer.choices[0].message.content == "lost" and not server.writers.asked
    top = answer.choices[0].logprobs.content[0].top_logprobs
    assert [one.token for one in top] == ["lost", "late"]


def test_labels_that_make_no_choice_are_refused_by_name(server, ask):
    for labels in (["late", "late"], ["late"], [], ["late", ""]):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(extra_body={"tunesmith": {"labels": labels}})
        assert caught.value.param.startswith("tunesmith.labels")
    has_its_own = server.causal(labels=("a", "b"))
    with pytest.raises(openai.BadRequestError, match="has labels of its own") as caught:
        ask(model=has_its_own, extra_body={"tunesmith": {"labels": ["late", "lost"]}})
    assert caught.value.param == "tunesmith.labels"


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_prompt_with_labels_that_is_too_long_is_told_as_such(server, ask):
    server.writers.error = TooLong("Too long.", prompt_tokens=70, context=64)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(extra_body={"tunesmith": {"labels": ["late", "lost"]}})
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_is_refused_as_openai_does(server, ask, stream):
    server.writers.error = TooLong("Too long.", prompt_tokens=70, context=64)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(stream=stream)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert caught.value.body["message"] == (
        "This model's maximum context length is 64 tokens. However, your messages resulted in 70 "
        "tokens. Please reduce the length of the messages."
    )


def test_what_the_engine_refuses_reaches_the_caller(server, ask):
    server.writers.error = NotOffered("This schema cannot be followed.")
    with pytest.raises(openai.BadRequestError, match="schema cannot be followed"):
        ask()
    server.writers.error = ZeroDivisionError("secret")
    with pytest.raises(openai.InternalServerError) as caught:
        ask(stream=True)
    assert "secret" not in caught.value.message


def test_an_adapter_without_its_base_says_so(server, tmp_path):
    model = server.causal(method="lora", base_folder=str(tmp_path / "gone"), base_model="tiny")
    with pytest.raises(openai.NotFoundError, match="an adapter on top of tiny, whose files in"):
        server.client.chat.completions.create(model=model, messages=ASK)
    assert model in [m.id for m in server.client.models.list()]


# --- storing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_completion_is_stored_whole(server, ask, stream):
    answer = ask(store=True, stream=stream, metadata={"a": "b"}, tools=[TOOL])
    completion_id = list(answer)[0].id if stream else answer.id
    found = server.client.chat.completions.retrieve(completion_id)
    assert found.choices[0].message.content == TEXT
    assert (found.usage.total_tokens, found.metadata) == (8, {"a": "b"})
    assert found.to_dict()["tools"] == [TOOL]


def test_what_breaks_off_is_not_stored(server, ask):
    before = len(list(server.client.chat.completions.list()))
    server.writers.error, server.writers.error_after = ProviderError("Died."), 2
    with pytest.raises(openai.APIError):
        list(ask(stream=True, store=True))
    assert len(list(server.client.chat.completions.list())) == before


# --- models with labels, and base models ----------------------------------------------------------


def test_a_causal_model_with_labels_answers_like_a_classifier(server):
    model = server.causal(labels=("a", "b"))
    answer = server.client.chat.completions.create(
        model=model, messages=ASK, logprobs=True, top_logprobs=2
    )
    assert answer.choices[0].message.content == "größer"
    (entry,) = answer.choices[0].logprobs.content
    assert [t.token for t in entry.top_logprobs] == ["größer", "card lost"]
    (chosen,) = server.writers.chosen
    assert (chosen.model, list(chosen.messages)) == (model, ASK)
    assert not server.writers.asked
    told = {"kind": "causal", "answers": "labels", "labels": ["a", "b"]}
    assert server.client.models.retrieve(model).tunesmith == told
    with pytest.raises(openai.BadRequestError, match="no token ids to bias"):
        server.client.chat.completions.create(model=model, messages=ASK, logit_bias={"1": 1})


def test_a_model_that_writes_gives_no_embeddings(server, model):
    with pytest.raises(openai.BadRequestError, match="gives no embeddings"):
        server.client.embeddings.create(model=model, input="x")


def test_how_much_was_written_is_counted(server, ask):
    ask()
    told = server.http.get(server.url.replace("/v1", "/metrics")).text
    assert 'tunesmith_read_tokens_total{kind="causal"} 3.0' in told
    assert "tunesmith_written_tokens_total 4.0" in told
    assert 'tunesmith_writing_requests{state="waiting"} 0.0' in told
    assert 'tunesmith_writing_requests{state="writing"} 0.0' in told
