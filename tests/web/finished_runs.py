"""Finished runs for tests of pages, made by the pipeline itself with the provider in memory."""

import csv
import json
import random
from dataclasses import replace
from pathlib import Path

import asked_models
from fake_provider import FakeProvider

from tunesmith import config as configs
from tunesmith import pipeline
from tunesmith.config import EvaluateConfig, PrepareConfig, RunConfig, TrainConfig
from tunesmith.pipeline import RunDir, Workshop
from tunesmith.providers.provider import Answer
from tunesmith.store.rows import DEFAULT_PROJECT, RunRow
from tunesmith.web.running import summary

HOSTILE = "<img src=x onerror=\"document.title='hit'\">"
FILLERS = [
    "hello",
    "please",
    "could",
    "you",
    "i",
    "my",
    "the",
    "with",
    "about",
    "again",
    "since",
    "and",
    "then",
    "or",
]


def label_rows(num_labels: int, num_each: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Texts whose words tell their label: two labels in a row share half of theirs."""
    draw = random.Random(seed)
    names = [f"topic {k:03}" for k in range(num_labels)]
    names[0] = HOSTILE
    words = [[f"w{k}x{i}" for i in range(6)] for k in range(num_labels)]
    rows: dict[str, str] = {}
    for k, name in enumerate(names):
        known = words[k] + words[k - k % 2][:4]
        for i in range(num_each):
            said = draw.sample(known, 3) + draw.sample(FILLERS, 4) + [f"n{k * num_each + i}"]
            rows[" ".join(said)] = name
    some = list(rows.items())
    draw.shuffle(some)
    return [
        (f"{HOSTILE} {text}" if i % 9 == 0 else text, name) for i, (text, name) in enumerate(some)
    ]


def write_table(path: Path, rows: list[tuple[str, str]], *, wrong: float = 0.06) -> Path:
    """The rows as CSV, with a share of wrong labels."""
    draw = random.Random(7)
    names = sorted({name for _, name in rows})
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        for text, name in rows:
            out.writerow([text, draw.choice(names) if draw.random() < wrong else name])
    return path


def label_run(folder: Path, rows: list[tuple[str, str]], *, errors: float = 0.08) -> Path:
    """A finished run on them; the model errs on a share of the rows."""
    table = folder / "table"
    table.mkdir(parents=True)
    prepare = PrepareConfig(
        table=str(write_table(table / "topics.csv", rows)), text="text", label="label",
        balance="none", near_duplicates=0.0, clean=("-html",),
    )  # fmt: skip
    config = RunConfig(prepare=prepare, train=TrainConfig(base_model="minilm-l6"),
                       evaluate=EvaluateConfig(bootstrap=100))  # fmt: skip
    provider = FakeProvider()

    def spoil(text: str, answer: Answer) -> Answer:
        if random.Random(f"{folder.name} {text}").random() >= errors:
            return answer
        second, first = sorted(answer.top.items(), key=lambda each: each[1])[-2:]
        top = dict(answer.top) | {first[0]: second[1], second[0]: first[1]}
        return Answer(label=second[0], logprob=first[1], top=top)

    return _run(folder, config, provider, spoil=spoil)


def chat_run(folder: Path, number: int = 40) -> Path:
    """A finished run whose model writes."""
    table = folder / "table"
    table.mkdir(parents=True)
    with (table / "notes.jsonl").open("w", encoding="utf-8") as file:
        for i in range(number):
            words = " ".join(f"q{i * j % 89}" for j in range(3, 9))
            asked = f"{HOSTILE} Where is order A{1000 + 37 * i}? {words}"
            right = json.dumps({"order": f"A{1000 + 37 * i}", "late": i % 3 == 0})
            turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": right}]
            file.write(json.dumps({"messages": turns}) + "\n")
    provider = FakeProvider()

    def spoil(asked, reply):
        text = asked.messages[-1]["content"]
        is_wrong = random.Random(text).random() < 0.3
        return replace(reply, text=f"{HOSTILE} sorry") if is_wrong else reply

    config = RunConfig(
        prepare=PrepareConfig(table=str(table / "notes.jsonl")),
        train=TrainConfig(base_model="tiny-writer"),
        evaluate=EvaluateConfig(bootstrap=100, max_tokens=64),
    )
    return _run(folder, config, provider, spoil_reply=spoil)


def _run(folder: Path, config: RunConfig, provider: FakeProvider, **spoil: object) -> Path:
    shop = Workshop(run_dir=RunDir(folder), provider=provider, report=lambda event: None)
    results = []
    for result in pipeline.run(config, shop):
        results.append(result)
        if len(results) == len(pipeline.VERBS) - 1:  # the parity gate is passed
            vars(provider).update(spoil)
    pipeline.keep_config(config, shop.run_dir, results)
    assert configs.load(folder / "config.toml")
    return folder


def plant(site, folder: Path, *, project: str = DEFAULT_PROJECT) -> RunRow:
    """A finished run's folder as a run of that project, in place of being started on a page."""
    row = RunRow(
        project_id=project, key_id="key_x", role="admin", name=folder.name, state="succeeded",
        started_at=1_760_000_000, ended_at=1_760_000_600, folder=f"{project}/{folder.name}",
    )  # fmt: skip
    place = site.settings.data_dir / "runs" / row.folder
    place.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(place)
    asked = configs.load(place / "config.toml")
    moved = asked.prepare.table.replace(str(folder), str(place))
    asked = replace(asked, prepare=replace(asked.prepare, table=moved))
    (place / "config.toml").write_text(configs.to_toml(asked))
    site.store.of(project).runs.create(row)
    return site.store.runs.change(row.id, values={"summary": summary(place)})


def plant_model(site, row: RunRow, folder: Path) -> None:
    """A folder as the run's model, with two files, as if it had been trained there."""
    (folder / "deeper").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(random.Random(0).randbytes(1_500_000))
    (folder / "deeper" / "config.json").write_text("{}")
    file = asked_models.plant_file(
        site, site.settings.data_dir / "runs" / row.folder / "01-prepare" / "train.jsonl",
        project=row.project_id,
    )  # fmt: skip
    name = str(row.summary["model"])
    asked_models.plant_model(site, folder, file, name=name, project=row.project_id)
