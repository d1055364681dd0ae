"""POST /v1/chat/completions of a model that writes, streamed: through the OpenAI SDK."""

import json
import socket
import time
from urllib.parse import urlsplit

import openai
import pytest

from tunesmith.errors import ProviderError
from tunesmith.server.asking.written import live
from tunesmith.serving.writing import Call

ASK = [{"role": "user", "content": "Say hello."}]
TEXT = "Hello there, größer 🙂."
TOOL = {"type": "function", "function": {"name": "look_up"}}
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


def test_a_stream_comes_in_pieces_of_all_choices(ask):
    chunks = list(ask(stream=True, n=2, logprobs=True, stream_options={"include_usage": True}))
    assert len({(chunk.id, chunk.created, chunk.object) for chunk in chunks}) == 1
    first, second = ([c.choices[0] for c in chunks[:-1] if c.choices[0].index == i] for i in (0, 1))
    assert [c.choices[0].index for c in chunks[2:6]] == [0, 1, 0, 1]
    for choices in (first, second):
        assert choices[0].delta.to_dict() == {"role": "assistant", "content": "", "refusal": None}
        pieces = [choice.delta.content for choice in choices[1:-1]]
        assert pieces == ["Hello ", "there, ", "größer ", "🙂."]
        assert [c.logprobs.content[0].token for c in choices[1:-1]] == pieces
        assert choices[-1].delta.to_dict() == {}
        assert [c.finish_reason for c in choices] == [None] * 5 + ["stop"]
    assert all(chunk.to_dict()["usage"] is None for chunk in chunks[:-1])
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 10)


def test_pieces_are_sent_as_they_are_written(server, ask):
    server.writers.hold = True
    stream = ask(stream=True)
    texts = [next(stream).choices[0].delta.content for _ in range(5)]
    assert "".join(texts) == TEXT
    assert server.writers.open == 1
    server.writers.hold = False
    assert [chunk.choices[0].finish_reason for chunk in stream] == ["stop"]


def test_token_ids_are_streamed_too(ask):
    chunks = list(ask(stream=True, extra_body={"return_token_ids": True}))
    assert chunks[0].prompt_token_ids == [7, 8, 9]
    assert "prompt_token_ids" not in chunks[1].to_dict()
    assert [i for c in chunks for i in c.choices[0].token_ids] == [1, 2, 3, 4, 0]


def test_calls_are_streamed(server, model):
    server.writers.text, server.writers.calls, server.writers.reason = "", CALLS, "tool_calls"
    asked = {"model": model, "messages": ASK, "tools": [TOOL]}
    with server.client.chat.completions.stream(**asked) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        ("look_up", '{"id": 7}'),
        ("look_up", "{}"),
    ]
    assert len({c.id for c in calls}) == 2
    body = {**asked, "stream": True}
    events = server.http.post("/chat/completions", json=body).text.split("\n\n")
    deltas = [json.loads(e[6:])["choices"][0]["delta"] for e in events[:-2]]
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    assert [p["index"] for p in parts] == [0, 0, 1, 1]
    assert [p["function"]["arguments"] for p in parts] == ["", '{"id": 7}', "", "{}"]
    assert "id" not in parts[1]


def test_a_stream_that_breaks_off_says_why(server, ask):
    server.writers.error, server.writers.error_after = ProviderError("The process died."), 2
    stream, seen = ask(stream=True), []
    with pytest.raises(openai.APIError, match="The process died"):
        for chunk in stream:
            seen.append(chunk.choices[0].delta.content)
    assert seen == ["", "Hello ", "there, "]
    assert server.writers.open == 0


def test_a_silent_stream_says_that_it_lives(server, model, monkeypatch):
    monkeypatch.setattr(live, "QUIET_SECONDS", 0.05)
    server.writers.hold = True
    body = {"model": model, "messages": ASK, "stream": True}
    with server.http.stream("POST", "/chat/completions", json=body) as reply:
        seen = ""
        for text in reply.iter_text():
            seen += text
            if seen.count(": still writing\n\n") == 2:
                server.writers.hold = False
    assert seen.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_is_written_for_a_client_that_has_left(server, model, stream):
    server.writers.hold = True
    body = json.dumps({"model": model, "messages": ASK, "stream": stream}).encode()
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as line:
        line.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
            b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
            % (server.client.api_key.encode(), len(body), body)
        )
        wait_for(lambda: server.writers.open == 1)
    wait_for(lambda: server.writers.open == 0)


def test_a_client_may_stop_a_stream(server, ask):
    server.writers.hold = True
    with ask(stream=True) as stream:
        next(stream)
    wait_for(lambda: server.writers.open == 0)


def wait_for(is_so):
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
