"""What every request meets: keys, request ids, envelopes for whatever goes wrong."""

import collections
import json
import os
import random
import socket
from urllib.parse import unquote, urlsplit

import httpx
import openai
import pytest
from random_requests import Connection, Requests

from tunesmith.model.cards import CausalCard
from tunesmith.server.door import auth
from tunesmith.store.jobs import Change
from tunesmith.store.rows import JobRow, ModelRow

OWN_KEY = "sk-own-key-of-this-process"


def connect(server):
    """A connection to the server, and its host and port."""
    address = urlsplit(server.url)
    return Connection(address.hostname, address.port), (address.hostname, address.port)


def a_model(server, name="ft:m:o::x", folder="x"):
    """The name of a tuned model, of which there is no more than the row."""
    asked = {"key_id": "k", "request_hash": "h", "model": "m", "base_model": "minilm-l6", "seed": 1}
    job = server.store.jobs.create(JobRow(**asked, training_file="f"), [], repeated=False)
    model = ModelRow(id=name, owned_by="o", base_model="minilm-l6", job_id=job.id, folder=folder)
    server.store.jobs.write(job.id, Change(models=[model]))
    return model.id


def a_writer(server):
    """The name of a tuned model that writes, of which there is also a card."""
    folder = server.settings.models_dir / "y"
    folder.mkdir(parents=True)
    CausalCard(base_model="b", base_folder="", method="full", max_length=64).save(folder)
    return a_model(server, "ft:m:o::y", folder.name)


def test_every_reply_has_openais_headers(shared):
    for path, status in (("/models", 200), ("/models/x", 404), ("/nowhere", 404)):
        reply = shared.http.get(path)
        assert reply.status_code == status
        assert len(reply.headers["x-request-id"]) == len("req_") + 32
        assert reply.headers["openai-version"] == "2020-10-01"
        assert reply.headers["openai-organization"] == "acme"
        assert reply.headers["openai-project"] == "proj_default"
        assert int(reply.headers["openai-processing-ms"]) >= 0
        assert reply.headers["content-type"] == "application/json"
    ids = {shared.http.get("/models").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert shared.client.models.retrieve("minilm-l6")._request_id.startswith("req_")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc"])
def test_no_key(shared, header):
    headers = {} if header is None else {"authorization": header}
    reply = httpx.get(f"{shared.url}/models", headers=headers)
    assert reply.status_code == 401
    error = reply.json()["error"]
    assert error["message"].startswith("You didn't provide an API key")
    assert error["type"] == "invalid_request_error"
    assert reply.headers["x-request-id"].startswith("req_")


def test_a_wrong_key_is_named_but_not_shown(shared):
    key = "sk-this-is-a-wrong-key-1234"
    with (
        openai.OpenAI(base_url=shared.url, api_key=key, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.body["message"].startswith("Incorrect API key provided: sk-thi…1234")
    assert key not in caught.value.message


def test_a_wrong_key_is_told_even_to_one_who_uploads_a_lot(shared):
    with (
        openai.OpenAI(base_url=shared.url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.files.create(file=("t.jsonl", b"x" * 30_000_000), purpose="fine-tune")


def test_a_stored_key_works_until_it_is_revoked(server, monkeypatch):
    monkeypatch.setattr(auth, "REMEMBER_SECONDS", 0.0)
    key, _ = server.store.keys.create("app")
    headers = {"authorization": f"Bearer {key}"}
    assert server.http.get("/models", headers=headers).status_code == 200
    server.store.keys.revoke("app")
    assert server.http.get("/models", headers=headers).status_code == 401


def test_a_key_is_looked_up_once_in_a_while(shared, monkeypatch):
    key, _ = shared.store.keys.create("app")
    found, find = [], shared.store.keys.find
    monkeypatch.setattr(shared.store.keys, "find", lambda k: found.append(k) or find(k))
    for _ in range(5):
        shared.http.get("/models", headers={"authorization": f"Bearer {key}"})
    assert len(found) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nowhere", 404, "Invalid URL (GET /v1/nowhere)"),
        ("POST", "/fine-tunes", 404, "Invalid URL (POST /v1/fine-tunes)"),
        ("PUT", "/files", 405, "Not allowed (PUT /v1/files)"),
        ("POST", "/models/x", 405, "Not allowed (POST /v1/models/x)"),
    ],
)
def test_wrong_addresses_have_an_envelope_too(shared, method, path, status, message):
    reply = shared.http.request(method, path)
    assert reply.status_code == status
    assert reply.json() == {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    }


def test_a_fault_of_ours_is_an_envelope_and_is_logged(shared, monkeypatch, caplog):
    def broken():
        raise ZeroDivisionError("inner detail")

    monkeypatch.setattr(shared.store.of("proj_default").models, "all", broken)
    reply = shared.http.get("/models")
    assert reply.status_code == 500
    assert reply.json()["error"]["type"] == "server_error"
    assert "inner detail" not in reply.text
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers["x-request-id"] in caplog.text
    assert "inner detail" in caplog.text


def test_health_needs_no_key(shared):
    assert shared.http.get(shared.url.replace("/v1", "/health"), headers={}).json() == {
        "status": "ok"
    }


def test_two_servers_share_one_database(start):
    first, second = start(), start()
    job = first.wait(second.create().id, "succeeded")
    name = job.fine_tuned_model
    ask = [{"role": "user", "content": "x"}]
    for server in (first, second):
        assert server.client.chat.completions.create(model=name, messages=ask).model == name
    key, _ = first.store.keys.create("app")
    assert second.http.get("/models", headers={"authorization": f"Bearer {key}"}).status_code == 200


# --- what comes that is no good -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "//v1/models", 404),
        ("GET", "/v1//models", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/v1/files/%2e%2e", 404),
        ("HEAD", "/v1/models", 405),
        ("OPTIONS", "/v1/chat/completions", 405),
        ("PUT", "/v1/chat%2Fcompletions", 405),
        ("POST", "/health", 405),
        ("GET", "/", 404),
    ],
)
def test_odd_addresses_have_an_envelope(shared, method, path, status):
    connection, _ = connect(shared)
    key = f"authorization: Bearer {OWN_KEY}\r\n"
    request = f"{method} {path} HTTP/1.1\r\nhost: [x\r\n{key}content-length: 0\r\n\r\n"
    reply, body = connection.ask(method, request.encode())
    connection.close()
    assert reply.status == status
    assert reply.headers["x-request-id"].startswith("req_")
    assert method == "HEAD" or list(json.loads(body)) == ["error"]


@pytest.mark.parametrize("name", ["meta%2Fllama", "ft:a:b::c", "ft%3Aa%3Ab%3A%3Ac", "meta/llama"])
def test_names_of_models_come_as_they_are_meant(shared, name):
    reply = shared.http.get(f"/models/{name}")
    assert reply.json()["error"]["message"] == f"The model '{unquote(name)}' does not exist"


def test_what_is_no_request_has_an_envelope_too(shared):
    connection, _ = connect(shared)
    reply, body = connection.ask("GET", b"NO REQUEST\r\n\r\n")
    assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["error"]["message"] == "Invalid HTTP request received."


def test_headers_have_a_limit(shared):
    reply = shared.http.get("/models", headers={"x": "y" * 70_000})
    assert reply.status_code == 431
    assert reply.json()["error"]["message"] == "The request's headers are larger than 65,536 bytes."
    assert shared.http.get("/models", headers={"x": "y" * 60_000}).status_code == 200


def test_headers_that_never_end_are_cut_off(shared):
    _, address = connect(shared)
    with socket.create_connection(address, timeout=10) as line:
        line.sendall(b"GET /v1/models HTTP/1.1\r\nx: ")
        with pytest.raises(OSError):
            for _ in range(1000):
                line.sendall(b"y" * 65_536)


NUMBER = int(os.environ.get("FUZZ_REQUESTS", "2000"))
"""`FUZZ_REQUESTS=100000 pytest -k random` for a longer look."""


# A form that breaks off leaves its file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_random_requests_never_meet_a_fault_of_ours(start):
    server = start(worker=False, workers=0, max_body_bytes=50_000)
    model = a_model(server)
    known = {"FILE": server.upload(), "MODEL": model, "WRITER": a_writer(server)}
    routes = [
        (method.upper(), path)
        for path, methods in server.http.get(server.url.replace("/v1", "/openapi.json"))
        .json()["paths"]
        .items()
        for method in methods
    ]
    routes += [("POST", "/v1/chat/completions")] * 3
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    requests = Requests(random.Random(seed), routes, OWN_KEY, known)
    connection, _ = connect(server)
    seen = collections.Counter()
    for number in range(NUMBER):
        method, request = requests.one()
        reply, body = connection.ask(method, request)
        seen[reply.status] += 1
        assert reply.status < 500, (number, request, body)
        if reply.status >= 400 and method != "HEAD":
            error = json.loads(body)["error"]
            assert sorted(error) == ["code", "message", "param", "type"], (number, request)
            assert error["message"], (number, request)
    connection.close()
    assert server.http.get("/models").status_code == 200
    assert {200, 400, 404, 405} <= set(seen), seen  # it got past the door
