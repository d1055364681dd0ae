"""A run as it goes: followed, paused, cancelled, failed, begun again; servers that stop."""

import csv
import io
import re
import signal
from dataclasses import replace
from pathlib import Path

import httpx
import patience
import pytest

from tunesmith.store.paging import Cursor
from tunesmith.web import run_files

HEADER = "text,label\n"
TICKETS = Path(__file__).parents[2] / "examples" / "tickets.csv"


@pytest.fixture(scope="module")
def rows():
    """Tickets as two columns."""
    out = io.StringIO()
    with TICKETS.open(newline="") as file:
        every = [row for row in csv.DictReader(file) if row["message"] and row["annotator_1"]]
    cells = [(row["message"], row["annotator_1"].lower()) for row in every[:200]]
    csv.writer(out).writerows(cells)
    return HEADER + out.getvalue()


def drafted(site, content, **train):
    """A draft with this table and these settings of training."""
    own = {"origin": site.url}
    cookies = {"tunesmith_session": site.cookie(site.key())}
    path = f"{site.url}/runs/new/table?name=rows.csv"
    run_id = httpx.put(path, content=content, headers=own, cookies=cookies).json()["run"]
    folder = site.settings.data_dir / "runs" / site.store.runs.get(run_id).folder
    asked = run_files.config(folder)
    asked = replace(
        asked,
        train=replace(asked.train, **train),
        evaluate=replace(asked.evaluate, baselines=False, advice=False),
    )
    run_files.keep_config(folder, asked)
    return run_id


def begun(site, content, **train):
    """The same, in the queue."""
    run_id = drafted(site, content, **train)
    site.store.runs.change(run_id, to="queued")
    return run_id


def test_training_is_paused_and_goes_on_after_a_crash_of_the_server(visit, site, rows):
    run_id = begun(site, rows, method="full", n_epochs=6, batch_size=4, early_stopping_patience=99)
    page, other = visit(f"/runs/{run_id}"), visit(f"/runs/{run_id}")
    page.get_by_text("Step").and_(page.locator("dt")).wait_for(timeout=patience.RUN)
    page.wait_for_selector(".curves canvas")
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Paused", exact=True).first.wait_for()
    other.get_by_text("Paused", exact=True).first.wait_for()
    first = site.store.runs.get(run_id)
    assert first.state == "paused"
    site.stop(signal.SIGKILL)
    site.start()
    page = page.context.new_page()  # the one that was open loads itself anew meanwhile
    page.set_default_timeout(patience.PAGE)
    page.goto(f"{site.url}/runs/{run_id}")  # the session has outlived the server
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for(timeout=patience.RUN)
    assert site.store.runs.get(run_id).worker != first.worker
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Cancel").click()
    page.get_by_text("The run was cancelled.").wait_for()
    assert site.store.jobs.page(Cursor(limit=1)).data[0].status == "cancelled"
    assert page.get_by_role("button", name="Begin again").is_visible()


def test_a_failure_says_what_to_do(visit, site):
    content = HEADER + "".join(f"the text with number {n},the same\n" for n in range(20))
    run_id = begun(site, content)
    page = visit(f"/runs/{run_id}")
    page.get_by_text("The run failed").wait_for(timeout=patience.RUN)
    assert page.locator(".steps li.failed").inner_text().startswith("1 Prepare")
    page.get_by_role("button", name="New run like this").click()
    page.wait_for_url(re.compile("/new/run_"))
    assert page.get_by_label("Name of the run").input_value() == "rows again"
    page.goto(f"{site.url}/runs/{run_id}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete").click()
    page.wait_for_url(site.url + "/")
    assert site.store.runs.get(run_id) is None
