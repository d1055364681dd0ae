"""Batches of requests to a model that writes."""

import json
import time

import pytest

from tunesmith.server.batches import runner


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(runner, "TICK_SECONDS", 0.05)


BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}], "n": 2},
    "/v1/completions": {"prompt": "x", "max_tokens": 5},
    "/v1/responses": {"input": "x"},
}


@pytest.mark.parametrize("endpoint", BODIES)
def test_a_batch_is_answered(server, endpoint):
    model = server.causal()
    bodies = [BODIES[endpoint]] * 3 + [{**BODIES[endpoint], "temperature": 9}]
    lines = [
        {"custom_id": str(i), "method": "POST", "url": endpoint, "body": {"model": model, **body}}
        for i, body in enumerate(bodies)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    batches, files = server.client.batches, server.client.files
    file_id = files.create(file=("b.jsonl", content), purpose="batch").id
    asked = {"input_file_id": file_id, "completion_window": "24h"}
    batch = batches.create(endpoint=endpoint, **asked)
    deadline = time.monotonic() + 20
    while batch.status not in ("completed", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        batch = batches.retrieve(batch.id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (3, 1)
    assert batch.usage.output_tokens == 3 * 5 * bodies[0].get("n", 1)
    answers = files.content(batch.output_file_id).text.splitlines()
    assert all(
        server.writers.text in json.dumps(json.loads(a), ensure_ascii=False) for a in answers
    )
