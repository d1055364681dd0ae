"""/runs/RUN/result: how good the model of a run is, what it gets wrong, and what to do about it."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from tunesmith.store.rows import RunRow
from tunesmith.web import plain, run_files
from tunesmith.web.controls import clear, empty, link, panel, tag
from tunesmith.web.layout import PAGES, page, retitle
from tunesmith.web.result_parts import overview, rows, suspects, written
from tunesmith.web.result_parts.confusions import Confusions
from tunesmith.web.result_parts.looked import Looked, filled
from tunesmith.web.result_parts.rivals import Rivals
from tunesmith.web.result_parts.rows import Rows, Wanted
from tunesmith.web.result_parts.sureness import Sureness
from tunesmith.web.result_parts.suspects import Suspects
from tunesmith.web.results.asking import ask
from tunesmith.web.results.downloads import offers
from tunesmith.web.states import address
from tunesmith.web.visit import Visit, off

SCRIPTS = "".join(
    f'<script src="/assets/{name}.js?{plain.VERSION}" defer></script>'
    for name in ("result", "copy")
)
LABELS = {
    "worth": "Scores", "confusions": "Mix-ups", "sureness": "Sureness", "rows": "Rows",
    "suspects": "Suspect labels", "against": "Other runs", "take": "Downloads",
}  # fmt: skip
WRITTEN = {"worth": "Scores", "learned": "Curve", "rows": "Answers", "take": "Downloads"}

BEGIN_LABELS: tuple[dict[str, Any], ...] = (
    {"what": "report"},
    {"what": "rows", **vars(Wanted()), "limit": rows.AT_ONCE},
    {"what": "sureness"},
    {"what": "suspects", "limit": suspects.AT_ONCE},
)
BEGIN_WRITTEN: tuple[dict[str, Any], ...] = (
    {"what": "report"},
    {"what": "answers", "limit": written.AT_ONCE},
)
"""What is asked at once, since starting to read costs more than reading."""


@page("/runs/{run_id}/result", "")
async def result(visit: Visit, run_id: str) -> None:
    """The result of one run."""
    row = await visit.run(run_id)
    retitle(f"Result of {row.name}")
    ui.add_head_html(SCRIPTS)
    folder = visit.runs.folder(row)
    found = await off(run_files.result, folder, "evaluate")
    with tag("div", kind="head"):
        tag("h1", f"Result of {row.name}")
        link("The run", address(row), "button")
    if found is None:
        with empty(
            "There is no result yet",
            "Once the model has answered the rows that were held out, this page says how good it "
            "is, what it mixes up, which labels look wrong, and what to do next.",
        ):
            link("See how far the run is", address(row), "button primary")
        return
    overview.verdict(found["verdict"])
    is_written = "main" in found
    _ways(visit, row, WRITTEN if is_written else LABELS)
    body = tag("div", kind="stack result")

    async def fill() -> None:
        asked = BEGIN_WRITTEN if is_written else BEGIN_LABELS
        given = {"folder": str(folder), "review": found.get("review"), "main": found.get("main")}
        report, *told = await ask(*({**given, **one} for one in asked))
        named = {str(one["what"]): answer for one, answer in zip(asked[1:], told, strict=True)}
        looked = Looked(visit=visit, row=row, folder=folder, report=report, told=named)
        with clear(body):
            _of_writing(looked) if is_written else _of_labels(looked)
            await _take(visit, row)

    filled(body, "Reading what the run has left", fill)


def _ways(visit: Visit, row: RunRow, parts: dict[str, str]) -> None:
    """Where to go on this page, and what to do with the model."""
    with tag("div", kind="ways row"):
        with tag("nav", aria_label="On this page"), tag("ul"):
            for name, title in parts.items():
                with tag("li"):
                    tag("a", title, href=f"#{name}")
        if "/playground" in PAGES and row.summary.get("model"):
            link("Ask the model", f"/playground?model={row.summary['model']}", "button primary")


def _of_labels(looked: Looked) -> None:
    report = looked.report
    browser = Rows(looked)
    overview.tiles(report)
    overview.advice(report["advice"], has_suspects=bool(report.get("review")))
    overview.worth(report)
    Confusions(looked, browser).build()
    Sureness(looked).build()
    browser.build()
    Suspects(looked).build()
    Rivals(looked).build()
    overview.slices(report)
    with panel("All numbers").set(id="numbers"):
        overview.everything(report)


def _of_writing(looked: Looked) -> None:
    written.tiles(looked.report)
    written.scores(looked.report)
    written.curve(looked.report)
    written.Answers(looked).build()


async def _take(visit: Visit, row: RunRow) -> None:
    with panel("Take it along").set(id="take"), tag("ul", kind="offers"):
        for offer in await off(offers, visit, row):
            with tag("li"):
                tag("a", offer.title, href=offer.name, download="")
                tag("span", offer.meaning, kind="quiet small")
                tag("span", _size(offer.bytes), kind="quiet small number")


def _size(number: int | None) -> str:
    """1,234,567 → "1.2 MB"."""
    if number is None:
        return ""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{max(1, round(number / 1e3)):,} KB"
