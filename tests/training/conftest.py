"""Job folders for a base model small enough that a training run takes a second."""

import json
import random
from pathlib import Path

import pytest
from tiny_base import make_tiny_base, write_examples
from tiny_causal import ARCHITECTURES, tiny


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def job_dir(tmp_path, tiny_base):
    """Writes a job folder and returns it; options and hyperparameters as given."""

    def write(*, rows=120, hyperparameters=None, seed=1, labels=3, votes=(0,), **options) -> Path:
        folder = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        job = {
            "job": "ftjob-test",
            "base_model": str(tiny_base),
            "start_from": None,
            "training_file": str(
                write_examples(folder / "train.jsonl", rows=rows, labels=labels, votes=votes)
            ),
            "validation_file": str(
                write_examples(
                    folder / "validation.jsonl", rows=30, seed=9, labels=labels, votes=votes
                )
            ),
            "seed": seed,
            "hyperparameters": hyperparameters or {},
            "options": options,
            "threads": 1,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def causal_bases(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("causal-bases")
    return {name: tiny(root / name, name) for name in ARCHITECTURES}


@pytest.fixture
def causal_job(tmp_path, causal_bases):
    """Writes a job folder for a tiny causal model and returns it; options as given."""

    def write(
        train=None, valid=None, *, base="llama", objective="supervised", start_from=None, seed=1,
        hyperparameters=None, **options,
    ) -> Path:  # fmt: skip
        folder = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        pairs = objective == "dpo"
        made = {
            "training_file": train or chats(60, pairs=pairs),
            "validation_file": valid or chats(16, seed=2, pairs=pairs),
        }
        files = {}
        for name, examples in made.items():
            files[name] = str(folder / f"{name}.jsonl")
            lines = (json.dumps(example) + "\n" for example in examples)
            Path(files[name]).write_text("".join(lines), encoding="utf-8")
        job = {
            "job": "ftjob-test",
            "base_model": str(causal_bases.get(base, base)),
            "start_from": start_from and str(start_from),
            **files,
            "seed": seed,
            "objective": objective,
            "hyperparameters": {"learning_rate_multiplier": 100, **(hyperparameters or {})},
            "options": {"precision": "fp32", "parity_examples": 5, **options},
            "threads": 1,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        return folder

    return write


THINGS, STATES = ("parcel", "refund", "machine", "invoice"), ("late", "again", "wrong", "twice")


def chats(number, *, seed=1, pairs=False):
    """Examples of a rule: what is told comes back the other way round, and never is "again" right.

    As pairs, the worse answer is in the order in which it was told.
    """
    draw = random.Random(seed)
    made = []
    for i in range(number):
        thing, state = draw.choice(THINGS), draw.choice(STATES)
        asked = [{"role": "user", "content": f"The {thing} is {state} {i % 9}"}]
        right, wrong = f"{state} {thing}", f"{thing} {state}"
        if i % 3 == 0:
            asked.insert(0, {"role": "system", "content": "You answer in one sentence."})
        if pairs:
            made.append(
                {
                    "input": {"messages": asked},
                    "preferred_output": [{"role": "assistant", "content": right}],
                    "non_preferred_output": [{"role": "assistant", "content": wrong}],
                }
            )
        else:
            made.append({"messages": [*asked, {"role": "assistant", "content": right}]})
    return made
