"""POST /v1/completions of a model that writes, through the OpenAI SDK."""

import openai
import pytest

from tunesmith.serving.writing import TooLong

TEXT = "Hello there, größer 🙂."


@pytest.fixture
def server(shared):
    shared.writers.__init__()
    return shared


@pytest.fixture(scope="module")
def model(shared):
    return shared.causal()


@pytest.fixture
def ask(server, model):
    def ask(prompt="Say", **asked):
        return server.client.completions.create(**{"model": model, "prompt": prompt, **asked})

    return ask


def test_what_was_written_is_the_completion(server, model, ask):
    answer = ask()
    assert answer.to_dict() == {
        "id": answer.id,
        "object": "text_completion",
        "created": answer.created,
        "model": model,
        "system_fingerprint": None,
        "choices": [{"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }
    (asked,) = server.writers.asked
    assert (asked.prompt, asked.messages, asked.most, asked.top) == ("Say", None, 16, None)
    ask(max_tokens=7, temperature=0, stop="x", seed=1, logit_bias={"5": 1})
    asked = server.writers.asked[-1]
    assert (asked.most, asked.drawing.temperature, asked.stop) == (7, 0, ["x"])
    assert (asked.drawing.seed, asked.drawing.bias) == (1, {5: 1})


def test_several_prompts_have_their_choices_in_order(server, ask):
    answer = ask(["One", "two"], n=2, extra_body={"return_token_ids": True})
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert sorted(a.prompt for a in server.writers.asked) == ["One", "two"]
    assert answer.usage.to_dict() == {
        "prompt_tokens": 6,
        "completion_tokens": 20,
        "total_tokens": 26,
    }
    assert answer.choices[3].prompt_token_ids == [7, 8, 9]
    assert answer.choices[3].token_ids == [1, 2, 3, 4, 0]


@pytest.mark.parametrize(("prompt", "read"), [([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])])
def test_prompts_may_be_token_ids(server, ask, prompt, read):
    assert len(ask(prompt).choices) == len(read)
    assert sorted(a.prompt for a in server.writers.asked) == read


def test_log_probabilities_are_parallel_arrays(ask):
    told = ask(logprobs=2).choices[0].logprobs
    assert told.tokens == ["Hello ", "there, ", "größer ", "🙂."]
    assert told.token_logprobs == [-0.1, -0.2, -0.3, -0.4]
    assert told.text_offset == [3, 9, 16, 23]
    assert told.top_logprobs[0] == {"Hello 0": -1.0, "Hello 1": -2.0, "Hello ": -0.1}
    assert ask(logprobs=0).choices[0].logprobs.top_logprobs is None


def test_an_echoed_prompt_is_one_token(ask):
    choice = ask(echo=True, logprobs=0).choices[0]
    assert choice.text == "Say" + TEXT
    assert choice.logprobs.tokens[:2] == ["Say", "Hello "]
    assert choice.logprobs.token_logprobs[:2] == [None, -0.1]
    assert choice.logprobs.text_offset[:2] == [0, 3]


def test_the_best_of_several_is_sent(server, ask):
    answer = ask(n=1, best_of=3)
    assert (len(answer.choices), answer.usage.completion_tokens) == (1, 15)
    assert (server.writers.asked[-1].n, server.writers.asked[-1].top) == (3, 0)
    assert answer.choices[0].logprobs is None


def test_a_stream_comes_in_pieces_of_all_prompts(ask):
    asked = {"stream": True, "n": 2, "logprobs": 1, "echo": True}
    chunks = list(ask(["One", "two"], **asked, stream_options={"include_usage": True}))
    assert len({(chunk.id, chunk.object) for chunk in chunks}) == 1
    for index, prompt in enumerate(["One", "One", "two", "two"]):
        mine = [c.choices[0] for c in chunks[:-1] if c.choices[0].index == index]
        assert "".join(c.text for c in mine) == prompt + TEXT
        assert [c.finish_reason for c in mine] == [None] * 5 + ["stop"]
        offsets = [offset for c in mine[:-1] for offset in c.logprobs.text_offset]
        assert offsets == [0, 3, 9, 16, 23]
    assert chunks[-1].usage.completion_tokens == 20


@pytest.mark.parametrize(
    ("asked", "param", "message"),
    [
        ({"stream": True, "best_of": 2}, "best_of", "all answers are needed"),
        ({"prompt": [1, 2], "echo": True}, "echo", "the prompt as text"),
        ({"suffix": "x"}, "suffix", "leave 'suffix' out"),
        ({"n": 3, "best_of": 2}, "best_of", "at least as large as 'n'"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "non-negative integers"),
        ({"stream_options": {}}, "stream_options", "'stream' is enabled"),
    ],
)
def test_impossible_requests_are_refused_by_name(ask, asked, param, message):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(**asked)
    assert caught.value.param == param
    assert message in caught.value.body["message"]


def test_one_prompt_that_is_too_long_ends_them_all(server, ask):
    server.writers.error = TooLong("Too long.", prompt_tokens=70, context=64)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(["One", "two"])
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")
    assert server.writers.open == 0


def test_a_causal_model_with_labels_answers_like_a_classifier(server):
    model = server.causal(labels=("a", "b"))
    answer = server.client.completions.create(model=model, prompt=["One", "two"], logprobs=2)
    assert [c.text for c in answer.choices] == ["größer", "größer"]
    messages = [list(c.messages) for c in server.writers.chosen]
    assert messages == [[{"role": "user", "content": text}] for text in ("One", "two")]
