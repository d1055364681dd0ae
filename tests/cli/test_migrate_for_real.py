"""An account of 30 jobs, 60 files and 5 tuned models is taken out of a real server, and its models
are trained anew."""

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openai_account import NUM_FILES, NUM_JOBS, NUM_MODELS, Account, Serving, fill, teach
from tiny_causal import tiny

from tunesmith import config
from tunesmith.catalog import shelf
from tunesmith.settings import Settings

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder, serving, held): the server, and what it holds."""
    folder = tmp_path_factory.mktemp("migrated")
    account = Account(folder / "data", teach(folder / "taught"))
    held = fill(account)
    account.store.close()
    serving = Serving(folder / "data").start()
    yield folder, serving, held
    serving.stop()


def started(world, *arguments):
    folder, serving, held = world
    command = [sys.executable, "-m", "tunesmith", "migrate", "openai", "kept"]
    return subprocess.Popen(
        [*command, "--base-url", serving.url, *arguments],
        env={**environ(world), "OPENAI_API_KEY": held.key},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environ(world):
    return {**os.environ, "TUNESMITH_DATA_DIR": str(world[0] / "mine")}


def ended(process, code):
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, out + err
    return out, err


def tunesmith(world, *arguments, code=0):
    command = [sys.executable, "-m", "tunesmith", *map(str, arguments)]
    given = {"env": environ(world), "cwd": world[0], "capture_output": True, "text": True}
    done = subprocess.run(command, **given, timeout=240)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def wait_for_files(kept: Path, number: int, process):
    """Until so many files are there and the manifest knows of some."""
    while len(there(kept)) < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def there(kept: Path) -> dict[str, int]:
    """Files that were fetched whole → when."""
    found = [p for p in kept.glob("*/*/*") if p.is_file() and not p.name.startswith(".")]
    return {str(path): path.stat().st_mtime_ns for path in found}


def manifest(kept: Path):
    return json.loads((kept / "manifest.json").read_text(encoding="utf-8"))


def test_an_account_is_fetched_whole_through_two_interruptions(world):
    folder, serving, held = world
    kept = folder / "kept"

    planned = started(world, "--dry-run", "--json")
    plan = json.loads(ended(planned, 0)[0])
    assert plan["counts"] == {"files": NUM_FILES, "jobs": NUM_JOBS, "models": NUM_MODELS + 1}
    assert not kept.exists()

    process = started(world, "--concurrency", "1")
    wait_for_files(kept, 10, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    known = {one["path"] for one in manifest(kept)["files"] if one["state"] == "downloaded"}
    before = {path: at for path, at in there(kept).items() if path.split("/kept/")[1] in known}
    assert before
    assert not manifest(kept)["is_complete"]

    process = started(world, "--concurrency", "1", "--json")
    wait_for_files(kept, 30, process)
    serving.stop()
    time.sleep(1)
    assert process.poll() is None, "it does not wait for the server"
    serving.start()
    done = json.loads(ended(process, 3)[0])

    found = manifest(kept)
    assert found["is_complete"] and not done["failed"]
    assert found["source"]["base_url"] == serving.url
    assert len(found["files"]) == NUM_FILES + 1  # the deleted one is told of too
    assert {len(found[name]) for name in ("jobs", "events", "checkpoints")} == {NUM_JOBS}
    check_contents(kept, found, held)
    check_models(kept, found, held)
    assert {path: there(kept)[path] for path in before} == before, "fetched again"
    assert not list(kept.rglob(".*.part"))


def check_contents(kept, found, held):
    """Everything is there with its checksum, or has a reason."""
    lost = {one["id"]: one["reason"] for one in found["files"] if one["state"] != "downloaded"}
    assert set(lost) == {held.refused, held.deleted}
    assert "Not allowed to download" in lost[held.refused]
    assert "deleted" in lost[held.deleted]
    for section in ("files", "jobs", "events", "checkpoints"):
        for one in found[section]:
            if one["id"] in lost:
                continue
            content = (kept / one["path"]).read_bytes()
            assert (one["state"], one["bytes"]) == ("downloaded", len(content))
            assert one["sha256"] == hashlib.sha256(content).hexdigest()
            if section == "files":
                assert content == held.contents[one["id"]]
    events = (kept / "jobs" / held.label_job / "events.jsonl").read_text().splitlines()
    said = [json.loads(line)["message"] for line in events]
    assert said[:230] == [f"Step {n} of 230" for n in range(230)]


def check_models(kept, found, held):
    models = {one["id"]: one for one in json.loads((kept / "models.json").read_text())}
    assert set(held.models) < set(models)
    assert models[held.models[0]]["ends_on"] == "2027-01-14"
    assert models[held.models[0]]["base"] == "gpt-4o-mini-2024-07-18"
    assert models[held.models[1]]["is_over"]
    assert models["ft:gpt-3.5-turbo-0125:acme:gone:Old00001"]["state"] == "unavailable"
    assert models[f"{held.models[0]}:ckpt-step-10"]["checkpoint_of"] == held.label_job


def test_only_what_is_damaged_is_fetched_again(world):
    kept = world[0] / "kept"
    path = next((kept / "files").glob("*/mails.jsonl"))
    right = path.read_bytes()
    path.write_bytes(right[:-1] + b" ")
    done = json.loads(ended(started(world, "--json"), 3)[0])
    assert path.read_bytes() == right
    assert done["num_fetched"] == 3  # the file; events and checkpoints of the job that runs


def test_another_account_is_refused(world):
    found = manifest(world[0] / "kept")
    found["source"]["base_url"] = "http://elsewhere/v1"
    (world[0] / "other").mkdir()
    (world[0] / "other" / "manifest.json").write_text(json.dumps(found))
    serving, held = world[1:]
    command = [sys.executable, "-m", "tunesmith", "migrate", "openai", "other"]
    given = {"env": {**environ(world), "OPENAI_API_KEY": held.key}, "cwd": world[0]}
    done = subprocess.run(
        [*command, "--base-url", serving.url], **given, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "holds the assets of another account" in done.stderr


def test_the_recipes_run_and_are_compared_with_the_old_models(world):
    folder, _, held = world
    kept = folder / "kept"
    shelf.register(
        tiny(folder / "tiny-writer", "llama"), Settings(data_dir=folder / "mine").base_models_dir
    )
    _, err = ended(started(world, "--answers"), 2)
    assert "Nobody has agreed to spend about" in err
    out, err = ended(started(world, "--answers", "--yes", "--json"), 3)
    assert {one["job"]: one["why_not"] for one in json.loads(out)["answers"]} == {
        held.label_job: "", held.chat_job: "",
    }  # fmt: skip
    recipes = {name: kept / "recipes" / f"{name}.toml" for name in
               (held.label_job, held.chat_job, held.pair_job)}  # fmt: skip
    assert config.load(recipes[held.label_job]).train.base_model == "minilm-l6"
    assert config.load(recipes[held.label_job]).train.suffix == "mail"
    assert config.load(recipes[held.pair_job]).train.beta == 0.2
    run = folder / "run-chat"
    result = json.loads(
        tunesmith(
            world,
            "run",
            "--config",
            recipes[held.chat_job],
            "--run-dir",
            run,
            "--json",
            "--max-length",
            128,
            "--precision",
            "fp32",
            "--no-untuned",
            "--parity-examples",
            4,
        )
    )
    assert result["num_examples"] == 12
    told = json.loads(tunesmith(world, "migrate", "compare", kept, held.chat_job, run, "--json"))
    assert (told["num_rows"], told["main"]) == (12, "token_f1")
    assert told["old"]["model"] == held.models[1]
    run = folder / "run-pairs"
    tunesmith(world, "prepare", "--config", recipes[held.pair_job], "--run-dir", run)
    assert json.loads((run / "01-prepare/result.json").read_text())["task"] == "preference"


def test_the_page_is_typed_as_it_stands(world):
    """Every command of docs/migrate.md, with this account's server, key and job."""
    folder, serving, held = world
    page = (DOCS / "migrate.md").read_text(encoding="utf-8")
    given = {**environ(world), "OPENAI_API_KEY": held.key, "OPENAI_BASE_URL": serving.url}
    typed = []
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S):
        for line in block.splitlines():
            words = shlex.split(line.replace("ftjob-AbC123", held.label_job))
            words += ["--yes"] if "--answers" in words else []
            typed.append(words[1:3])
            command = [sys.executable, "-m", *words]
            done = subprocess.run(command, env=given, cwd=folder, capture_output=True, text=True)
            code = 3 if words[1:3] == ["migrate", "openai"] and "--dry-run" not in words else 0
            assert done.returncode == code, line + done.stdout + done.stderr
    assert len(typed) == 6
    assert "accuracy" in done.stdout
    found = json.loads((folder / f"openai-assets/comparisons/{held.label_job}.json").read_text())
    assert found["num_rows"] == 24


def test_recipes_are_written_anew_for_another_base_model(world):
    kept, held = world[0] / "kept", world[2]
    out = tunesmith(world, "migrate", "recipes", kept, "--base-model", "tiny-writer", "--json")
    told = {one["job"]: one for one in json.loads(out)["recipes"]}
    assert told[held.chat_job]["base_model"] == "tiny-writer"
    assert told[held.label_job]["base_model"] == "tiny-writer"
    assert "is not here" in next(one["why_not"] for one in told.values() if one["why_not"])


def test_no_key_is_in_the_folder(world):
    key = world[2].key.encode()
    for path in (world[0] / "kept").rglob("*"):
        assert not path.is_file() or key not in path.read_bytes(), path
