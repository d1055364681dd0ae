"""The five steps of a run: which are done, which is at work and how far, what came of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.web import run_files
from tunesmith.web.controls import Tag, bar, tag
from tunesmith.web.following import Followed
from tunesmith.web.new_run.columns import reasons_list
from tunesmith.web.new_run.start import duration

NAMES = {
    "prepare": ("Prepare", "Look at the file"),
    "upload": ("Upload", "Hand the rows to the server"),
    "train": ("Train", "Learn from the rows"),
    "deploy": ("Deploy", "Make the model answer"),
    "evaluate": ("Evaluate", "Check how good it is"),
}
"""Verb → its name, and what it does."""


class Steps:
    """The steps in a line. They are changed in place: many pages follow, every second."""

    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}
        self._lines: dict[str, tuple[Tag, Tag, Tag]] = {}
        with tag("ol", kind="steps", aria_label="The steps of this run"):
            for number, (verb, (name, does)) in enumerate(NAMES.items(), start=1):
                with tag("li") as line:
                    tag("strong", f"{number} {name}")
                    said = tag("span", does)
                    progress = bar(0, 0, f"How far {name} has come").show(False)
                self._lines[verb] = line, said, progress

    def update(self, followed: Followed) -> None:
        """Show them as they are now."""
        for number, (verb, (line, said, progress)) in enumerate(self._lines.items()):
            kind = _kind(followed, number)
            line.set_kind(kind).set(aria_current="step" if kind == "now" else None)
            said.text = self._said(followed, verb, kind)
            far = followed.progress
            is_told = kind == "now" and far is not None and far.total > 0
            if is_told and far is not None:
                progress.set(max=far.total, value=far.done)
            progress.show(is_told)

    def _said(self, followed: Followed, verb: str, kind: str) -> str:
        does = NAMES[verb][1]
        if kind == "done":
            if verb not in self._outcomes:
                self._outcomes[verb] = outcome(verb, run_files.result(followed.folder, verb) or {})
            return self._outcomes[verb]
        self._outcomes.pop(verb, None)
        if kind == "failed":
            return "Failed here"
        if kind != "now":
            return does
        if followed.row.state == "paused":
            return "Paused"
        if verb == "train" and (step := followed.metric.get("step")):
            return f"Step {step:,} of at most {followed.metric.get('total_steps', 0):,}"
        return f"{followed.progress.message} …" if followed.progress else f"{does} …"


def _kind(followed: Followed, number: int) -> str:
    """done, now, failed, or nothing for a step that is still to come."""
    if number != followed.done:
        return "done" if number < followed.done else ""
    state = followed.row.state
    return "now" if state in ("running", "paused") else "failed" if state == "failed" else ""


def outcome(verb: str, found: dict[str, Any]) -> str:
    """What came of a step, in a few words."""
    took = f", {duration(found['seconds'])}" if found.get("seconds") else ""
    if verb == "prepare":
        learn, check = found.get("num_train", 0), found.get("num_validation", 0)
        return f"{learn:,} rows to learn from, {check:,} to check with"
    if verb == "upload":
        sent = found.get("num_sent", 0)
        return f"{sent} {'file' if sent == 1 else 'files'} sent" if sent else "It has the rows"
    if verb == "train":
        return f"{found.get('method', '')} in {found.get('steps', 0):,} steps{took}".strip()
    if verb == "deploy":
        same = (found.get("parity") or {}).get("compared", 0)
        return f"It answers as it was trained ({same:,} rows compared)"
    return f"Checked on {found.get('num_examples', 0):,} rows{took}"


def show_reasons(folder: Path) -> None:
    """What was decided so far, and why."""
    found: list[dict[str, Any]] = []
    for verb in NAMES:
        found += (run_files.result(folder, verb) or {}).get("decisions") or []
    reasons_list(found)
