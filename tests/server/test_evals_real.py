"""Evals with the real engine and a tiny model of random weights, and servers that are killed."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest
from postgres_server import database_of
from tiny_causal import tiny

from tunesmith.catalog import shelf
from tunesmith.serving.writers import Writers

PROGRAM = Path(__file__).parent / "serve_process.py"
JUDGE = {"model": "tiny-qwen3", "input": [{"role": "user", "content": "{{ sample.output_text }}"}]}
LABELS = {
    **JUDGE,
    "type": "label_model",
    "name": "label",
    "labels": ["good", "bad"],
    "passing_labels": ["good", "bad"],
}
SCORE = {**JUDGE, "type": "score_model", "name": "score", "pass_threshold": 0}
NEAR = {
    "type": "text_similarity",
    "name": "near",
    "evaluation_metric": "cosine",
    "input": "{{ item.text }}",
    "reference": "x",
    "pass_threshold": 0.5,
}
CONFIG = {"type": "custom", "item_schema": {"type": "object"}}
ITEMS = 800


@pytest.fixture(scope="module")
def server(running, tmp_path_factory):
    place = tmp_path_factory.mktemp("real")
    server = running(place, writers=Writers(max_loaded=2, threads=1))
    folder = tiny(place / "tiny-qwen3", "qwen3")
    shelf.register(folder, server.settings.base_models_dir)
    yield server
    server.close()


def wait(client, run, until):
    deadline = time.monotonic() + 60
    while not until(run):
        assert time.monotonic() < deadline, run
        time.sleep(0.05)
        run = client.evals.runs.retrieve(run.id, eval_id=run.eval_id)
    return run


def is_over(run):
    return run.status in ("completed", "failed")


def test_a_model_answers_and_is_judged_by_itself(server):
    client = server.client
    tested = client.evals.create(data_source_config=CONFIG, testing_criteria=[LABELS, SCORE])
    source = {
        "type": "completions",
        "model": "tiny-qwen3",
        "source": {"type": "file_content", "content": [{"item": {"text": f"{n}"}} for n in "abc"]},
        "input_messages": {
            "type": "template",
            "template": [{"role": "user", "content": "{{ item.text }}"}],
        },
        "sampling_params": {"max_completion_tokens": 8},
    }
    outputs = []
    for _ in range(2):
        run = client.evals.runs.create(tested.id, data_source=source)
        run = wait(client, run, is_over)
        assert (run.status, run.result_counts.total) == ("completed", 3), run
        (usage,) = run.per_model_usage
        assert usage.run_model_name == "tiny-qwen3"
        items = list(client.evals.runs.output_items.list(run.id, eval_id=tested.id))
        for item in items:
            label, score = item.results
            assert label.passed and label.score == 1
            said = json.loads(label.sample["output"][0]["content"])
            assert said["result"] in ("good", "bad")
            # A model of random weights may write digits without an end.
            assert 0 <= score.score <= 1 and score.sample["input"]
            assert item.sample.usage.completion_tokens <= 8
        outputs.append([item.sample.output[0].content for item in items])
    assert outputs[0] == outputs[1]  # the seed is the same


@contextmanager
def process(data_dir, key=None):
    """A server in a process of its own, which is killed."""
    command = [sys.executable, str(PROGRAM), str(data_dir), "0"]
    environ = {**os.environ, "TUNESMITH_DATABASE_URL": database_of(data_dir)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environ, **pipes) as running:
        try:
            said = json.loads(running.stdout.readline())
            key = key or said["key"]
            with openai.OpenAI(base_url=said["base_url"], api_key=key, max_retries=0) as client:
                yield SimpleNamespace(client=client, key=key)
        finally:
            running.kill()


def test_a_killed_servers_run_is_gone_on_with(tmp_path):
    with process(tmp_path) as first:
        tested = first.client.evals.create(data_source_config=CONFIG, testing_criteria=[NEAR])
        content = [{"item": {"text": f"text {n}"}} for n in range(ITEMS)]
        source = {"type": "jsonl", "source": {"type": "file_content", "content": content}}
        run = first.client.evals.runs.create(tested.id, data_source=source)
        run = wait(first.client, run, lambda run: run.result_counts.total > 50)
        outputs = first.client.evals.runs.output_items
        before = {one.id: one.created_at for one in outputs.list(run.id, eval_id=tested.id)}
    assert len(before) > 50
    with process(tmp_path, first.key) as second:
        run = wait(second.client, run, is_over)
        counts = run.result_counts.to_dict()
        assert counts == {"total": ITEMS, "passed": 0, "failed": ITEMS, "errored": 0}
        outputs = second.client.evals.runs.output_items
        after = list(outputs.list(run.id, eval_id=tested.id, limit=100))
    assert [item.datasource_item_id for item in after] == list(range(ITEMS))
    known = {item.id: item.created_at for item in after}
    assert before.items() <= known.items()  # what was kept is not answered again
