"""What the states of a run are called, and how they look."""

from __future__ import annotations

from tunesmith.store.rows import RunRow
from tunesmith.web.controls import Tag, badge
from tunesmith.web.results import words

WORDS = {
    "draft": ("Draft", ""),
    "checking": ("Looking at the file", "live"),
    "queued": ("Waiting", "live"),
    "running": ("Running", "live"),
    "paused": ("Paused", "warn"),
    "succeeded": ("Done", "good"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", ""),
}
"""State → its name, and the mood of its badge."""


def state_badge(row: RunRow) -> Tag:
    """The run's state as a word."""
    return badge(*WORDS[row.state])


def address(row: RunRow) -> str:
    """Where the run is shown: drafts where they are filled in."""
    is_draft = row.state in ("draft", "checking")
    return f"/new/{row.id}" if is_draft else f"/runs/{row.id}"


def score(row: RunRow) -> str:
    """The run's score in a few words; empty where there is none."""
    value, name = row.summary.get("score"), str(row.summary.get("metric") or "")
    if not isinstance(value, int | float):
        return ""
    title = words.metric(name)[0]
    title = f"{title[:1].lower()}{title[1:]}" if title[1:2].islower() else title
    return f"{words.score(name, value)} {title}"
