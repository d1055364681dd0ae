"""A server that holds what an OpenAI account may: jobs of all states, files, tuned models."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tiny_base import WORDS

from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.jobs import Change
from tunesmith.store.rows import (
    DEFAULT_PROJECT,
    CheckpointRow,
    EventRow,
    FileRow,
    JobRow,
    ModelRow,
)
from tunesmith.store.store import open_store

NUM_FILES, NUM_JOBS, NUM_MODELS = 60, 30, 5
BASES = ("gpt-4o-mini-2024-07-18", "gpt-3.5-turbo-0125", "gpt-4.1-mini-2025-04-14")
SYSTEM = "You sort the mail of a shop. Answer with one word."


@dataclass
class Serving:
    """`tunesmith serve` in a process of its own, which can be stopped and started again."""

    data_dir: Path
    port: int = 0
    url: str = ""
    process: subprocess.Popen = field(default=None, repr=False)

    def start(self):
        """Start it, at the same port as before."""
        command = [sys.executable, "-m", "tunesmith", "serve", "--port", str(self.port)]
        environ = {**os.environ, "TUNESMITH_DATA_DIR": str(self.data_dir), "TUNESMITH_THREADS": "1"}
        with (self.data_dir / "serve.txt").open("a") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ
            )
        for line in self.process.stdout:
            if found := re.search(r"Serving at (\S+/v1)", line):
                self.url = found[1]
                self.port = int(self.url.split(":")[2].split("/")[0])
                return self
        raise AssertionError((self.data_dir / "serve.txt").read_text())

    def stop(self):
        """Stop it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self.process.stdout.close()


@dataclass
class Held:
    """What was put into the account."""

    key: str
    models: list[str]
    label_job: str
    chat_job: str
    pair_job: str
    contents: dict[str, bytes]
    """File id → what it holds, of files that can be had."""
    refused: str
    """A file of a purpose that is not handed out."""
    deleted: str
    """A training file that a job names and nobody has."""


class Account:
    """Fills a data folder. `model` is the folder of a model of labels, which answers for all."""

    def __init__(self, data_dir: Path, model: Path):
        self.settings = Settings(data_dir=data_dir)
        self.store = open_store(self.settings)
        self.blobs = Blobs(self.settings.blobs)
        self.contents = {}
        self._draw = random.Random(5)
        self._model = model

    def file(self, name, content, purpose="fine-tune"):
        """The id of a file with that content."""
        row = FileRow(filename=name, purpose=purpose, bytes=len(content), sha256="")
        place = self.settings.data_dir / "content"
        place.write_bytes(content)
        with place.open("rb") as file:
            self.blobs.put(row.id, file)
        self.store.of(DEFAULT_PROJECT).files.add(row)
        if purpose != "assistants":
            self.contents[row.id] = content
        return row.id

    def job(self, training, *, validation=None, to="succeeded", model=None, events=3, **given):
        """The id of a job that has come to that state."""
        row = JobRow(
            **{
                "key_id": "key_x", "request_hash": "", "model": BASES[0], "base_model": "minilm-l6",
                "training_file": training, "validation_file": validation, "seed": 7,
                "status": "running", "options": {}, "worker": "elsewhere",
                "heartbeat_at": time.time() + 10**6, "metadata": {"made": "there"},
                "hyperparameters":
                    {"n_epochs": 2, "batch_size": 1, "learning_rate_multiplier": 1.8},
                **given,
            }
        )  # fmt: skip
        said = [EventRow(message=f"Step {n} of {events}") for n in range(events)]
        self.store.of(DEFAULT_PROJECT).jobs.create(row, said, repeated=False)
        if to == "running":
            return row.id
        values = {"finished_at": row.created_at + 61}
        models, checkpoints, files = [], [], []
        if to == "succeeded":
            values |= {"fine_tuned_model": model, "trained_tokens": 4321}
            result = self.file("step_metrics.csv", b"step,train_loss\n1,0.5\n", "fine-tune-results")
            values["result_files"] = [result]
            for step in (10, 20):
                name = model if step == 20 else f"{model}:ckpt-step-{step}"
                metrics = {"step": step, "train_loss": 1 / step}
                checkpoints.append(CheckpointRow(
                    fine_tuning_job_id=row.id, created_at=row.created_at, metrics=metrics,
                    fine_tuned_model_checkpoint=name, step_number=step,
                ))  # fmt: skip
        if to == "failed":
            values["error"] = {"code": "invalid_training_file", "message": "No.", "param": None}
        change = Change(to=to, values=values, models=models, checkpoints=checkpoints, files=files)
        self.store.jobs.write(row.id, change)
        return row.id

    def tuned(self, name, job):
        """List the model: it answers as the model of labels does."""
        place = self.settings.models_dir / job
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self._model, place)
        row = ModelRow(id=name, project_id=DEFAULT_PROJECT, owned_by="acme", base_model="minilm-l6",
                       job_id=job, folder=place.name)  # fmt: skip
        self.store.jobs.write(job, Change(models=[row]))

    def mails(self, rows, *, label=True):
        """Lines of a chat file: mails with a label, or with a short written answer."""
        lines = []
        for number in range(rows):
            name = sorted(WORDS)[number % len(WORDS)]
            words = self._draw.choices(WORDS[name].split() + ["my", "the", "order", "please"], k=7)
            answer = name if label else f"It is about {name}: we look into {words[0]}."
            lines.append(
                {"messages": [
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": " ".join(words) + f" {number}"},
                    {"role": "assistant", "content": answer},
                ]}
            )  # fmt: skip
        return written(lines)

    def pairs(self, rows):
        """Lines of a preference file."""
        words = [word for some in WORDS.values() for word in some.split()]
        asked = (" ".join(self._draw.sample(words, 6)) for _ in range(rows))
        return written(
            {
                "input": {"messages": [{"role": "user", "content": prompt}]},
                "preferred_output": [{"role": "assistant", "content": f"We look into {prompt}."}],
                "non_preferred_output": [{"role": "assistant", "content": "No."}],
            }
            for prompt in asked
        )


def written(lines):
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def fill(account: Account) -> Held:
    """60 files, 30 jobs, 5 tuned models, and a training file that is gone."""
    models = [f"ft:{BASES[n % 3]}:acme:mail-{n}:Abc{n:05}" for n in range(NUM_MODELS)]
    train, held = account.file("mails.jsonl", account.mails(60)), account.mails(24)
    validation = account.file("mails-held-out.jsonl", held)
    label_job = account.job(train, validation=validation, model=models[0], events=230,
                            user_provided_suffix="mail")  # fmt: skip
    letters = [account.file(f"letters-{n}.jsonl", account.mails(n, label=False)) for n in (24, 12)]
    chat_job = account.job(letters[0], validation=letters[1], model=models[1])
    pairs = account.file("../../pairs.jsonl", account.pairs(16))
    pair_job = account.job(
        pairs, model=models[2], method="dpo",
        hyperparameters={"n_epochs": 1, "batch_size": 2, "learning_rate_multiplier": 1.0,
                         "beta": 0.2},
    )  # fmt: skip
    others = [account.file(f"more-{n}.jsonl", account.mails(12 + n)) for n in range(20)]
    deleted = account.file("gone.jsonl", account.mails(12))
    jobs = [label_job, chat_job, pair_job]
    jobs += [account.job(others[n], model=models[3 + n]) for n in range(2)]
    jobs.append(account.job(deleted, model=f"ft:{BASES[1]}:acme:gone:Old00001"))
    account.store.of(DEFAULT_PROJECT).files.delete(deleted)
    account.blobs.delete(deleted)
    del account.contents[deleted]
    states = ["failed", "cancelled"] * 11 + ["failed", "running"]
    jobs += [account.job(others[n % 20], to=state) for n, state in enumerate(states)]
    for name, job in zip(models, jobs, strict=False):
        account.tuned(name, job)
    refused = account.file("help.txt", b"for an assistant", "assistants")
    while len(account.contents) + 1 < NUM_FILES:
        number = len(account.contents)
        account.file(f"batch {number}.jsonl", os.urandom(2000), "batch")
    assert len(jobs) == NUM_JOBS
    key, _ = account.store.keys.create("ada", role="member", project=DEFAULT_PROJECT)
    return Held(key, models, label_job, chat_job, pair_job, account.contents, refused, deleted)


def teach(folder: Path) -> Path:
    """A model of the mails' labels, trained here; the folder of its files."""
    from tiny_base import write_examples

    from tunesmith.training.classify import fit
    from tunesmith.training.job import Job

    folder.mkdir(parents=True)
    files = {name: write_examples(folder / f"{name}.jsonl", rows=60, seed=n)
             for n, name in enumerate(("train", "validation"))}  # fmt: skip
    job = {
        "job": "ftjob-test", "base_model": "minilm-l6", "start_from": None, "seed": 1,
        "training_file": str(files["train"]), "validation_file": str(files["validation"]),
        "hyperparameters": {}, "options": {"method": "head"}, "threads": 1,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    list(fit.fit(Job.read(folder)))
    return folder / "model"
