"""`tunesmith run` on written answers, with the provider in memory: what is printed and kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith import config as configs
from tunesmith.cli.options import asked
from tunesmith.config import RunConfig

FAST = ("--bootstrap", "50")


@pytest.fixture
def notes(tmp_path) -> Path:
    path = tmp_path / "notes.jsonl"
    rows = []
    for i in range(40):
        words = " ".join(f"w{i * j % 97}" for j in range(2, 12))
        rows.append({"prompt": f"Note {i}: {words}", "completion": json.dumps({"number": i})})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_tells_what_was_decided_learnt_and_reached(here, notes):
    ended = here("run", notes, "--run-dir", "r", *FAST, "--method", "lora", "--ask", "Note 3?")
    assert (ended.code, ended.err) == (0, "")
    for words in (
        "base model: tiny-writer (the first base model that writes and is there)",
        "32 to train on, 8 to validate\n",
        "start           loss 1.500  dev loss 1.600  dev accuracy 90.0%",
        "parity: 8 held-out prompts, every token as the trainer wrote it, log-probabilities within",
        "answers: up to 64 tokens (the longest right answer has ",
        "8 held-out prompts answered and scored",
        "this model     100.0 % 63.1–100.0",
        "untuned        0.0 % 0.0–36.9",
        "Every one of 8 held-out prompts is answered with the right JSON",
        "r/05-evaluate/report.html",
        "› Note 3?\nI do not know.",
    ):
        assert words in ended.out, words
    config = configs.load(Path("r/config.toml"))
    assert (config.train.method, config.train.base_model) == ("lora", None)
    assert "# tiny-writer: the first base model" in Path("r/config.toml").read_text()


def test_a_second_run_does_nothing_and_shows_the_same_table(here, notes, provider):
    first = here("run", notes, "--run-dir", "r", *FAST)
    calls = dict(provider.calls) | {"close": 2}
    second = here("run", "--run-dir", "r")
    assert dict(provider.calls) == calls
    said, *rest = second.out.splitlines()
    assert said.startswith("Nothing has changed") and first.out.endswith("\n".join(rest) + "\n")


def test_json_holds_scores_and_answers(here, notes, provider):
    provider.spoil_reply = lambda asked, reply: replace(reply, finish_reason="stop")
    ended = here("run", notes, "--run-dir", "r", *FAST, "--json", "--ask", "Hello")
    found = json.loads(ended.out)
    assert found["metrics"]["json_match"] == 1.0 and found["main"] == "json_match"
    assert found["untuned"]["gains"]["json_match"] == 1.0
    assert found["answers"][0] | {"text": "", "ids": 0, "logprobs": 0} == {
        "asked": "Hello", "text": "", "calls": [], "finish_reason": "stop", "ids": 0,
        "logprobs": 0, "prompt_tokens": 0, "completion_tokens": 5, "seconds": 0.0, "refused": "",
    }  # fmt: skip


def test_the_verbs_one_by_one_make_the_same_run(here, notes):
    whole = json.loads(here("run", notes, "--run-dir", "whole", *FAST, "--json").out)
    assert here("prepare", notes, "--run-dir", "r").code == 0
    for verb in ("upload", "train", "deploy"):
        ended = here(verb, "r")
        assert (ended.code, ended.err) == (0, ""), verb
    last = json.loads(here("evaluate", "r", *FAST, "--json").out)
    assert last["metrics"] == whole["metrics"]
    assert here("run", "--run-dir", "r").out.startswith("Nothing has changed")


def test_without_a_model_that_writes_it_says_how_to_get_one(here, notes, provider):
    provider.bases = []
    ended = here("run", notes, "--run-dir", "r", *FAST)
    assert ended.code == 2
    assert "no base model that writes is there" in ended.err
    assert "tunesmith models pull NAME" in ended.err


def test_files_are_kept_by_their_full_path(here, notes, tmp_path):
    Path("schema.json").write_text('{"type": "object", "required": ["number"]}')
    Path("rubric.txt").write_text("5: right")
    options = ("--schema", "schema.json", "--judge", "m", "--judge-rubric", "rubric.txt")
    here("run", notes, "--run-dir", "r", *FAST, *options)
    config = configs.load(Path("r/config.toml"))
    assert config.evaluate.schema == str(tmp_path / "schema.json")
    assert config.evaluate.judge_rubric == str(tmp_path / "rubric.txt")
    Path("base").mkdir()
    given = {"train": {"base_model": "base"}}
    config = asked(given, base=RunConfig(), overrides=[])
    assert config.train.base_model == str(tmp_path / "base")
    here("run", notes, "--run-dir", "q", "--judge", "m", "--judge-rubric", "5: it rhymes")
    assert configs.load(Path("q/config.toml")).evaluate.judge_rubric == "5: it rhymes"
