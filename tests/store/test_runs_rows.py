"""Runs that were begun on the page: states, pages, the queue."""

import pytest
from sqlalchemy import insert

from tunesmith.errors import NotFound, StateError
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import JobRow, RunRow
from tunesmith.store.tables import RUNS


def a_run(store, name="Tickets", **given):
    fields = {"key_id": "key_1", "role": "member", "folder": "p/r", **given}
    return store.runs.create(RunRow(name=name, **fields))


def names(page):
    return [row.name for row in page.data]


def test_a_run_is_seen_by_its_own_project_only(store):
    own = a_run(store.of("proj_a"))
    assert own.project_id == "proj_a"
    assert store.of("proj_a").runs.get(own.id) == store.runs.get(own.id)
    assert store.of("proj_b").runs.get(own.id) is None
    assert store.of("proj_b").runs.page(Cursor(limit=5)).data == []
    assert not store.of("proj_b").runs.delete(own.id)
    with pytest.raises(NotFound):
        store.of("proj_b").runs.change(own.id, to="queued")


def test_pages_are_searched_by_name_and_filtered_by_state(store):
    for number in range(5):
        a_run(store, f"Tickets {number}")
    a_run(store, "100 % Reviews_x", state="succeeded")
    runs = store.runs
    first = runs.page(Cursor(limit=2), search="ticket")
    assert (names(first), first.has_more) == (["Tickets 4", "Tickets 3"], True)
    rest = runs.page(Cursor(limit=5, after=first.data[-1].id), search="ticket")
    assert names(rest) == ["Tickets 2", "Tickets 1", "Tickets 0"]
    assert names(runs.page(Cursor(limit=5), states=("succeeded",))) == ["100 % Reviews_x"]
    assert names(runs.page(Cursor(limit=5), search="0 % R")) == ["100 % Reviews_x"]
    assert names(runs.page(Cursor(limit=9), search="%_%")) == []
    assert runs.counts() == {"draft": 5, "succeeded": 1}
    assert runs.counts(search="reviews") == {"succeeded": 1}


def test_a_run_changes_only_from_states_that_allow_it(store):
    run = a_run(store)
    changed = store.runs.change(run.id, to="queued", only=("draft",), values={"name": "New"})
    assert (changed.state, changed.name) == ("queued", "New")
    with pytest.raises(StateError, match="is queued"):
        store.runs.change(run.id, to="running", only=("draft",))
    assert store.runs.get(run.id) == changed


def test_the_oldest_queued_run_is_taken_first_and_once(store):
    a_run(store, "draft")
    first, second = (a_run(store, name, state="queued") for name in ("first", "second"))
    assert store.runs.waiting_before(second.id) == 1
    assert store.runs.take("me", is_here=lambda row: False) is None
    taken = store.runs.take("me", is_here=lambda row: True)
    assert (taken.id, taken.state, taken.worker) == (first.id, "running", "me")
    assert taken.started_at is not None
    assert store.runs.take("me", is_here=lambda row: True).id == second.id
    assert store.runs.take("me", is_here=lambda row: True) is None
    assert [run.id for run in store.runs.at_work()] == [first.id, second.id]


def test_the_run_of_a_job_is_the_one_that_marked_it(store):
    run = a_run(store.of("proj_a"))
    given = {"key_id": "k", "request_hash": "h", "model": "m", "base_model": "m", "seed": 1}
    marks = ({"tunesmith_run": run.id}, {"tunesmith_run": "of the command line"}, None)
    jobs = [
        store.of("proj_a").jobs.create(
            JobRow(training_file="f", metadata=mark, **given), [], repeated=False
        )
        for mark in marks
    ]
    found = [store.of("proj_a").runs.of_job(job.id) for job in jobs]
    assert found[0].id == run.id and found[1:] == [None, None]
    assert store.of("proj_b").runs.of_job(jobs[0].id) is None
    assert store.runs.of_job("ftjob-none") is None


def test_ten_thousand_runs_are_listed_by_index(store):
    rows = [RunRow(key_id="k", role="member", name=f"run {n}", folder="f") for n in range(10_000)]
    values = [{k: v for k, v in vars(row).items() if k != "seq"} for row in rows]
    with store._database.write() as connection:
        connection.execute(insert(RUNS), values)
    mine = store.of(rows[0].project_id).runs
    assert names(mine.page(Cursor(limit=2))) == ["run 9999", "run 9998"]
    assert mine.counts() == {"draft": 10_000}
    if store._database.is_sqlite:
        with store._database.read() as connection:
            query = "EXPLAIN QUERY PLAN SELECT * FROM runs WHERE project_id='p' ORDER BY seq DESC"
            plan = str(connection.exec_driver_sql(query).all())
        assert "runs_by_project" in plan and "TEMP B-TREE" not in plan
