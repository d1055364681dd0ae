"""`tunesmith export`: a tuned causal model as a folder for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.own_store import own_store

if TYPE_CHECKING:
    from tunesmith.model.export import Exported

SAMPLES = 8
"""Of the trainer's noted answers; more are not compared."""


def export(
    model: Annotated[str, typer.Argument(help="Name of a tuned model, or its folder.")],
    to: Annotated[
        str,
        typer.Option(help="merged (whole weights, for transformers) or adapter (alone, for PEFT)."),
    ] = "merged",
    out: Annotated[
        Path | None, typer.Option(help="New folder. Empty: named after the model, right here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write a tuned model for other programs, after a check that it answers the same."""
    from tunesmith.cli.terminal import Terminal
    from tunesmith.model import export as exporting

    given = Path(model).expanduser()
    is_folder = given.is_dir()
    folder, samples = (given, []) if is_folder else _tuned(model)
    name = given.resolve().name if is_folder else model.replace(":", "-")
    made = exporting.export(
        folder,
        out or Path(f"{name}-{to}"),
        to=to,
        samples=samples,
        report=Terminal(as_json=as_json),
    )
    if as_json:
        print(json.dumps({"model": model, **asdict(made), "folder": str(made.folder)}))
    else:
        print(_told(model, made))


def _tuned(name: str) -> tuple[Path, list[Mapping[str, Any]]]:
    """The folder of the tuned model of that name, and the answers that its trainer noted.

    Raises: NotFound.
    """
    from tunesmith import settings
    from tunesmith.errors import NotFound, nearest
    from tunesmith.store.blobs import Blobs

    here = settings.load()
    with own_store() as store:
        row = store.models.get(name)
        if row is None:
            known = [model.id for model in store.models.all()]
            raise NotFound(
                f"There is no tuned model named {name!r} in {here.data_dir}.",
                fix=nearest(name, known),
            )
        job = store.jobs.get(row.job_id)
    samples: list[Mapping[str, Any]] = []
    if job is not None and job.samples_file:
        with suppress(NotFound), Blobs(here.blobs).open(job.samples_file) as lines:
            samples = [json.loads(line) for line in islice(lines, SAMPLES)]
    return here.models_dir / row.folder, samples


def _told(model: str, made: Exported) -> str:
    size = f"{made.num_bytes / 1e9:,.2f} GB"
    if made.form == "adapter":
        return f"{model} is in {made.folder}: an adapter in PEFT's layout, {size}."
    told = f"{model} is in {made.folder}: whole weights, {size}."
    if made.difference is None:
        return f"{told}\nIt was tuned whole; the files are copies."
    return (
        f"{told}\nMerged and adapter answer alike: over {made.num_compared:,} tokens, "
        f"log-probabilities differ by {made.typical:.1g}, at most by {made.difference:.1g}."
    )
