"""What can be done with a run that has begun: cancel, pause, resume, begin again, delete.

The run's process is ours to end (`running`); its job is the API's, asked for who looks.
Does not know: buttons.
"""

from __future__ import annotations

from contextlib import suppress

from tunesmith.errors import StateError
from tunesmith.store.rows import JobRow, RunRow
from tunesmith.web.api import Refused
from tunesmith.web.visit import Visit, off
from tunesmith.wire import TERMINAL


async def cancel(visit: Visit, row: RunRow, job: JobRow | None) -> RunRow:
    """End the run, and its job. Raises: ApiError 403; StateError when it has ended."""
    visit.check_change()
    row = await off(visit.runs.cancel, row)
    if job is not None and job.status not in TERMINAL:
        with suppress(Refused):  # it has just ended by itself
            await visit.api.post(f"/fine_tuning/jobs/{job.id}/cancel")
    return row


async def pause(visit: Visit, row: RunRow, job: JobRow | None) -> RunRow:
    """Have training stop after its step, to go on later. Raises: Refused, StateError."""
    visit.check_change()
    if job is None or job.status != "running":
        raise StateError("Only training can be paused, and it is not under way now.")
    await visit.api.post(f"/fine_tuning/jobs/{job.id}/pause")
    return await off(visit.runs.noted, row, "paused")


async def resume(visit: Visit, row: RunRow, job: JobRow | None) -> RunRow:
    """Have training go on. Raises: Refused, StateError."""
    visit.check_change()
    if job is not None and job.status == "paused":
        await visit.api.post(f"/fine_tuning/jobs/{job.id}/resume")
    return await off(visit.runs.noted, row, "running")


async def again(visit: Visit, row: RunRow) -> RunRow:
    """Go on with a run that failed or was cancelled; what is done is not done again."""
    visit.check_change()
    return await off(visit.runs.start, row)


async def like(visit: Visit, row: RunRow) -> RunRow:
    """A new draft with the run's file and settings."""
    visit.check_change()
    return await off(visit.runs.draft, visit.caller, f"{row.name} again", like=row)


async def delete(visit: Visit, row: RunRow) -> None:
    """Forget the run and its files. Raises: StateError while it is at work."""
    visit.check_change()
    await off(visit.runs.delete, row)
