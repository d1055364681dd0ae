"""Loaded by schemathesis: puts ids of things that are there into most of what it makes up.

They come as JSON in the environment: by the name of a path's placeholder, or of a body's field.
"""

import json
import os
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ["KNOWN"])
FIELDS = {
    "model": "model",
    "training_file": "file_id",
    "validation_file": "file_id",
    "input_file_id": "input_file_id",
    "previous_response_id": "response_id",
}


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    if path_parameters is None or context.operation.method == "delete":
        return path_parameters  # so that they stay there
    return {
        name: KNOWN[name] if len(str(value)) % 4 else value
        for name, value in path_parameters.items()
    }


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    if not isinstance(body, dict) or len(body) % 4 == 3:
        return body
    writes = len(body) % 2  # so that both kinds of models are asked
    names = {**FIELDS, "model": "writer" if writes else "model"}
    return {n: KNOWN[names[n]] if n in names and v else v for n, v in body.items()}
