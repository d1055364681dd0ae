"""The whole flow in a browser, as a person does it: file, run, result, use, relabel, again."""

import re
import signal
from pathlib import Path

import patience
from asked_models import WRITER, writer
from every_page import dropped

from tunesmith.web.setting_names import title

EXAMPLES = Path(__file__).parents[2] / "examples"
TICKET = "My card was charged twice for the same invoice in March."


def begin(page, **settings):
    """Choose settings of training by their names on the page, and start."""
    page.wait_for_selector(".panel:has(h2:text('Begin')) button:not([disabled])")
    page.get_by_text(re.compile(r"^Training · ")).click()
    for name, value in settings.items():
        field = page.get_by_label(title(name), exact=True)
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
            field.blur()
        page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url(re.compile(r"/runs/run_\w+$"))
    return page.url.rpartition("/")[2]


def result(page):
    """From the page of a run that goes to its whole result."""
    page.get_by_role("link", name="The whole result").click(timeout=patience.RUN)
    page.locator("#take").wait_for()
    page.wait_for_function("!document.querySelector('.waiting')")


def test_from_a_file_to_a_better_model(visit, site):
    project = site.project("the whole flow")
    page = visit("/", project=project)
    page.get_by_role("link", name="Begin the first run").click()
    dropped(page, EXAMPLES / "tickets.csv")
    page.get_by_role("columnheader", name="annotator_2").wait_for()  # the preview
    label = page.get_by_label("Column with the label")
    assert "annotator" in label.locator("option:checked").inner_text()  # guessed: the votes of all
    label.select_option("annotator_1")
    page.wait_for_selector(".shares")
    first = begin(page, method="head")
    page.locator(".steps li.done").nth(1).wait_for(timeout=patience.RUN)  # followed as it goes
    result(page)
    assert page.locator(".tiles dd").first.inner_text().endswith("%")

    page.get_by_role("link", name="Ask the model").click()
    page.get_by_label("Text", exact=True).fill(TICKET)
    page.get_by_role("button", name="Ask", exact=True).click()
    assert page.locator(".best strong").first.inner_text() == "billing"

    page.goto(f"{site.url}/runs/{first}/result")
    page.locator("#suspects li.card").nth(2).wait_for()
    page.locator("#suspects li.card").first.focus()
    page.keyboard.press("s")
    page.locator("#suspects").get_by_text(re.compile("^1 of ")).wait_for()
    page.get_by_role("button", name="Train again with 1 decision").click()
    page.wait_for_url(re.compile(r"/runs/run_\w+$"))
    second = page.url.rpartition("/")[2]
    assert second != first
    result(page)

    page.goto(site.url)
    page.get_by_role("link", name="Compare runs").click()
    page.get_by_label("The first run").select_option(first)
    page.wait_for_url(re.compile(f"a={first}"))
    page.get_by_label("Against it").select_option(second)
    page.get_by_role("heading", name="Scores on the same rows").wait_for()
    assert page.locator(".verdict").inner_text()


def test_a_model_that_writes_is_made_and_talked_to(visit, site, tmp_path):
    writer(site, tmp_path)
    lines = (EXAMPLES / "support_notes.jsonl").read_text(encoding="utf-8").splitlines()[:60]
    table = tmp_path / "notes.jsonl"
    table.write_text("\n".join(lines), encoding="utf-8")
    page = visit("/new", project=site.project("writing"))
    dropped(page, table)
    page.get_by_role("radio", name=WRITER).check()
    begin(page, n_epochs="1")
    result(page)
    assert "answers" in page.locator("#rows").inner_text().lower()
    page.get_by_role("link", name="Ask the model").click()
    page.get_by_label("Message").fill("Where is my parcel?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".turn.theirs .said").wait_for()


def test_a_server_that_is_told_to_stop_goes_on_later(visit, site):
    """Nobody looks, the tab is closed, the server is stopped and started: the run is done."""
    page = visit("/new", project=site.project("closed"))
    dropped(page, EXAMPLES / "tickets.csv")
    page.wait_for_selector(".shares")
    run_id = begin(page, method="head")
    page.locator(".steps li.done").first.wait_for(timeout=patience.RUN)
    page.close()
    site.stop(signal.SIGTERM)
    site.start()
    again = visit(f"/runs/{run_id}", project=site.project("closed"))
    again.wait_for_selector(".badge.good", timeout=patience.RUN)
    assert again.locator(".steps li.done").count() == 5
