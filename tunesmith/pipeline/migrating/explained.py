"""README.md of the folder of a migrated account: what lies where, for a person.

Does not know: how any of it came there.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.pipeline.migrating.manifest import Manifest, now
from tunesmith.pipeline.migrating.recipes import Recipe
from tunesmith.pipeline.rundir import write_atomic

README = "README.md"


def explain(manifest: Manifest, recipes: Sequence[Recipe]) -> None:
    """Write README.md. Raises: StorageError."""
    parts = (*_head(manifest), *_models(manifest), *_recipes(recipes), *_gone(manifest))
    write_atomic(manifest.folder / README, ("\n".join(parts) + "\n").encode())


def _head(manifest: Manifest) -> list[str]:
    source, counts = manifest.source, manifest.counts()
    whose = ", ".join(filter(None, (source.organization, source.project)))
    here = f"tunesmith migrate openai {manifest.folder}"
    lines = [
        "# What was fetched, and what to do with it",
        "",
        f"From {source.base_url}" + (f" ({whose})" if whose else "") + f", as of {now()}.",
        "",
        "Everything that was asked for and can be had is here."
        if manifest.is_complete
        else f"Not everything is here yet. Go on with: `{here}`",
        "",
        "| of | listed only | here | cannot be had |",
        "|---|---|---|---|",
    ]
    for name, number in counts.items():
        cells = (f"{number[state]:,}" for state in ("listed", "downloaded", "unavailable"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, "", *_PLACES]


_PLACES = (
    "| place | holds |",
    "|---|---|",
    "| `manifest.json` | everything the account lists: state, reason, bytes, SHA-256, when |",
    "| `files/ID/NAME` | files as they were uploaded |",
    "| `jobs/ID.json` | a fine-tuning job with all its settings, as the service sent it |",
    "| `jobs/ID/events.jsonl` | what it said while it trained, oldest first |",
    "| `jobs/ID/checkpoints.json` | its checkpoints with their measures, oldest first |",
    "| `jobs/ID/FILE-NAME` | its result files (the service may send them in base64) |",
    "| `models.json` | the tuned models, and until when each answers |",
    "| `recipes/JOB.toml` | settings that train the job's model anew, on an open base model |",
    "| `tables/JOB.jsonl` | the files of jobs that teach labels, as tables of texts and labels |",
    "| `answers/JOB.jsonl` | the old model's answers to the job's validation rows, if collected |",
    "",
    "No API key is in this folder. The files hold what you have trained on: keep them as safe.",
    "",
)


def _models(manifest: Manifest) -> list[str]:
    models = manifest["models"].values()
    if not models:
        return []
    lines = ["## Tuned models", "", "Their weights are not handed out by the service.", ""]
    return [*lines, *(f"- `{one.id}`: {one.about['says']}" for one in models), ""]


def _recipes(recipes: Sequence[Recipe]) -> list[str]:
    if not recipes:
        return []
    lines = ["## Recipes", ""]
    for one in recipes:
        if one.path:
            lines.append(
                f"- `tunesmith run --config {one.path}` trains `{one.old_model}` anew on "
                f"`{one.base_model}` ({one.base_reason})."
            )
        else:
            lines.append(f"- None for {one.job}: {one.why_not}")
    return [*lines, ""]


def _gone(manifest: Manifest) -> list[str]:
    lost = [
        f"- {section} `{one.id}`: {one.reason}"
        for section, assets in manifest.all()
        for one in assets.values()
        if one.state == "unavailable"
    ]
    return ["## What cannot be had", "", *lost, ""] if lost else []
