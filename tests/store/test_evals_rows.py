"""Evals and their runs: states, leases, items that count once, and what goes with what."""

import threading
import time
from typing import get_args

import pytest

from tunesmith.errors import NotFound, RequestError, StateError
from tunesmith.store import retention
from tunesmith.store.eval_runs import ENDS, EVENTS, WAYS, Outcome
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import (
    CompletionRow,
    EvalItemRow,
    EvalRow,
    EvalRunRow,
    ResponseRow,
    now,
)
from tunesmith.wire import WEBHOOK_EVENTS, EvalRunStatus

OLDEST_FIRST = Cursor(limit=9, newest_first=False)


def an_eval(**fields):
    given = {"request_hash": "h", "name": "e", "data_source_config": {"type": "logs"}}
    return EvalRow(**{**given, "testing_criteria": [{"id": "c-1", "name": "c"}], **fields})


@pytest.fixture
def about(store):
    return store.evals.create(an_eval(), repeated=False)


def a_row(about, **fields):
    given = {"eval_id": about.id, "key_id": "k", "role": "member", "request_hash": "h", "name": ""}
    return EvalRunRow(**{**given, "data_source": {"type": "jsonl"}, **fields})


def a_run(store, about, **fields):
    return store.eval_runs.create(a_row(about, **fields), repeated=False)


def an_item(run, number=0, **fields):
    return EvalItemRow(
        run_id=run.id, datasource_item_id=number, datasource_item={"n": number}, **fields
    )


def begun(store, about, *, items=3):
    """A run that worker `w` has begun, and its items."""
    run = a_run(store, about, worker="w")
    rows = [an_item(run, number) for number in range(items)]
    store.eval_runs.add_items(run.id, rows, worker="w")
    store.eval_runs.write(run.id, {"status": "in_progress", "total": items}, worker="w")
    return run, store.eval_runs.pending(run.id, after=0, limit=99)


def outcome(row, status="pass", **fields):
    results = [{"name": "c-1", "passed": status == "pass", "score": 1.0}]
    given = {"results": results, "sample": {"a": 1}, "usage": {"m": {"total_tokens": 2}}}
    return Outcome(**{"item_id": row.id, "status": status, **given, **fields})


def lease(store, worker, silent_before=0.0, gone=()):
    return store.eval_runs.lease(
        worker, silent_before=silent_before, is_gone=lambda name: name in gone
    )


def ids(page):
    return [row.id for row in page.data]


# --- evals ----------------------------------------------------------------------------------------


def test_an_eval_comes_back_and_is_described(store):
    row = an_eval(metadata={"a": "b"}, updated_at=5, created_at=5)
    store.evals.create(row, repeated=False)
    found = store.evals.get(row.id)
    assert {**vars(found), "seq": 0} == vars(row)
    changed = store.evals.describe(row.id, {"name": "new"})
    assert (changed.name, changed.metadata, changed.created_at) == ("new", {"a": "b"}, 5)
    assert abs(changed.updated_at - now()) < 5
    assert store.evals.describe("eval_x", {"name": "new"}) is None
    assert store.evals.get("eval_x") is None


def test_evals_are_listed_by_when_they_were_changed(store):
    rows = [store.evals.create(an_eval(updated_at=at), repeated=False) for at in (3, 1, 2, 1)]
    by_update = [rows[i].id for i in (1, 3, 2, 0)]
    assert ids(store.evals.page(OLDEST_FIRST, by_update=True)) == by_update
    assert ids(store.evals.page(Cursor(limit=9), by_update=True)) == by_update[::-1]
    for newest_first, expected in ((False, by_update), (True, by_update[::-1])):
        after, found, more = None, [], True
        while more:
            cursor = Cursor(limit=1, after=after, newest_first=newest_first)
            page = store.evals.page(cursor, by_update=True)
            after, more = page.data[0].id, page.has_more
            found.append(after)
        assert found == expected
    with pytest.raises(RequestError, match="no 'eval_x' in this list"):
        store.evals.page(Cursor(limit=1, after="eval_x"), by_update=True)
    assert ids(store.of("proj_other").evals.page(OLDEST_FIRST, by_update=True)) == []


def test_repeated_requests_find_what_they_made(store, about):
    assert store.evals.create(an_eval(), repeated=True).id == about.id
    other = store.evals.create(an_eval(), repeated=False)
    assert other.id != about.id
    first = a_run(store, about)
    assert store.eval_runs.create(a_row(about), repeated=True).id == first.id
    of_other = store.eval_runs.create(a_row(other), repeated=True)
    assert of_other.id != first.id
    old = a_run(store, other, request_hash="old", created_at=now() - 300)
    late = store.eval_runs.create(a_row(other, request_hash="old"), repeated=True)
    assert late.id != old.id


def test_an_eval_goes_with_all_that_is_its(store, about):
    run, _ = begun(store, about)
    kept, rows = begun(store, store.evals.create(an_eval(), repeated=False))
    assert store.evals.delete(about.id)
    assert not store.evals.delete(about.id)
    assert store.eval_runs.get(run.id) is None
    assert store.eval_runs.pending(run.id, after=0, limit=9) == []
    with pytest.raises(NotFound):
        store.eval_runs.keep(run.id, [], worker="w")
    with pytest.raises(NotFound):
        a_run(store, about)
    assert len(store.eval_runs.pending(kept.id, after=0, limit=9)) == len(rows)


def test_a_project_sees_its_own(store, about):
    run, rows = begun(store, about)
    other = store.of("proj_other")
    assert other.evals.get(about.id) is None
    assert other.evals.describe(about.id, {"name": "x"}) is None
    assert not other.evals.delete(about.id)
    assert not other.eval_runs.delete(run.id)
    assert other.eval_runs.get(run.id) is None
    assert ids(other.eval_runs.page(about.id, OLDEST_FIRST)) == []
    for call in (lambda: other.eval_runs.cancel(run.id), lambda: a_run(other, about)):
        with pytest.raises(NotFound):
            call()
    mine = store.of(about.project_id)
    assert mine.eval_runs.get(run.id).id == run.id
    assert ids(mine.eval_runs.page(about.id, OLDEST_FIRST)) == [run.id]


# --- states ---------------------------------------------------------------------------------------


def test_the_states_are_openais():
    reached = {to for ways in WAYS.values() for to in ways}
    assert reached | {"queued"} == set(WAYS) == set(get_args(EvalRunStatus))
    ours = {event for event in WEBHOOK_EVENTS if event.startswith("eval.")}
    assert {f"eval.run.{EVENTS[end]}" for end in ENDS} == ours


@pytest.mark.parametrize("state", WAYS)
def test_only_the_ways_of_the_table_are_open(store, about, state):
    for to in WAYS.keys() - {state}:
        run = a_run(store, about, status=state, worker="w")
        if to in WAYS[state]:
            row = store.eval_runs.write(run.id, {"status": to}, worker="w")
            assert store.eval_runs.get(run.id) == row
            assert (row.status, row.worker) == (to, None if to in ENDS else "w")
            assert (row.ended_at is not None) == (to in ENDS)
        else:
            with pytest.raises(StateError):
                store.eval_runs.write(run.id, {"status": to}, worker="w")
            assert store.eval_runs.get(run.id).status == state


def test_canceling_can_be_repeated_and_takes_the_run_from_its_worker(store, about):
    hook = store.webhooks.create("https://example.com/hook")
    run, rows = begun(store, about)
    store.eval_runs.keep(run.id, [outcome(rows[0])], worker="w")
    row = store.eval_runs.cancel(run.id)
    assert (row.status, row.worker) == ("canceled", None)
    assert store.eval_runs.cancel(run.id).ended_at == row.ended_at
    news = store.webhooks.newest(hook.id)
    assert (news.type, news.about) == ("eval.run.canceled", run.id)
    with pytest.raises(StateError, match="no longer this worker's"):
        store.eval_runs.keep(run.id, [outcome(rows[1])], worker="w")
    assert ids(store.eval_runs.items(run.id, OLDEST_FIRST)) == [rows[0].id]
    assert store.eval_runs.pending(run.id, after=0, limit=9) == []
    for state in ("completed", "failed"):
        ended = a_run(store, about, status=state)
        with pytest.raises(StateError, match=f"is {state} and cannot become canceled"):
            store.eval_runs.cancel(ended.id)
    with pytest.raises(NotFound):
        store.eval_runs.cancel("evalrun_x")


def test_runs_are_listed_by_state(store, about):
    runs = [a_run(store, about, status=state) for state in WAYS]
    for run, state in zip(runs, WAYS, strict=True):
        assert ids(store.eval_runs.page(about.id, OLDEST_FIRST, status=state)) == [run.id]
    assert ids(store.eval_runs.page(about.id, OLDEST_FIRST)) == [run.id for run in runs]


# --- leases ---------------------------------------------------------------------------------------


def test_a_run_is_leased_once_whatever_its_state(store, about):
    run, won = a_run(store, about), []
    threads = [
        threading.Thread(target=lambda n=n: won.append(lease(store, f"w{n}"))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.id for row in won if row is not None] == [run.id]
    for state in WAYS:
        other = a_run(store, about, status=state)
        found = lease(store, f"for-{state}")
        assert (found and found.id) == (None if state in ENDS else other.id)


def test_dead_and_silent_workers_lose_the_run_and_one_that_writes_does_not(store, about):
    first, second = a_run(store, about), a_run(store, about)
    assert [lease(store, worker).id for worker in "ab"] == [first.id, second.id]
    assert lease(store, "c") is None
    assert lease(store, "d", gone=("a",)).worker == "d"
    time.sleep(0.02)
    silence = time.time()
    for run, worker in ((first, "d"), (second, "b")):
        store.eval_runs.keep(run.id, [], worker=worker)
    assert lease(store, "e", silent_before=silence) is None
    time.sleep(0.02)
    assert lease(store, "e", silent_before=time.time()).id == first.id
    with pytest.raises(StateError, match="no longer this worker's"):
        store.eval_runs.keep(first.id, [], worker="d")
    store.eval_runs.release(first.id, "d")
    assert lease(store, "f") is None
    store.eval_runs.release(first.id, "e")
    assert lease(store, "f").id == first.id


# --- items ----------------------------------------------------------------------------------------


def test_an_item_counts_once_however_often_it_comes(store, about):
    run, rows = begun(store, about)
    keep = store.eval_runs.keep
    keep(run.id, [outcome(rows[0]), outcome(rows[1], "fail")], worker="w")
    row = keep(run.id, [outcome(rows[1], "pass"), outcome(rows[2], "error")], worker="w")
    assert (row.passed, row.failed, row.errored) == (1, 1, 1)
    assert row.criteria == {"c-1": {"passed": 1, "failed": 2}}
    assert row.usage == {"m": {"total_tokens": 6}}
    assert store.eval_runs.get(run.id) == row
    done = store.eval_runs.items(run.id, OLDEST_FIRST)
    assert [item.status for item in done.data] == ["pass", "fail", "error"]
    assert done.data[0].sample == {"a": 1}
    assert ids(store.eval_runs.items(run.id, OLDEST_FIRST, status="fail")) == [rows[1].id]
    stranger = outcome(rows[0], item_id="outputitem_x")
    assert keep(run.id, [stranger], worker="w").passed == 1


def test_items_are_seen_once_they_are_done_with(store, about):
    run, rows = begun(store, about)
    assert ids(store.eval_runs.items(run.id, OLDEST_FIRST)) == []
    assert store.eval_runs.item(run.id, rows[0].id) is None
    store.eval_runs.keep(run.id, [outcome(rows[2])], worker="w")
    assert store.eval_runs.item(run.id, rows[2].id).datasource_item == {"n": 2}
    assert store.eval_runs.item("evalrun_x", rows[2].id) is None
    left = store.eval_runs.pending(run.id, after=rows[0].seq, limit=9)
    assert [row.id for row in left] == [rows[1].id]
    assert len(store.eval_runs.pending(run.id, after=0, limit=1)) == 1


def test_items_are_laid_out_anew(store, about):
    run = a_run(store, about, worker="w")
    add = store.eval_runs.add_items
    add(run.id, [an_item(run, 0), an_item(run, 1)], worker="w")
    add(run.id, [an_item(run, 0, given={"output_text": "x"})], worker="w", anew=True)
    add(run.id, [an_item(run, 1)], worker="w")
    found = store.eval_runs.pending(run.id, after=0, limit=9)
    assert [(row.datasource_item_id, row.given) for row in found] == [
        (0, {"output_text": "x"}),
        (1, None),
    ]
    with pytest.raises(StateError):
        add(run.id, [an_item(run, 2)], worker="other")


def test_a_deleted_run_takes_its_items_along(store, about):
    run, rows = begun(store, about)
    assert store.eval_runs.delete(run.id)
    assert not store.eval_runs.delete(run.id)
    assert store.eval_runs.pending(run.id, after=0, limit=9) == []
    with pytest.raises(NotFound):
        store.eval_runs.keep(run.id, [outcome(rows[0])], worker="w")


def test_old_items_are_removed_and_their_counts_stay(store, about, monkeypatch):
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 2)
    runs = [begun(store, about) for _ in range(3)]
    for (run, rows), ended_at in zip(runs, (10, 30, None), strict=True):
        store.eval_runs.keep(run.id, [outcome(row) for row in rows], worker="w")
        if ended_at is not None:
            store.eval_runs.write(run.id, {"status": "completed"}, worker="w")
            with store._database.write() as connection:
                connection.exec_driver_sql(
                    f"UPDATE eval_runs SET ended_at = {ended_at} WHERE id = '{run.id}'"
                )
    assert store.retention.remove_eval_items(20) == 3
    left = [len(store.eval_runs.items(run.id, OLDEST_FIRST).data) for run, _ in runs]
    assert left == [0, 3, 3]
    assert store.eval_runs.get(runs[0][0].id).passed == 3


# --- what is stored -------------------------------------------------------------------------------


def test_what_was_stored_is_found_newest_first(store):
    mine = store.of("proj_default")
    for n in range(4):
        row = CompletionRow(
            id=f"c{n}", created=n, model="ab"[n % 2], messages=[], body={}, metadata={"n": str(n)}
        )
        mine.completions.add(row)
        mine.responses.add(ResponseRow(id=f"r{n}", created_at=n, items=[], body={}))
    logged = mine.logged
    found = [
        list(logged.completions()),
        list(logged.completions(model="a")),
        list(logged.completions(metadata={"n": "1"})),
        list(logged.completions(since=1, until=2)),
        list(logged.responses(since=2)),
    ]
    assert [[row.id for row in rows] for rows in found] == [
        ["c3", "c2", "c1", "c0"],
        ["c2", "c0"],
        ["c1"],
        ["c2", "c1"],
        ["r3", "r2"],
    ]
    other = store.of("proj_other").logged
    assert [*other.completions(), *other.responses()] == []
