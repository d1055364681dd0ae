"""The playground: labels with bars, nearest rows, streams, two models, code, whole tables."""

import csv
import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from asked_models import HOSTILE, SENTENCES, wide_model, write_csv, writer

QUESTION = "The courier never came with my parcel"


@pytest.fixture(scope="module")
def project(answering):
    return answering.project


@pytest.fixture(scope="module")
def labelled(answering):
    """A model with three labels."""
    return answering.model.id


@pytest.fixture(scope="module")
def wide(site, project, tmp_path_factory):
    labels = [HOSTILE, *(f"topic {n:02}" for n in range(44))]
    place = tmp_path_factory.mktemp("wide")
    name = "ft:minilm-l6:local:wide:Abc12345"
    return wide_model(site, place, labels, project=project, name=name).id


@pytest.fixture(scope="module")
def writes(site, tmp_path_factory):
    return writer(site, tmp_path_factory.mktemp("writer"))


def asked(page, text=QUESTION):
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Ask", exact=True).click()


def test_two_models_with_labels_side_by_side(visit, project, labelled, wide):
    page = visit(f"/playground?model={labelled}&beside={wide}", project=project)
    page.get_by_label("Text", exact=True).fill(QUESTION)
    page.get_by_label("Text", exact=True).press("Enter")
    left, right = page.locator(".pane").nth(0), page.locator(".pane").nth(1)
    left.locator(".best").wait_for()
    assert left.locator(".best strong").inner_text() == "delivery"
    assert left.locator(".share").count() == 3 and not left.locator("details").count()
    right.get_by_text("40 more labels").click()
    assert right.locator(".share").count() == 45
    shares = [
        float(s.split(" %")[0].strip("< ")) for s in right.locator(".count").all_inner_texts()
    ]
    assert shares == sorted(shares, reverse=True) and abs(sum(shares) - 100) < 3
    assert right.get_by_text(HOSTILE, exact=True).count() >= 1 and page.title() != "hit"
    near = left.locator(".near li")
    near.first.wait_for()
    assert near.first.get_by_text(SENTENCES["delivery"]).count() == 1
    assert near.first.locator(".tag").inner_text() == "delivery"
    near.first.get_by_role("link").click()
    page.wait_for_url("**/data/files/**")
    page.get_by_role("heading", name="Line").wait_for()
    page.get_by_text(SENTENCES["delivery"]).first.wait_for()


def test_the_code_is_for_what_is_on_the_screen_and_works(visit, site, project, labelled):
    page = visit(f"/playground?model={labelled}", project=project)
    page.get_by_label("Text", exact=True).press_sequentially('It\'s "late" ')
    code = page.locator("#code")
    page.wait_for_function("document.querySelector('#code').textContent.includes('late')")
    assert labelled in code.inner_text() and "$OPENAI_API_KEY" in code.inner_text()
    page.get_by_role("button", name="Python").click()
    page.wait_for_function("document.querySelector('#code').textContent.includes('import OpenAI')")
    assert site.url + "/v1" in code.inner_text()
    env = {**os.environ, "OPENAI_API_KEY": site.key(project=project)}
    command = [sys.executable, "-c", code.inner_text()]
    said = subprocess.run(command, capture_output=True, text=True, env=env)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[0] in SENTENCES and said.stdout.count("%") == 3
    page.get_by_role("button", name="curl").click()
    page.wait_for_function("document.querySelector('#code').textContent.startsWith('curl')")
    command = ["sh", "-c", code.inner_text().replace("curl ", "curl -s ", 1)]
    said = subprocess.run(command, capture_output=True, text=True, env=env)
    assert json.loads(said.stdout)["choices"][0]["message"]["content"] in SENTENCES


def test_a_conversation_streams_and_is_stopped(visit, project, writes):
    page = visit(f"/playground?model={writes}", project=project)
    page.get_by_text("How to answer").click()
    page.get_by_label("Instructions").fill("Be <b>brief</b>.")
    page.get_by_label("Most tokens").fill("0")
    page.get_by_text("It has to be from 1").wait_for()
    page.get_by_label("Most tokens").fill("12")
    page.get_by_label("Seed").fill("1")
    for number in (1, 2):
        page.get_by_label("Message").fill(f"Question {number} {HOSTILE}")
        page.get_by_role("button", name="Ask", exact=True).click()
        theirs = page.locator(".turn.theirs .said").nth(number - 1)
        page.get_by_text("cut at the most tokens").nth(number - 1).wait_for()
        assert theirs.inner_text()
    page.get_by_text(f"Question 2 {HOSTILE}", exact=True).wait_for()
    assert page.get_by_label("Message").input_value() == ""
    told = page.locator("#code").inner_text()
    assert told.count('"role": "user"') == 2 and told.count('"role": "assistant"') == 1
    assert '"seed": 1' in told and "Be <b>brief</b>." in told and page.title() != "hit"
    page.get_by_label("Most tokens").fill("400")
    page.get_by_label("Message").fill("Go on without an end")
    page.get_by_label("Message").press("Enter")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop").wait_for(state="hidden")
    page.get_by_role("button", name="New conversation").click()
    page.get_by_text("What it writes will be here.").wait_for()


def test_an_answer_fits_a_schema(visit, project, writes):
    page = visit(f"/playground?model={writes}", project=project)
    page.get_by_text("How to answer").click()
    page.get_by_label("JSON Schema").fill("{broken")
    page.get_by_text("This is not JSON").wait_for()
    page.get_by_label("Message").fill("Is it late?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_text("Correct the settings first.").wait_for()
    schema = {"type": "object", "properties": {"late": {"enum": ["yes", "no"]}},
              "required": ["late"], "additionalProperties": False}  # fmt: skip
    page.get_by_label("JSON Schema").fill(json.dumps(schema))
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_role("button", name="Stop").wait_for(state="hidden")
    page.locator(".turn.theirs .said", has_text="}").wait_for()
    said = json.loads(page.locator(".turn.theirs .said").inner_text())
    assert said["late"] in ("yes", "no")


def test_no_model_yet_and_models_that_cannot_be_asked(visit, project, labelled):
    page = visit("/playground", project="proj_of_nobody_else")
    page.get_by_role("heading", name="Playground").wait_for()
    page = visit(f"/playground?model={quote('minilm-l6')}", project=project)
    page.get_by_text("is a base model, which answers once it is tuned").wait_for()
    page = visit(f"/playground?model={labelled}", project="proj_default")
    page.get_by_text("does not exist").first.wait_for()


def test_a_whole_table_is_asked_about(visit, site, project, labelled, tmp_path):
    path = write_csv(tmp_path / "<b>tickets.csv", 60)
    with path.open("a", encoding="utf-8") as file:
        file.write('61,"",billing\n')
    page = visit(f"/playground/batches?model={labelled}", project=project)
    page.locator("file-drop input").set_input_files(path)
    page.wait_for_url("**/playground/batches/many_**")
    page.get_by_text("61 rows.").wait_for()
    assert page.get_by_label("Column with the text").input_value() == "text"
    assert page.get_by_label("Model").input_value() == labelled
    page.get_by_role("button", name="Ask about every row").click()
    page.get_by_text("60 rows have an answer, 1 have none").wait_for()
    page.reload()
    page.get_by_text("There is no text in this row.").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    with download.value.path().open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [str(n) for n in range(1, 62)]
    right = sum(row["prediction"] == row["label"] for row in rows)
    assert right >= 50 and float(rows[0]["probability"]) > 0.33
    address = page.url
    files = site.store.of(project).files.totals()
    assert "batch" not in files and "batch_output" not in files
    other = visit("/playground", project="proj_default")
    answer = other.goto(address)
    assert answer.status == 404
    answer = other.request.get(f"{address.partition('?')[0]}/predictions.csv")
    assert answer.status == 404
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete").click()
    page.wait_for_url("**/playground/batches")


def test_a_table_that_cannot_be_read_says_why(visit, project, tmp_path):
    (tmp_path / "photo.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    page = visit("/playground/batches", project=project)
    page.locator("file-drop input").set_input_files(tmp_path / "photo.csv")
    page.get_by_text("It cannot be read").wait_for()


def test_a_reader_asks_single_texts_only(visit, site, project, labelled):
    page = visit(f"/playground?model={labelled}", project=project, role="reader")
    asked(page)
    page.locator(".best").wait_for()
    page.goto(f"{site.url}/playground/batches")
    page.get_by_text("one text at a time").wait_for()
    headers = {"origin": site.url}
    sent = page.request.put(f"{site.url}/playground/batches/table?name=a.csv", headers=headers,
                            data=b"text,label\na,b\n")  # fmt: skip
    assert sent.status == 403
