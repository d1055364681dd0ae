"""An address for every page, from one set of things that are shown on them; and how a person gets
to what a page has to show."""

import re
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the pages are about; ids, all of one project."""

    run: str
    other: str
    """A second finished run on the same table."""
    writing: str
    """A finished run whose model writes."""
    draft: str
    model: str
    file: str
    job: str
    many: str
    """A table that a model was asked about."""
    task: str
    row: str
    """A row of that labelling task."""


def addresses(shown: Shown) -> dict[str, tuple[str, str]]:
    """Name of the picture → the page's route, and the address of one such page."""
    task, model = f"/labelling/{shown.task}", quote(shown.model)
    return {
        "runs": ("/", "/"),
        "new-run": ("/new", "/new"),
        "draft": ("/new/{run_id}", f"/new/{shown.draft}"),
        "run": ("/runs/{run_id}", f"/runs/{shown.run}"),
        "result": ("/runs/{run_id}/result", f"/runs/{shown.run}/result"),
        "result-writing": ("/runs/{run_id}/result", f"/runs/{shown.writing}/result"),
        "compare": ("/compare", f"/compare?a={shown.run}&b={shown.other}"),
        "playground": ("/playground", f"/playground?model={model}"),
        "batches": ("/playground/batches", f"/playground/batches?model={model}"),
        "batch": ("/playground/batches/{many_id}", f"/playground/batches/{shown.many}"),
        "labelling": ("/labelling", "/labelling"),
        "labelling-new": ("/labelling/new", "/labelling/new"),
        "labelling-task": ("/labelling/{task_id}", task),
        "labelling-ties": ("/labelling/{task_id}/ties", f"{task}/ties"),
        "labelling-rows": ("/labelling/{task_id}/rows", f"{task}/rows"),
        "labelling-row": ("/labelling/{task_id}/rows/{row_id}", f"{task}/rows/{shown.row}"),
        "labelling-overview": ("/labelling/{task_id}/overview", f"{task}/overview"),
        "models": ("/models", "/models"),
        "model": ("/models/{model:path}", f"/models/{model}"),
        "data": ("/data", "/data"),
        "file": ("/data/files/{file_id}", f"/data/files/{shown.file}"),
        "table": ("/data/tables/{run_id}", f"/data/tables/{shown.run}"),
        "jobs": ("/jobs", "/jobs"),
        "job": ("/jobs/{job_id}", f"/jobs/{shown.job}"),
        "keys": ("/keys", "/keys"),
        "storage": ("/storage", "/storage"),
        "not-here": ("/{rest:path}", "/nowhere"),
    }


def settle(page):
    """Wait until the page shows all it has."""
    page.wait_for_selector("main h1, .page h1")
    page.wait_for_function("!document.querySelector('.waiting')")
    page.wait_for_timeout(300)  # what fades in


def dropped(page, path):
    """Give the file on the page of a new run, and wait for its first rows."""
    page.wait_for_selector("file-drop label")
    page.set_input_files("file-drop input", str(path))
    page.wait_for_url(re.compile("/new/run_"))
    page.wait_for_selector("text=What the model learns")
