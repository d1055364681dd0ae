"""GET and DELETE /v1/models: base models and tuned ones; and where a model's folder is."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from tunesmith import catalog, wire
from tunesmith.catalog import shelf
from tunesmith.errors import NotFound
from tunesmith.server.door.auth import check_admin, view
from tunesmith.server.engines import Engines
from tunesmith.server.errors import ApiError, no_model
from tunesmith.server.replies import shaped
from tunesmith.serving.kinds import Way, labels_of, way_of
from tunesmith.settings import Settings
from tunesmith.store.rows import ModelRow
from tunesmith.store.store import Store

REMEMBER_SECONDS = 5.0
"""A model that another server deletes answers here at most this much longer."""
ANSWERS: dict[Way, str] = {"classify": "labels", "choose": "labels", "write": "text"}


@dataclass(frozen=True, slots=True)
class Found:
    """A model that can be asked."""

    name: str
    folder: Path
    way: Way


class Folders:
    """Models by name, remembered for a few seconds."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._known: dict[tuple[str, str], tuple[float, Found]] = {}

    async def find(self, name: str, project: str) -> Found:
        """The model of that name, if the project may ask it.

        Raises: ApiError 404, or 400 for a base model that cannot answer before it is tuned.
        """
        known = self._known.get((project, name))
        if known and known[0] > time.monotonic():
            return known[1]
        found = await run_in_threadpool(self._find, name, project)
        self._known[project, name] = (time.monotonic() + REMEMBER_SECONDS, found)
        return found

    async def find_encoder(self, name: str, project: str) -> Path:
        """The folder of that model for embeddings, which base models give too.

        Raises: ApiError 404, or 400 for a model that gives none.
        """
        base = catalog.catalog().get(name)
        if base is not None and base.kind == "encoder":
            return base.files()
        found = await self.find(name, project)
        if found.way == "classify":
            return found.folder
        raise ApiError(
            400,
            f"'{name}' gives no embeddings: that takes an encoder, such as {catalog.DEFAULT}, "
            "or a classifier tuned of one.",
            param="model",
        )

    def forget(self, name: str) -> None:
        """The model is gone."""
        self._known = {k: v for k, v in self._known.items() if k[1] != name}

    def _find(self, name: str, project: str) -> Found:
        row = self._store.of(project).models.get(name)
        if row is not None:
            folder = self._settings.models_dir / row.folder
            return Found(name, folder, way_of(folder))
        base = _base(self._settings, name, folders=self._settings.allow_folders)
        if base.kind == "causal":
            return Found(name, base.files(), "write")
        raise ApiError(
            400,
            f"'{name}' is a base model and cannot answer before it is tuned. Create a fine-tuning "
            "job with it and ask the tuned model.",
            param="model",
        )


def router(settings: Settings, store: Store, folders: Folders, engines: Engines) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/models")
    def list_models(request: Request) -> JSONResponse:
        data = [_tuned(settings, row) for row in view(store, request).models.all()]
        encoders = {n: base for n, base in catalog.catalog().items() if base.kind == "encoder"}
        bases = {**encoders, **shelf.installed(settings.base_models_dir)}
        data += [_untuned(base) for base in bases.values()]
        return JSONResponse({"object": "list", "data": data})

    # Model names may hold slashes once decoded, so the rest of the path is one name.
    @routes.get("/models/{model:path}")
    def retrieve_model(model: str, request: Request) -> JSONResponse:
        if (row := view(store, request).models.get(model)) is not None:
            return JSONResponse(_tuned(settings, row, in_full=True))
        return JSONResponse(_untuned(_base(settings, model)))

    @routes.delete("/models/{model:path}")
    def delete_model(model: str, request: Request) -> JSONResponse:
        mine = view(store, request).models
        if mine.get(model) is None:
            _base(settings, model)
            raise ApiError(403, f"'{model}' is one of the base models, and base models stay.")
        check_admin(request, f"delete the model '{model}'")
        row = mine.delete(model)
        if row is None:
            raise ApiError(403, f"The model '{model}' belongs to another project.")
        folders.forget(model)
        engines.forget(model)
        shutil.rmtree(settings.models_dir / row.folder, ignore_errors=True)
        return JSONResponse(wire.Deleted(id=model, object="model").model_dump())

    return routes


def _base(settings: Settings, name: str, *, folders: bool = False) -> catalog.BaseModel:
    """The base model of that name, whose files are on this machine.

    Raises: ApiError 404, with the command that fetches it where there is one.
    """
    try:
        base = catalog.find(name, settings.base_models_dir, folders=folders)
    except NotFound:
        raise no_model(name) from None
    try:
        base.files()
    except NotFound as error:
        raise ApiError(404, str(error), param="model", code="model_not_found") from None
    return base


def _tuned(settings: Settings, row: ModelRow, *, in_full: bool = False) -> dict[str, Any]:
    """in_full: with its labels, which may be many."""
    folder = settings.models_dir / row.folder
    try:
        way = way_of(folder)
    except NotFound:  # whoever asks the model is told
        return shaped(wire.Model, row)
    kind = "encoder" if way == "classify" else "causal"
    about: dict[str, Any] = {"kind": kind, "answers": ANSWERS[way]}
    if in_full and (labels := labels_of(folder)):
        about["labels"] = labels
    return {**shaped(wire.Model, row), "tunesmith": about}


def _untuned(base: catalog.BaseModel) -> dict[str, Any]:
    about = {"kind": base.kind, "answers": "text" if base.kind == "causal" else None}
    model = wire.Model(id=base.name, created=base.created, owned_by="system", tunesmith=about)
    return model.model_dump()
