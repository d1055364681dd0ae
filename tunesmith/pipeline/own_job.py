"""The run's own fine-tuning job: found again by its id or its marks, or made, once.

Does not know: what the job learns.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress

from tunesmith import providers, wire
from tunesmith.errors import NotFound, ProviderError
from tunesmith.events import Event
from tunesmith.pipeline.rundir import FOLDERS, RunDir, write_atomic
from tunesmith.pipeline.workshop import Workshop

OF_RUN, OF_INPUTS = "tunesmith_run", "tunesmith_inputs"
"""Metadata by which a later start knows its own job again."""
OF_ATTEMPT = "tunesmith_attempt"
"""And by which a job is found whose reply was lost."""
CREATE_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, None)
"""Seconds after each try to make a job, before it is looked for; None: no more."""
JOB = "job.json"


def marks(made_from: str, shop: Workshop) -> dict[str, str]:
    """The metadata of a new job."""
    attempt = {OF_ATTEMPT: secrets.token_hex(4)}
    return {OF_RUN: shop.run_dir.id, OF_INPUTS: made_from, **attempt}


def find(made_from: str, shop: Workshop) -> wire.Job | None:
    """This run's job for these inputs, if it is alive or has left a model."""
    own = {OF_RUN: shop.run_dir.id}
    job = _kept(made_from, shop)
    if job is None and shop.provider.can.metadata:
        job = shop.provider.find_job({**own, OF_INPUTS: made_from})
    if job and job.status not in wire.TERMINAL:
        shop.report(Event(kind="note", message="Going on with the job of an earlier start"))
        return job
    if job and job.status == "succeeded" and shop.provider.model(job.fine_tuned_model or ""):
        shop.report(Event(kind="note", message="The job of an earlier start has succeeded"))
        return job
    stale = shop.provider.find_job(own) if shop.provider.can.metadata else None
    if stale and stale.status not in wire.TERMINAL:
        shop.provider.cancel(stale.id)
        what = f"Job {stale.id} had other settings; it was cancelled."
        shop.report(Event(kind="warning", message=what))
    return None


def create(request: wire.JobCreate, shop: Workshop) -> wire.Job:
    """The job, made once, however often the reply is lost."""
    for wait in CREATE_WAITS:
        try:
            return shop.provider.create_job(request)
        except ProviderError as error:
            if wait is None or not providers.passes(error):
                raise
            what = f"{error.what.rstrip('.')}. Looking whether the job was made"
            shop.report(Event(kind="warning", message=what))
            time.sleep(wait)
            if job := _lost(request, shop):
                return job
    raise AssertionError


def _lost(request: wire.JobCreate, shop: Workshop) -> wire.Job | None:
    """The job that this very request has made although its reply was lost."""
    if request.metadata:
        return shop.provider.find_job(request.metadata)
    # Without metadata: no other job is made of files that carry this content's checksum, later.
    latest = next(iter(shop.provider.jobs()), None)
    is_ours = latest is not None and latest.training_file == request.training_file
    return latest if is_ours and latest and latest.status not in wire.TERMINAL else None


def remember(job: wire.Job, made_from: str, shop: Workshop) -> None:
    """Keep the job's id, by which a later start finds it again."""
    kept = {"id": job.id, "inputs": made_from, "server": shop.provider.place}
    write_atomic(shop.run_dir.folder("train") / JOB, json.dumps(kept).encode())


def remembered(run_dir: RunDir) -> dict[str, str]:
    """What `remember` has kept: id, inputs, server."""
    try:
        found = json.loads((run_dir.path / FOLDERS["train"] / JOB).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _kept(made_from: str, shop: Workshop) -> wire.Job | None:
    """The job whose id the run has kept, if it is one of these inputs."""
    kept = remembered(shop.run_dir)
    if kept.get("inputs") != made_from or kept.get("server") != shop.provider.place:
        return None
    with suppress(NotFound):
        return shop.provider.job(kept["id"])
    return None
