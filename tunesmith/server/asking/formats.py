"""Response formats: what is wrong with one; how a label is written where the answer is to be JSON,
and which labels may be.

Does not know: what the answer is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from tunesmith import wire
from tunesmith.server.bodies import finite
from tunesmith.server.errors import ApiError
from tunesmith.wire.schemas import Schema, faults

SHOWN = 5
"""Labels that a message names."""
ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True)
class Format:
    """JSON as which the answer is to be written."""

    param: str
    """Where in the request it was asked for."""
    name: str = ""
    schema: bytes = to_json(ANY_OBJECT)
    """As JSON. An answer that fits it is an answer in this format."""


def of_chat(asked: wire.ResponseFormat | None) -> Format | None:
    """The format of a chat completion; None for plain text. Raises: ApiError 400."""
    if asked is None:
        return None
    if asked.type == "json_schema" and asked.json_schema is None:
        missing = "response_format.json_schema"
        raise ApiError(400, f"Missing required parameter: '{missing}'.", param=missing)
    return _format(asked.type, asked.json_schema, "response_format", "response_format.json_schema")


def of_response(text: wire.TextConfig | None) -> Format | None:
    """The format of a response; None for plain text. Raises: ApiError 400."""
    if text is None or text.format is None:
        return None
    return _format(text.format.type, text.format, "text.format", "text.format")


def _format(
    kind: wire.FormatType, asked: wire.FormatSchema | None, param: str, place: str
) -> Format | None:
    if kind == "text":
        return None
    if kind == "json_object" or asked is None:
        return Format(param)
    if asked.name is None:
        raise ApiError(400, f"Missing required parameter: '{place}.name'.", param=f"{place}.name")
    if asked.schema_ is None:
        return Format(param, asked.name)
    schema = finite(asked.schema_)
    for fault in faults(schema, strict=bool(asked.strict)):
        text = f"Invalid schema for response_format '{asked.name}': {fault}"
        raise ApiError(400, text, param=param)
    return Format(param, asked.name, to_json(schema))


@lru_cache(maxsize=256)
def written(format: Format, labels: tuple[str, ...]) -> Sequence[str | None]:
    """Each label as the format has it, None where it cannot be had.

    A label that is JSON and fits the schema stays as it is; else it becomes the value of the
    schema's only property.
    Raises: ApiError 400 when no label can be had.
    """
    schema = Schema(from_json(format.schema))
    texts = [_written(label, schema) for label in labels]
    if any(text is not None for text in texts):
        return texts
    raise _nothing_fits(format, labels)


def _written(label: str, schema: Schema) -> str | None:
    value = _parsed(label)
    if isinstance(value, dict) and schema.fits(value):
        return label
    if (name := schema.only_property) is not None:
        for inner in (label, value):
            if schema.fits({name: inner}):
                return to_json({name: inner}).decode()
    return None


def _parsed(label: str) -> Any:
    """The value of a label that is JSON; of another one, the label."""
    try:
        return from_json(label, allow_inf_nan=False)
    except ValueError:
        return label


def _nothing_fits(format: Format, labels: tuple[str, ...]) -> ApiError:
    some = ", ".join(repr(label) for label in labels[:SHOWN])
    more = ", …" if len(labels) > SHOWN else ""
    what = f"fits the schema '{format.name}'" if format.name else "is a JSON object"
    return ApiError(
        400,
        f"This model answers with one of its {len(labels)} labels ({some}{more}), and none of "
        f"them {what}. Ask for the type 'json_schema' with a schema of one property that is a "
        "string (with an enum, where wanted, of such labels), and the label comes as its value; "
        "or ask for text.",
        param=format.param,
    )
