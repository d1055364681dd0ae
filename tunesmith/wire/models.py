"""Models."""

from __future__ import annotations

from typing import Any, Literal

from tunesmith.wire.shapes import Shape


class Model(Shape):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    shutdown_date: str | None = None
    tunesmith: dict[str, Any] = {}
    """kind: encoder or causal; answers: text, labels, or null for one that has yet to be tuned."""
