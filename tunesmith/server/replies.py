"""Rows as OpenAI's objects, and lists of them."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

from tunesmith.wire import Shape


def shaped(kind: type[Shape], row: object) -> dict[str, Any]:
    """The object of that kind: those of the row's fields that it has."""
    return kind.model_validate(row, from_attributes=True).model_dump()


def listed(data: list[dict[str, Any]], has_more: bool, *, ends: bool = False) -> JSONResponse:
    """OpenAI's list; `ends`: with the ids of the first and the last element."""
    content: dict[str, Any] = {"object": "list", "data": data, "has_more": has_more}
    if ends:
        content["first_id"] = data[0]["id"] if data else None
        content["last_id"] = data[-1]["id"] if data else None
    return JSONResponse(content)
