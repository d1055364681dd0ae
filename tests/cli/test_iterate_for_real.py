"""An iteration as a user meets it: a process, a real server, real trainings of a tiny encoder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_base import make_tiny_base

SMALL = ("--method", "head", "--search", "max_length", "--trials", "3", "--bootstrap", "50")
SMALL = (*SMALL, "--no-baselines", "--no-advice", "--json")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


def test_three_heads_one_of_them_killed_and_the_best_is_served(outside, table, base, place):
    command = ("iterate", table, "--run-dir", "r", "--base-model", base, *SMALL)
    started = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", *map(str, command)],
        cwd=place,
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(place.glob("r/06-iterate/search-*/trial-02/03-train/events.jsonl")):
        assert started.poll() is None
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()

    ended = outside(*command)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    trials = found["searched"]["trials"]
    assert [trial["state"] for trial in trials] == ["done"] * 3
    lengths = {json.dumps(trial["settings"]) for trial in trials}
    assert len(lengths) == 3 and "{}" in lengths
    best = trials[found["searched"]["chosen"]]
    assert best["score"] == max(trial["score"] for trial in trials)
    assert found["model"] == best["model"] and best["num_rows"] == 10
    assert (place / found["chosen_run_dir"] / "04-deploy/parity.json").is_file()

    jobs = json.loads(outside("jobs", "list", "--json").out)
    assert [job["status"] for job in jobs] == ["succeeded"] * 3
    assert all(job["validation_file"] is None for job in jobs)


def test_two_at_once_are_trained_by_two_workers(outside, table, base, place):
    command = ("iterate", table, "--run-dir", "r", "--base-model", base, *SMALL)
    ended = outside(*command, "--parallel", 2)
    assert ended.code == 0, ended.err
    trials = json.loads(ended.out)["searched"]["trials"]
    assert [trial["state"] for trial in trials] == ["done"] * 3
    spans = []
    for number in (1, 2):
        (path,) = place.glob(f"r/06-iterate/search-*/trial-0{number}/03-train/events.jsonl")
        times = [json.loads(line)["at"] for line in path.read_text().splitlines()]
        spans.append((min(times), max(times)))
    (_, first_end), (second_begin, _) = sorted(spans)
    assert second_begin < first_end
