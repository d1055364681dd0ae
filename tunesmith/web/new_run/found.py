"""What prepare has found: how many rows, the labels' shares, lengths, and what looks wrong, each
with a button where a setting mends it."""

from __future__ import annotations

from typing import Any

from tunesmith.web.controls import (
    bar,
    button,
    details,
    facts,
    link,
    notice,
    row,
    tag,
    text,
    waiting,
)
from tunesmith.web.drafts import in_words, proposals
from tunesmith.web.glossary import term
from tunesmith.web.new_run.columns import reasons_list
from tunesmith.web.new_run.form import Form
from tunesmith.web.run_files import Progress

STAGES = {
    "reading": "Reading the file", "cleaning": "Cleaning the texts", "labels": "Looking at labels",
    "duplicates": "Looking for rows that say the same", "splitting": "Keeping rows to check with",
    "writing": "Writing the examples",
}  # fmt: skip
MOST_LABELS, MOST_FINDINGS = 40, 12


def show(form: Form, progress: Progress | None) -> None:
    """The part: progress, what went wrong, or the result."""
    if form.error:
        _wrong(form)
    elif form.prepared is None:
        said = STAGES.get(progress.message, "Looking at every row") if progress else ""
        waiting(f"{said or 'Looking at every row'} …")
        if progress and progress.total:
            bar(progress.done, progress.total, "How far looking at the file has come")
    else:
        _result(form, form.prepared)


def _wrong(form: Form) -> None:
    said = form.error.replace(str(form.asked.prepare.table), "The file")
    notice(in_words(said), "bad", title="This file cannot be learned from as it is")
    _buttons(form, said)
    button("Look again", lambda: form.change({"prepare": {}}), kind="small")


def _result(form: Form, prepared: dict[str, Any]) -> None:
    facts(
        {
            "Rows in the file": prepared["num_rows"],
            "To learn from": prepared["num_train"],
            "To check with": prepared["num_validation"],
            **({"Kept for the last check": prepared["num_test"]} if prepared["num_test"] else {}),
            **({"Labels": len(prepared["labels"])} if prepared["labels"] else {}),
        }
    )
    if lengths := [d for d in prepared["decisions"] if d["what"] == "length"]:
        with tag("p", "Length: "):
            tag("span", f"{lengths[0]['value']}. {lengths[0]['reason']}.")
    if prepared["labels"]:
        _shares(prepared)
    _findings(form, prepared["findings"])
    with details("What was decided, and why"):
        reasons_list(prepared["decisions"])
        for said, changes in _choices(form, prepared):
            button(said, lambda c=changes: form.change(c), kind="small", busy="Looking again …")  # type: ignore[misc]
    with row():
        link("The whole report on the data", f"/runs/{form.row.id}/files/data-report.html")


def _shares(prepared: dict[str, Any]) -> None:
    counts = {
        label: prepared["train_counts"].get(label, 0) + prepared["validation_counts"].get(label, 0)
        for label in prepared["labels"]
    }
    most = max(counts.values()) or 1
    with tag("div", kind="stack tight"):
        with tag("h3", "Rows of each "):
            term("label")
        with tag("div", kind="shares", role="list"):
            for label, count in sorted(counts.items(), key=lambda item: -item[1])[:MOST_LABELS]:
                share = prepared["natural_shares"].get(label, 0)
                with tag("div", role="listitem"):
                    tag("span", label, kind="name")
                    with tag("span", kind="track", aria_hidden="true"):
                        tag("span", style=f"width: {100 * count / most:.1f}%")
                    tag("span", f"{count:,} · {100 * share:.0f} %", kind="count")
        if len(counts) > MOST_LABELS:
            text(f"And {len(counts) - MOST_LABELS:,} more labels.", "quiet small")


def _findings(form: Form, findings: list[dict[str, Any]]) -> None:
    if not findings:
        notice("Nothing in the file looks wrong.", "good")
        return
    with tag("div", kind="stack tight"):
        tag("h3", f"What was noticed ({len(findings):,})")
        with tag("ul", kind="findings"):
            for finding in findings[:MOST_FINDINGS]:
                with tag("li", kind=finding["level"]):
                    tag("span", in_words(finding["what"]))
                    if finding["fix"]:
                        tag("span", in_words(finding["fix"]), kind="quiet")
                    _buttons(form, finding["fix"])
        if len(findings) > MOST_FINDINGS:
            link("All of them", f"/runs/{form.row.id}/files/findings.jsonl")


def _buttons(form: Form, said: str) -> None:
    """A button for each setting that the sentence proposes."""
    if found := proposals(said, form.asked):
        with row():
            for name, changes in found.items():
                button(
                    f"Set {name}", lambda c=changes: form.change(c), kind="small",  # type: ignore[misc]
                    busy="Looking again …",
                )  # fmt: skip


def _choices(form: Form, prepared: dict[str, Any]) -> list[tuple[str, Any]]:
    """Other choices that the reasons of decisions name."""
    found: dict[str, Any] = {}
    for decision in prepared["decisions"]:
        found |= proposals(str(decision["reason"]), form.asked)
    return [(f"Rather {name}", changes) for name, changes in list(found.items())[:6]]
