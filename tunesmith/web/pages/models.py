"""/models: tuned models and base models, with search."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from tunesmith.catalog import BaseModel, catalog, shelf
from tunesmith.store.rows import ModelRow
from tunesmith.web import archives
from tunesmith.web.api import Refused
from tunesmith.web.controls import empty, link, table, tag, text, when
from tunesmith.web.layout import page
from tunesmith.web.lists import Listing, size
from tunesmith.web.model_facts import ANSWERS, address, named
from tunesmith.web.visit import Visit, off


@page("/models", "Models")
async def models(
    visit: Visit, q: str = "", show: str = "", after: str = "", before: str = ""
) -> None:
    """The list. `show`: base, or else the tuned ones."""
    listing = Listing("/models", {"q": q, "show": show}, after=after, before=before)
    total = await off(visit.store.models.count)
    bases = await off(_bases, visit)
    with tag("div", kind="filters", role="search"):
        listing.search("Search by name or base model")
        listing.choice(
            "Show", "show", {"": f"Tuned ({total:,})", "base": f"Base models ({len(bases):,})"}
        )
        link("Storage used", "/storage", "button quiet")
    if show == "base":
        _show_bases([base for base in bases if _holds(base, q)])
    elif not total:
        _welcome(visit)
    else:
        await _show_tuned(visit, listing, q)


def _welcome(visit: Visit) -> None:
    with empty(
        "No model has been tuned yet",
        "A run ends with a model of your own, which shows up here: what it was made from, how to "
        "ask it, how to take it elsewhere. Base models, with which tuning begins, are under Show.",
    ):
        if visit.may_change:
            link("Begin a run", "/new", "button primary")


async def _show_tuned(visit: Visit, listing: Listing, search: str) -> None:
    found = await listing.read(lambda cursor: visit.store.models.page(cursor, search=search))
    if not found.data:
        text("No model is like that. Search for less.")
        return
    rows = await asyncio.gather(*(_cells(visit, row) for row in found.data))
    table(
        ("Name", "Answers", "Size", "Made", "Base model"),
        rows,
        caption="Tuned models, the newest first",
        kind="runs",
    )
    listing.turn(found)


async def _cells(visit: Visit, row: ModelRow) -> tuple[Any, ...]:
    def name() -> None:
        link(named(row), address(row.id))
        if row.title:
            tag("div", row.id, kind="quiet small")

    try:
        about = (await visit.api.get(f"/models/{row.id}")).get("tunesmith") or {}
    except Refused:
        about = {}
    num_bytes = await off(archives.bytes_of, visit.desk.settings.models_dir / row.folder)
    answers = ANSWERS.get(str(about.get("answers")), "Files are missing")
    return (name, answers, size(num_bytes), lambda: when(row.created), row.base_model)


def _bases(visit: Visit) -> list[BaseModel]:
    """All base models, those on this machine first."""
    here = shelf.installed(visit.desk.settings.base_models_dir)
    return sorted(
        ({**catalog(), **here}).values(),
        key=lambda base: (base.kind != "encoder", base.name not in here, base.parameters),
    )


def _holds(base: BaseModel, search: str) -> bool:
    return search.casefold() in f"{base.name} {base.description} {base.licence}".casefold()


def _show_bases(bases: list[BaseModel]) -> None:
    if not bases:
        text("No base model is like that. Search for less.")
        return

    def cells(base: BaseModel) -> tuple[Any, ...]:
        what = "Labels" if base.kind == "encoder" else "Text, or labels"
        here = "On this machine" if base.hub == "" or base.folder else "To be fetched"
        size_ = f"{base.parameters / 1e6:,.0f} million" if base.parameters else "–"
        return (
            lambda: link(base.name, f"/models/{quote(base.name)}"),
            here,
            what,
            size_,
            base.licence or "–",
        )

    table(
        ("Name", "Where", "To be tuned for", "Parameters", "Licence"),
        [cells(base) for base in bases],
        caption="Base models",
        kind="runs",
    )
