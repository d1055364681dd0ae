"""The whole fine-tuning cycle with the plain OpenAI SDK: upload, train, watch, ask, score.

    tunesmith prepare examples/tickets.csv --run-dir runs/tickets
    tunesmith serve                      # in a second terminal; prints an API key the first time
    OPENAI_API_KEY=sk-... python examples/model_fine_tuning.py

Other files: python examples/model_fine_tuning.py TRAIN.jsonl VALIDATION.jsonl
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

TARGET = "tunesmith"  # or "openai": the one thing to change

BASE_URL, BASE_MODEL = {
    "tunesmith": ("http://127.0.0.1:8000/v1", "minilm-l6"),
    "openai": ("https://api.openai.com/v1", "gpt-4.1-mini-2025-04-14"),
}[TARGET]

PREPARED = Path("runs/tickets/01-prepare")
ENDED = {"succeeded", "failed", "cancelled"}
QUESTIONS = 20


def main() -> None:
    """Fine-tune on the two files, then ask the model a few validation texts."""
    train, validation = PREPARED / "train.jsonl", PREPARED / "validation.jsonl"
    if len(sys.argv) == 3:
        train, validation = map(Path, sys.argv[1:])
    # The key comes from OPENAI_API_KEY; OPENAI_BASE_URL, if set, names a server elsewhere.
    client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", BASE_URL))

    job = create_job(client, train, validation)
    for event in follow(client, job.id):
        print(event.message)
    job = client.fine_tuning.jobs.retrieve(job.id)
    if job.fine_tuned_model is None:
        sys.exit(f"The job ended as {job.status}: {job.error and job.error.message}")

    right = 0
    rows = read_rows(validation)
    asked = random.Random(0).sample(rows, min(QUESTIONS, len(rows)))
    for text, label in asked:
        answer, probability = classify(client, job.fine_tuned_model, text)
        right += answer == label
        verdict = "right" if answer == label else f"wrong, it is {label}"
        print(f"{answer}, {probability:.0%} sure, {verdict}: {text[:60]!r}")
    print(f"{job.fine_tuned_model}: {right} of {len(asked)} right")


def create_job(client: OpenAI, train: Path, validation: Path) -> FineTuningJob:
    """Upload both files and start a job on them."""
    training_file = client.files.create(file=train, purpose="fine-tune")
    validation_file = client.files.create(file=validation, purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        model=BASE_MODEL,
        training_file=training_file.id,
        validation_file=validation_file.id,
        suffix="tickets",
        seed=0,
    )


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
