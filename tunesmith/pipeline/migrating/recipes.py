"""A recipe for each job that succeeded: what trains its model anew, on an open base model.

    tunesmith run --config FOLDER/recipes/JOB.toml

Knows: which settings of a job mean something here. Does not know: how jobs are listed or fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from tunesmith import catalog, config
from tunesmith.catalog import DEFAULT, BaseModel, shelf
from tunesmith.data.chat.files import FEWEST_EXAMPLES
from tunesmith.data.chat.rules import parse
from tunesmith.data.findings import counted
from tunesmith.errors import TunesmithError, storage_errors
from tunesmith.pipeline.migrating.manifest import Asset, Manifest, safe_id
from tunesmith.pipeline.migrating.taught import LONG_SYSTEM, Taught, look, write_table
from tunesmith.pipeline.rundir import write_atomic

RECIPES, TABLES = "recipes", "tables"
KEPT_TO_LEARN = 0.8
"""Share of the examples that is learned from where the job held none out."""
SMALL, LARGER = "qwen2.5-0.5b-instruct", "qwen2.5-1.5b-instruct"
"""Base models that write, suggested where none is on this machine: in the place of mini and nano
models, and of others."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What became of one job.

    path      of the recipe, from the folder; empty: there is none, and `why_not` says why.
    scored_on validation: the rows on which the new model and the old one can be compared; empty:
              the job had none.
    """

    job: str
    old_model: str = ""
    path: str = ""
    why_not: str = ""
    task: str = ""
    base_model: str = ""
    base_reason: str = ""
    scored_on: str = ""


@dataclass(kw_only=True)
class _Draft:
    """A recipe in the making: section → setting → value, with what is said of each."""

    notes: list[str]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: object, reason: str = "") -> None:
        section, _, field_name = name.partition(".")
        self.settings.setdefault(section, {})[field_name] = value
        if reason:
            self.reasons[name] = reason

    def text(self) -> str:
        """As TOML."""
        lines = [f"# {note}".rstrip() for note in self.notes]
        for section, values in self.settings.items():
            lines += ["", f"[{section}]"]
            for name, value in values.items():
                if reason := self.reasons.get(f"{section}.{name}"):
                    lines += [f"# {reason}"]
                lines += [tomli_w.dumps({name: value}).strip()]
        return "\n".join(lines) + "\n"


def write_recipes(
    manifest: Manifest, *, base_model: str | None, base_models_dir: Path
) -> Iterator[Recipe]:
    """A recipe for each job that succeeded and whose training file is here, the newest job first.

    base_model       of all recipes that it fits; None: chosen for each.
    base_models_dir  where this machine keeps base models.
    Raises: StorageError.
    """
    writers = _writers(base_models_dir)
    for job in manifest["jobs"].values():
        if job.about.get("status") != "succeeded":
            continue
        recipe = _NewRecipe(manifest, job, base_model=base_model, writers=writers)
        yield recipe.write()


def _writers(base_models_dir: Path) -> list[BaseModel]:
    """The base models on this machine that write, the largest first."""
    try:
        kept = shelf.installed(base_models_dir).values()
    except TunesmithError:
        return []
    return sorted((m for m in kept if m.kind == "causal"), key=lambda m: -m.parameters)


class _NewRecipe:
    """Writes the recipe of one job."""

    def __init__(
        self, manifest: Manifest, job: Asset, *, base_model: str | None, writers: list[BaseModel]
    ) -> None:
        self._manifest = manifest
        self._job = job
        self._asked = base_model
        self._writers = writers
        self._model = str(job.about.get("fine_tuned_model") or "")

    def write(self) -> Recipe:
        """The recipe, written, or why there is none."""
        place = self._manifest.folder / RECIPES / f"{safe_id(self._job.id)}.toml"
        train, validation = (self._file(f"{side}_file") for side in ("training", "validation"))
        taught = look(train) if train else None
        if why_not := self._why_not(taught, validation):
            with storage_errors(place):
                place.unlink(missing_ok=True)
            return Recipe(job=self._job.id, old_model=self._model, why_not=why_not)
        assert train and taught
        draft = _Draft(notes=[])
        self._data(draft, taught, train, validation)
        base, reason = self._base(taught)
        self._training(draft, taught, base, reason)
        draft.notes = [*self._head(taught, place, has_rows=bool(validation)), *draft.notes]
        with storage_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, draft.text().encode())
        config.load(place)  # what we write must be what `run` takes
        return Recipe(
            job=self._job.id,
            old_model=self._model,
            path=f"{RECIPES}/{place.name}",
            task=taught.task,
            base_model=base,
            base_reason=reason,
            scored_on="validation" if validation else "",
        )

    def _file(self, what: str) -> Path | None:
        """Where the job's training_file or validation_file lies; None: it is not here."""
        asset = self._manifest["files"].get(str(self._job.about.get(what) or ""))
        if asset is None or asset.state != "downloaded":
            return None
        place = self._manifest.place(asset)
        return place if place.is_file() else None

    def _why_not(self, taught: Taught | None, validation: Path | None) -> str:
        name = str(self._job.about.get("training_file"))
        if taught is None:
            known = self._manifest["files"].get(name)
            return f"Its training file {name} is not here. {known.reason if known else ''}".strip()
        if self._job.about.get("method") == "reinforcement":
            return "It learned from a grader (reinforcement), which Tunesmith does not offer."
        if taught.task == "completions":
            return f"Its training file {name} holds prompts and completions, not conversations."
        if taught.has_images:
            return f"Its training file {name} holds pictures; models here read text."
        usable = taught.num_examples - taught.num_broken
        if validation is None and int(usable * KEPT_TO_LEARN) < FEWEST_EXAMPLES:
            held = counted(usable, "usable example")
            return f"Its training file {name} holds {held}: too few to hold some out."
        return ""

    def _head(self, taught: Taught, place: Path, *, has_rows: bool) -> list[str]:
        about = self._job.about
        compare = f"    tunesmith migrate compare {self._manifest.folder} {self._job.id} RUN_DIR"
        return [
            f"Trains anew what {self._job.id} trained at {self._manifest.source.base_url}:",
            f"  {self._model}",
            f"  on {counted(taught.num_examples, 'example')}, {taught.reason}.",
            f"Base model there: {about.get('model')}. Trained tokens: {_number(about)}.",
            "",
            f"    tunesmith run --config {place}",
            *([compare] if has_rows else []),
            "",
        ]

    def _data(self, draft: _Draft, taught: Taught, train: Path, validation: Path | None) -> None:
        if taught.task == "classify":
            train, validation = self._tables(draft, taught, train, validation)
        draft.put("prepare.table", str(train))
        if validation:
            draft.put("prepare.validation", str(validation))
        elif self._job.about.get("validation_file"):
            draft.notes.append("Its validation file is not here, so rows are split off.")
        else:
            why = "The job had no validation file, so every fifth row is held out. The old model"
            draft.notes += [why, "has learned from these rows: its scores on them say little."]
        if taught.task != "classify":
            draft.put("prepare.task", "chat")
            return
        draft.put("prepare.task", "classify", taught.reason)
        draft.put("prepare.text", "text")
        draft.put("prepare.label", "label")
        draft.put("prepare.rare_labels", "drop", "a label of one row cannot be learned")
        draft.put("prepare.merge_labels", False, "labels stay as the old model spells them")

    def _tables(
        self, draft: _Draft, taught: Taught, train: Path, validation: Path | None
    ) -> tuple[Path, Path | None]:
        """The files as tables of texts and labels, which lie in `tables`."""
        is_long = len(taught.system.split()) > LONG_SYSTEM
        if is_long:
            what = "The system message, long and the same in all rows, is left out of the texts:"
            draft.notes += [what, "ask the new model without it."]
        folder, name = self._manifest.folder / TABLES, safe_id(self._job.id)
        made: list[Path] = []
        for side, path in (("training", train), ("validation", validation)):
            if path is None:
                continue
            table = folder / (f"{name}.jsonl" if side == "training" else f"{name}.{side}.jsonl")
            if lost := write_table(path, table, taught, system=not is_long):
                rows = counted(lost, f"{side} row")
                what = f"{rows} left out: broken, or with a label of fewer than two examples."
                draft.notes.append(what)
            made.append(table)
        return made[0], made[1] if len(made) > 1 else None

    def _base(self, taught: Taught) -> tuple[str, str]:
        """The base model and why it is that one."""
        asked, writes = self._asked, taught.task != "classify"
        if asked and not (writes and _kind(asked, self._writers) == "encoder"):
            return asked, "as it was asked for"
        if not writes:
            return DEFAULT, "small, made for labels, and on this machine"
        if self._writers:
            best = self._writers[0]
            among = f"the largest of {len(self._writers)} that write" if self._writers[1:] else (
                "the one that writes"
            )  # fmt: skip
            return best.name, f"{among} and are on this machine"
        small = any(word in self._model for word in ("mini", "nano", "gpt-3.5"))
        name = SMALL if small else LARGER
        return name, f"none that writes is on this machine; first: tunesmith models pull {name}"

    def _training(self, draft: _Draft, taught: Taught, base: str, reason: str) -> None:
        draft.put("train.base_model", base, reason)
        about, given = self._job.about, self._hyperparameters()
        n_epochs = given.get("n_epochs")
        if isinstance(n_epochs, int) and n_epochs > 0:
            draft.put("train.n_epochs", n_epochs, "as there: passes over the examples, at most")
        suffix = about.get("user_provided_suffix")
        if isinstance(suffix, str) and suffix.strip():
            draft.put("train.suffix", suffix[:64])
        if isinstance(about.get("seed"), int):
            draft.put("train.seed", about["seed"])
        beta = given.get("beta")
        if taught.task == "preference" and isinstance(beta, int | float) and 0 < beta <= 2:
            draft.put("train.beta", float(beta), "as there: how near answers stay to the base's")
        rate = given.get("learning_rate_multiplier")
        if rate not in (None, "auto"):
            draft.notes += [
                f"The learning rate multiplier was {rate} there. It multiplies a rate that belongs",
                "to the base model, so it says nothing about another one: here it is left at 1.0.",
            ]
        if (size := given.get("batch_size")) not in (None, "auto"):
            draft.notes.append(f"The batch size was {size} there; here it is chosen by length.")

    def _hyperparameters(self) -> Mapping[str, Any]:
        """Those of the job as it was listed, in the newer or the older place."""
        job = _listed_job(self._manifest.place(self._job))
        method = job.get("method") or {}
        own = (method.get(str(method.get("type"))) or {}).get("hyperparameters") or {}
        return {**(job.get("hyperparameters") or {}), **own}


def _listed_job(path: Path) -> dict[str, Any]:
    """The job as it was listed; nothing where that cannot be read."""
    found = parse(path.read_bytes()) if path.is_file() else None
    return found if isinstance(found, dict) else {}


def _kind(name: str, writers: list[BaseModel]) -> str:
    if any(name == model.name for model in writers):
        return "causal"
    try:
        return catalog.find(name).kind
    except TunesmithError:
        return ""


def _number(about: Mapping[str, Any]) -> str:
    tokens = about.get("trained_tokens")
    return f"{tokens:,}" if isinstance(tokens, int) else "not told"
