"""/v1/evals, the runs of evals, and what came of their items.

Does not know: how a run is worked on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from tunesmith import wire
from tunesmith.errors import RequestError
from tunesmith.server.asking.askable import Models
from tunesmith.server.bodies import finite, parsed, plain, without_nulls
from tunesmith.server.door.auth import Caller, view
from tunesmith.server.errors import ApiError
from tunesmith.server.evals import messages, shapes
from tunesmith.server.evals.criteria import LabelModel, ScoreModel, criteria, named
from tunesmith.server.evals.sources import Source
from tunesmith.server.repeats import is_repeated, request_hash
from tunesmith.server.replies import listed
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import EvalItemRow, EvalRow, EvalRunRow
from tunesmith.store.store import Store
from tunesmith.wire.schemas import faults

PURPOSE = "evals"


def _cursor(
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "asc",
) -> Cursor:
    return Cursor(limit=limit, after=after, newest_first=order == "desc")


Place = Annotated[Cursor, Depends(_cursor)]
"""Where a page begins, from the query."""


def router(models: Models, store: Store) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/evals")
    _about_evals(routes, models, store)
    _about_runs(routes, models, store)
    _about_items(routes, store)
    return routes


def _about_evals(routes: APIRouter, models: Models, store: Store) -> None:
    @routes.post("", status_code=201)
    async def create_eval(request: Request) -> JSONResponse:
        body, mine = await request.body(), view(store, request)
        asked = parsed(wire.EvalCreate, body)
        project = request.scope["caller"].project
        for name in _judges(asked):
            await models.find(name, project)
        row = _new_eval(asked, body, request)
        repeated = is_repeated(request)
        row = await run_in_threadpool(mine.evals.create, row, repeated=repeated)
        return JSONResponse(shapes.eval_of(row), status_code=201)

    @routes.get("")
    def list_evals(
        request: Request,
        cursor: Place,
        order_by: Literal["created_at", "updated_at"] = "created_at",
    ) -> JSONResponse:
        page = view(store, request).evals.page(cursor, by_update=order_by == "updated_at")
        return listed([shapes.eval_of(row) for row in page.data], page.has_more, ends=True)

    @routes.get("/{eval_id}")
    def retrieve_eval(eval_id: str, request: Request) -> JSONResponse:
        return JSONResponse(shapes.eval_of(_eval(store, eval_id, request)))

    @routes.post("/{eval_id}")
    async def update_eval(eval_id: str, request: Request) -> JSONResponse:
        asked = parsed(wire.EvalUpdate, await request.body())
        mine = view(store, request).evals
        values = asked.model_dump(exclude_unset=True)
        row = await run_in_threadpool(mine.describe, eval_id, values)
        if row is None:
            raise _no_eval(eval_id)
        return JSONResponse(shapes.eval_of(row))

    @routes.delete("/{eval_id}")
    def delete_eval(eval_id: str, request: Request) -> JSONResponse:
        if not view(store, request).evals.delete(eval_id):
            raise _no_eval(eval_id)
        return JSONResponse(wire.EvalDeleted(eval_id=eval_id).model_dump())


def _about_runs(routes: APIRouter, models: Models, store: Store) -> None:
    @routes.post("/{eval_id}/runs", status_code=201)
    async def create_run(eval_id: str, request: Request) -> JSONResponse:
        body, mine = await request.body(), view(store, request)
        about = await run_in_threadpool(_eval, store, eval_id, request)
        asked = await run_in_threadpool(parsed, wire.EvalRunCreate, body)  # it may be long
        source = asked.data_source
        _check_asking(source)
        if not isinstance(source, wire.JsonlSource) and source.model is not None:
            await models.find(source.model, request.scope["caller"].project)
        if isinstance(source.source, wire.FileId):
            await run_in_threadpool(_check_file, mine, source.source.id)
        row = await run_in_threadpool(_new_run, asked, about, body, request)
        repeated = is_repeated(request)
        row = await run_in_threadpool(mine.eval_runs.create, row, repeated=repeated)
        return await run_in_threadpool(
            lambda: JSONResponse(_run_shape(row, about, request), status_code=201)
        )

    @routes.get("/{eval_id}/runs")
    def list_runs(
        eval_id: str,
        request: Request,
        cursor: Place,
        status: wire.EvalRunStatus | None = None,
    ) -> JSONResponse:
        about = _eval(store, eval_id, request)
        page = view(store, request).eval_runs.page(eval_id, cursor, status=status)
        data = [_run_shape(row, about, request) for row in page.data]
        return listed(data, page.has_more, ends=True)

    @routes.get("/{eval_id}/runs/{run_id}")
    def retrieve_run(eval_id: str, run_id: str, request: Request) -> JSONResponse:
        row = _run(store, eval_id, run_id, request)
        return JSONResponse(_run_shape(row, _eval(store, eval_id, request), request))

    @routes.delete("/{eval_id}/runs/{run_id}")
    def delete_run(eval_id: str, run_id: str, request: Request) -> JSONResponse:
        _run(store, eval_id, run_id, request)
        view(store, request).eval_runs.delete(run_id)
        return JSONResponse(wire.EvalRunDeleted(run_id=run_id).model_dump())

    def cancel_run(eval_id: str, run_id: str, request: Request) -> JSONResponse:
        _run(store, eval_id, run_id, request)
        row = view(store, request).eval_runs.cancel(run_id)
        return JSONResponse(_run_shape(row, _eval(store, eval_id, request), request))

    # Which of the two, depends on the SDK.
    routes.post("/{eval_id}/runs/{run_id}")(cancel_run)
    routes.post("/{eval_id}/runs/{run_id}/cancel")(cancel_run)


def _about_items(routes: APIRouter, store: Store) -> None:
    @routes.get("/{eval_id}/runs/{run_id}/output_items")
    def list_items(
        eval_id: str,
        run_id: str,
        request: Request,
        cursor: Place,
        status: Literal["pass", "fail", "error"] | None = None,
    ) -> JSONResponse:
        run = _run(store, eval_id, run_id, request)
        page = view(store, request).eval_runs.items(run_id, cursor, status=status)
        return listed([shapes.item_of(row, run) for row in page.data], page.has_more, ends=True)

    @routes.get("/{eval_id}/runs/{run_id}/output_items/{item_id}")
    def retrieve_item(eval_id: str, run_id: str, item_id: str, request: Request) -> JSONResponse:
        run = _run(store, eval_id, run_id, request)
        row: EvalItemRow | None = view(store, request).eval_runs.item(run_id, item_id)
        if row is None:
            what = f"No output item found with id '{item_id}'."
            raise ApiError(404, what, param="output_item_id")
        return JSONResponse(shapes.item_of(row, run))


# --- what is asked --------------------------------------------------------------------------------


def _judges(asked: wire.EvalCreate) -> Iterator[str]:
    """The models that the criteria ask.

    Raises: RequestError and ValidationError for criteria that cannot be, ApiError 400 for a schema
    that is none.
    """
    config = asked.data_source_config
    if isinstance(config, wire.EvalCustom):
        for fault in faults({"type": "object", **finite(config.item_schema)}, strict=False):
            param = "data_source_config.item_schema"
            raise ApiError(400, f"Invalid schema for items: {fault}", param=param)
    for criterion in criteria(asked.testing_criteria):
        if isinstance(criterion, LabelModel | ScoreModel):
            yield criterion.model


def _new_eval(asked: wire.EvalCreate, body: bytes, request: Request) -> EvalRow:
    given = without_nulls(plain(body))
    return EvalRow(
        request_hash=request_hash(request, body),
        name=asked.name or "",
        data_source_config=finite(given["data_source_config"]),
        testing_criteria=finite(named(asked.testing_criteria)),
        metadata=asked.metadata,
    )


def _new_run(
    asked: wire.EvalRunCreate, about: EvalRow, body: bytes, request: Request
) -> EvalRunRow:
    caller: Caller = request.scope["caller"]
    source = asked.data_source
    model = None if isinstance(source, wire.JsonlSource) else source.model
    return EvalRunRow(
        eval_id=about.id,
        key_id=caller.id,
        role=caller.role,
        request_hash=request_hash(request, body),
        name=asked.name or "",
        model=model or "",
        data_source=finite(without_nulls(plain(body))["data_source"]),
        metadata=asked.metadata,
    )


def _check_asking(source: Source) -> None:
    """Raises: RequestError for messages without a model, a model without messages, and messages
    that cannot be filled in."""
    if isinstance(source, wire.JsonlSource):
        return
    asked, place = source.input_messages, "data_source.input_messages"
    is_stored = isinstance(source.source, wire.StoredCompletions | wire.StoredResponses)
    if asked is not None and source.model is None:
        what = "Missing required parameter: 'data_source.model'."
        raise RequestError(what, param="data_source.model")
    if asked is None and source.model is not None and not is_stored:
        raise RequestError(f"Missing required parameter: '{place}'.", param=place)
    if isinstance(asked, wire.MessagesTemplate):
        messages.check(asked.template, f"{place}.template")
    elif isinstance(asked, wire.ItemReference):
        try:
            messages.steps_of(asked.item_reference)
        except RequestError as error:
            error.param = f"{place}.item_reference"
            raise


def _check_file(store: Store, file_id: str) -> None:
    row, problem = store.files.get(file_id), ""
    if row is None:
        problem = "."
    elif row.purpose != PURPOSE:
        problem = f" has the purpose '{row.purpose}'; upload it again with '{PURPOSE}'."
    if problem:
        raise ApiError(400, f"invalid file id: {file_id}{problem}", param="data_source.source.id")


# --- what is there --------------------------------------------------------------------------------


def _eval(store: Store, eval_id: str, request: Request) -> EvalRow:
    if (row := view(store, request).evals.get(eval_id)) is None:
        raise _no_eval(eval_id)
    return row


def _run(store: Store, eval_id: str, run_id: str, request: Request) -> EvalRunRow:
    row = view(store, request).eval_runs.get(run_id)
    if row is None or row.eval_id != eval_id:
        raise ApiError(404, f"No eval run found with id '{run_id}'.", param="run_id")
    return row


def _no_eval(eval_id: str) -> ApiError:
    return ApiError(404, f"No eval found with id '{eval_id}'.", param="eval_id")


def _run_shape(row: EvalRunRow, about: EvalRow, request: Request) -> dict[str, Any]:
    """The run; what OpenAI shows on a page is the run itself here."""
    url = f"{request.base_url}v1/evals/{row.eval_id}/runs/{row.id}"
    return shapes.run_of(row, about, url)
