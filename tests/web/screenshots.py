"""Screenshots of every page, wide and on a phone, light and dark, into docs/images.

    make screenshots                                              # all pages
    PYTHONPATH=tests python tests/web/screenshots.py [PAGE …]     # those of these names

A real server with real runs on the tables in examples/: what is on the pictures has happened.
"""

import csv
import io
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
from conftest import CHROMIUM, OPTIONS, Site
from every_page import Shown, addresses, settle
from labelling_tasks import a_task
from PIL import Image
from playwright.sync_api import sync_playwright
from tiny_causal import tiny

from tunesmith.catalog import shelf
from tunesmith.store.labelled import Asked
from tunesmith.web import run_files

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
TICKETS = ROOT / "examples" / "tickets.csv"
NOTES = ROOT / "examples" / "support_notes.jsonl"
SIZES = {"wide": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
COLOURS = 128
"""In a picture: pages have few, and the files stay small."""
ASKED = {
    "playground": "My card was charged twice for the same invoice in March. "
    "Which of the two amounts is wrong?"
}
BY_HEART = {
    "n_epochs": 40, "batch_size": 4, "learning_rate_multiplier": 40.0, "weight_decay": 0.0,
    "early_stopping_patience": 0, "precision": "fp32",
}  # fmt: skip


def drafted(site, path, name, **train):
    """A draft with that table, as the browser makes one."""
    cookies = {"tunesmith_session": site.cookie(site.key())}
    to = f"{site.url}/runs/new/table?name={path.name}"
    sent = httpx.put(to, content=path.read_bytes(), headers={"origin": site.url}, cookies=cookies)
    run_id = sent.json()["run"]
    folder = site.settings.data_dir / "runs" / site.store.runs.get(run_id).folder
    asked = run_files.config(folder)
    run_files.keep_config(folder, replace(asked, train=replace(asked.train, **train)))
    site.store.runs.change(run_id, values={"name": name})
    return run_id


def finished(site, run_id):
    """The run, once it has come to its end."""
    site.store.runs.change(run_id, to="queued")
    while (row := site.store.runs.get(run_id)).state in ("queued", "running"):
        time.sleep(0.5)
    assert row.state == "succeeded", row.summary
    return row


def labelled_task(site, page):
    """A labelling task, with a vote on some of its rows."""
    with TICKETS.open(newline="") as file:
        texts = [row["message"] for row in csv.DictReader(file) if row["message"]][:120]
    labels = ["billing", "delivery", "returns", "technical"]
    task = a_task(site, "proj_default", texts=texts, labels=labels, name="Tickets of spring")
    page.goto(f"{site.url}/labelling/{task.id}")
    for number in range(36):
        page.wait_for_selector(".label-text")
        shown = page.locator("[data-labelling]").get_attribute("data-row")
        page.keyboard.press(str(number * 7 % 4 + 1))
        changed = "(row) => document.querySelector('[data-labelling]').dataset.row !== row"
        page.wait_for_function(changed, arg=shown)
    row = site.store.of("proj_default").labelled.page(task.id, Asked(), limit=1).data[0]
    return task.id, str(row.id)


def asked_table(site, page, model, folder):
    """A table that a model was asked about."""
    path = folder / "new tickets.csv"
    with TICKETS.open(newline="") as file:
        some = [row["message"] for row in csv.DictReader(file) if row["message"]][200:230]
    out = io.StringIO()
    csv.writer(out).writerows([["number", "message"], *enumerate(some, 1)])
    path.write_text(out.getvalue())
    page.goto(f"{site.url}/playground/batches?model={model}")
    page.locator("file-drop input").set_input_files(path)
    page.wait_for_url("**/playground/batches/many_**")
    page.get_by_role("button", name="Ask about every row").click()
    page.get_by_text("have an answer").first.wait_for()
    return page.url.rpartition("/")[2].partition("?")[0]


def everything(site, page, folder):
    """Runs, models and the like, made for real."""
    lines = NOTES.read_text(encoding="utf-8").splitlines()[:60]
    notes = folder / "support notes.jsonl"
    notes.write_text("\n".join(lines), encoding="utf-8")
    said = [turn["content"] for line in lines for turn in json.loads(line)["messages"]]
    base = tiny(folder / "writer", "llama", texts=said, width=128)
    shelf.register(base, site.settings.base_models_dir, name="tiny-writer")
    again = finished(site, drafted(site, TICKETS, "Tickets, frozen base", method="head"))
    run = finished(site, drafted(site, TICKETS, "Tickets"))
    wanted = {"base_model": "tiny-writer", **BY_HEART}
    writing = finished(site, drafted(site, notes, "Support notes to JSON", **wanted))
    model = str(run.summary["model"])
    page.goto(site.url + "/new")
    page.locator("file-drop input").set_input_files(TICKETS)
    page.wait_for_url("**/new/run_*")
    page.wait_for_selector(".shares")
    draft = page.url.rpartition("/")[2]
    task, row = labelled_task(site, page)
    job = site.store.models.get(model).job_id
    return Shown(
        run=run.id, other=again.id, writing=writing.id, draft=draft, model=model, job=job,
        file=site.store.jobs.get(job).training_file, task=task, row=row,
        many=asked_table(site, page, model, folder),
    )  # fmt: skip


def ready(page, name):
    """What a visitor would do before there is something to see."""
    settle(page)
    if name in ASKED:
        page.get_by_label("Text", exact=True).fill(ASKED[name])
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator(".near li").first.wait_for()


def keep(page, path):
    """The screenshot, in few colours."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def main(only):
    """Make them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    site = Site(folder)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
            cookie = site.cookie(site.key("admin"))
            state = {"name": "tunesmith_session", "value": cookie, "url": site.url}

            def opened(size, colours):
                context = browser.new_context(viewport=SIZES[size], color_scheme=colours)
                context.add_cookies([state])
                page = context.new_page()
                page.set_default_timeout(120_000)
                return page

            shown = everything(site, opened("wide", "light"), folder)
            for size in SIZES:
                for colours in ("light", "dark"):
                    page = opened(size, colours)
                    for name, (_, address) in addresses(shown).items():
                        if not only or name in only:
                            page.goto(site.url + address)
                            ready(page, name)
                            keep(page, IMAGES / f"{name}-{size}-{colours}.png")
                    page.context.close()
    finally:
        site.close()


if __name__ == "__main__":
    main(sys.argv[1:])
