"""`python -m tunesmith.pipeline RUN_DIR`: a described run, without a terminal."""

import runpy
import sys

import pytest

from tunesmith import pipeline, providers
from tunesmith.errors import ProviderError
from tunesmith.events import read_events


@pytest.fixture
def start(config, shop, provider, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setitem(providers.APIS, "openai", lambda *_: provider)
    monkeypatch.setattr(sys, "argv", ["pipeline", str(shop.run_dir.path)])
    pipeline.keep_config(config, shop.run_dir)
    return lambda: runpy.run_module("tunesmith.pipeline", run_name="__main__")


def kinds(shop) -> list[str]:
    return [event.kind for event, _ in read_events(shop.run_dir.path / "events.jsonl")]


def test_it_runs_what_the_directory_describes(start, shop):
    start()
    assert shop.run_dir.has("evaluate")
    assert kinds(shop)[-1] == "done" and "progress" not in kinds(shop)
    assert "# head: as asked" in (shop.run_dir.path / "config.toml").read_text()


def test_it_goes_on_after_a_failure_which_it_tells(start, shop, provider):
    def lost():
        raise ProviderError("The server does not answer.", fix="Check that it runs.")

    provider.while_following = lost
    with pytest.raises(SystemExit, match="does not answer. Check that it runs."):
        start()
    assert kinds(shop)[-1] == "error"
    provider.while_following = lambda: None
    start()
    assert kinds(shop)[-1] == "done"
    assert provider.calls["create_job"] == 1


def test_a_directory_without_a_description_is_refused(start, shop):
    (shop.run_dir.path / "config.toml").unlink()
    with pytest.raises(SystemExit, match="config.toml cannot be read"):
        start()
