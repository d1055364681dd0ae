"""POST /v1/completions through the OpenAI SDK."""

import json
import math

import openai
import pytest


@pytest.fixture
def server(shared):
    shared.pool.__init__()
    return shared


@pytest.fixture(scope="module")
def model(shared):
    return shared.tuned().fine_tuned_model


@pytest.fixture
def ask(server, model):
    def ask(prompt="Where is it?", **asked):
        return server.client.completions.create(**{"model": model, "prompt": prompt, **asked})

    return ask


def test_the_best_label_is_the_completion(server, model, ask):
    answer = ask(max_tokens=1, temperature=0)
    assert answer.id.startswith("cmpl-")
    assert answer.to_dict() == {
        "id": answer.id,
        "object": "text_completion",
        "created": answer.created,
        "model": model,
        "system_fingerprint": None,
        "choices": [{"text": "größer", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    }
    assert server.pool.asked[-1][2] == "Where is it?"


def test_logprobs_are_parallel_arrays(ask):
    logprobs = ask("Where?", logprobs=2).choices[0].logprobs.to_dict()
    assert set(logprobs) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert (logprobs["tokens"], logprobs["text_offset"]) == (["größer"], [6])
    assert math.isclose(math.exp(logprobs["token_logprobs"][0]), 0.7)
    (top,) = logprobs["top_logprobs"]
    assert {label: round(math.exp(value), 6) for label, value in top.items()} == {
        "größer": 0.7,
        "card lost": 0.2,
    }
    none = ask(logprobs=0).choices[0].logprobs
    assert (none.tokens, none.top_logprobs) == (["größer"], None)


def test_the_sampled_label_is_always_among_the_logprobs(ask):
    for choice in ask(n=32, temperature=2, seed=1, logprobs=1).choices:
        (top,) = choice.logprobs.top_logprobs
        assert top[choice.text] == choice.logprobs.token_logprobs[0]
        assert set(top) == {"größer", choice.text}


def test_an_echoed_prompt_is_one_token_of_unknown_probability(ask):
    choice = ask("Where? ", echo=True, logprobs=1).choices[0]
    assert choice.text == "".join(choice.logprobs.tokens) == "Where? größer"
    assert choice.logprobs.text_offset == [0, 7]
    assert choice.logprobs.token_logprobs[0] is None
    assert choice.logprobs.top_logprobs[0] is None


def test_every_prompt_has_its_choices_in_order(server, ask):
    answer = ask(["one", "two", "three"], n=2)
    assert [choice.index for choice in answer.choices] == list(range(6))
    assert [text for *_, text in server.pool.asked] == ["one", "two", "three"]
    assert answer.usage.to_dict() == {
        "prompt_tokens": 15,
        "completion_tokens": 6,
        "total_tokens": 21,
    }
    echoed = ask(["one", "two"], n=2, echo=True)
    assert [choice.text[:3] for choice in echoed.choices] == ["one", "one", "two", "two"]


def test_the_best_of_several_are_sent(ask):
    answer = ask(n=2, best_of=20, temperature=2, seed=1)
    assert [choice.text for choice in answer.choices] == ["größer", "größer"]
    assert answer.usage.completion_tokens == 20
    drawn = {choice.text for choice in ask(n=20, temperature=2, seed=1).choices}
    assert len(drawn) > 1


def test_a_completion_ends_before_a_stop_text(ask):
    choice = ask(stop="ß", logprobs=1).choices[0]
    assert (choice.text, choice.finish_reason) == ("grö", "stop")
    assert choice.logprobs.tokens == ["grö"]


def test_streaming_sends_the_same_in_pieces(server, model, ask):
    chunks = list(ask(["a", "b"], stream=True, logprobs=1, stream_options={"include_usage": True}))
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({chunk.id for chunk in chunks}) == 1
    said = [c.choices[0] for c in chunks[:-1]]
    assert [(c.index, c.text, c.finish_reason) for c in said] == [
        (0, "größer", None), (0, "", "stop"), (1, "größer", None), (1, "", "stop"),
    ]  # fmt: skip
    assert said[0].logprobs.tokens == ["größer"]
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 12)
    assert chunks[0].to_dict()["usage"] is None
    body = {"model": model, "prompt": "a", "stream": True}
    reply = server.http.post("/completions", json=body)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines = reply.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all("usage" not in json.loads(line[6:]) for line in lines[:-2])


def test_texts_that_were_cut_are_told(server, model):
    raw = server.client.completions.with_raw_response.create(
        model=model, prompt=["short", "to be cut"]
    )
    assert raw.headers["x-tunesmith-warning"] == "text cut from 700 to 256 tokens"
    assert raw.headers["openai-model"] == model
    assert raw.parse().tunesmith == {"cut_tokens": 444, "cut_prompts": {"1": 444}}
    alone = server.client.completions.create(model=model, prompt="to be cut")
    assert alone.tunesmith == {"cut_tokens": 444}


@pytest.mark.parametrize(
    ("asked", "param", "message"),
    [
        ({"prompt": [1, 2, 3]}, "prompt", "takes no token ids"),
        ({"prompt": [[1], [2]]}, "prompt", "takes no token ids"),
        ({"prompt": []}, "prompt", "Invalid 'prompt'"),
        ({"prompt": ["x", " "]}, "prompt", "no text to classify"),
        ({"logprobs": 21}, "logprobs", "Invalid 'logprobs'"),
        ({"n": 3, "best_of": 2}, "best_of", "at least as large as 'n'"),
        ({"best_of": 21}, "best_of", "Invalid 'best_of'"),
        ({"max_tokens": 0}, "max_tokens", "Invalid 'max_tokens'"),
        ({"suffix": " end"}, "suffix", "leave 'suffix' out"),
        ({"logit_bias": {"1": 1}}, "logit_bias", "no token ids"),
        ({"stop": list("abcde")}, "stop", "Invalid 'stop'"),
    ],
)
def test_impossible_requests_are_refused_by_name(ask, asked, param, message):
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        ask(**asked)
    assert caught.value.param == param


def test_a_prompt_is_required_and_nulls_are_absent(server, model, ask):
    with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'prompt'"):
        ask(None)
    answer = ask(suffix=None, best_of=None, logprobs=None, stop=None, echo=None, user="me")
    assert answer.choices[0].text == "größer"
    reply = server.http.post("/completions", content=b"{")
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


def test_unknown_and_untuned_models(ask):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(model="ft:none", stream=True)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="cannot answer before it is tuned"):
        ask(["a", "b"], model="minilm-l6")


def test_a_reader_may_ask_and_another_project_may_not(server, model):
    reader, _ = server.store.keys.create("reads", role="reader")
    project = server.store.projects.create("completions of others")
    theirs, _ = server.store.keys.create("theirs", project=project.id)
    with openai.OpenAI(base_url=server.url, api_key=reader, max_retries=0) as client:
        assert client.completions.create(model=model, prompt="x").choices[0].text == "größer"
    with (
        openai.OpenAI(base_url=server.url, api_key=theirs, max_retries=0) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.completions.create(model=model, prompt="x")
