"""The examples do what they say, against a real server."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from openai_account import Serving
from table import write_table

from tunesmith.settings import Settings
from tunesmith.store.rows import DEFAULT_PROJECT
from tunesmith.store.store import open_store

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder with prepared files, environment of who asks the server)"""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "data").mkdir()
    store = open_store(Settings(data_dir=folder / "data"))
    key, _ = store.keys.create("ada", role="member", project=DEFAULT_PROJECT)
    store.close()
    serving = Serving(folder / "data").start()
    environ = {**os.environ, "TUNESMITH_DATA_DIR": str(folder / "mine"),
               "OPENAI_API_KEY": key, "OPENAI_BASE_URL": serving.url}  # fmt: skip
    table = write_table(folder / "table.csv")
    run(environ, folder, sys.executable, "-m", "tunesmith", "prepare", table,
        "--run-dir", folder / "runs" / "tickets")  # fmt: skip
    yield folder, environ
    serving.stop()


def run(environ, folder, *command):
    done = subprocess.run(
        list(map(str, command)), env=environ, cwd=folder, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_cycle_in_python_is_done_once(world):
    folder, environ = world
    command = (sys.executable, "-W", "error", EXAMPLES / "model_fine_tuning.py")
    first, second = (run(environ, folder, *command) for _ in range(2))
    assert "The job has successfully completed" in first
    assert first.splitlines()[0] == second.splitlines()[0], "a second job"
    assert first.splitlines()[-1] == second.splitlines()[-1]
    assert " right" in first.splitlines()[-1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_cycle_in_curl(world):
    folder, environ = world
    said = run(environ, folder, "sh", EXAMPLES / "fine_tuning.sh", "My parcel is late")
    assert "The job has successfully completed" in said
    labels = json.loads((folder / "runs/tickets/01-prepare/labels.json").read_text())
    model, _, answer = said.splitlines()[-1].rpartition(": ")
    assert model.startswith("ft:minilm-l6:")
    assert answer in json.dumps(labels)


def test_a_wrong_key_is_told_in_curl(world):
    folder, environ = world
    wrong = {**environ, "OPENAI_API_KEY": "sk-wrong"}
    done = subprocess.run(
        ["sh", EXAMPLES / "fine_tuning.sh"], env=wrong, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "sk-wrong" not in done.stderr


def test_from_a_messy_table_to_two_models(world):
    folder, environ = world
    said = run(environ, folder, sys.executable, EXAMPLES / "messy_table_to_two_models.py", 100)
    assert "% right" in said
    assert "compare.html" in said
    assert (folder / "runs/messy/compare.html").is_file()
    prepared = json.loads((folder / "runs/messy/head/01-prepare/result.json").read_text())
    assert sum(prepared["fates"].values()) == prepared["num_rows"] == 120
