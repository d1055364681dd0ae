"""How jobs are told on pages: the words for their states, what can be done with them.

What is done goes through the API, for whoever looks.
Does not know: which page it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tunesmith.store.rows import JobRow
from tunesmith.web import dialogs
from tunesmith.web.controls import Tag, badge, bar, button, tag
from tunesmith.web.setting_names import title
from tunesmith.web.visit import Visit, off
from tunesmith.wire import Options

STATES = {
    "validating_files": ("Checking its files", "live"),
    "queued": ("Waiting", "live"),
    "running": ("Training", "live"),
    "paused": ("Paused", "warn"),
    "succeeded": ("Done", "good"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", ""),
}
AT_WORK = ("validating_files", "queued", "running", "paused")

After = Callable[[], Awaitable[None]]


def job_badge(job: JobRow) -> Tag:
    """The job's state as a word."""
    return badge(*STATES[job.status])


def named(job: JobRow) -> str:
    """What a job is called on pages."""
    return job.user_provided_suffix or job.id


def settings(job: JobRow) -> dict[str, str]:
    """The settings of a training in words: those that every job has, and what is not as usual."""
    usual = Options().model_dump()
    own = {k: v for k, v in job.options.items() if v != usual.get(k)}
    return in_words({**job.hyperparameters, **own, "seed": job.seed})


def in_words(given: Mapping[str, object]) -> dict[str, str]:
    """Settings as a page shows them."""
    return {title(name): _said(value) for name, value in given.items()}


def _said(value: object) -> str:
    if value is None or value == "auto":
        return "chosen by itself"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def place(job: JobRow, before: int) -> str:
    """Where a waiting job stands in the queue."""
    if job.status != "queued":
        return ""
    return "next" if not before else f"{before + 1:,}. in the queue"


def progress(job: JobRow) -> None:
    """How far a running job has come, where it says so."""
    data = job.progress.get("data") or {}
    done, total = data.get("step", data.get("done", 0)), data.get("total", 0)
    if job.status == "running" and total:
        bar(done, total, f"{done:,} of {total:,} steps")
        tag("span", f"{done:,} of {total:,}", kind="quiet small")


def actions(visit: Visit, job: JobRow, after: After, *, kind: str = "") -> None:
    """Buttons for what can be done with the job now; `after` shows it anew."""
    if not visit.may_change:
        return
    name = named(job)

    async def do(what: str) -> None:
        await visit.api.post(f"/fine_tuning/jobs/{job.id}/{what}")
        await after()

    if job.status == "running":
        button(
            "Pause", lambda: do("pause"), kind=kind, busy="Pausing …", aria_label=f"Pause {name}"
        )
    if job.status == "paused":
        button("Resume", lambda: do("resume"), kind=kind, busy="Resuming …",
               aria_label=f"Resume {name}")  # fmt: skip
    if job.status in AT_WORK:

        async def ask() -> None:
            run = await off(visit.store.runs.of_job, job.id)
            says = ["What it has learned so far is lost; a new job begins anew."]
            if job.metadata and "tunesmith_run" in job.metadata:
                of_run = f" ({run.name})" if run else ""
                says.append(f"It is the training of a run{of_run}, which ends with it.")
            dialogs.confirm(f"Cancel {name}?", says, "Cancel the job", lambda: do("cancel"))

        button("Cancel", ask, kind=f"{kind} danger", aria_label=f"Cancel {name}")
