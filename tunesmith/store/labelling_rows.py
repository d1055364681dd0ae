"""The rows of labelling: tasks, their rows, who holds which, and what people said of them.

See `rows` for how these classes become tables.
Does not know: SQL, who shows what to whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tunesmith.store.rows import DEFAULT_PROJECT, now
from tunesmith.wire import new_id


@dataclass(frozen=True, kw_only=True)
class LabellingTaskRow:
    """A table that people label, and how far they have come."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("lab_"))
    project_id: str = DEFAULT_PROJECT
    key_id: str
    """Of the key that made it."""
    name: str
    state: str = "draft"
    """draft, importing (its rows come in), ready, deleted (they go)."""
    created_at: int = field(default_factory=now)
    source: str = ""
    """Name of the file that the rows come from."""
    reading: dict[str, str] = field(default_factory=dict)
    """How that is read, where it was chosen: encoding, sheet."""
    text_column: str = ""
    shown: list[str] = field(default_factory=list)
    """Other columns that are shown beside the text."""
    labels: list[str] = field(default_factory=list)
    """What a row may be labelled, in the order of their keys."""
    guideline: str = ""
    votes: int = 1
    """How many people are to label each row."""
    helper: str | None = None
    """Name of a model that says which rows are hard."""
    is_suggesting: bool = False
    """Whether people see what the helper would say."""
    total: int = 0
    """Rows of the file, once that is known."""
    num_rows: int = 0
    """Rows that are here."""
    num_empty: int = 0
    """Rows of the file that are not, since they have no text."""
    num_labelled: int = 0
    """Rows that somebody has labelled."""
    num_done: int = 0
    num_tied: int = 0
    error: str = ""
    """Why the rows did not come in."""
    process: str | None = None
    """Name of the process that brings them in."""


@dataclass(frozen=True, kw_only=True)
class LabellingRow:
    """A row of a task, and what came of it."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("lrow_"))
    task_id: str
    number: int
    """Which row of the file it is, the first being 1."""
    text: str
    shown: dict[str, Any] = field(default_factory=dict)
    """The columns that are shown beside the text."""
    state: str = "open"
    """open: it wants more votes; done; tied: it wants somebody to decide."""
    rank: float
    """Rows are handed out by rank, the lowest first."""
    num_votes: int = 0
    num_labels: int = 0
    """How many different labels the votes give."""
    label: str | None = None
    """What was decided, or what most of the votes so far say; None for a tie."""
    decided_by: str | None = None
    """Who decided it against, or without, the votes."""
    answered_at: int = 0
    """When anybody last said something of it; 0: nobody has."""
    suggestion: str | None = None
    """What the helper says."""
    certainty: float | None = None
    """How probable the helper takes that to be."""


@dataclass(frozen=True, kw_only=True)
class HandoutRow:
    """A row that somebody looks at just now, so that nobody else needs to."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("hand_"))
    task_id: str
    row_id: str
    annotator: str
    until: float
    """Then it goes back, in unix seconds."""


@dataclass(frozen=True, kw_only=True)
class AnswerRow:
    """What somebody said of a row. It stays when something else is said later."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("ans_"))
    task_id: str
    row_id: str
    annotator: str
    """Id of the key."""
    kind: str = "vote"
    """vote, skip or decision, which goes before all votes."""
    label: str | None = None
    """None where it was skipped."""
    created_at: int = field(default_factory=now)
    replaced_at: int | None = None
    """When it was changed or taken back; None: it stands."""
