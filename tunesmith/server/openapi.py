"""The server's description of itself, /openapi.json: what each call takes and what it answers.

Paths and parameters are the routes' own; bodies are read by hand there, so a table here names their
shapes. A test holds the table against the routes, and what is answered against the description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tunesmith import __version__, wire

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
BINARY: Json = {"type": "string", "format": "binary"}
FILE: Json = {
    "type": "object",
    "properties": {
        "file": BINARY,
        "purpose": {"enum": list(wire.UPLOAD_PURPOSES)},
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
    "required": ["file", "purpose"],
}
PART: Json = {"type": "object", "properties": {"data": BINARY}, "required": ["data"]}
EVENT: Json = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
"""Each of a stream's, the data being JSON again, or [DONE] at the end."""
EVENTS: Json = {"text/event-stream": {"schema": EVENT}}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a call takes and answers, beside the parameters of its route."""

    takes: type[BaseModel] | None = None
    form: Json | None = None
    """Schema of the form that is sent instead of JSON."""
    gives: type[BaseModel] | None = None
    lists: type[BaseModel] | None = None
    """What the elements of a list are."""
    paged: bool = True
    ends: bool = False
    """The list names its first and last element."""
    streams: bool = False
    other: str = ""
    """Media type of an answer that is not JSON."""
    status: int = 200
    """Of the good answer."""


CALLS: Mapping[str, Call] = {
    "POST /v1/files": Call(form=FILE, gives=wire.File),
    "GET /v1/files": Call(lists=wire.File, ends=True),
    "GET /v1/files/{file_id}": Call(gives=wire.File),
    "DELETE /v1/files/{file_id}": Call(gives=wire.Deleted),
    "GET /v1/files/{file_id}/content": Call(other="application/octet-stream"),
    "POST /v1/uploads": Call(takes=wire.UploadCreate, gives=wire.Upload),
    "POST /v1/uploads/{upload_id}/parts": Call(form=PART, gives=wire.UploadPart),
    "POST /v1/uploads/{upload_id}/complete": Call(takes=wire.UploadComplete, gives=wire.Upload),
    "POST /v1/uploads/{upload_id}/cancel": Call(gives=wire.Upload),
    "POST /v1/fine_tuning/jobs": Call(takes=wire.JobCreate, gives=wire.Job),
    "GET /v1/fine_tuning/jobs": Call(lists=wire.Job),
    "GET /v1/fine_tuning/jobs/{job_id}": Call(gives=wire.Job),
    "POST /v1/fine_tuning/jobs/{job_id}/cancel": Call(gives=wire.Job),
    "POST /v1/fine_tuning/jobs/{job_id}/pause": Call(gives=wire.Job),
    "POST /v1/fine_tuning/jobs/{job_id}/resume": Call(gives=wire.Job),
    "GET /v1/fine_tuning/jobs/{job_id}/events": Call(lists=wire.JobEvent),
    "GET /v1/fine_tuning/jobs/{job_id}/checkpoints": Call(lists=wire.Checkpoint, ends=True),
    "POST /v1/fine_tuning/checkpoints/{checkpoint}/permissions": Call(
        takes=wire.PermissionsCreate, lists=wire.Permission, ends=True
    ),
    "GET /v1/fine_tuning/checkpoints/{checkpoint}/permissions": Call(
        lists=wire.Permission, ends=True
    ),
    "DELETE /v1/fine_tuning/checkpoints/{checkpoint}/permissions/{permission_id}": Call(
        gives=wire.Deleted
    ),
    "POST /v1/fine_tuning/alpha/graders/validate": Call(
        takes=wire.GraderValidate, gives=wire.GraderValidate
    ),
    "POST /v1/fine_tuning/alpha/graders/run": Call(takes=wire.GraderRun, gives=wire.GraderResult),
    "GET /v1/models": Call(lists=wire.Model, paged=False),
    "GET /v1/models/{model}": Call(gives=wire.Model),
    "DELETE /v1/models/{model}": Call(gives=wire.Deleted),
    "POST /v1/chat/completions": Call(
        takes=wire.ChatRequest, gives=wire.ChatCompletion, streams=True
    ),
    "GET /v1/chat/completions": Call(lists=wire.ChatCompletion, ends=True),
    "GET /v1/chat/completions/{completion_id}": Call(gives=wire.ChatCompletion),
    "POST /v1/chat/completions/{completion_id}": Call(
        takes=wire.MetadataUpdate, gives=wire.ChatCompletion
    ),
    "DELETE /v1/chat/completions/{completion_id}": Call(gives=wire.Deleted),
    "GET /v1/chat/completions/{completion_id}/messages": Call(lists=wire.StoredMessage, ends=True),
    "POST /v1/completions": Call(
        takes=wire.CompletionRequest, gives=wire.TextCompletion, streams=True
    ),
    "POST /v1/embeddings": Call(takes=wire.EmbeddingRequest, gives=wire.Embeddings),
    "POST /v1/responses": Call(takes=wire.ResponseRequest, gives=wire.Response, streams=True),
    "GET /v1/responses/{response_id}": Call(gives=wire.Response, streams=True),
    "DELETE /v1/responses/{response_id}": Call(gives=wire.Deleted),
    "POST /v1/responses/{response_id}/cancel": Call(gives=wire.Response),
    "GET /v1/responses/{response_id}/input_items": Call(lists=wire.InputItem, ends=True),
    "POST /v1/batches": Call(takes=wire.BatchCreate, gives=wire.Batch),
    "GET /v1/batches": Call(lists=wire.Batch, ends=True),
    "GET /v1/batches/{batch_id}": Call(gives=wire.Batch),
    "POST /v1/batches/{batch_id}/cancel": Call(gives=wire.Batch),
    "POST /v1/evals": Call(takes=wire.EvalCreate, gives=wire.Eval, status=201),
    "GET /v1/evals": Call(lists=wire.Eval, ends=True),
    "GET /v1/evals/{eval_id}": Call(gives=wire.Eval),
    "POST /v1/evals/{eval_id}": Call(takes=wire.EvalUpdate, gives=wire.Eval),
    "DELETE /v1/evals/{eval_id}": Call(gives=wire.EvalDeleted),
    "POST /v1/evals/{eval_id}/runs": Call(takes=wire.EvalRunCreate, gives=wire.EvalRun, status=201),
    "GET /v1/evals/{eval_id}/runs": Call(lists=wire.EvalRun, ends=True),
    "GET /v1/evals/{eval_id}/runs/{run_id}": Call(gives=wire.EvalRun),
    "POST /v1/evals/{eval_id}/runs/{run_id}": Call(gives=wire.EvalRun),
    "POST /v1/evals/{eval_id}/runs/{run_id}/cancel": Call(gives=wire.EvalRun),
    "DELETE /v1/evals/{eval_id}/runs/{run_id}": Call(gives=wire.EvalRunDeleted),
    "GET /v1/evals/{eval_id}/runs/{run_id}/output_items": Call(
        lists=wire.EvalOutputItem, ends=True
    ),
    "GET /v1/evals/{eval_id}/runs/{run_id}/output_items/{item_id}": Call(gives=wire.EvalOutputItem),
    "GET /health": Call(gives=wire.Health),
    "GET /ready": Call(gives=wire.Health),
    "GET /metrics": Call(other="text/plain"),
}
"""Method and path → what it takes and gives."""
DIRECT = ("POST /v1/chat/completions",)
"""Calls that the door answers without a route."""


def describe(app: FastAPI) -> Json:
    """The OpenAPI 3.1 document of the application."""
    document = get_openapi(title="Tunesmith", version=__version__, routes=app.routes)
    for call in DIRECT:
        method, path = call.split()
        document["paths"].setdefault(path, {})[method.lower()] = {"operationId": call}
    refs, schemas = _schemas()
    for path, ways in document["paths"].items():
        for method, operation in ways.items():
            about = CALLS[f"{method.upper()} {path}"]
            _complete(operation, about, refs)
            if path.startswith("/v1") or path == "/metrics":
                operation["security"] = [{"key": []}]
    document["components"] = {
        "schemas": schemas,
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    return document


def _complete(operation: Json, about: Call, refs: Mapping[type[BaseModel], Json]) -> None:
    """Say what the operation takes and gives, in place of what FastAPI thinks."""
    if about.takes:
        content = {"application/json": {"schema": _taken(about.takes)}}
        operation["requestBody"] = {"required": True, "content": content}
    if about.form:
        content = {"multipart/form-data": {"schema": about.form}}
        operation["requestBody"] = {"required": True, "content": content}
    given: Json = {}
    if about.gives:
        given["application/json"] = {"schema": refs[about.gives]}
    if about.lists:
        given["application/json"] = {"schema": _list_of(refs[about.lists], about)}
    if about.streams:
        given |= EVENTS
    if about.other:
        given[about.other] = {"schema": {"type": "string"}}
    problem = {"application/json": {"schema": refs[wire.ErrorReply]}}
    operation["responses"] = {str(about.status): {"description": "Done", "content": given}}
    for status in ("4XX", "5XX"):
        operation["responses"][status] = {"description": "Why not", "content": problem}


def _taken(kind: type[BaseModel]) -> Json:
    return {"$ref": REF.format(model=f"{kind.__name__}-Input")}


def _list_of(element: Json, about: Call) -> Json:
    """OpenAI's envelope of a list."""
    properties: Json = {
        "object": {"const": "list"},
        "data": {"type": "array", "items": element},
    }
    if about.paged:
        properties["has_more"] = {"type": "boolean"}
    if about.ends:
        properties |= dict.fromkeys(("first_id", "last_id"), {"type": ["string", "null"]})
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schemas() -> tuple[dict[type[BaseModel], Json], Json]:
    """References to the shapes of answers, and the schemas of all shapes by name."""
    given = list(dict.fromkeys(_given()))
    asked = [about.takes for about in CALLS.values() if about.takes]
    found, answers = models_json_schema([(k, "serialization") for k in given], ref_template=REF)
    refs = {kind: dict(found[kind, "serialization"]) for kind in given}
    schemas: Json = answers["$defs"]
    for kind in asked:
        own = kind.model_json_schema(ref_template=REF.replace("{model}", "{model}-Input"))
        for name, schema in own.pop("$defs", {}).items():
            schemas[f"{name}-Input"] = schema
        schemas[f"{kind.__name__}-Input"] = own
    return refs, schemas


def _given() -> Iterator[type[BaseModel]]:
    yield wire.ErrorReply
    for about in CALLS.values():
        yield from (kind for kind in (about.gives, about.lists) if kind)
