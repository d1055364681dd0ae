"""The whole fine-tuning cycle with the plain OpenAI SDK: upload, train, watch, ask, score.

    tunesmith prepare examples/tickets.csv --run-dir runs/tickets
    tunesmith serve                      # in a second terminal; prints an API key the first time
    OPENAI_API_KEY=sk-... python examples/model_fine_tuning.py

The same at OpenAI, as long as it trains for you, with its own key (this costs money):

    OPENAI_API_KEY=sk-... python examples/model_fine_tuning.py --target openai

Started again, it sends no file twice and goes on with the job that it has begun.
Other files: python examples/model_fine_tuning.py TRAIN.jsonl VALIDATION.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from openai import NotFoundError, OpenAI, PermissionDeniedError
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

TARGETS = {  # name: base URL, base model
    "tunesmith": ("http://127.0.0.1:8000/v1", "minilm-l6"),
    "openai": ("https://api.openai.com/v1", "gpt-4.1-mini-2025-04-14"),
}
PREPARED = Path("runs/tickets/01-prepare")
ENDED = {"succeeded", "failed", "cancelled"}
QUESTIONS = 20


def main() -> None:
    """Fine-tune on the two files, then ask the model a few validation texts."""
    asked = arguments()
    base_url, base_model = TARGETS[asked.target]
    # The key comes from OPENAI_API_KEY; OPENAI_BASE_URL, if set, names a server elsewhere.
    client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", base_url))

    files = [upload(client, path) for path in (asked.train, asked.validation)]
    job = own_job(client, files) or create_job(client, asked.base_model or base_model, files)
    print(f"Job {job.id}")
    for event in follow(client, job.id):
        print(event.message)
    job = client.fine_tuning.jobs.retrieve(job.id)
    if job.fine_tuned_model is None:
        sys.exit(f"The job ended as {job.status}: {job.error and job.error.message}")

    right = 0
    rows = read_rows(asked.validation)
    questions = random.Random(0).sample(rows, min(QUESTIONS, len(rows)))
    for text, label in questions:
        answer, probability = classify(client, job.fine_tuned_model, text)
        right += answer == label
        verdict = "right" if answer == label else f"wrong, it is {label}"
        print(f"{answer}, {probability:.0%} sure, {verdict}: {text[:60]!r}")
    print(f"{job.fine_tuned_model}: {right} of {len(questions)} right")


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", nargs="?", type=Path, default=PREPARED / "train.jsonl")
    parser.add_argument("validation", nargs="?", type=Path, default=PREPARED / "validation.jsonl")
    parser.add_argument("--target", choices=sorted(TARGETS), default="tunesmith")
    parser.add_argument("--base-model")
    return parser.parse_args()


def upload(client: OpenAI, path: Path) -> str:
    """The id of the file at the server. One that is there is found again by its checksum."""
    content = path.read_bytes()
    name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
    for there in client.files.list(purpose="fine-tune"):
        if (there.filename, there.bytes) == (name, len(content)):
            return there.id
    return client.files.create(file=(name, content), purpose="fine-tune").id


def own_job(client: OpenAI, files: list[str]) -> FineTuningJob | None:
    """The job of an earlier start on these files, unless it failed or its model is gone."""
    for job in client.fine_tuning.jobs.list(limit=100):
        if [job.training_file, job.validation_file] != files:
            continue
        if job.status not in ENDED or (job.fine_tuned_model and is_there(client, job)):
            return job
    return None


def is_there(client: OpenAI, job: FineTuningJob) -> bool:
    """Whether the job's model can be asked."""
    try:
        client.models.retrieve(job.fine_tuned_model or "")
    except NotFoundError:
        return False
    return True


def create_job(client: OpenAI, base_model: str, files: list[str]) -> FineTuningJob:
    """Start a job on both files."""
    try:
        return client.fine_tuning.jobs.create(
            model=base_model,
            training_file=files[0],
            validation_file=files[1],
            suffix="tickets",
            seed=0,
        )
    except PermissionDeniedError as error:
        # OpenAI creates no new jobs for most accounts since 2026, and for nobody from 2027 on.
        sys.exit(f"{error}\nThe same script trains on your own server: --target tunesmith")


def follow(client: OpenAI, job_id: str) -> Iterator[FineTuningJobEvent]:
    """The job's events, oldest first and each once, until the job has ended."""
    last = ""
    while True:
        # The status is asked before the events, so that none is missed at the end.
        ended = client.fine_tuning.jobs.retrieve(job_id).status in ENDED
        fresh: list[FineTuningJobEvent] = []
        for event in client.fine_tuning.jobs.list_events(job_id, limit=100):  # newest first
            if event.id == last:
                break
            fresh.append(event)
        yield from reversed(fresh)
        last = fresh[0].id if fresh else last
        if ended:
            return
        time.sleep(1)


def read_rows(path: Path) -> list[tuple[str, str]]:
    """(text, label) of every example: the user's turn and the assistant's."""
    with path.open(encoding="utf-8") as lines:
        chats = [json.loads(line)["messages"] for line in lines]
    return [(chat[-2]["content"], chat[-1]["content"]) for chat in chats]


def classify(client: OpenAI, model: str, text: str) -> tuple[str, float]:
    """The model's label for `text`, and the label's probability."""
    completion = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": text}],
        temperature=0,
        logprobs=True,
    )
    choice = completion.choices[0]
    # A classifier answers with one token, the label; a writing model spells it in several.
    tokens = (choice.logprobs and choice.logprobs.content) or []
    return choice.message.content or "", math.exp(sum(token.logprob for token in tokens))


if __name__ == "__main__":
    main()
