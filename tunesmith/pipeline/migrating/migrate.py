"""migrate: an account's files, jobs and models into a folder, and a recipe for each model.

Everything can be broken off at any time and started again: what is there with the right checksum
is not fetched again.
Knows: the order. Does not know: a terminal, how anything is fetched or written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from tunesmith.errors import StateError
from tunesmith.events import Event
from tunesmith.pipeline.migrating.answers import Asking, askings, collect_all
from tunesmith.pipeline.migrating.endings import Ending, ending, is_tuned
from tunesmith.pipeline.migrating.explained import explain
from tunesmith.pipeline.migrating.fetching import Fetching, Missing, keep_jobs, missing
from tunesmith.pipeline.migrating.listing import Listed, list_all, note
from tunesmith.pipeline.migrating.manifest import Asset, Manifest, Source, write_json
from tunesmith.pipeline.migrating.recipes import Recipe, write_recipes
from tunesmith.providers import Provider
from tunesmith.providers.account import Owner

MODELS = "models.json"
CONCURRENCY = 8
RECIPES_FOR = ("supervised", "dpo")

Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    purposes         of the files to fetch; none: all.
    base_model       of the recipes; None: chosen for each.
    base_models_dir  where this machine keeps base models.
    """

    folder: Path
    purposes: tuple[str, ...] = ()
    base_model: str | None = None
    base_models_dir: Path
    today: date
    concurrency: int = CONCURRENCY


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a start would do: nothing of it is done yet."""

    source: Source
    counts: Mapping[str, int]
    """files, jobs, models → how many the account lists."""
    num_there: int
    """Things that were fetched before, and whose checksums hold."""
    num_missing: int
    num_bytes: int
    """Of the files to fetch, as the account lists them."""
    endings: Mapping[str, Ending]
    num_recipes: int
    """Jobs that succeeded, with a method that is offered here."""


@dataclass(frozen=True, kw_only=True)
class Migrated:
    """What came of it."""

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    """Section → state → how many."""
    num_fetched: int
    """In this start; of them num_bytes bytes."""
    num_bytes: int
    failed: tuple[tuple[str, str], ...]
    """What may be had another time: id and reason."""
    endings: Mapping[str, Ending]
    recipes: tuple[Recipe, ...]

    @property
    def num_unavailable(self) -> int:
        """Things that cannot be had."""
        return sum(states["unavailable"] for states in self.counts.values())


class Migration:
    """One account and its folder."""

    def __init__(self, wish: Wish, provider: Provider, report: Report) -> None:
        self.wish = wish
        self.manifest = Manifest.load(wish.folder)
        self._provider = provider
        self._account = provider.account()
        self._report = report

    def plan(self) -> Plan:
        """What there is to do. Nothing is written. Raises: as the provider; StateError."""
        listed = self._list()
        wanted = self._missing()
        names = _tuned(listed, {})
        listings = {"files": listed.files, "jobs": listed.jobs, "models": list(names)}
        ready = [
            job
            for job in self.manifest["jobs"].values()
            if job.about.get("status") == "succeeded" and job.about.get("method") in RECIPES_FOR
        ]
        before = sum(one["downloaded"] for one in self.manifest.counts().values())
        changed = [
            one for one in wanted if self.manifest[one.section][one.asset.id].state == "downloaded"
        ]
        return Plan(
            source=self.manifest.source,
            counts={name: len(some) for name, some in listings.items()},
            num_there=before - len(changed),
            num_missing=len(wanted),
            num_bytes=sum(one.asset.bytes or 0 for one in wanted if one.section == "files"),
            endings={name: self._ending(name) for name in names},
            num_recipes=len(ready),
        )

    def run(self) -> Migrated:
        """Fetch what is missing, then write models.json, the recipes and README.md.

        The folder is to be locked. Raises: as the provider; StateError, StorageError.
        """
        listed = self._list()
        self.manifest.is_complete = False
        wanted = self._missing()
        keep_jobs(listed.jobs, self.manifest)
        self.manifest.save()
        fetching = Fetching(self.manifest, self._account, self._report)
        fetching.fetch(wanted, concurrency=self.wish.concurrency)
        endings = self._keep_models(listed)
        recipes = tuple(self.recipes())
        self.manifest.is_complete = not fetching.failed
        explain(self.manifest, recipes)
        self.manifest.save()
        return Migrated(
            folder=str(self.manifest.folder),
            counts=self.manifest.counts(),
            num_fetched=fetching.num_fetched,
            num_bytes=fetching.num_bytes,
            failed=tuple(fetching.failed),
            endings=endings,
            recipes=recipes,
        )

    def recipes(self) -> Iterator[Recipe]:
        """Write a recipe for each job that succeeded. Raises: StorageError."""
        yield from write_recipes(
            self.manifest,
            base_model=self.wish.base_model,
            base_models_dir=self.wish.base_models_dir,
        )

    def askings(self, recipes: Sequence[Recipe]) -> list[Asking]:
        """What there is to ask of the old models, and what that costs."""
        return askings(self.manifest, recipes, self._provider.can)

    def collect(self, found: Sequence[Asking]) -> Iterator[tuple[Asking, str]]:
        """Ask the old models; with each, why it could not be asked, or nothing."""
        yield from collect_all(found, self.manifest, self._provider, self._report)

    def _list(self) -> Listed:
        """The account's lists, noted in the manifest. Raises: StateError for another account's."""
        self._report(Event(kind="note", message="Listing files, jobs and models"))
        listed = list_all(self._account)
        source = Source.of(self._provider.endpoint().base_url, _owner(listed))
        if self.manifest.source.base_url and not self.manifest.source.same(source):
            theirs = self.manifest.source
            whose = theirs.project or theirs.organization or theirs.base_url
            raise StateError(
                f"{self.manifest.folder} holds the assets of another account, {whose}.",
                fix="Choose another folder.",
            )
        self.manifest.source = source
        note(listed, self.manifest)
        return listed

    def _missing(self) -> list[Missing]:
        return list(missing(self.manifest, self._report, purposes=self.wish.purposes))

    def _ending(self, model: str) -> Ending:
        def closes(base: str) -> date | None:
            known = self._provider.can.model(base)
            return known.closes if known else None

        return ending(model, closes, self.wish.today)

    def _keep_models(self, listed: Listed) -> dict[str, Ending]:
        """models.json, and the manifest's section of models."""
        found = _tuned(listed, self._checkpoints())
        endings = {name: self._ending(name) for name in found}
        there = {str(model["id"]): model for model in listed.models}
        told = []
        for name, about in found.items():
            end, is_checkpoint = endings[name], "checkpoint_of" in about
            about |= {"base": end.base, "ends_on": end.on, "is_over": end.is_over}
            about |= {"says": end.says, "is_listed": name in there}
            about |= {"created": there.get(name, {}).get("created")}
            known = self.manifest["models"].get(name, Asset(id=name, path=MODELS))
            if kept := known.about.get("answers"):
                about["answers"] = kept
            asset = replace(known, about=about, state="listed", reason=_WEIGHTS)
            if name not in there and not is_checkpoint:
                asset = replace(asset, state="unavailable", reason=_NO_MORE)
            self.manifest.put("models", asset)
            told.append({"id": name, "state": asset.state, "reason": asset.reason, **about})
        write_json(self.manifest.folder / MODELS, told)
        return endings

    def _checkpoints(self) -> dict[str, dict[str, Any]]:
        """Checkpoints that answer under a name of their own, by that name."""
        found = {}
        for asset in self.manifest["checkpoints"].values():
            if not self.manifest.is_there(asset):
                continue
            for one in json.loads(self.manifest.place(asset).read_bytes()):
                if name := one.get("fine_tuned_model_checkpoint"):
                    step = one.get("step_number")
                    found[str(name)] = {"checkpoint_of": asset.id, "step": step}
        return found


_WEIGHTS = "The service does not hand out its weights; the recipe of its job trains it anew."
_NO_MORE = "The account lists it no longer."


def _owner(listed: Listed) -> Owner:
    """Whose account it is: by the headers, else by what its jobs say."""
    said = (str(job["organization_id"]) for job in listed.jobs if job.get("organization_id"))
    return replace(listed.owner, organization=listed.owner.organization or next(said, ""))


def _tuned(listed: Listed, checkpoints: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tuned models that a list, a job or a checkpoint names, with where they come from."""
    found: dict[str, dict[str, Any]] = {}
    for model in listed.models:
        if is_tuned(str(model["id"])):
            found[str(model["id"])] = {"job": None}
    for job in listed.jobs:
        if name := job.get("fine_tuned_model"):
            found[str(name)] = {"job": str(job["id"])}
    for name, about in checkpoints.items():
        if name not in found or found[name]["job"] is None:
            found[name] = {"job": about["checkpoint_of"], **about}
    return found
