"""The routes with the real engine and tiny models of random weights: what is told adds up."""

import json
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from tiny_causal import tiny

from tunesmith.catalog import shelf
from tunesmith.model.cards import CausalCard
from tunesmith.serving.writers import Writers

ASK = [{"role": "user", "content": "Where is my parcel?"}]
ENDLESS = {"0": -100, "1": -100, "2": -100, "3": -100}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Lisbon", "Paris"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def server(running, tmp_path_factory):
    place = tmp_path_factory.mktemp("real")
    server = running(place, writers=Writers(max_loaded=2, threads=1))
    folder = tiny(place / "tiny-qwen3", "qwen3")
    shelf.register(folder, server.settings.base_models_dir)
    yield server
    server.close()


@pytest.fixture
def ask(server):
    def ask(messages=ASK, **asked):
        given = {"model": "tiny-qwen3", "messages": messages, "max_tokens": 12, **asked}
        return server.client.chat.completions.create(**given)

    return ask


def test_whole_and_streamed_are_the_same(ask):
    asked = {"temperature": 0, "logprobs": True, "top_logprobs": 2}
    asked["extra_body"] = {"return_token_ids": True}
    whole, chunks = ask(**asked), list(ask(**asked, stream=True))
    choice = whole.choices[0]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == choice.message.content
    ids = [i for c in chunks for i in c.choices[0].token_ids]
    assert ids == choice.token_ids and chunks[0].prompt_token_ids == whole.prompt_token_ids
    assert whole.usage.prompt_tokens == len(whole.prompt_token_ids)
    assert whole.usage.completion_tokens == len(choice.token_ids) == len(choice.logprobs.content)
    for token in choice.logprobs.content:
        assert token.logprob <= 0 and token.top_logprobs[0].logprob == token.logprob
    assert chunks[-1].choices[0].finish_reason == choice.finish_reason


def test_log_probabilities_add_up_to_the_text(ask):
    choice = ask(seed=1, logprobs=True, stop=["e"]).choices[0]
    told = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
    text = choice.message.content
    assert told.decode(errors="replace").startswith(text.rstrip("\ufffd"))
    assert "e" not in text


def test_a_seed_repeats_itself_and_choices_differ(ask):
    def texts(seed):
        return [c.message.content for c in ask(n=3, seed=seed).choices]

    assert texts(1) == texts(1) != texts(2)
    assert len(set(texts(1))) == 3


def test_token_ids_of_a_chat_are_a_prompt_of_a_completion(server, ask):
    chat = ask(temperature=0, extra_body={"return_token_ids": True})
    body = {"return_token_ids": True}
    asked = {"model": "tiny-qwen3", "prompt": [chat.prompt_token_ids] * 2, "max_tokens": 12}
    answer = server.client.completions.create(**asked, temperature=0, extra_body=body)
    assert [c.token_ids for c in answer.choices] == [chat.choices[0].token_ids] * 2


def test_offsets_are_those_of_the_text(server):
    asked = {"model": "tiny-qwen3", "prompt": "The parcel", "max_tokens": 8, "logprobs": 2}
    choice = server.client.completions.create(**asked, echo=True, seed=3).choices[0]
    told = choice.logprobs
    assert told.text_offset[:2] == [0, len("The parcel")]
    for token, offset in zip(told.tokens[1:], told.text_offset[1:], strict=True):
        if "\\x" not in token:
            assert choice.text[offset:].startswith(token)
    assert all(len(top) >= 2 for top in told.top_logprobs[1:])


def test_a_schema_is_followed(ask):
    schema = {
        "type": "object",
        "properties": {"topic": {"enum": ["late", "lost"]}, "days": {"type": "integer"}},
        "required": ["topic", "days"],
        "additionalProperties": False,
    }
    form = {"name": "a", "schema": schema, "strict": True}
    answer = ask(
        response_format={"type": "json_schema", "json_schema": form}, max_tokens=100, seed=5
    )
    if answer.choices[0].finish_reason == "stop":  # random weights may write digits for ever
        value = json.loads(answer.choices[0].message.content)
        assert value["topic"] in ("late", "lost") and isinstance(value["days"], int)


@pytest.mark.parametrize("stream", [True, False])
def test_a_function_that_must_be_called_is(server, stream):
    asked = {
        "model": "tiny-qwen3",
        "messages": ASK,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": False,
        "seed": 7,
        "max_tokens": 200,
    }
    completions = server.client.chat.completions
    if stream:
        with completions.stream(**asked) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Lisbon", "Paris")


def test_a_prompt_that_is_too_long(ask):
    with pytest.raises(openai.BadRequestError) as caught:
        ask([{"role": "user", "content": "parcel " * 1000}])
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert "maximum context length is 512 tokens" in caught.value.body["message"]


def test_what_a_template_refuses_is_a_bad_request(server, ask):
    base = tiny(server.settings.base_models_dir / "tiny-gemma", "gemma")
    shelf.register(base, server.settings.base_models_dir)  # its manifest lies beside the weights
    assert ask(model="tiny-gemma").usage.completion_tokens > 0
    with pytest.raises(openai.BadRequestError, match="no place for tools. Leave the tools out"):
        ask(model="tiny-gemma", tools=[TOOL])


def test_what_is_answered_does_not_depend_on_the_company(ask):
    def text(number):
        messages = [{"role": "user", "content": f"Order number {number}"}]
        return ask(messages, temperature=0, max_tokens=8).choices[0].message.content

    alone = [text(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(text, range(6))) == alone


def test_a_stream_that_is_left_is_written_no_further(server, ask):
    with ask(stream=True, max_tokens=None, n=4, logit_bias=ENDLESS) as stream:
        for _ in range(8):
            next(stream)
    deadline, before = time.monotonic() + 10, -1
    while before != (before := server.writers.written_tokens):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert before < 4 * 400  # the context is 512 tokens


def test_labels_have_probabilities(server):
    job = server.tuned()
    folder = server.settings.models_dir / job.id
    base = shelf.kept("tiny-qwen3", server.settings.base_models_dir).files()
    for path in base.iterdir():
        shutil.copyfile(path, folder / path.name)
    given = {"base_model": "tiny-qwen3", "base_folder": str(base), "method": "full"}
    CausalCard(**given, max_length=256, labels=("late", "lost", "late again")).save(folder)
    answer = server.client.chat.completions.create(
        model=job.fine_tuned_model, messages=ASK, logprobs=True, top_logprobs=20
    )
    top = answer.choices[0].logprobs.content[0].top_logprobs
    assert {t.token for t in top} == {"late", "lost", "late again"}
    assert math.isclose(sum(math.exp(t.logprob) for t in top), 1, rel_tol=1e-4)
    assert answer.choices[0].message.content == top[0].token


def test_a_base_model_chooses_among_labels_as_a_tuned_one_does(server):
    labels = {"tunesmith": {"labels": ["late", "lost", "late again"]}}
    asked = {"messages": ASK, "logprobs": True, "top_logprobs": 20, "temperature": 0}
    answer = server.client.chat.completions.create(model="tiny-qwen3", **asked, extra_body=labels)
    (token,) = answer.choices[0].logprobs.content
    top = {one.token: one.logprob for one in token.top_logprobs}
    assert set(top) == {"late", "lost", "late again"}
    assert math.isclose(sum(map(math.exp, top.values())), 1, rel_tol=1e-4)
    assert answer.choices[0].message.content == max(top, key=top.get) == token.token


def test_a_response_is_the_same_text(server, ask):
    text = ask(temperature=0).choices[0].message.content
    asked = {"model": "tiny-qwen3", "input": ASK[0]["content"], "temperature": 0}
    response = server.client.responses.create(**asked, max_output_tokens=12)
    assert response.output_text == text
    events = list(server.client.responses.create(**asked, max_output_tokens=12, stream=True))
    assert events[-1].response.output_text == text
