"""The list of runs: 10,000 of them, search, filter, pages."""

import time

from sqlalchemy import insert

from tunesmith.store.rows import RunRow
from tunesmith.store.tables import RUNS


def planted(site, project, number):
    states = ("succeeded", "failed", "draft", "cancelled")
    rows = [
        RunRow(
            project_id=project, key_id="k", role="member", name=f"Tickets {n}", folder="none",
            state=states[n % 4], summary={"score": 0.9, "metric": "accuracy", "task": "classify"},
        )
        for n in range(number)
    ]  # fmt: skip
    values = [{k: v for k, v in vars(row).items() if k != "seq"} for row in rows]
    with site.store._database.write() as connection:
        connection.execute(insert(RUNS), values)


def test_ten_thousand_runs(visit, site):
    project = site.project("many")
    planted(site, project, 10_000)
    page = visit("/", project=project)
    page.wait_for_selector("table")
    names = page.locator("tbody tr td:first-child")
    assert names.count() == 50 and names.first.inner_text() == "Tickets 9999"
    began = time.monotonic()
    page.get_by_role("link", name="Older").click()
    page.get_by_text("Tickets 9949", exact=True).wait_for()
    page.get_by_role("link", name="Newer").click()
    page.get_by_text("Tickets 9999", exact=True).wait_for()
    page.get_by_label("Search by name").fill("tickets 123")
    page.get_by_label("Search by name").press("Enter")
    page.wait_for_url("**q=tickets*")
    page.get_by_text("Tickets 1239", exact=True).wait_for()
    assert page.locator("tbody tr").count() == 11
    page.get_by_label("Show").select_option("succeeded")
    page.wait_for_url("**show=succeeded*")
    page.get_by_text("Tickets 1236", exact=True).wait_for()
    assert set(page.locator(".badge").all_inner_texts()) == {"Done"}
    assert time.monotonic() - began < 60  # no hang; how fast it is, a benchmark tells
    page.goto(site.url + "/?q=nothing")
    page.get_by_text("No run is like that").wait_for()


def test_names_are_shown_as_text(visit, site):
    project = site.project("hostile")
    name = "<img src=x onerror=\"document.title='hit'\">{{ 1 + 1 }}"
    fields = {"key_id": "k", "role": "member", "folder": "none", "state": "failed"}
    summary = {"error": name}
    run = site.store.of(project).runs.create(RunRow(name=name, summary=summary, **fields))
    page = visit("/", project=project)
    page.get_by_text(name, exact=True).click()
    page.wait_for_selector(".steps")
    assert page.get_by_role("heading", level=1).inner_text() == name
    assert page.locator("img").count() == 0 and page.title() != "hit"
    assert page.url.endswith(run.id)
