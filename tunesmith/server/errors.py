"""Errors on the wire: OpenAI's envelope, and the one table from our errors to HTTP statuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import ValidationError

from tunesmith.errors import (
    MissingExtra,
    NotAllowed,
    NotFound,
    RequestError,
    StorageError,
    TunesmithError,
)

STATUS: dict[type[Exception], int] = {
    RequestError: 400,
    NotAllowed: 403,
    NotFound: 404,
    StorageError: 500,
    MissingExtra: 500,
}
KIND = "invalid_request_error"
TYPE_NAMES = {
    "str", "int", "float", "bool",
    "string_check", "text_similarity", "multi", "label_model", "score_model",
}  # fmt: skip


class ApiError(TunesmithError):
    """An error whose status, text and code are OpenAI's own."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.status = status
        self.code = code
        self.kind = kind


def no_file(file_id: str) -> ApiError:
    return ApiError(404, f"No such File object: {file_id}", param="id")


def no_job(job_id: str) -> ApiError:
    message = f"Could not find fine tune: {job_id}"
    return ApiError(404, message, param="fine_tune_id", code="fine_tune_not_found")


def no_model(name: str) -> ApiError:
    message = f"The model '{name}' does not exist"
    return ApiError(404, message, param="model", code="model_not_found")


def error_response(error: Exception) -> JSONResponse:
    """The envelope for any error; one that is not ours is called an internal one."""
    if isinstance(error, ApiError):
        told = {"param": error.param, "code": error.code, "kind": error.kind}
        return envelope(error.status, str(error), **told)
    if isinstance(error, ValidationError):
        return invalid(error.errors(include_url=False, include_context=False))
    if isinstance(error, TunesmithError):
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
        return envelope(status, str(error), param=error.param)
    message = "The server had an error while processing your request. Its log says more."
    return envelope(500, message)


def envelope(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    kind: str | None = None,
) -> JSONResponse:
    """OpenAI's error object. A failure of ours would fail again: clients need not repeat it."""
    kind = kind or (KIND if status < 500 else "server_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    headers = {"x-should-retry": "false"} if status >= 500 else None
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def invalid(problems: Sequence[Any]) -> JSONResponse:
    """A request of the wrong shape (pydantic's list of problems): the first one, as a sentence."""
    first = problems[0]
    param = _param(first["loc"])
    if first["type"] == "extra_forbidden":
        return envelope(400, f"Unrecognized request argument supplied: {param}", param=param)
    if first["type"] == "missing":
        return envelope(400, f"Missing required parameter: '{param}'.", param=param)
    if first["type"] == "json_invalid":
        return envelope(400, "The body of the request is not valid JSON.")
    ways = [
        p["msg"].removeprefix("Input should be ") for p in problems if _param(p["loc"]) == param
    ]
    return envelope(400, f"Invalid '{param}': it should be {' or '.join(ways)}.", param=param)


def _param(place: Sequence[str | int]) -> str:
    """`messages[0].content` for ("messages", 0, "content", "str"): names of types are left out."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and part not in TYPE_NAMES:
            text += f".{part}" if text else part
    return text.removeprefix("query.").removeprefix("body.")
