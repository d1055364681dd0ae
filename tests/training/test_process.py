"""The training process, from outside: files, resuming, refusals."""

import fcntl
import json
import math
import os
import signal
import subprocess
import time

import pytest
from job_runs import COMMAND, metrics, result, run, run_with_kills, same, weights

from tunesmith.events import read_events


@pytest.mark.parametrize("method", ["head", "full", "auto"])
def test_a_job_leaves_a_model_events_and_a_result(job_dir, method):
    folder = job_dir(method=method, hyperparameters={"n_epochs": 2})
    run(folder)
    done = result(folder)
    assert done["facts"]["labels"] == ["billing", "delivery", "technical"]
    assert done["facts"]["method"] in ({method} if method != "auto" else {"head", "full"})
    assert done["trained_tokens"] > 0
    assert done["checkpoints"][-1]["folder"] == "model"
    for checkpoint in done["checkpoints"]:
        assert (folder / checkpoint["folder"] / "tunesmith.json").exists()
    numbers = done["hyperparameters"]
    assert all(isinstance(v, int | float) for v in numbers.values())
    assert metrics(folder)[-1].keys() >= {"step", "total_steps", "train_loss"}
    assert any("dev_loss" in found for found in metrics(folder))
    header, *lines = (folder / "metrics.csv").read_text().splitlines()
    assert header == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(lines) == (1 if method == "head" else metrics(folder)[-1]["step"])
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 30
    assert all(s["logprob"] <= 0 and s["label"] in done["facts"]["labels"] for s in samples)
    assert not (folder / "state").exists()


def test_same_seed_same_model_other_seed_another(job_dir):
    first, second, third = (
        job_dir(method="full", hyperparameters={"n_epochs": 1}, seed=seed) for seed in (1, 1, 2)
    )
    for folder in (first, second, third):
        run(folder)
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(third))


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_killed_at_any_moment_it_ends_with_the_same_model(job_dir, soft):
    settings = dict(method="full", hyperparameters={"n_epochs": 4, "batch_size": 8}, rows=240)
    if soft:
        settings |= dict(soft_labels=True, votes=(0, 0, 1))
    whole, killed = job_dir(**settings), job_dir(**settings)
    run(whole)
    kills = run_with_kills(killed, (5, 40, 70))
    assert kills == 3
    assert same(weights(whole), weights(killed))
    assert [m["step"] for m in metrics(killed)] == [m["step"] for m in metrics(whole)]
    losses = [[m["train_loss"] for m in metrics(f)] for f in (whole, killed)]
    assert losses[0] == losses[1]
    told = [e for e, _ in read_events(killed / "events.jsonl") if "estimate" in e.data]
    assert len(told) == 1, "the estimate is told again only if it has changed"


def test_votes_become_one_row_a_text_with_their_shares(job_dir):
    votes = dict(labels=2, votes=(0, 0, 0, 1), soft_labels=True)
    folder = job_dir(method="full", hyperparameters={"n_epochs": 8}, rows=200, **votes)
    run(folder)
    decisions = {d["what"]: d for d in result(folder)["facts"]["decisions"]}
    assert decisions["labels"]["value"] == "soft, from 800 votes on 200 texts"
    assert decisions["labels"]["reason"] == "as asked"
    assert result(folder)["facts"]["num_examples"] == 200
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 30
    sure = [math.exp(s["logprob"]) for s in samples]
    assert abs(sum(sure) / len(sure) - 0.75) < 0.05
    assert metrics(folder)[-1]["valid_mean_token_accuracy"] > 0.9
    best = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert best < metrics(folder)[-1]["valid_loss"] < best + 0.05


def test_votes_on_one_text_alone_are_refused(job_dir):
    folder = job_dir(rows=1, votes=(0, 1) * 5, soft_labels=True)
    assert "votes on one text" in refusal(folder)["message"]


def test_a_finished_job_is_not_done_again(job_dir):
    folder = job_dir(method="head")
    run(folder)
    before = (folder / "events.jsonl").read_bytes()
    run(folder)
    assert (folder / "events.jsonl").read_bytes() == before


LONG = dict(method="full", hyperparameters={"n_epochs": 50, "batch_size": 1}, rows=600)


def until_it_steps(process, folder, steps=1):
    while len(metrics(folder)) <= steps:
        assert process.poll() is None
        time.sleep(0.01)


def position(folder):
    return json.loads((folder / "state" / "latest" / "position.json").read_text())


def test_asked_to_stop_it_saves_its_last_step_and_ends_with_the_same_model(job_dir):
    settings = dict(method="full", hyperparameters={"n_epochs": 4, "batch_size": 8}, rows=240)
    whole, stopped = job_dir(**settings), job_dir(**settings)
    run(whole)
    for wanted in (2, 33):
        process = subprocess.Popen([*COMMAND, str(stopped)])
        until_it_steps(process, stopped, wanted)
        for _ in range(3):  # asking again changes nothing
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 4
        assert position(stopped)["step"] == metrics(stopped)[-1]["step"] >= wanted
    run(stopped)
    told = [e.message for e, _ in read_events(stopped / "events.jsonl")]
    assert sum(message.startswith("Going on after step") for message in told) == 2
    assert same(weights(whole), weights(stopped))
    assert (whole / "metrics.csv").read_text() == (stopped / "metrics.csv").read_text()
    assert result(whole)["trained_tokens"] == result(stopped)["trained_tokens"]


def test_asked_before_it_has_begun_it_ends_at_once(job_dir):
    folder = job_dir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([*COMMAND, str(folder)])
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == -signal.SIGTERM
    run(folder)


def test_it_stops_when_its_parent_is_gone(job_dir):
    folder = job_dir(**LONG)
    reading, writing = os.pipe()
    process = subprocess.Popen([*COMMAND, str(folder), "--stop-with-parent"], stdin=reading)
    os.close(reading)
    until_it_steps(process, folder)
    os.close(writing)
    assert process.wait(timeout=20) == 4
    assert position(folder)["step"] == metrics(folder)[-1]["step"]


def refusal(folder):
    done = run(folder, expect=2)
    assert "Traceback" not in done.stderr
    return json.loads((folder / "error.json").read_text())


def test_one_answer_is_refused(job_dir):
    folder = job_dir()
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    one = [line for line in lines if '"content": "billing"' in line]
    (folder / "train.jsonl").write_text("".join(one))
    error = refusal(folder)
    assert error["code"] == "invalid_training_file"
    assert "same answer" in error["message"]


def test_an_unknown_validation_answer_is_refused(job_dir):
    folder = job_dir()
    text = (folder / "validation.jsonl").read_text()
    (folder / "validation.jsonl").write_text(text.replace('"billing"}', '"biling"}', 1))
    assert "'biling'" in refusal(folder)["message"]


def test_too_large_steps_are_refused_in_words(job_dir):
    folder = job_dir(method="full", hyperparameters={"learning_rate_multiplier": 1e30})
    assert "learning_rate_multiplier" in refusal(folder)["message"]


def test_a_length_beyond_the_model_is_refused(job_dir):
    assert "at most 128 tokens" in refusal(job_dir(max_length=4000))["message"]


def test_cut_texts_are_told(job_dir):
    folder = job_dir(method="head", max_length=8)
    run(folder)
    warnings = [e for e, _ in read_events(folder / "events.jsonl") if e.kind == "warning"]
    assert "longer than 8 tokens" in warnings[0].message
    assert result(folder)["facts"]["texts_cut"] == warnings[0].data["texts_cut"] > 0
