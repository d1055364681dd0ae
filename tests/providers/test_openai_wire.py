"""The SDK's errors in our words, and following a job through silence."""

import json
import math
from pathlib import Path

import pytest

from tunesmith import wire
from tunesmith.config import ProviderConfig
from tunesmith.errors import (
    ConfigError,
    NotAllowed,
    NotFound,
    NotOffered,
    ProviderError,
    RequestError,
    StorageError,
)
from tunesmith.providers import Conversation, Reply, Writing, connect, endpoint
from tunesmith.providers import openai_wire as module
from tunesmith.settings import Settings


@pytest.fixture
def provider(scripted, tmp_path):
    settings = Settings(data_dir=tmp_path, api_key="sk-x")
    with connect(
        ProviderConfig(name="tunesmith", base_url=scripted.base_url), settings
    ) as provider:
        yield provider


def error(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, "type": "x", "param": None, "code": None, **more}}


@pytest.mark.parametrize(
    "status, kind, words",
    [
        (400, RequestError, "Wrong thing"),
        (401, NotAllowed, "refused the API key: Wrong thing"),
        (403, NotAllowed, "Wrong thing"),
        (404, NotFound, "Wrong thing"),
        (413, RequestError, "Wrong thing"),
        (429, ProviderError, "failed (429): Wrong thing"),
        (500, ProviderError, "failed (500): Wrong thing"),
    ],
)
def test_each_status_has_its_error(scripted, provider, status, kind, words):
    scripted.answer = lambda method, path: (status, error("Wrong thing", param="model"))
    with pytest.raises(kind) as caught:
        provider.job("ftjob-1")
    assert type(caught.value) is kind
    assert words in caught.value.what
    assert "Error code" not in str(caught.value)


def test_a_wrong_key_says_how_to_get_a_right_one(scripted, provider):
    scripted.answer = lambda method, path: (401, error("Incorrect API key provided: sk-x."))
    with pytest.raises(NotAllowed) as caught:
        provider.models()
    assert scripted.base_url in caught.value.what
    assert "TUNESMITH_API_KEY" in caught.value.fix


def test_no_key_at_all_is_said_before_anything_is_asked(scripted, tmp_path):
    settings = Settings(data_dir=tmp_path, server=scripted.base_url)
    with connect(ProviderConfig(), settings) as provider, pytest.raises(NotAllowed):
        provider.models()
    assert scripted.asked == []


def test_a_server_that_is_not_there_is_named_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.providers.patience.FIRST_WAIT", 0.001)
    settings = Settings(data_dir=tmp_path, api_key="sk-x")
    with (
        connect(ProviderConfig(base_url="http://127.0.0.1:9/v1"), settings) as provider,
        pytest.raises(ProviderError) as caught,
    ):
        provider.models()
    assert "http://127.0.0.1:9/v1 does not answer" in caught.value.what
    assert "tunesmith serve" in caught.value.fix


@pytest.mark.parametrize("address", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://"])
def test_what_is_no_address_is_refused(tmp_path, address):
    settings = Settings(data_dir=tmp_path, api_key="sk-x")
    with (
        pytest.raises(ConfigError, match="base URL"),
        connect(ProviderConfig(base_url=address), settings),
    ):
        pass


def test_an_address_without_a_path_gets_the_usual_one(tmp_path):
    settings = Settings(data_dir=tmp_path, api_key="sk-x")
    with connect(ProviderConfig(base_url="http://host:8000"), settings) as provider:
        assert provider.place == "http://host:8000/v1"


def test_an_unknown_provider_gets_the_nearest_name(tmp_path):
    with (
        pytest.raises(ConfigError, match="'local'"),
        connect(ProviderConfig(name="lokal"), Settings(data_dir=tmp_path)),
    ):
        pass


def test_a_file_that_is_not_there_is_a_storage_error(provider):
    with pytest.raises(StorageError, match="gone.jsonl"):
        provider.upload(Path("/nowhere/gone.jsonl"))


JOB = {
    "object": "fine_tuning.job", "id": "ftjob-1", "model": "m", "created_at": 1,
    "organization_id": "o", "status": "running", "training_file": "file-1", "method": {},
    "hyperparameters": {}, "seed": 0, "result_files": [],
}  # fmt: skip


def event(number: int) -> dict[str, object]:
    return {
        "object": "fine_tuning.job.event", "id": f"ftevent-{number}", "created_at": number,
        "level": "info", "message": f"event {number}", "data": {}, "type": "message",
    }  # fmt: skip


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


class Growing:
    """A job whose events grow by 130 with each look, with two lost connections in between."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, method: str, path: str) -> tuple[int, object]:
        if not path.startswith("/v1/fine_tuning/jobs/ftjob-1"):
            return 404, {}
        if "/events" not in path:
            self.looks += 1
            if self.looks in (2, 3):
                return 502, error("Bad gateway")
            return 200, {**JOB, "status": "succeeded" if self.looks >= 5 else "running"}
        newest_first = [event(i) for i in range(130 * self.looks, 0, -1)]
        if "after=" in path:
            after = path.split("after=")[1].split("&")[0]
            place = next(i for i, e in enumerate(newest_first) if e["id"] == after)
            newest_first = newest_first[place + 1 :]
        page = newest_first[:100]
        return 200, {"object": "list", "data": page, "has_more": len(newest_first) > 100}


def test_events_come_once_each_in_order_over_pages_and_lost_connections(
    scripted, provider, monkeypatch
):
    monkeypatch.setattr(module, "time", Clock())
    scripted.answer = Growing()
    told = [e for e in provider.follow("ftjob-1") if isinstance(e, wire.JobEvent)]
    assert [e.message for e in told] == [f"event {i}" for i in range(1, 130 * 5 + 1)]


def test_a_server_that_stays_silent_is_given_up_after_a_while(scripted, provider, monkeypatch):
    monkeypatch.setattr(module, "time", clock := Clock())
    scripted.answer = lambda method, path: (503, error("Busy"))
    with pytest.raises(ProviderError, match="Busy"):
        list(provider.follow("ftjob-1"))
    assert module.SILENCE < clock.monotonic() < module.SILENCE + 5


def test_a_refusal_is_not_waited_for(scripted, provider):
    scripted.answer = lambda method, path: (401, error("Revoked"))
    with pytest.raises(NotAllowed):
        list(provider.follow("ftjob-1"))
    assert len(scripted.asked) == 1


def test_a_lost_reply_to_a_new_job_is_not_asked_for_again(scripted, provider):
    scripted.answer = lambda method, path: (500, error("Broke off"))
    with pytest.raises(ProviderError):
        provider.create_job(wire.JobCreate(model="m", training_file="file-1"))
    assert scripted.asked == [("POST", "/v1/fine_tuning/jobs")]


def test_servers_without_the_metadata_filter_are_searched_here(scripted, provider):
    jobs = [{**JOB, "id": f"ftjob-{i}", "metadata": {"k": str(i)}} for i in range(3)]
    scripted.answer = lambda method, path: (
        200,
        {"object": "list", "data": jobs, "has_more": False},
    )
    assert provider.find_job({"k": "1"}).id == "ftjob-1"
    assert provider.find_job({"k": "7"}) is None


def reply(*tokens: tuple[str, float], content: str = "spam") -> dict[str, object]:
    shapes = [
        {"token": t, "logprob": p, "top_logprobs": [{"token": t, "logprob": p}]} for t, p in tokens
    ]
    choice = {"message": {"content": content}, "logprobs": {"content": shapes} if tokens else None}
    return {"choices": [choice], "tunesmith": {"cut_tokens": 3}}


def test_answers_of_one_token_many_tokens_and_none(scripted, provider):
    for answer, logprob, top in (
        (reply(("spam", -0.5)), -0.5, {"spam": -0.5}),
        (reply(("sp", -0.5), ("am", -0.25)), -0.75, {}),
        (reply(), math.nan, {}),
    ):
        scripted.answer = lambda method, path, answer=answer: (200, answer)
        [(place, got)] = provider.classify("m", ["x"], concurrency=4)
        assert (place, got.label, got.cut_tokens) == (0, "spam", 3)
        assert got.logprob == pytest.approx(logprob, nan_ok=True) and got.top == top


def test_an_answer_without_an_answer_is_said(scripted, provider):
    scripted.answer = lambda method, path: (200, {"choices": []})
    with pytest.raises(ProviderError, match="has no"):
        list(provider.classify("m", ["x"], concurrency=1))


def test_one_failed_request_ends_the_asking(scripted, provider):
    scripted.answer = lambda method, path: (404, error("The model 'm' does not exist"))
    with pytest.raises(NotFound):
        list(provider.classify("m", ["x"] * 500, concurrency=2))
    assert len(scripted.asked) < 100


def listed(path: str) -> tuple[int, object]:
    """A model that answers "spam" to every text, and cuts the second of a list."""
    if path.startswith("/v1/models/"):
        told = {"kind": "encoder", "answers": "labels"}
        model = {"id": "m", "object": "model", "created": 1, "owned_by": "me", "tunesmith": told}
        return 200, model
    top = {"tokens": ["spam"], "token_logprobs": [-0.5], "top_logprobs": [{"spam": -0.5}]}
    choices = [{"index": i, "text": "spam", "logprobs": top} for i in reversed(range(2))]
    return 200, {"choices": choices, "tunesmith": {"cut_tokens": 3, "cut_prompts": {"1": 3}}}


def test_many_texts_go_in_lists(scripted, provider, monkeypatch):
    monkeypatch.setattr(module, "FEW", 4)
    monkeypatch.setattr(module, "LISTED", 2)
    scripted.answer = lambda method, path: listed(path)
    found = dict(provider.classify("m", ["a", "b", "c", "d"], concurrency=1))
    bodies = [json.loads(body) for body in scripted.bodies if body]
    assert [body["prompt"] for body in bodies] == [["a", "b"], ["c", "d"]]
    assert bodies[0]["logprobs"] == 20 and bodies[0]["temperature"] == 0
    assert [found[i].cut_tokens for i in range(4)] == [0, 3, 0, 3]
    assert found[3].label == "spam" and found[3].logprob == -0.5 and found[3].top == {"spam": -0.5}


def test_long_texts_go_in_short_lists(scripted, provider, monkeypatch):
    monkeypatch.setattr(module, "FEW", 3)
    monkeypatch.setattr("tunesmith.providers.many.MOST_CHARACTERS", 5)
    scripted.answer = lambda method, path: listed(path)
    texts = ["abc", "de", "f", "ghijklmnop", "q"]
    assert len(list(provider.classify("m", texts, concurrency=1))) == 5
    prompts = [json.loads(body)["prompt"] for body in scripted.bodies if body]
    assert prompts == [["abc", "de"], ["f"], ["ghijklmnop"], ["q"]]


def test_a_list_that_comes_back_short_is_said(scripted, provider, monkeypatch):
    monkeypatch.setattr(module, "FEW", 3)
    scripted.answer = lambda method, path: listed(path)
    with pytest.raises(ProviderError, match="has no 2"):
        list(provider.classify("m", ["a", "b", "c"], concurrency=1))


# --- written answers ----------------------------------------------------------------------------


def choice(text: str | None, **more: object) -> dict[str, object]:
    message = {"role": "assistant", "content": text, **more.pop("message", {})}
    return {"index": 0, "message": message, "finish_reason": "stop", **more}


def written(scripted, provider, *choices, asked=None, **how) -> list[Reply]:
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    scripted.answer = lambda method, path: (200, {"choices": list(choices), "usage": usage})
    asked = asked or Conversation(messages=[{"role": "user", "content": "x"}])
    found = list(provider.chat("m", [asked], concurrency=2, writing=Writing(**how)))
    assert {place for place, _ in found} == {0}
    return [reply for _, reply in found]


def test_what_a_reply_says_is_read(scripted, provider):
    numbers = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -0.25}]}
    [reply] = written(scripted, provider, choice("ab", token_ids=[4, 9], logprobs=numbers))
    assert (reply.text, reply.ids, reply.logprobs) == ("ab", (4, 9), (-0.5, -0.25))
    assert (reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == ("stop", 7, 3)
    [reply] = written(scripted, provider, choice("ab", logprobs=None))
    assert (reply.ids, reply.logprobs, reply.calls) == (None, None, ())


def test_calls_are_read_in_both_spellings(scripted, provider):
    function = {"name": "f", "arguments": "{}"}
    new = {"tool_calls": [{"id": "1", "type": "function", "function": function}]}
    for message in (new, {"function_call": function}):
        [reply] = written(scripted, provider, choice(None, message=message))
        assert (reply.text, [(c.name, c.arguments) for c in reply.calls]) == ("", [("f", "{}")])


def test_choices_come_in_their_order(scripted, provider):
    replies = written(scripted, provider, choice("b", index=1), choice("a", index=0), n=2)
    assert [reply.text for reply in replies] == ["a", "b"]


def test_only_what_is_wanted_is_asked_for(scripted, provider):
    written(scripted, provider, choice("x"))
    assert json.loads(scripted.bodies[-1]) == {
        "model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 0.0,
    }  # fmt: skip
    tool = {"type": "function", "function": {"name": "f"}}
    asked = Conversation(messages=[{"role": "user", "content": "x"}], tools=[tool], most=5)
    how = {"temperature": 1.0, "n": 3, "seed": 0, "logprobs": True}
    written(scripted, provider, choice("x"), asked=asked, **how)
    assert json.loads(scripted.bodies[-1]) == {
        "model": "m", "messages": asked.messages, "tools": [tool], "max_tokens": 5, "n": 3,
        "temperature": 1.0, "seed": 0, "logprobs": True, "return_token_ids": True,
    }  # fmt: skip


def test_a_prompt_that_is_too_long_is_a_reply_that_says_so(scripted, provider):
    said = error("The context is too long.", code="context_length_exceeded")
    scripted.answer = lambda method, path: (400, said)
    asked = [Conversation(messages=[{"role": "user", "content": "x"}])]
    [(_, reply)] = provider.chat("m", asked, concurrency=1)
    assert (reply.refused, reply.text) == ("The context is too long.", "")
    scripted.answer = lambda method, path: (400, error("Another fault."))
    with pytest.raises(RequestError, match="Another fault"):
        list(provider.chat("m", asked, concurrency=1))


def test_labels_are_chosen_from_and_not_read_where_a_prompt_is_too_long(scripted, provider):
    asked = [Conversation(messages=[{"role": "user", "content": "x"}])]
    scripted.answer = lambda method, path: (200, reply(("spam", -0.5)))
    [(place, answer)] = provider.choose("m", asked, ["spam", "ham"], concurrency=1)
    assert (place, answer.label, answer.top) == (0, "spam", {"spam": -0.5})
    assert json.loads(scripted.bodies[-1]) == {
        "model": "m", "messages": asked[0].messages, "temperature": 0, "logprobs": True,
        "top_logprobs": 20, "tunesmith": {"labels": ["spam", "ham"]},
    }  # fmt: skip
    said = error("The context is too long.", code="context_length_exceeded")
    scripted.answer = lambda method, path: (400, said)
    assert list(provider.choose("m", asked, ["spam", "ham"], concurrency=1)) == [(0, None)]
    scripted.answer = lambda method, path: (400, error("Another fault."))
    with pytest.raises(RequestError, match="Another fault"):
        list(provider.choose("m", asked, ["spam", "ham"], concurrency=1))


def test_a_reply_without_choices_is_none(scripted, provider):
    with pytest.raises(ProviderError, match="has no choices"):
        written(scripted, provider)


def test_any_endpoint_can_be_asked_with_and_without_a_key(scripted):
    scripted.answer = lambda method, path: (200, {"choices": [choice("5")]})
    asked = [Conversation(messages=[{"role": "user", "content": "x"}])]
    for key in ("", "sk-x"):
        with endpoint(scripted.base_url, key) as found:
            [(_, reply)] = found.chat("judge", asked, concurrency=1)
        assert reply.text == "5"


def test_only_options_that_were_set_travel(scripted, provider):
    scripted.answer = lambda method, path: (200, JOB)
    options = wire.Options(method="head", dropout=None)
    provider.create_job(wire.JobCreate(model="m", training_file="file-1", tunesmith=options))
    assert json.loads(scripted.bodies[-1])["tunesmith"] == {"method": "head"}


def test_vectors_are_read_as_numbers_too_and_in_their_order(scripted, provider, monkeypatch):
    monkeypatch.setattr(module, "EMBEDDED", 2)
    data = [{"index": 1, "embedding": [0.5, 1.0]}, {"index": 0, "embedding": "AACAPwAAAEA="}]
    scripted.answer = lambda method, path: (200, {"object": "list", "data": data})
    found = dict(provider.embed("m", ["a", "b", "c", "d"], concurrency=2))
    assert {i: vector.tolist() for i, vector in found.items()} == {
        0: [1.0, 2.0], 1: [0.5, 1.0], 2: [1.0, 2.0], 3: [0.5, 1.0]
    }  # fmt: skip


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_an_endpoint_without_embeddings_says_so(scripted, provider, status):
    scripted.answer = lambda method, path: (status, error("no such thing"))
    with pytest.raises(NotOffered):
        list(provider.embed("m", ["a"], concurrency=1))


def test_an_endpoint_that_breaks_off_while_embedding_is_not_taken_for_one_without(
    scripted, provider
):
    scripted.answer = lambda method, path: (500, error("out of memory"))
    with pytest.raises(ProviderError, match="out of memory"):
        list(provider.embed("m", ["a"], concurrency=1))
