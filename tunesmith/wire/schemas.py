"""JSON Schemas of requests: what is wrong with one, and whether a value fits one.

Knows: the part of JSON Schema that OpenAI's structured outputs have, save patterns and formats.
Does not know: what a schema is for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Json = Any
Context = tuple[str, ...]

DEFINITIONS = ("$defs", "definitions")
STEPS, DEPTH = 1000, 40
"""Checks of one value, and schemas within schemas: what needs more fits nothing."""
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
SHAPES: dict[str, tuple[type, ...]] = {
    "type": (str, list),
    "properties": (dict,),
    "required": (list,),
    "additionalProperties": (bool, dict),
    "items": (bool, dict),
    "anyOf": (list,),
    "allOf": (list,),
    "enum": (list,),
    "$ref": (str,),
    "$defs": (dict,),
    "definitions": (dict,),
    **dict.fromkeys(("minimum", "maximum"), (int, float)),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (int,)),
}
"""What the values of keywords must be."""
KNOWN = {*SHAPES, "const", "title", "description", "default", "examples", "$schema", "$id"}
BOUNDS: dict[str, tuple[tuple[type, ...], Callable[[Any], Any], Callable[[Any, Any], bool]]] = {
    "minimum": ((int, float), lambda x: x, operator.ge),
    "maximum": ((int, float), lambda x: x, operator.le),
    "minLength": ((str,), len, operator.ge),
    "maxLength": ((str,), len, operator.le),
    "minItems": ((list,), len, operator.ge),
    "maxItems": ((list,), len, operator.le),
}


def faults(schema: Json, *, strict: bool) -> Iterator[str]:
    """What is wrong with the schema of an object, in OpenAI's words; `strict`: by its strict rules,
    which leave a model no choice of keys."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind != "object":
        yield f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    yield from _faults(schema, strict, ())


def _faults(schema: Json, strict: bool, context: Context) -> Iterator[str]:
    where = f"In context={context!r}, "
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{where}{schema!r} is not of type 'object', 'boolean'."
        return
    for keyword, kinds in SHAPES.items():
        if keyword in schema and not isinstance(schema[keyword], kinds):
            yield f"{where}{keyword!r} is {schema[keyword]!r}, which it cannot be."
            return
    if not all(isinstance(name, str) for name in schema.get("required", ())):
        yield f"{where}'required' is not a list of names."
        return
    if strict:
        yield from (f"{where}{key!r} is not permitted." for key in schema if key not in KNOWN)
        if schema.get("type") == "object":
            yield from (where + fault for fault in _open_ends(schema))
    for keyword, key, part in _parts(schema):
        yield from _faults(part, strict, (*context, keyword, key) if key else (*context, keyword))


def _open_ends(schema: Mapping[str, Json]) -> Iterator[str]:
    """Where an object leaves a choice of keys."""
    if schema.get("additionalProperties") is not False:
        yield "'additionalProperties' is required to be supplied and to be false."
    for name in schema.get("properties", {}):
        if name not in schema.get("required", []):
            yield (
                "'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{name}'."
            )


def _parts(schema: Mapping[str, Json]) -> Iterator[tuple[str, str, Json]]:
    """(keyword, key, schema) of the schemas right inside one."""
    for keyword in ("properties", *DEFINITIONS):
        yield from ((keyword, key, part) for key, part in schema.get(keyword, {}).items())
    for keyword in ("anyOf", "allOf"):
        yield from ((keyword, str(i), part) for i, part in enumerate(schema.get(keyword, [])))
    yield from (
        (key, "", schema[key]) for key in ("items", "additionalProperties") if key in schema
    )


class Schema:
    """A schema in which `faults` finds nothing."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root = root
        self._steps = 0

    @property
    def only_property(self) -> str | None:
        """The one property that its object has; None where there are more, or none."""
        names = list(self._root.get("properties", {}))
        return names[0] if len(names) == 1 else None

    def fits(self, value: Json, *, steps: int = STEPS) -> bool:
        """Whether a value is one that the schema describes; keywords it does not know, it skips.

        `steps` bounds the work, which strangers can make long.
        """
        self._steps = steps
        return self._fits(value, self._root, 0)

    def _fits(self, value: Json, schema: Json, depth: int) -> bool:
        self._steps -= 1
        if isinstance(schema, bool) or self._steps < 0 or depth > DEPTH:
            return schema is True
        kinds = schema.get("type", list(TYPES))
        return (
            any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))
            and ("const" not in schema or _same(value, schema["const"]))
            and ("enum" not in schema or any(_same(value, one) for one in schema["enum"]))
            and all(_within(value, key, schema[key]) for key in BOUNDS if key in schema)
            and all(self._fits(value, part, depth + 1) for part in self._also(schema))
            and (
                "anyOf" not in schema
                or any(self._fits(value, part, depth + 1) for part in schema["anyOf"])
            )
            and all(self._fits(inner, part, depth + 1) for inner, part in _inside(value, schema))
            and not (isinstance(value, dict) and {*schema.get("required", ())} - {*value})
        )

    def _also(self, schema: Mapping[str, Json]) -> Iterator[Json]:
        """Schemas that the same value must fit too; a reference to nothing fits nothing."""
        yield from schema.get("allOf", [])
        reference = schema.get("$ref")
        if reference == "#":
            yield self._root
        elif reference is not None:
            place, _, name = reference.removeprefix("#/").partition("/")
            yield self._root.get(place, {}).get(name, False) if place in DEFINITIONS else False


def _is(value: Json, kind: Json) -> bool:
    kinds = TYPES.get(kind, ()) if isinstance(kind, str) else ()
    return isinstance(value, kinds) and (kind == "boolean" or not isinstance(value, bool))


def _same(value: Json, other: Json) -> bool:
    """Equal, and true is not 1."""
    return type(value) is type(other) and bool(value == other)


def _within(value: Json, keyword: str, bound: float) -> bool:
    kinds, measure, compare = BOUNDS[keyword]
    return not isinstance(value, kinds) or compare(measure(value), bound)


def _inside(value: Json, schema: Mapping[str, Json]) -> Iterator[tuple[Json, Json]]:
    """(what is right inside a value, the schema it must fit)."""
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from ((inner, known.get(key, other)) for key, inner in value.items())
    elif isinstance(value, list):
        yield from ((inner, schema.get("items", True)) for inner in value)
