"""From a file to a result in a real browser, and what two users see of each other."""

import csv
import re
from pathlib import Path

import patience
import pytest
from every_page import dropped

TICKETS = Path(__file__).parents[2] / "examples" / "tickets.csv"
NAME = "tickets _b_small_b_"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A cut of the example table, with texts that would do harm as HTML."""
    with TICKETS.open(newline="") as file:
        head, *rows = list(csv.reader(file))[:160]
    hostile = """<img src=x onerror="document.title='hit'"><b>bold</b> my bill is wrong"""
    for number in range(8):
        rows[number][3:] = [f"{hostile}, number {number}", "billing", "billing"]
    path = tmp_path_factory.mktemp("tables") / "tickets <b>small<b>.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def test_the_whole_way(visit, site, small):
    page = visit("/")
    page.get_by_role("link", name="New run").first.click()
    dropped(page, small)
    assert page.locator("table img, table b").count() == 0
    page.get_by_label("Column with the label").select_option("annotator_1")
    page.wait_for_selector(".shares")
    run = site.store.runs.get(page.url.rpartition("/")[2])
    config = site.settings.data_dir / "runs" / run.folder / "config.toml"
    assert 'label = "annotator_1"' in config.read_text()
    page.get_by_label("Name of the run").fill("My tickets")
    page.get_by_label("Name of the run").blur()
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    page.reload()  # what was filled in is kept
    page.wait_for_selector(".shares")
    assert page.get_by_label("Name of the run").input_value() == "My tickets"
    assert page.get_by_label("Column with the label").input_value() == "annotator_1"

    page.get_by_text(re.compile(r"^Training · ")).click()
    page.get_by_label("Method", exact=True).select_option("head")
    page.get_by_label("Passes (epochs)").fill("many")
    page.get_by_label("Passes (epochs)").blur()
    page.get_by_text("a whole number is needed").wait_for()
    page.get_by_label("Passes (epochs)").fill("1")
    page.get_by_label("Passes (epochs)").blur()
    page.wait_for_function("() => !document.querySelector('.wrong:not([hidden])')")
    page.get_by_text(re.compile(r"^Checking · ")).click()
    page.get_by_label("Advice").uncheck()
    page.get_by_label("Baselines").uncheck()
    page.wait_for_selector(".shares")
    page.get_by_role("button", name="Start the run").click()

    page.wait_for_url(re.compile("/runs/run_"))
    page.wait_for_selector(".steps")
    page.close()  # nobody looks; it goes on
    again = visit(f"/runs/{run.id}")
    again.wait_for_selector(".badge.good", timeout=patience.RUN)
    assert again.get_by_role("heading", level=1).inner_text() == "My tickets"
    assert again.locator(".steps li.done").count() == 5
    assert "hit" not in again.title()
    found = site.store.runs.get(run.id)
    assert found.state == "succeeded" and found.summary["score"] > 0.2
    assert [key.name for key in site.store.keys.all() if key.name.startswith("run")] == []


def test_what_looks_wrong_is_mended_by_a_click(visit, tmp_path):
    rows = [f"the bill number {n} is wrong,billing" for n in range(15)]
    rows += [f"parcel {n} did not come,delivery" for n in range(15)] + ["only one of these,lonely"]
    path = tmp_path / "rare.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    page = visit("/new")
    dropped(page, path)
    page.get_by_role("button", name="Set Rare labels: drop").click()
    page.wait_for_selector(".shares")
    assert page.locator(".shares .name").all_inner_texts() == ["billing", "delivery"]


def test_a_broken_file_is_told_and_another_one_taken(visit, tmp_path, small):
    path = tmp_path / "broken.xlsx"
    path.write_bytes(b"PK\x03\x04" + bytes(500))
    page = visit("/new")
    page.wait_for_selector("file-drop label")
    page.set_input_files("file-drop input", str(path))
    page.get_by_text("This file cannot be read").wait_for()
    assert page.get_by_role("button", name="Start the run").is_disabled()
    page.set_input_files("file-drop input", str(small))
    page.get_by_text("What the model learns").wait_for()


def test_rows_to_check_with_may_come_from_a_file_of_their_own(visit, site, small, tmp_path):
    with TICKETS.open(newline="") as file:
        head, *rows = list(csv.reader(file))
    checks = tmp_path / small.name  # the same name
    with checks.open("w", newline="") as file:
        csv.writer(file).writerows([head, *(row for row in rows[300:320] if row[3] and row[4])])
    page = visit("/new")
    dropped(page, small)
    page.get_by_label("Column with the text").select_option("message")
    page.get_by_label("Column with the label").select_option("annotator_1")
    page.wait_for_selector(".shares")
    page.get_by_text("Have rows to check with in a file of their own?").click()
    page.set_input_files("#drop-checks input", str(checks))
    page.get_by_text("Rows to check with come from a file of their own").wait_for()
    page.wait_for_selector(".shares")
    row = site.store.runs.get(page.url.rpartition("/")[2])
    folder = site.settings.data_dir / "runs" / row.folder
    assert {path.parent.name for path in folder.glob(f"*/{NAME}*")} == {"table", "validation"}
    page.get_by_text("Rows to check with come from a file of their own").click()
    page.get_by_role("button", name="Split them off the table again").click()
    page.get_by_text("Have rows to check with in a file of their own?").wait_for()
    page.wait_for_selector(".shares")
    assert not list((folder / "validation").iterdir())


def test_training_can_go_on_from_a_model_of_ones_own(visit, site, answering, small):
    page = visit("/new", project=answering.project)
    dropped(page, small)
    page.get_by_text("Or go on from a model of yours").click()
    page.get_by_label("Model", exact=True).select_option(answering.model.id)
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    page.wait_for_selector(".shares")
    row = site.store.runs.get(page.url.rpartition("/")[2])
    config = site.settings.data_dir / "runs" / row.folder / "config.toml"
    assert f'base_model = "{answering.model.id}"' in config.read_text()


def test_two_users_do_not_see_each_other(visit, site, small):
    ada = visit("/new", project=site.project("ada's"))
    dropped(ada, small)
    bob = visit("/", project=site.project("bob's"))
    bob.get_by_text("From a table to a model that answers").wait_for()
    bob.goto(ada.url)
    bob.get_by_role("heading", name="Not here").wait_for()
    ada.goto(site.url)
    ada.get_by_role("link", name=NAME).wait_for()


def test_a_reader_looks_and_begins_nothing(visit):
    page = visit("/new", role="reader")
    page.get_by_text("may look and ask models only").wait_for()
    assert page.locator("file-drop").count() == 0
