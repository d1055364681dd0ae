"""Models that answer, put into a server's data folder as if trainings there had made them."""

import json
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tiny_base import WORDS, write_examples
from tiny_causal import tiny

from tunesmith import catalog
from tunesmith.catalog import shelf
from tunesmith.store.blobs import Blobs
from tunesmith.store.jobs import Change
from tunesmith.store.rows import (
    DEFAULT_PROJECT,
    CheckpointRow,
    EventRow,
    FileRow,
    JobRow,
    ModelRow,
    RunRow,
)
from tunesmith.wire import Options, new_id

HOSTILE = "<img src=x onerror=\"document.title='hit'\">"
SENTENCES = {
    "delivery": "The parcel with my grinder never came, the courier says he was here",
    "billing": "I was charged twice for the same invoice and want one amount back",
    "technical": "The machine leaks and the screen shows an error since the update",
}
WRITER = "tiny-writer"


def plant_file(site, path: Path, *, project: str = DEFAULT_PROJECT, purpose="fine-tune") -> FileRow:
    """The file as one that was uploaded."""
    row = FileRow(filename=path.name, purpose=purpose, bytes=path.stat().st_size, sha256="")
    with path.open("rb") as content:
        Blobs(site.settings.blobs).put(row.id, content)
    return site.store.of(project).files.add(row)


def plant_job(site, file: FileRow, *, project: str = DEFAULT_PROJECT, **given) -> JobRow:
    """A job on that file, queued unless `given` says otherwise, and held so that none takes it."""
    row = JobRow(
        **{
            "key_id": "key_x", "request_hash": "", "model": "minilm-l6", "base_model": "minilm-l6",
            "training_file": file.id, "seed": 7, "status": "queued", "options": {},
            "worker": "elsewhere", "heartbeat_at": time.time() + 10**6,
            "hyperparameters": {"n_epochs": 3, "batch_size": 16, "learning_rate_multiplier": 1.0},
            **given,
        }
    )  # fmt: skip
    events = [EventRow(message=f"Created fine-tuning job: {row.id}")]
    return site.store.of(project).jobs.create(row, events, repeated=False)


def plant_model(
    site, folder: Path, file: FileRow, *, name: str, project=DEFAULT_PROJECT, **given
) -> ModelRow:
    """The model in `folder` (which moves) as what a job on that file has made."""
    job = plant_job(site, file, project=project, status="running", **given)
    place = site.settings.models_dir / job.id
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, place)
    row = ModelRow(
        id=name, project_id=project, owned_by="local", base_model=job.base_model, job_id=job.id,
        folder=place.name,
    )  # fmt: skip
    kept = CheckpointRow(
        fine_tuning_job_id=job.id, created_at=job.created_at, fine_tuned_model_checkpoint=name,
        step_number=30, metrics={"step": 30, "train_loss": 0.31, "valid_loss": 0.42},
    )  # fmt: skip
    values = {"fine_tuned_model": name, "finished_at": job.created_at + 61, "trained_tokens": 4321}
    done = Change(
        to="succeeded", values=values, models=[row], checkpoints=[kept],
        events=[EventRow(message=f"New fine-tuned model created: {name}")],
    )  # fmt: skip
    site.store.jobs.write(job.id, done)
    return row


def label_model(site, place: Path, *, rows: int = 90, **given) -> ModelRow:
    """A classifier that has learned three labels, with the bundled base model."""
    from tunesmith.training.classify import fit
    from tunesmith.training.job import Job

    place.mkdir(parents=True)
    files = {name: write_examples(place / f"{name}.jsonl", rows=rows, seed=n)
             for n, name in enumerate(("train", "validation"))}  # fmt: skip
    spoken = [
        {"messages": [{"role": "user", "content": f"{text}, {n}"},
                      {"role": "assistant", "content": label}]}
        for n in range(4) for label, text in SENTENCES.items()
    ]  # fmt: skip
    with files["train"].open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in spoken)
    job = {
        "job": "ftjob-test", "base_model": "minilm-l6", "start_from": None, "seed": 1,
        "training_file": str(files["train"]), "validation_file": str(files["validation"]),
        "hyperparameters": {}, "options": {"method": "head"}, "threads": 1,
    }  # fmt: skip
    (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
    list(fit.fit(Job.read(place)))
    file = plant_file(site, files["train"], project=given.get("project", DEFAULT_PROJECT))
    facts = {"labels": sorted(WORDS)}
    given = {"name": "ft:minilm-l6:local:tickets:Abc12345", "facts": facts} | given
    return plant_model(site, place / "model", file, **given)


@dataclass(frozen=True)
class Answering:
    """A project with a run, its training file, the model it made, and one tuned from that."""

    project: str
    run: RunRow
    file: FileRow
    model: ModelRow
    child: ModelRow


def answering(site, place: Path) -> Answering:
    """See Answering; the model has three labels, and the run's name is hostile."""
    project, run_id = site.project("answering"), new_id("run_")
    model = label_model(site, place / "m", project=project, metadata={"tunesmith_run": run_id})
    table = write_csv(place / "tickets.csv", 1200)
    run = plant_run(site, table, project=project, name=f"Tickets {HOSTILE}", run_id=run_id)
    file = site.store.of(project).files.get(site.store.jobs.get(model.job_id).training_file)
    (place / "child").mkdir()
    (place / "child" / "model.safetensors").write_bytes(b"weights")
    child = plant_model(
        site, place / "child", file, name="ft:child", project=project, start_from=model.id
    )
    return Answering(project, run, file, model, child)


def wide_model(site, place: Path, labels: Sequence[str], **given) -> ModelRow:
    """A classifier of random answers with so many labels."""
    from tunesmith.model import classifier

    options = Options(max_length=32)
    base = catalog.find("minilm-l6")
    classifier.from_base(base, list(labels), options=options).save(place / "model")
    path = write_examples(place / "wide.jsonl", rows=9)
    file = plant_file(site, path, project=given.get("project", DEFAULT_PROJECT))
    return plant_model(site, place / "model", file, facts={"labels": list(labels)}, **given)


def writer(site, place: Path) -> str:
    """A base model that writes nonsense, under this name."""
    if WRITER not in shelf.names(site.settings.base_models_dir):
        shelf.register(tiny(place / WRITER, "llama"), site.settings.base_models_dir, name=WRITER)
    return WRITER


def plant_run(
    site, table: Path, *, project=DEFAULT_PROJECT, name="", run_id="", **summary
) -> RunRow:
    """A run that has ended, with that table (which is copied); jobs bear `run_id` as a mark."""
    from tunesmith import config as configs
    from tunesmith.config import PrepareConfig, RunConfig

    row = RunRow(key_id="key_x", role="member", name=name or table.stem, state="succeeded",
                 folder="", summary=summary)  # fmt: skip
    run_id = run_id or row.id
    row = replace(row, id=run_id, project_id=project, folder=f"{project}/{run_id}")
    folder = site.settings.data_dir / "runs" / row.folder
    (folder / "table").mkdir(parents=True)
    copy = shutil.copy(table, folder / "table" / table.name)
    asked = RunConfig(prepare=PrepareConfig(table=str(copy)))
    (folder / "config.toml").write_text(configs.to_toml(asked), encoding="utf-8")
    return site.store.of(project).runs.create(row)


def write_csv(path: Path, rows: int, *, seed: int = 3) -> Path:
    """A table of texts and labels, with a text over two lines now and then."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("id,text,label\n")
        for n in range(1, rows + 1):
            label = draw.choice(list(SENTENCES))
            more = "\nand a second line" if n % 10 == 0 else ""
            file.write(f'{n},"{SENTENCES[label]}, number {n}{more}",{label}\n')
    return path
