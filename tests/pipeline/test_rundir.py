"""The run directory: results found again, unchanged or not at all; one process at a time."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tunesmith.data.findings import Finding
from tunesmith.errors import StateError, StorageError
from tunesmith.events import Decision
from tunesmith.pipeline.results import Evaluated, Prepared
from tunesmith.pipeline.rundir import FOLDERS, RunDir, digest, file_digest, write_atomic

PREPARED = Prepared(
    task="classify",
    name="täble",
    train="01-prepare/train.jsonl",
    validation="01-prepare/validation.jsonl",
    num_rows=12,
    num_train=8,
    num_validation=3,
    fates={"kept": 11, "dropped: no text": 1},
    labels=("a", "b"),
    train_counts={"a": 4, "b": 4},
    validation_counts={"a": 2, "b": 1},
    natural_shares={"a": 0.5, "b": 0.5},
    class_weights="none",
    decisions=(Decision(what="text column", value="'t'", reason="its name"),),
    findings=(Finding("warning", 3, "One row without a text.", "Left out."),),
)


def test_a_result_comes_back_as_it_was(run_dir):
    run_dir.save("prepare", PREPARED, "d1", "split = '80/20'\n")
    assert RunDir(run_dir.path).load("prepare", Prepared, "d1") == PREPARED
    folder = run_dir.path / FOLDERS["prepare"]
    assert (folder / "config.toml").read_text() == "split = '80/20'\n"
    assert json.loads((folder / "result.json").read_text())["inputs"] == "d1"


def test_tuples_of_numbers_come_back_as_tuples(run_dir):
    evaluated = Evaluated(
        model="m", num_examples=2, metrics={"accuracy": 0.5}, intervals={"accuracy": (0.1, 0.9)},
        per_class=({"label": "a", "f1": 0.5},), natural={}, baselines=(), labels=("a",),
        confusion=((1, 1),), verdict=("So so.",), report="r.html", predictions="p.parquet",
    )  # fmt: skip
    run_dir.save("evaluate", evaluated, "d")
    assert run_dir.load("evaluate", Evaluated, "d") == evaluated


def test_other_inputs_another_shape_or_a_torn_file_count_as_nothing(run_dir):
    run_dir.save("prepare", PREPARED, "d1")
    assert run_dir.load("prepare", Prepared, "d2") is None
    place = run_dir.path / FOLDERS["prepare"] / "result.json"
    found = json.loads(place.read_text())
    place.write_text(json.dumps({**found, "num_rows": "many"}))
    assert run_dir.load("prepare", Prepared, "d1") is None
    place.write_text("{")
    assert run_dir.load("prepare", Prepared, "d1") is None
    place.write_text("[]")
    assert run_dir.latest("prepare", Prepared) is None


def test_what_was_loaded_counts_as_reused_until_it_is_made_again(run_dir):
    run_dir.save("prepare", PREPARED, "d1")
    later = RunDir(run_dir.path)
    later.load("prepare", Prepared, "d1")
    assert later.reused == {"prepare"}
    later.save("prepare", replace(PREPARED, num_rows=13), "d1")
    later.load("prepare", Prepared, "d1")
    assert later.reused == set()


def test_the_id_stays(run_dir):
    assert run_dir.id == RunDir(run_dir.path).id != RunDir(run_dir.path / "other").id


@dataclass(frozen=True)
class Thing:
    a: int
    b: tuple[str, ...] = ()


def test_digests_tell_values_apart_and_nothing_else():
    assert digest(Thing(1, ("x",)), Path("p"), {"k": 1, "j": 2}) == digest(
        Thing(1, ("x",)), Path("p"), {"j": 2, "k": 1}
    )
    different = [digest(1), digest("1"), digest([1]), digest(1, 1), digest(Thing(1)), digest(None)]
    assert len(set(different)) == len(different)
    with pytest.raises(TypeError, match="cannot be part"):
        digest(object())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    blocked = RunDir(tmp_path / "file")
    for attempt in (
        lambda: blocked.folder("train"),
        lambda: blocked.write("x", "y"),
        lambda: blocked.id,
    ):
        with pytest.raises(StorageError):
            attempt()
    with pytest.raises(StorageError), blocked.lock():
        pass


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder that nobody may write to")
def test_a_read_only_folder_is_refused():
    with pytest.raises(StorageError, match="cannot be written.*--run-dir"):
        RunDir(Path("/sys/kernel/tunesmith")).folder("train")


def test_a_full_disk_is_one_sentence_and_keeps_the_old_content(run_dir, monkeypatch):
    run_dir.save("prepare", PREPARED, "d1")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="disk is full.*goes on where it stopped"):
        run_dir.save("prepare", PREPARED, "d2")
    assert run_dir.load("prepare", Prepared, "d1") == PREPARED
    assert not list(run_dir.path.rglob("*.tmp"))


def test_a_missing_file_has_no_digest_but_a_sentence(tmp_path):
    with pytest.raises(StorageError, match="gone.jsonl"):
        file_digest(tmp_path / "gone.jsonl")


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "f"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_two_processes_cannot_work_in_one_directory(run_dir):
    code = "import sys; from pathlib import Path; from tunesmith.pipeline.rundir import RunDir\n"
    code += "with RunDir(Path(sys.argv[1])).lock(): print('in', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, run_dir.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin and other.stdout
    assert other.stdout.readline() == b"in\n"
    with pytest.raises(StateError, match="Another process is at work"), run_dir.lock():
        pass
    other.kill()  # however it ends, the lock goes with it
    other.wait()
    other.stdin.close()
    other.stdout.close()
    with run_dir.lock():
        pass
