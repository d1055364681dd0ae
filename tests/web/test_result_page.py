"""The result of a run in a browser: scores, rows behind cells, thresholds, labels put right."""

import csv
import io
import json
import re
import zipfile

import httpx
import pytest
from finished_runs import HOSTILE, chat_run, label_rows, label_run, plant, plant_model

from tunesmith import config as configs
from tunesmith.web.results import reviews


@pytest.fixture(scope="module")
def runs(site, tmp_path_factory):
    """Finished runs by name; `few` and `few again` are on the same table."""
    made = tmp_path_factory.mktemp("made")
    label_run(made / "few", label_rows(3, 60), errors=0.15)
    label_run(made / "few again", label_rows(3, 60), errors=0.02)
    label_run(made / "many", label_rows(30, 20), errors=0.1)
    chat_run(made / "notes")
    names = ("few", "few again", "many", "notes")
    project = site.project("results")
    found = {n: plant(site, made / n, project=project) for n in names}
    plant_model(site, found["few"], made / "model")
    return found


@pytest.fixture
def folder(site, runs):
    return lambda name: site.settings.data_dir / "runs" / runs[name].folder


@pytest.fixture
def result(site, visit, runs):
    """result(name): the page of that run's result, once all of it is there."""

    def open_page(name, **given):
        given = {"project": site.project("results"), **given}
        page = visit(f"/runs/{runs[name].id}/result", **given)
        page.locator("#take").wait_for()
        read(page)
        return page

    return open_page


def read(page):
    """Wait until nothing is being waited for."""
    page.wait_for_function("!document.querySelector('.waiting')")


def fits_a_phone(page):
    """Whether nothing is wider than a phone; the page stays that narrow."""
    page.set_viewport_size({"width": 390, "height": 844})
    return page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_a_run_came_to_is_told(result, runs, folder):
    page = result("few")
    found = json.loads((folder("few") / "05-evaluate" / "result.json").read_text())
    assert page.locator(".verdict .first").inner_text() == found["verdict"][0]
    accuracy = f"{100 * found['metrics']['accuracy']:.1f}\u202f%"
    assert page.locator(".tiles dd").first.inner_text() == accuracy
    worth = page.locator("#worth")
    assert worth.locator("table tbody tr").count() == len(found["baselines"]) + 1
    assert "McNemar" in worth.inner_text()
    assert page.locator("svg.chart[aria-label]").count() == 2
    assert page.title() == "Result of few · Tunesmith"  # and no script of the data has run
    assert fits_a_phone(page)


def test_a_cell_opens_the_rows_behind_it(result, folder):
    page = result("few")
    report = json.loads((folder("few") / "05-evaluate" / "report.json").read_text())
    labels, counts = report["labels"], report["confusion"]
    i, j = next((i, j) for i in range(3) for j in range(3) if i != j and counts[i][j])
    page.locator("table.confusion tbody tr").nth(i).locator("td").nth(j).locator("button").click()
    page.get_by_text(re.compile(f"^{counts[i][j]} rows? whose right label")).wait_for()
    cards = page.locator("#rows .card")
    assert cards.count() == min(10, counts[i][j])
    names = cards.first.locator(".answers .label").all_inner_texts()
    assert names == [labels[i], labels[j]]
    page.locator("#rows").get_by_label("Text holds").fill("no such text")
    page.locator("#rows").get_by_label("Text holds").press("Enter")
    page.get_by_text(re.compile("^0 rows .*no such text")).wait_for()


def test_many_labels_are_a_map_that_the_keyboard_reaches(result):
    page = result("many")
    field = page.locator("confusion-map svg")
    assert field.get_attribute("role") == "application"
    field.focus()
    before = page.locator("confusion-map p").inner_text()
    for key in ("n", "+", "+", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator("confusion-map .name").count() > 4
    page.keyboard.press("0")
    page.keyboard.press("p")
    said = page.locator("confusion-map p").inner_text()
    assert said != before and " answered as " in said
    page.keyboard.press("Enter")
    gold = re.match("“(.+)” answered as", said)[1]
    page.get_by_text(f"whose right label is “{gold}”, answered as").wait_for()
    assert fits_a_phone(page)


def test_a_threshold_is_chosen_and_comes_with_its_code(result):
    page = result("few")
    slider = page.get_by_label("Least probability to answer")
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function(
        "document.getElementById('threshold-code').textContent.includes('0.999')"
    )
    page.keyboard.press("Home")
    page.get_by_text("it answers 100.0").wait_for()
    page.get_by_text("The code that does so").click()
    compile(page.locator("#threshold-code").inner_text(), "code", "exec")


def test_labels_are_put_right_by_keyboard_alone_and_trained_on(site, result, runs, folder, visit):
    page = result("few")
    part = page.locator("#suspects")
    total = part.locator("li.card").count()
    assert total > 4
    first = part.locator("li.card").first
    proposed = first.locator(".label").nth(1).inner_text()
    first.focus()
    page.keyboard.press("s")  # the suggested one, and on to the next row
    first.get_by_text(f"Becomes {proposed}").wait_for()
    page.keyboard.press("d")
    part.locator("li.card").nth(1).get_by_text("Left out").wait_for()
    page.keyboard.press("x")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    part.get_by_text("2 ticked").wait_for()
    page.keyboard.press("k")
    part.get_by_text(re.compile("^4 of ")).wait_for()
    page.keyboard.press("u")
    part.get_by_text(re.compile("^2 of ")).wait_for()
    page.reload()
    page.locator("#take").wait_for()
    read(page)
    part.get_by_text(re.compile("^2 of ")).wait_for()
    assert part.locator("li.card").count() == total - 2
    # Another label, of the list.
    choice = part.locator("li.card").first.get_by_label("Another label")
    choice.focus()
    choice.select_option(index=2)
    part.get_by_text(re.compile("^3 of ")).wait_for()
    decided = reviews.load(folder("few")).decided
    assert sum(map(bool, decided.values())) == 3 and reviews.DROP in decided.values()
    page.get_by_role("button", name="Train again with 3 decisions").click()
    page.wait_for_url(re.compile(r"/runs/run_\w+$"))
    new = site.store.runs.get(page.url.rpartition("/")[2])
    place = site.settings.data_dir / "runs" / new.folder
    asked, before = (configs.load(f / "config.toml") for f in (place, folder("few")))
    assert asked.train == before.train and asked.prepare.balance == before.prepare.balance
    said = list(csv.DictReader(io.StringIO((place / "review.csv").read_text())))
    assert asked.prepare.review == str(place / "review.csv")
    assert {(r["file"], int(r["line"])): r["decision"] for r in said} == {
        key: value for key, value in decided.items() if value
    }
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("The run was cancelled").wait_for()


def test_a_reader_looks_and_changes_nothing(result):
    page = result("few", role="reader")
    assert page.locator("#suspects li.card").count()
    assert not page.get_by_role("button", name="Take the suggested").count()
    assert not page.get_by_role("button", name=re.compile("^Train again")).count()


def test_rows_that_changed_against_the_run_before(result, folder):
    page = result("few again")
    part = page.locator("#against")
    assert "This model is" in part.inner_text() or "not decided" in part.inner_text()
    part.get_by_text(re.compile("^Bad to good: ")).click()
    card = part.locator("details[open] .card").first
    right, answer, other = card.locator(".label").all_inner_texts()[:3]
    assert right == answer != other


def test_runs_side_by_side(site, visit, runs):
    asked = f"/compare?a={runs['few'].id}&b={runs['few again'].id}"
    page = visit(asked, project=site.project("results"))
    page.get_by_role("heading", name="Scores on the same rows").wait_for()
    assert "“few again”" in page.locator(".verdict").inner_text()
    first = page.locator("table").first.locator("tbody tr").first
    assert first.locator("td").count() == 3 and "Accuracy" in first.inner_text()
    page.get_by_role("button", name="Swap the two").click()
    page.wait_for_url(re.compile(f"a={runs['few again'].id}"))
    page.get_by_role("heading", name="Scores on the same rows").wait_for()


def test_written_answers_beside_the_untuned_ones(result):
    page = result("notes")
    assert "untuned: 0.0" in page.locator(".tiles").inner_text()
    cards = page.locator("#rows .card")
    assert cards.first.locator(".turn .said").inner_text().startswith(HOSTILE)
    assert cards.first.locator(".beside .one").count() == 3
    page.get_by_label("Show", exact=True).select_option("right")
    page.get_by_text("5 answers.").wait_for()
    assert not page.locator("#rows .beside .bad").count()
    assert page.title() == "Result of notes · Tunesmith"
    assert fits_a_phone(page)


def test_all_of_it_can_be_taken_along(site, result, runs, folder):
    page = result("few")
    links = page.locator("#take a")
    names = links.all_inner_texts()
    assert "The model" in names and "The report" in names and "Suspect labels, CSV" in names
    cookie = page.context.cookies()[0]
    with httpx.Client(base_url=site.url, cookies={cookie["name"]: cookie["value"]}) as client:
        got = {name: client.get(links.nth(i).get_attribute("href")) for i, name in enumerate(names)}
    assert all(reply.status_code == 200 for reply in got.values()), got
    rows = list(csv.DictReader(io.StringIO(got["Predictions, CSV"].text)))
    assert rows[0]["text"] and len(rows) == runs["few"].summary["rows"] // 5
    packed = zipfile.ZipFile(io.BytesIO(got["The model"].content))
    assert {name.rpartition("/")[2] for name in packed.namelist()} == {
        "model.safetensors", "config.json",
    }  # fmt: skip


def test_what_is_another_projects_is_not_there(site, visit, runs):
    run_id = runs["few"].id
    page = visit(f"/runs/{run_id}/result")
    page.get_by_role("heading", name="Not here").wait_for()
    page.goto(f"{site.url}/compare?a={run_id}&b={runs['many'].id}")
    page.get_by_text("There is no such run.").wait_for()
    cookie = site.cookie(site.key())
    with httpx.Client(base_url=site.url, cookies={"tunesmith_session": cookie}) as client:
        for name in ("result/predictions.csv", "result/review.csv", "files/report.html"):
            assert client.get(f"/runs/{run_id}/{name}").status_code == 404
    assert httpx.get(f"{site.url}/runs/{run_id}/result/review.csv").status_code == 303
