"""Running the training process on job folders, and reading what it leaves."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tunesmith.events import read_events

COMMAND = [sys.executable, "-m", "tunesmith.training"]


def run(folder: Path, *, expect: int = 0, command: list[str] = COMMAND) -> Any:
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=240)
    assert done.returncode == expect, done.stderr
    return done


def run_with_kills(folder: Path, steps: tuple[int, ...]) -> int:
    """The process is shot after each of these steps, and starts again; how often it was hit."""
    kills = 0
    for wanted in steps:
        process = subprocess.Popen([*COMMAND, str(folder)], stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if any(m["step"] >= wanted for m in metrics(folder)):
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
                break
            time.sleep(0.005)
    run(folder)
    return kills


def result(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())


def error(folder: Path) -> Any:
    return json.loads((folder / "error.json").read_text())


def events(folder: Path, kind: str) -> list[Any]:
    return [e for e, _ in read_events(folder / "events.jsonl") if e.kind == kind]


def metrics(folder: Path) -> list[Any]:
    return [event.data for event in events(folder, "metric")]


def samples(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted((folder / "model").glob("*.safetensors"))
    return {k: v for file in files for k, v in load_file(file).items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
