"""What the parts of the page work on: a draft, its settings, and how they are changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tunesmith.config import RunConfig
from tunesmith.errors import StateError
from tunesmith.store.rows import RunRow
from tunesmith.web import drafts, run_files
from tunesmith.web.running import fingerprint
from tunesmith.web.visit import Visit, off

Changes = Mapping[str, Mapping[str, Any]]
"""Section → setting → value."""


class Form:
    """One draft that somebody fills in."""

    def __init__(self, visit: Visit, row: RunRow, asked: RunConfig) -> None:
        self.visit = visit
        self.row = row
        self.asked = asked
        self.peeked: dict[str, Any] = {}
        self.prepared: dict[str, Any] | None = None
        """The result of prepare, where it is that of the settings as they are now."""
        self.on_change: Callable[[str], Awaitable[None]] | None = None
        """Called with the part that has made the change."""

    @property
    def folder(self) -> Path:
        """The draft's folder."""
        return self.visit.runs.folder(self.row)

    @property
    def task(self) -> str:
        """classify, chat or preference, as far as it is known; else empty."""
        if self.prepared:
            return str(self.prepared["task"])
        if self.asked.prepare.task == "classify":
            return "classify"
        return str(self.peeked.get("task") or "")

    async def change(self, changes: Changes, *, by: str = "") -> None:
        """Take other settings, and look at the file again if they matter for that.

        by  the part of the page that shows them as they are now.

        Raises: ConfigError for impossible ones; StateError when the run has begun meanwhile.
        """
        self.visit.check_change()
        asked = drafts.choose(self.asked, changes)
        self.row = await self.visit.run(self.row.id)
        if self.row.state not in ("draft", "checking"):
            raise StateError("This run has begun, so its settings stand.", fix="Begin a new one.")
        matters = fingerprint(asked) != fingerprint(self.asked)
        self.asked = asked
        await off(run_files.keep_config, self.folder, asked)
        if matters or self.is_stale or self.error:
            self.prepared = None
            self.row = await off(self.visit.runs.check, self.row)
        if self.on_change:
            await self.on_change(by)

    async def look(self) -> None:
        """Take in what prepare has found for the settings as they are."""
        self.row = await self.visit.run(self.row.id)
        found = self.row.summary
        is_ours = found.get("asked") == fingerprint(self.asked)
        is_there = self.row.state == "draft" and is_ours and found.get("checked")
        self.prepared = await off(run_files.result, self.folder, "prepare") if is_there else None

    @property
    def is_stale(self) -> bool:
        """Whether nobody has looked at the file with the settings as they are."""
        is_ours = self.row.summary.get("asked") == fingerprint(self.asked)
        return self.row.state == "draft" and not is_ours

    @property
    def error(self) -> str:
        """Why prepare came to no result; empty where it did, or is still at work."""
        return "" if self.row.state == "checking" else str(self.row.summary.get("error") or "")
