"""/v1/fine_tuning/jobs: create, list, retrieve, cancel, pause, resume, events, checkpoints."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from tunesmith import catalog, wire
from tunesmith.errors import NotFound, TunesmithError, nearest
from tunesmith.server import fitting
from tunesmith.server.bodies import parsed
from tunesmith.server.door.auth import view
from tunesmith.server.errors import ApiError, no_job
from tunesmith.server.queries import metadata
from tunesmith.server.repeats import is_repeated, request_hash
from tunesmith.server.replies import listed, shaped
from tunesmith.serving.kinds import way_of
from tunesmith.settings import Settings
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import EventRow, JobRow
from tunesmith.store.store import Store

Limit = Annotated[int, Query(ge=1, le=100)]
METHODS = ("supervised", "dpo", "reinforcement")
"""OpenAI's, of which the last is not offered."""


def router(settings: Settings, store: Store) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/fine_tuning/jobs")

    @routes.post("")
    async def create_job(request: Request) -> JSONResponse:
        body = await request.body()
        mine = view(store, request)
        row = await run_in_threadpool(_new_row, settings, mine, body, request)
        files = f"Validating training file: {row.training_file}"
        if row.validation_file:
            files += f" and validation file: {row.validation_file}"
        messages = (f"Created fine-tuning job: {row.id}", files)
        events = [EventRow(message=message) for message in messages]
        repeated = is_repeated(request)
        job = await run_in_threadpool(mine.jobs.create, row, events, repeated=repeated)
        return JSONResponse(_shape(job, settings))

    @routes.get("")
    def list_jobs(request: Request, after: str | None = None, limit: Limit = 20) -> JSONResponse:
        query, jobs = request.query_params, view(store, request).jobs
        page = jobs.page(Cursor(limit=limit, after=after), **_by_metadata(query))
        return listed([_shape(row, settings) for row in page.data], page.has_more)

    def found(job_id: str, request: Request) -> JobRow:
        if (row := view(store, request).jobs.get(job_id)) is None:
            raise no_job(job_id)
        return row

    @routes.get("/{job_id}")
    def retrieve_job(job_id: str, request: Request) -> JSONResponse:
        return JSONResponse(_shape(found(job_id, request), settings))

    @routes.post("/{job_id}/cancel")
    def cancel_job(job_id: str, request: Request) -> JSONResponse:
        found(job_id, request)
        return JSONResponse(_shape(store.jobs.cancel(job_id), settings))

    @routes.post("/{job_id}/pause")
    def pause_job(job_id: str, request: Request) -> JSONResponse:
        found(job_id, request)
        job = store.jobs.pause(job_id, repeated=is_repeated(request))
        return JSONResponse(_shape(job, settings))

    @routes.post("/{job_id}/resume")
    def resume_job(job_id: str, request: Request) -> JSONResponse:
        found(job_id, request)
        job = store.jobs.resume(job_id, repeated=is_repeated(request))
        return JSONResponse(_shape(job, settings))

    @routes.get("/{job_id}/events")
    def list_events(
        job_id: str, request: Request, after: str | None = None, limit: Limit = 20
    ) -> JSONResponse:
        page = store.jobs.events(found(job_id, request).id, Cursor(limit=limit, after=after))
        return listed([shaped(wire.JobEvent, row) for row in page.data], page.has_more)

    @routes.get("/{job_id}/checkpoints")
    def list_checkpoints(
        job_id: str, request: Request, after: str | None = None, limit: Limit = 10
    ) -> JSONResponse:
        page = store.jobs.checkpoints(found(job_id, request).id, Cursor(limit=limit, after=after))
        data = [shaped(wire.Checkpoint, row) for row in page.data]
        return listed(data, page.has_more, ends=True)

    return routes


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Start:
    """What a job begins with."""

    kind: str
    """encoder or causal."""
    base_model: str
    start_from: str | None = None
    """The tuned model to go on from."""
    base: catalog.BaseModel | None = None
    """Where it is from a base model."""


def _new_row(settings: Settings, store: Store, body: bytes, request: Request) -> JobRow:
    """The row of the job that is asked for.

    Raises: pydantic's ValidationError, ConfigError and ApiError 400 for a request that cannot be
    met.
    """
    asked = parsed(wire.JobCreate, body)
    method, hyperparameters = _method(asked)
    start = _model(settings, store, asked.model)
    options = asked.tunesmith or wire.Options()
    fitting.check(start.base_model, start.kind, method, options)
    if start.base is not None:
        start.base.check_length(options.max_length)
    _check_file(store, asked.training_file, "training_file")
    if asked.validation_file is not None:
        _check_file(store, asked.validation_file, "validation_file")
    return JobRow(
        key_id=request.scope["caller"].id,
        request_hash=request_hash(request, body),
        model=asked.model,
        base_model=start.base_model,
        start_from=start.start_from,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        user_provided_suffix=asked.suffix,
        seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
        method=method,
        hyperparameters=hyperparameters.model_dump(),
        options=options.model_dump(),
        metadata=asked.metadata,
    )


def _method(asked: wire.JobCreate) -> tuple[str, wire.Hyperparameters]:
    """The method and its hyperparameters, which may stand in the older place at the top.

    Raises: ApiError 400.
    """
    method = asked.method or wire.Method()
    for kind in METHODS:
        if kind != method.type and getattr(method, kind) is not None:
            message = f"'{kind}' does not belong to a method of the type '{method.type}'."
            raise ApiError(400, message, param=f"method.{kind}")
    if method.type == "reinforcement":
        message = "The method 'reinforcement' is not offered by this server; 'supervised' and "
        raise ApiError(400, f"{message}'dpo' are.", param="method.type")
    if asked.integrations:
        raise ApiError(
            400,
            "This server sends nothing to other services; leave 'integrations' out. The metrics of "
            "every step are in the job's events and its result file.",
            param="integrations",
        )
    own = method.dpo or method.supervised
    if own is not None:
        return method.type, own.hyperparameters
    older = (asked.hyperparameters or wire.Hyperparameters()).model_dump()
    kind_of = wire.PreferenceHyperparameters if method.type == "dpo" else wire.Hyperparameters
    return method.type, kind_of(**older)


def _model(settings: Settings, store: Store, name: str) -> _Start:
    """What a job begins with, for the name that it gives.

    Raises: ApiError 400 with the nearest name, or with what is wrong with the base model.
    """
    row = store.models.get(name)
    try:
        if row is not None:
            way = way_of(settings.models_dir / row.folder)
            kind = "encoder" if way == "classify" else "causal"
            return _Start(kind=kind, base_model=row.base_model, start_from=row.id)
        base = catalog.find(name, settings.base_models_dir, folders=settings.allow_folders)
        base.files()
        return _Start(kind=base.kind, base_model=base.address, base=base)
    except TunesmithError as error:
        hint = str(error)
        if row is None and isinstance(error, NotFound) and name not in catalog.catalog():
            hint = nearest(name, [*catalog.catalog(), *(model.id for model in store.models.all())])
    message = f"Model {name} is not available for fine-tuning or does not exist. {hint}"
    raise ApiError(400, message, code="model_not_available")


def _check_file(store: Store, file_id: str, param: str) -> None:
    row = store.files.get(file_id)
    if row is None:
        raise ApiError(400, f"invalid {param}: {file_id}", param=param)
    if row.purpose != "fine-tune":
        raise ApiError(
            400,
            f"invalid {param}: {file_id} has the purpose '{row.purpose}'; upload it again with "
            "the purpose 'fine-tune'.",
            param=param,
        )


def _by_metadata(query: Mapping[str, str]) -> dict[str, Any]:
    """The filter of `metadata[key]=value`, or of `metadata=null` for jobs without any."""
    if query.get("metadata") in ("", "null"):
        return {"without_metadata": True}
    return {"metadata": metadata(query)}


# --- replies --------------------------------------------------------------------------------------


def _shape(row: JobRow, settings: Settings) -> dict[str, Any]:
    ours = ("options", "samples_file", "facts", "progress")
    own = {k: v for k, v in vars(row).items() if k in wire.Job.model_fields}
    method = {"type": row.method, row.method: {"hyperparameters": row.hyperparameters}}
    older = row.hyperparameters if row.method == "supervised" else None
    own |= {"method": method, "hyperparameters": older}
    return wire.Job(
        **own,
        organization_id=f"org-{settings.organization}",
        tunesmith={name: getattr(row, name) for name in ours},
    ).model_dump()
