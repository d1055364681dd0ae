"""What the commands of the documentation find when a test types them: tables, runs, models, keys.

Names are those that the pages use. Training and answering are the provider's in memory.
"""

import csv
import io
import itertools
import json
from pathlib import Path

import polars as pl
from table import FRAMES, WORDS
from tiny_causal import tiny

from tunesmith import settings
from tunesmith.model.cards import CausalCard
from tunesmith.model.rendering import Renderer
from tunesmith.store.blobs import Blobs
from tunesmith.store.jobs import Change
from tunesmith.store.rows import EventRow, JobRow, ModelRow
from tunesmith.store.store import open_store

EXPORTED = "ft:qwen3-0.6b:local:tickets:AbCd1234"
CLASSIFIERS = ("ft:minilm-l6:local:tickets:Ab3dE9xY", "MODEL", "MODEL2", "MODEL3")
HERE = Path(__file__).parent.parent


def rows() -> list[tuple[str, str]]:
    """Sixty texts in three labels."""
    return [
        (frame.format(one, other), label)
        for label, words in WORDS.items()
        for frame in FRAMES[:2]
        for one, other in itertools.islice(itertools.permutations(words, 2), 10)
    ]


def write_tables(place: Path) -> None:
    """Every table and file that a page names."""
    texts = rows()

    def table(name: str, *columns: str, part: slice = slice(None)) -> None:
        with (place / name).open("w", newline="", encoding="utf-8") as file:
            lines = [(*row, f"channel {i % 2}")[: len(columns)] for i, row in enumerate(texts)]
            csv.writer(file).writerows([columns, *lines[part]])

    table("tickets.csv", "text", "label", "channel")
    table("fresh.csv", "body", "topic", part=slice(0, None, 3))
    table("train.csv", "text", "label", part=slice(0, 45))
    table("test.csv", "text", "label", part=slice(0, None, 4))
    reviews = {"body": [t for t, _ in texts], "stars": [str(len(x)) for _, x in texts]}
    pl.DataFrame(reviews).write_parquet(place / "reviews.parquet")
    pairs = [json.dumps({"prompt": t, "completion": f"About {label}: {t}"}) for t, label in texts]
    (place / "pairs.jsonl").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    (place / "record.schema.json").write_text('{"type": "object"}', encoding="utf-8")
    (place / "rubric.txt").write_text("Is it friendly?", encoding="utf-8")
    (place / "examples").mkdir()
    sample = (HERE / "examples/tickets.csv").read_text(encoding="utf-8").splitlines()[:200]
    (place / "examples/tickets.csv").write_text("\n".join(sample) + "\n", encoding="utf-8")


def plant_exported(place: Path) -> None:
    """A tuned model whose files are in the data folder."""
    here = settings.load()
    base = tiny(place / "my-llama", "llama")
    folder = here.models_dir / "ftjob-1"
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder)
    Renderer(base, max_length=64).save(folder)
    CausalCard(base_model="tiny", base_folder=str(base), method="lora", max_length=64).save(folder)
    _make_an_adapter(folder, base)
    store = open_store(here)
    lines = [json.dumps({"messages": [{"role": "user", "content": "hi"}], "ids": [5, 6]})] * 8
    Blobs(here.blobs).put("file-samples", io.BytesIO("\n".join(lines).encode()))
    asked = {"key_id": "k", "request_hash": "h", "training_file": "file-1", "seed": 1}
    job = store.jobs.create(
        JobRow(
            **asked, model="tiny", base_model="tiny", hyperparameters={},
            samples_file="file-samples",
        ),
        [EventRow(message="Created")],
        repeated=False,
    )  # fmt: skip
    assert store.jobs.lease("me", ["validating_files"], silent_before=0.0, is_gone=lambda _: False)
    model = ModelRow(
        id=EXPORTED, owned_by="local", base_model="tiny", job_id=job.id, folder=folder.name
    )
    for state in ("queued", "running"):
        store.jobs.write(job.id, Change(to=state), worker="me")
    store.jobs.write(job.id, Change(to="succeeded", models=[model]), worker="me")
    store.close()


def _make_an_adapter(folder: Path, base: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    (folder / "model.safetensors").unlink()
    network = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", r=2)).save_pretrained(folder)
