"""What the pages of lists have in common: search, and going from page to page.

Lists are paged by the store: a page is read, never the list.
Does not know: what is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.errors import RequestError
from tunesmith.store.paging import Cursor, Page
from tunesmith.web.controls import Cell, choice_field, link, row, tag, text_field
from tunesmith.web.visit import off

R = TypeVar("R")

SHOWN = 50
"""Entries of a page."""


class Listing:
    """A list at `path`; `asked` is what its address says: search and filters.

    after, before  ids of entries, between pages.
    """

    def __init__(
        self, path: str, asked: Mapping[str, str], *, after: str = "", before: str = ""
    ) -> None:
        self._path, self._asked = path, dict(asked)
        self._after, self._before = after, before

    def search(self, label: str = "Search") -> None:
        """The field that searches; the parameter is `q`."""
        text_field(label, self._asked.get("q", ""), lambda value: self.go(q=value), type="search")

    def choice(self, label: str, name: str, options: Mapping[str, str]) -> None:
        """A filter; `options`: value → what is shown for it."""
        value = self._asked.get(name, "")
        choice_field(label, options, value, lambda chosen: self.go(**{name: chosen}))

    def go(self, **changes: str) -> None:
        """Show the list with another search or filter."""
        ui.navigate.to(self.address(**changes))

    def address(self, **changes: str) -> str:
        """The address of the list, changed so."""
        given = {name: value for name, value in (self._asked | changes).items() if value}
        return f"{self._path}?{urlencode(given)}" if given else self._path

    async def read(self, fetch: Callable[[Cursor], Page[R]]) -> Page[R]:
        """The page, the newest entries first; the first one where an id is in the list no more."""
        try:
            return await off(self._page, fetch)
        except RequestError:
            self._after = self._before = ""
            return await off(self._page, fetch)

    def turn(self, found: Page[R]) -> None:
        """Links to the pages before and behind."""
        before = self._after or (self._before and found.has_more)
        behind = self._before or found.has_more
        if not (before or behind) or not found.data:
            return
        with tag("nav", aria_label="Pages of the list"), row():
            if before:
                link("← Newer", self.address(before=_id(found.data[0])), "button")
            if behind:
                link("Older →", self.address(after=_id(found.data[-1])), "button")

    def _page(self, fetch: Callable[[Cursor], Page[R]]) -> Page[R]:
        if not self._before:
            return fetch(Cursor(limit=SHOWN, after=self._after or None))
        found = fetch(Cursor(limit=SHOWN, after=self._before, newest_first=False))
        return Page(data=found.data[::-1], has_more=found.has_more)


def ties(pairs: Mapping[str, Cell]) -> None:
    """Names and what they stand for, one below the other: for long values and links."""
    with tag("dl", kind="ties"):
        for name, value in pairs.items():
            with tag("div"):
                tag("dt", name)
                with tag("dd"):
                    if callable(value):
                        value()
                    else:
                        tag("span", str(value))


def _id(entry: object) -> str:
    return str(entry.id)  # type: ignore[attr-defined]


def size(num_bytes: float) -> str:
    """Bytes for people."""
    for unit, most in (("B", 1e3), ("KB", 1e6), ("MB", 1e9)):
        if num_bytes < most:
            return f"{num_bytes / (most / 1e3):,.{0 if unit in ('B', 'KB') else 1}f} {unit}"
    return f"{num_bytes / 1e9:,.2f} GB"
