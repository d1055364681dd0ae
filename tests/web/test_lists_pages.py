"""Models, data, jobs, keys, storage: lists of thousands, one of each, and whose they are."""

import io
import json
import time
import zipfile
from urllib.parse import quote

import pytest
from asked_models import (
    HOSTILE,
    plant_file,
    plant_job,
    plant_model,
)
from sqlalchemy import insert

from tunesmith.store.rows import FileRow, JobRow, KeyRow, ModelRow
from tunesmith.store.tables import FILES, JOBS, KEYS, MODELS

MANY = 10_000


@pytest.fixture(scope="module")
def project(answering):
    return answering.project


@pytest.fixture(scope="module")
def many(site):
    """A project with 10,000 of everything."""
    project = site.project("ten thousand")
    job = plant_job(site, FileRow(filename="f", purpose="x", bytes=1, sha256=""), project=project)
    rows = {
        FILES: [FileRow(id=f"file-{n:024}", project_id=project, filename=f"rows {n}.jsonl",
                        purpose="fine-tune", bytes=n, sha256="") for n in range(MANY)],
        JOBS: [JobRow(id=f"ftjob-{n:024}", project_id=project, key_id="k", request_hash="h",
                      model="m", base_model="m", training_file=f"file-{n:024}", seed=1,
                      status=("succeeded", "failed")[n % 2], user_provided_suffix=f"job {n}")
               for n in range(MANY)],
        MODELS: [ModelRow(id=f"ft:m:local:model-{n}:x", project_id=project, owned_by="local",
                          base_model="m", job_id=job.id, folder=f"none-{n}") for n in range(MANY)],
        KEYS: [KeyRow(project_id=project, name=f"key {n}", role="reader", prefix="…",
                      sha256=f"{project}{n}") for n in range(MANY)],
    }  # fmt: skip
    with site.store._database.write() as connection:
        for table, values in rows.items():
            given = [{k: v for k, v in vars(row).items() if k != "seq"} for row in values]
            connection.execute(insert(table), given)
    return project


@pytest.fixture(scope="module")
def tuned(answering):
    return answering.model, answering.run, answering.file, answering.child


@pytest.mark.parametrize(
    ("path", "first", "words", "found"),
    [
        ("/models", "ft:m:local:model-9999:x", "model-1234", "ft:m:local:model-1234:x"),
        ("/data?show=files", "rows 9999.jsonl", "rows 1234", "rows 1234.jsonl"),
        ("/jobs", "job 9999", "job 1234", "job 1234"),
        ("/keys", "key 9999", "key 1234", "key 1234"),
    ],
)
def test_ten_thousand_of_each(visit, many, path, first, words, found):
    page = visit(path, project=many, role="admin")
    page.get_by_text(first, exact=True).wait_for()
    assert page.locator("tbody tr").count() == 50
    began = time.monotonic()
    page.get_by_role("link", name="Older").click()
    page.get_by_text(first.replace("9999", "9949"), exact=True).wait_for()
    page.get_by_role("link", name="Newer").click()
    page.get_by_text(first, exact=True).wait_for()
    search = page.get_by_role("search").locator("input[type=search]")
    search.fill(words)
    search.press("Enter")
    page.get_by_text(found, exact=True).wait_for()
    page.wait_for_function("document.querySelectorAll('tbody tr').length == 1")
    assert time.monotonic() - began < 60  # no hang; how fast it is, a benchmark tells


def test_where_a_model_comes_from_and_goes(visit, site, project, tuned):
    model, run, file, child = tuned
    page = visit(f"/models/{quote(model.id)}", project=project, role="admin")
    page.get_by_role("heading", name=model.id).wait_for()
    origin = page.get_by_role("region", name="Where it comes from")
    assert origin.get_by_role("link", name=run.name).get_attribute("href") == f"/runs/{run.id}"
    link = origin.get_by_role("link", name=file.filename)
    assert link.get_attribute("href") == f"/data/files/{file.id}"
    origin.get_by_text("The settings that made it").click()
    origin.get_by_text("Passes (epochs)").wait_for()
    made = page.get_by_role("region", name="Made from it")
    assert made.get_by_role("link").all_inner_texts() == [child.id]
    page.get_by_text("Its 3 labels").click()
    assert sorted(page.locator(".tags li").all_inner_texts()) == [
        "billing",
        "delivery",
        "technical",
    ]
    assert page.title() != "hit"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    packed = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    assert packed.testzip() is None
    names = {name.partition("/")[2] for name in packed.namelist()}
    folder = site.settings.models_dir / model.folder
    assert names == {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_model_is_renamed_and_deleted(visit, site, project, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "t.jsonl").write_text("{}\n")
    file = plant_file(site, tmp_path / "t.jsonl", project=project)
    model = plant_model(site, folder, file, name="ft:to-delete", project=project)
    child = tmp_path / "c"
    child.mkdir()
    plant_model(site, child, file, name="ft:orphan", project=project, start_from=model.id)
    page = visit("/models/ft:to-delete", project=project, role="admin")
    page.get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Shown as").fill(HOSTILE)
    dialog.get_by_role("button", name="Rename").click()
    page.get_by_role("heading", name=HOSTILE, level=1).wait_for()
    assert site.store.models.get("ft:to-delete").title == HOSTILE and page.title() != "hit"
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_text("ft:orphan").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert site.store.models.get("ft:to-delete")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/models")
    assert site.store.models.get("ft:to-delete") is None


def test_what_is_anothers_is_not_there(visit, site, project, tuned):
    model, run, file, _ = tuned
    page = visit("/models", project="proj_default")
    for path in (
        f"/models/{quote(model.id)}", f"/models/{quote(model.id)}/download",
        f"/data/files/{file.id}", f"/data/files/{file.id}/download",
        f"/data/tables/{run.id}", f"/data/tables/{run.id}/download", f"/jobs/{model.job_id}",
    ):  # fmt: skip
        assert page.request.get(site.url + path).status == 404, path


def test_a_table_is_read_row_by_row(visit, project, tuned):
    _, run, _, _ = tuned
    page = visit("/data", project=project)
    page.get_by_role("link", name="tickets.csv").first.click()
    page.wait_for_url(f"**/data/tables/{run.id}")
    page.get_by_text("Rows 1 to 50").wait_for()
    page.get_by_text("1,200", exact=True).wait_for()
    page.get_by_role("link", name="Next").click()
    page.get_by_text("Rows 51 to 100").wait_for()
    page.get_by_label("Go to line").fill("1300")
    page.get_by_label("Go to line").press("Enter")
    page.get_by_text("Rows 1,181 to 1,200").wait_for()
    page.get_by_label("Find words").fill("NUMBER 777")
    page.get_by_label("Find words").press("Enter")
    page.get_by_text("1 rows hold these words, to the end.").wait_for()
    page.get_by_role("link", name="Line").click()
    page.get_by_role("region", name="Line").get_by_text("number 777").wait_for()


def test_a_file_is_looked_at_and_deleted(visit, site, project, tmp_path):
    path = tmp_path / "<i>rows.jsonl"
    said = {"messages": [{"role": "user", "content": HOSTILE}]}
    path.write_text(json.dumps(said) + "\n")
    file = plant_file(site, path, project=project)
    waiting = plant_job(site, file, project=project)
    page = visit(f"/data/files/{file.id}", project=project)
    page.locator("table.rows td").get_by_text("user: <img").wait_for()
    assert page.title() != "hit"
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_text(waiting.id).wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/data?show=files")
    assert site.store.files.get(file.id) is None
    assert not (site.settings.data_dir / "tables" / file.id).exists()
    site.store.jobs.cancel(waiting.id)


def test_jobs_are_paused_resumed_and_cancelled(visit, site, project, tuned):
    file = tuned[2]
    job = plant_job(site, file, project=project, status="running",
                    user_provided_suffix=HOSTILE)  # fmt: skip
    page = visit("/jobs?show=work", project=project)
    page.get_by_role("button", name=f"Pause {HOSTILE}").click()
    page.get_by_role("button", name=f"Resume {HOSTILE}").wait_for()
    assert site.store.jobs.get(job.id).status == "paused"
    page.get_by_role("link", name=HOSTILE).click()
    page.get_by_text("Fine-tuning job paused").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    page.get_by_text("Fine-tuning job cancelled").wait_for()
    page.get_by_text("Cancelled", exact=True).wait_for()
    assert site.store.jobs.get(job.id).status == "cancelled"
    reader = visit("/jobs", project=project, role="reader")
    reader.wait_for_selector("table")
    assert not reader.get_by_role("button", name="Cancel").count()


def test_keys_are_made_and_revoked_by_admins(visit, site, project):
    page = visit("/keys", project=project, role="admin")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_text("Say for whom or what it is.").wait_for()
    page.get_by_label("For whom or what").fill(f"Grace {HOSTILE}")
    page.get_by_label("May do").select_option("reader")
    page.get_by_role("button", name="Make a key").click()
    key = page.locator("#new-key").inner_text()
    row = site.store.keys.find(key)
    assert (row.role, row.project_id, row.name) == ("reader", project, f"Grace {HOSTILE}")
    page.goto(f"{site.url}/keys")
    assert key not in page.content() and page.title() != "hit"
    page.get_by_role("button", name=f"Revoke Grace {HOSTILE}").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text("Revoked", exact=True).first.wait_for()
    assert site.store.keys.find(key) is None


def test_others_see_their_own_key_only(visit, site, project):
    key = site.key("member", project, name="only mine")
    page = visit("/keys", key=key)
    page.get_by_text("only mine").first.wait_for()
    page.goto(f"{site.url}/keys")
    page.get_by_role("heading", name="Your key").wait_for()
    assert not page.get_by_role("button", name="Make a key").count()
    assert not page.locator("table").count()


def test_storage_is_counted_for_the_project_and_for_the_server(visit, site, project, tuned):
    page = visit("/storage", project=project, role="admin")
    page.locator("table").get_by_role("link", name="Models").wait_for()
    assert not page.get_by_role("region", name="The whole server").count()
    page = visit("/storage", role="admin")
    page.get_by_text("free on the disk").wait_for()
    page.get_by_text("Database", exact=True).wait_for()
