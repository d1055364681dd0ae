"""Every address that no other page has. Registered last."""

from __future__ import annotations

from tunesmith.errors import NotFound
from tunesmith.web.layout import page
from tunesmith.web.visit import Visit


@page("/{rest:path}", "")
async def missing(visit: Visit, rest: str) -> None:
    """Say so."""
    raise NotFound("There is no page at this address.")
