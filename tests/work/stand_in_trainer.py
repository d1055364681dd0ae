"""Stands in for `python -m tunesmith.training`: the same files, no learning.

The first text of the training file says how to behave.
"""

import csv
import fcntl
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

STEPS = 4


def main() -> int:
    job_dir = Path(sys.argv[1])
    if "--stop-with-parent" in sys.argv:
        threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    with (job_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (job_dir / "pid.tmp").write_text(str(os.getpid()))
        (job_dir / "pid.tmp").rename(job_dir / "pid")
        job = json.loads((job_dir / "job.json").read_text())
        examples = [json.loads(x) for x in Path(job["training_file"]).read_text().splitlines()]
        behaviour = examples[0]["messages"][0]["content"]
        return train(
            job_dir, job, behaviour, sorted({e["messages"][-1]["content"] for e in examples})
        )


def train(job_dir: Path, job: dict, behaviour: str, labels: list[str]) -> int:
    sys.stdout.write(f"stand-in trainer: {behaviour}\n")
    sys.stdout.flush()
    if behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "die once" and not (job_dir / "died").exists():
        (job_dir / "died").touch()
        os._exit(7)
    if behaviour == "crash":
        raise MemoryError("no room for 3 tensors")
    if behaviour == "impossible":
        error = {"code": "invalid_request", "message": "That cannot be done.", "param": "tunesmith"}
        (job_dir / "error.json").write_text(json.dumps(error))
        return 2
    events = (job_dir / "events.jsonl").open("a", buffering=1)

    def tell(kind: str, message: str, **data: object) -> None:
        event = {"kind": kind, "message": message, "data": data, "at": time.time()}
        events.write(json.dumps(event) + "\n")

    tell("progress", "Computing features", done=1, total=2)
    tell(
        "decision",
        "n_epochs: at most 3 (few rows)",
        what="n_epochs",
        value="at most 3",
        reason="few rows",
    )
    tell("note", "Twelve texts")
    tell("warning", "One text was cut")
    metrics = []
    for step in range(1, STEPS + 1):
        while behaviour == "slow" and step > 2:
            time.sleep(0.05)
        numbers = {
            "step": step,
            "total_steps": STEPS,
            "train_loss": 1 / step,
            "train_mean_token_accuracy": 0.5,
        }
        if step % 2 == 0:
            numbers |= {
                "valid_loss": 2 / step,
                "valid_mean_token_accuracy": 0.25,
                "odd": float("nan"),
            }
        if step == STEPS:
            numbers |= {"full_valid_loss": 0.4, "full_valid_mean_token_accuracy": 0.75}
        tell("metric", "own words", **numbers)
        metrics.append(numbers)
    write_result(job_dir, job, labels, metrics)
    tell("done", "Training is done")
    return 0


def write_result(job_dir: Path, job: dict, labels: list[str], metrics: list[dict]) -> None:
    for folder in ("checkpoints/step-2", "model"):
        (job_dir / folder).mkdir(parents=True, exist_ok=True)
        (job_dir / folder / "labels.json").write_text(json.dumps(labels))
    with (job_dir / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "train_loss"])
        writer.writerows([m["step"], m["train_loss"]] for m in metrics)
    (job_dir / "samples.jsonl").write_text('{"text": "a", "label": "b", "logprob": -0.1}\n')
    (job_dir / "state").mkdir(exist_ok=True)
    told = {
        "trained_tokens": 5830,
        "hyperparameters": {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0},
        "checkpoints": [
            {"step": 2, "folder": "checkpoints/step-2", "metrics": {"train_loss": 0.5}},
            {"step": STEPS, "folder": "model", "metrics": {"train_loss": 0.25}},
        ],
        "facts": {"labels": labels, "seed": job["seed"], "start_from": job["start_from"]},
    }
    temporary = job_dir / "result.tmp"
    temporary.write_text(json.dumps(told))
    temporary.replace(job_dir / "result.json")


def stop_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
