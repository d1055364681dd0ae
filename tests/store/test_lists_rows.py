"""What the pages' lists ask of the store: search, counts, ties, and no other project's rows."""

import pytest

from tunesmith.store.jobs import Change
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import BatchRow, FileRow, JobRow, ModelRow, RunRow

ALL = Cursor(limit=100)


@pytest.fixture
def mine(store):
    return store.of(store.projects.create("mine").id)


@pytest.fixture
def other(store):
    return store.of(store.projects.create("other").id)


def job(store, **fields):
    given = {"key_id": "k", "request_hash": "h", "model": "m", "base_model": "minilm-l6", "seed": 1}
    row = JobRow(**{"training_file": "file-1", **given, **fields})
    return store.jobs.create(row, [], repeated=False)


def model(store, name, *, base="minilm-l6", **fields):
    made = job(store, status="running", **fields)
    row = ModelRow(id=name, project_id=made.project_id, owned_by="o", base_model=base,
                   job_id=made.id, folder=made.id)  # fmt: skip
    store.jobs.write(made.id, Change(to="succeeded", models=[row]))
    return row


def test_models_are_searched_by_name_title_and_base(mine, other, store):
    for name, base in (("ft:a:Tickets", "minilm-l6"), ("ft:b:50%_off", "qwen"), ("ft:c", "qwen")):
        model(mine, name, base=base)
    model(other, "ft:d:tickets")
    assert mine.models.rename("ft:c", "Complaints <b>")
    found = {
        words: [row.id for row in mine.models.page(ALL, search=words).data]
        for words in ("", "TICKETS", "qwen", "complaints", "50%_", "%", "nothing")
    }
    assert found == {
        "": ["ft:c", "ft:b:50%_off", "ft:a:Tickets"], "TICKETS": ["ft:a:Tickets"],
        "qwen": ["ft:c", "ft:b:50%_off"], "complaints": ["ft:c"], "50%_": ["ft:b:50%_off"],
        "%": ["ft:b:50%_off"], "nothing": [],
    }  # fmt: skip
    assert (mine.models.count(), mine.models.count(search="qwen"), store.models.count()) == (
        3,
        2,
        4,
    )
    first = mine.models.page(Cursor(limit=2))
    assert first.has_more
    rest = mine.models.page(Cursor(limit=2, after=first.data[-1].id))
    assert [row.id for row in rest.data] == ["ft:a:Tickets"] and not rest.has_more


def test_a_title_is_kept_and_only_the_owner_gives_it(mine, other, store):
    made = model(mine, "ft:a")
    store.permissions.create("ft:a", [store.projects.named("other").id])
    assert other.models.get("ft:a").title is None
    assert not other.models.rename("ft:a", "theirs") and mine.models.rename("ft:a", "ours")
    assert mine.models.get("ft:a").title == other.models.get("ft:a").title == "ours"
    assert mine.models.rename("ft:a", None) and mine.models.get("ft:a").title is None
    assert mine.models.folders() == [made.folder] and other.models.folders() == []


def test_what_was_made_from_a_model_and_beside_it(mine, other):
    parent = model(mine, "ft:parent")
    model(mine, "ft:child", start_from="ft:parent")
    model(mine, "ft:stranger")
    model(other, "ft:theirs", start_from="ft:parent")
    assert [row.id for row in mine.models.made_from("ft:parent")] == ["ft:child"]
    assert [row.id for row in mine.models.of_job(parent.job_id)] == ["ft:parent"]
    assert other.models.of_job(parent.job_id) == []


def test_jobs_are_searched_counted_and_stand_in_line(mine, other):
    theirs = job(other, status="queued")
    waiting = [job(mine, status="queued", user_provided_suffix=f"Mail {n}") for n in range(3)]
    job(mine, status="failed", model="mail-base")
    found = mine.jobs.search(ALL, search="mail")
    assert len(found.data) == 4 and mine.jobs.counts(search="MAIL") == {"queued": 3, "failed": 1}
    assert [row.status for row in mine.jobs.search(ALL, states=("failed",)).data] == ["failed"]
    seen = [mine.jobs.get(row.id) for row in waiting]
    assert [mine.jobs.waiting_before(row) for row in seen] == [1, 2, 3]  # of all projects
    assert [row.id for row in other.jobs.search(ALL).data] == [theirs.id]


def test_files_are_searched_and_summed_and_know_who_uses_them(mine, other):
    def file(store, name, purpose="fine-tune"):
        return store.files.add(FileRow(filename=name, purpose=purpose, bytes=10, sha256=""))

    train, valid, unused = (file(mine, f"{n}.jsonl") for n in ("Train", "valid", "x_train"))
    file(mine, "batch.jsonl", "batch"), file(other, "train.jsonl")
    assert {row.id for row in mine.files.page(ALL, search="train").data} == {train.id, unused.id}
    assert mine.files.page(ALL, search=valid.id[-9:]).data[0].id == valid.id
    assert mine.files.totals() == {"fine-tune": (3, 30), "batch": (1, 10)}
    one = job(mine, training_file=train.id, validation_file=valid.id)
    two = job(mine, training_file=valid.id)
    job(other, training_file=train.id)
    assert [row.id for row in mine.jobs.using([valid.id])] == [two.id, one.id]
    assert [row.id for row in mine.jobs.using([train.id, unused.id])] == [one.id]
    batch = BatchRow(key_id="k", role="member", request_hash="h", endpoint="/v1/x",
                     input_file_id=unused.id, completion_window="24h")  # fmt: skip
    made = mine.batches.create(batch, repeated=False)
    assert [row.id for row in mine.batches.using(unused.id)] == [made.id]
    assert other.batches.using(unused.id) == []


def test_keys_are_listed_by_project_and_counted_while_they_are_valid(store):
    ids = [store.projects.create(name).id for name in ("a", "b")]
    rows = [store.keys.create(f"Ada {n}", role="reader", project=ids[0])[1] for n in range(3)]
    store.keys.create("admin", role="admin", project=ids[0])
    store.keys.create("over", role="admin", project=ids[0], expires_at=5)
    theirs = store.keys.create("Ada", project=ids[1])[1]
    store.keys.revoke(rows[0].id)
    assert store.keys.counts(ids[0]) == {"reader": 2, "admin": 1}
    found = store.keys.page(ids[0], ALL, search="ada")
    assert [row.name for row in found.data] == ["Ada 2", "Ada 1", "Ada 0"]
    assert found.data[2].revoked_at is not None
    assert store.keys.of_project(theirs.id, ids[0]) is None
    assert store.keys.of_project(theirs.id, ids[1]).id == theirs.id


def test_the_run_of_a_job_is_found_by_its_own_project_only(mine, other):
    fields = {"key_id": "k", "role": "member", "name": "r", "folder": "f"}
    run = mine.runs.create(RunRow(**fields))
    marked = job(mine, metadata={"tunesmith_run": run.id})
    assert mine.runs.of_job(marked.id).id == run.id
    assert mine.runs.of_job(job(mine).id) is None and other.runs.of_job(marked.id) is None
