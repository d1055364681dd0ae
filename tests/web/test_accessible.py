"""Every page before axe-core, by the rules of WCAG 2.2 A and AA, wide and on a phone."""

import importlib

import pytest
from asked_models import plant_job, write_csv
from every_page import Shown, addresses, settle
from finished_runs import chat_run, label_rows, label_run, plant
from labelling_tasks import a_task

from tunesmith.store.labelled import Asked
from tunesmith.web import layout, pages

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = {"type": "rule", "values": ["color-contrast"]}
SMALL = {"type": "rule", "values": ["color-contrast", "target-size", "scrollable-region-focusable"]}
"""What another width and other colours can change; all else is the same document."""
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def project(answering):
    return answering.project


@pytest.fixture(scope="module")
def shown(site, answering, project, browser, tmp_path_factory):
    """One of everything."""
    made = tmp_path_factory.mktemp("every")
    label_run(made / "topics", label_rows(3, 40), errors=0.15)
    label_run(made / "topics again", label_rows(3, 40), errors=0.02)
    chat_run(made / "notes", 24)
    runs = [plant(site, made / n, project=project) for n in ("topics", "topics again", "notes")]
    context = browser.new_context()
    cookie = site.cookie(site.key(project=project))
    context.add_cookies([{"name": "tunesmith_session", "value": cookie, "url": site.url}])
    page = context.new_page()
    path = write_csv(made / "asked.csv", 12)
    page.goto(f"{site.url}/playground/batches?model={answering.model.id}")
    page.locator("file-drop input").set_input_files(path)
    page.wait_for_url("**/playground/batches/many_**")
    many = page.url.rpartition("/")[2].partition("?")[0]
    page.goto(f"{site.url}/new")
    page.locator("file-drop input").set_input_files(path)
    page.wait_for_url("**/new/run_*")
    page.wait_for_selector(".shares")
    draft = page.url.rpartition("/")[2]
    context.close()
    task = a_task(site, project)
    row = site.store.of(project).labelled.page(task.id, Asked(group="open"), limit=1).data[0]
    return Shown(
        run=runs[0].id, other=runs[1].id, writing=runs[2].id, draft=draft,
        model=answering.model.id, file=answering.file.id,
        job=plant_job(site, answering.file, project=project).id,
        many=many, task=task.id, row=str(row.id),
    )  # fmt: skip


@pytest.fixture(scope="module")
def axe():
    kit = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is missing")
    return kit.Axe()


def test_every_page_has_an_address_here(shown):
    for name in (*pages.ALL, "missing"):
        importlib.import_module(f"{pages.__name__}.{name}")
    assert {route for route, _ in addresses(shown).values()} == layout.PAGES


def test_no_page_has_a_serious_finding(visit, site, shown, project, axe):
    page = visit("/", project=project, role="admin")
    found = []
    for name, (_, address) in addresses(shown).items():
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        page.goto(site.url + address)
        settle(page)
        found += serious(axe, page, RULES, f"{name}, light")
        page.emulate_media(color_scheme="dark")
        found += serious(axe, page, CONTRAST, f"{name}, dark")
        page.set_viewport_size(PHONE)
        found += serious(axe, page, SMALL, f"{name}, phone")
        if (more := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
            found.append((name, f"{more} pixels wider than a phone"))
    assert found == []


def serious(axe, page, rules, where):
    """What is against the rules, with the elements."""
    return [
        (where, one["help"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in axe.run(page, options={"runOnly": rules}).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_the_log_in_page_has_none_either(site, browser, axe):
    page = browser.new_page()
    page.goto(f"{site.url}/login")
    assert serious(axe, page, RULES, "log in") == []
    page.close()
