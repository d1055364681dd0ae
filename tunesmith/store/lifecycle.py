"""The states of a job and the ways between them: one table, nowhere else.

Does not know: who moves a job, or why.
"""

from __future__ import annotations

from tunesmith.errors import StateError

WAYS: dict[str, frozenset[str]] = {
    "validating_files": frozenset({"queued", "failed", "cancelled"}),
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "paused"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}


def check(job_id: str, state: str, to: str) -> None:
    """Raises: StateError when a job in `state` cannot go to `to`."""
    if to not in WAYS[state]:
        raise StateError(f"Fine-tuning job {job_id} is {state} and cannot become {to}.")
