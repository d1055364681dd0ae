"""What the run will take, as far as it can be told before, and the button that begins it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.store.paging import Cursor
from tunesmith.store.rows import JobRow
from tunesmith.store.store import Store
from tunesmith.web.controls import Handler, button, row, text
from tunesmith.web.glossary import term
from tunesmith.web.new_run.form import Form

JOBS = 50
"""Jobs in which one like this is looked for."""


def show(form: Form, seconds: float | None, start: Handler) -> None:
    """The part. `seconds`: what it will take, where that is known."""
    prepared = form.prepared
    if prepared is None:
        text("As soon as the file has been looked at, the run can begin.", "quiet")
    else:
        num = prepared["num_train"]
        text(f"{num:,} rows to learn from, {prepared['num_validation']:,} to check with.")
        if seconds is None:
            text(
                "How long it takes, and how much memory, is measured on this machine on the first "
                "rows and told before training begins; you can still cancel then. It costs nothing "
                "but this machine's time.", "quiet",
            )  # fmt: skip
        else:
            text(
                f"About {duration(seconds)}, going by your last run with this base model on this "
                "machine. It is measured once more before training begins. It costs nothing but "
                "this machine's time.", "quiet",
            )  # fmt: skip
        with row("small quiet"):
            term("epoch", "What is an epoch?")
            term("validation rows", "Why are rows kept back?")
    with row():
        button("Start the run", start, kind="primary", busy="Starting …", disabled=prepared is None)


def expected(store: Store, base_model: str, prepared: Mapping[str, Any]) -> float | None:
    """Seconds of training, from the newest job with that base model; None where there is none."""
    for job in store.jobs.page(Cursor(limit=JOBS)).data:
        if job.status == "succeeded" and job.base_model == base_model and (pace := _pace(job)):
            return pace * float(prepared["num_train"])
    return None


def _pace(job: JobRow) -> float | None:
    """Seconds a training row took."""
    told = job.facts.get("estimate") or {}
    seconds, rows = told.get("actual_seconds"), job.facts.get("num_examples")
    return seconds / rows if seconds and isinstance(rows, int) and rows else None


def duration(seconds: float) -> str:
    """`40 seconds`, `3 minutes`, `2.5 hours`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
