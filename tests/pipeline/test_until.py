"""`python -m tunesmith.pipeline RUN_DIR --until VERB`, and progress.json."""

import json
import runpy
import sys

import pytest

from tunesmith import pipeline, providers
from tunesmith.events import Event, read_events


@pytest.fixture
def start(config, shop, provider, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setitem(providers.APIS, "openai", lambda *_: provider)
    pipeline.keep_config(config, shop.run_dir)

    def start(*options):
        monkeypatch.setattr(sys, "argv", ["pipeline", str(shop.run_dir.path), *options])
        return runpy.run_module("tunesmith.pipeline", run_name="__main__")

    return start


def test_it_stops_after_a_verb_and_goes_on_later(start, shop):
    before = (shop.run_dir.path / "config.toml").read_text()
    start("--until", "prepare")
    assert shop.run_dir.has("prepare") and not shop.run_dir.has("upload")
    assert (shop.run_dir.path / "config.toml").read_text() == before
    kinds = [event.kind for event, _ in read_events(shop.run_dir.path / "events.jsonl")]
    assert "done" not in kinds
    start()
    assert shop.run_dir.has("evaluate")
    assert not (shop.run_dir.path / "progress.json").exists()


def test_progress_is_told_in_a_file_while_it_lasts(start, shop):
    Progress = start("--until", "prepare")["Progress"]
    progress, place = Progress(shop.run_dir), shop.run_dir.path / "progress.json"
    progress(Event(kind="progress", message="Reading", data={"done": 1, "total": 9}))
    progress(Event(kind="progress", message="Reading", data={"done": 2, "total": 9}))
    assert json.loads(place.read_text())["data"]["done"] == 1  # no oftener than needed
    progress(Event(kind="progress", message="Writing", data={}))
    assert json.loads(place.read_text())["message"] == "Writing"
    progress.close()
    assert not place.exists()
