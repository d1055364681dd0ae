"""Labelling in the store: who gets which row, what votes come to, what is kept."""

import threading
import time

import pytest

from tunesmith.errors import NotFound, RequestError, StateError
from tunesmith.settings import Settings
from tunesmith.store import labelled as labelled_module
from tunesmith.store import labelling as labelling_module
from tunesmith.store import labels as labels_module
from tunesmith.store.backup import back_up, restore
from tunesmith.store.labelled import Asked, Likeness
from tunesmith.store.labelling_rows import LabellingRow, LabellingTaskRow
from tunesmith.store.paging import Cursor
from tunesmith.store.store import open_store


def a_task(store, rows=4, **fields):
    """A task that has begun; its rows are handed out in the order of the table."""
    given = {"key_id": "k", "name": "tickets", "labels": ["a", "b"], **fields}
    task = store.labelling.create(LabellingTaskRow(**given))
    store.labelling.change(task.id, to="importing")
    made = [
        LabellingRow(task_id=task.id, number=n, text=f"text {n}", rank=1 + n / 1000)
        for n in range(1, rows + 1)
    ]
    store.labelling.add_rows(task.id, made)
    return store.labelling.change(task.id, to="ready")


def give(store, task, who):
    row = store.labels.hand_out(task.id, who)
    return row and row.number


def say(store, task, who, *labels):
    """Have that person label as many rows as there are labels; None is skipped."""
    for label in labels:
        row = store.labels.hand_out(task.id, who)
        store.labels.answer(task.id, row.id, who, label)


def row_of(store, task, number):
    found = store.labelled.page(task.id, Asked(group="open"), limit=999).data
    found += store.labelled.page(task.id, Asked(), limit=999).data
    return next(row for row in found if row.number == number)


def counts(store, task):
    task = store.labelling.get(task.id)
    return task.num_labelled, task.num_done, task.num_tied


# --- handing out ----------------------------------------------------------------------------------


def test_two_people_get_different_rows_and_one_gets_the_same_again(store):
    task = a_task(store)
    assert [give(store, task, who) for who in ("anna", "ben", "anna", "ben")] == [1, 2, 1, 2]
    say(store, task, "anna", "a")
    assert give(store, task, "anna") == 3
    assert give(store, task, "ben") == 2


def test_a_row_comes_back_after_a_while_and_when_it_is_released(store, monkeypatch):
    task = a_task(store, rows=1)
    row = store.labels.hand_out(task.id, "anna")
    assert store.labels.hand_out(task.id, "ben") is None
    store.labels.release(task.id, row.id, "ben")  # who does not hold it releases nothing
    assert store.labels.hand_out(task.id, "ben") is None
    store.labels.release(task.id, row.id, "anna")
    monkeypatch.setattr(labels_module, "HOLD_SECONDS", 0.01)
    assert give(store, task, "ben") == 1
    time.sleep(0.02)
    assert give(store, task, "anna") == 1


def test_as_many_get_a_row_as_votes_are_wanted(store):
    task = a_task(store, rows=2, votes=2)
    assert [give(store, task, who) for who in ("anna", "ben", "carl")] == [1, 1, 2]
    say(store, task, "anna", "a")
    say(store, task, "ben", "a")
    assert [give(store, task, who) for who in ("anna", "ben", "carl")] == [2, None, 2]


def test_what_is_skipped_comes_again_only_when_asked_for(store):
    task = a_task(store, rows=2)
    say(store, task, "anna", None, "a")
    assert give(store, task, "anna") is None
    assert counts(store, task) == (1, 1, 0)
    assert store.labels.take_up_skipped(task.id, "ben") == 0
    assert store.labels.take_up_skipped(task.id, "anna") == 1
    assert give(store, task, "anna") == 1


def test_many_people_at_once_never_get_the_same_row(store, settings):
    task = a_task(store, rows=24)
    stores = [open_store(settings) for _ in range(4)]
    barrier, given = threading.Barrier(4), []

    def person(own, who):
        barrier.wait()
        while row := own.labels.hand_out(task.id, who):
            given.append(row.number)
            own.labels.answer(task.id, row.id, who, "a")

    threads = [threading.Thread(target=person, args=(own, f"p{n}")) for n, own in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in stores:
        own.close()
    assert sorted(given) == list(range(1, 25))
    assert counts(store, task) == (24, 24, 0)


# --- votes ----------------------------------------------------------------------------------------


def test_votes_come_to_a_label_a_tie_or_want_more(store):
    task = a_task(store, rows=3, votes=2)
    say(store, task, "anna", "a", "a", "a")
    say(store, task, "ben", "a", "b")
    states = [(row_of(store, task, n).state, row_of(store, task, n).label) for n in (1, 2, 3)]
    assert states == [("done", "a"), ("tied", None), ("open", "a")]
    assert counts(store, task) == (3, 1, 1)


def test_a_vote_can_be_changed_and_taken_back_and_history_stays(store):
    task = a_task(store, rows=2)
    row = store.labels.hand_out(task.id, "anna")
    store.labels.answer(task.id, row.id, "anna", "a")
    assert store.labels.answer(task.id, row.id, "anna", "b").label == "b"
    assert counts(store, task) == (1, 1, 0)
    back = store.labels.withdraw(task.id, row.id, "anna")
    assert (back.state, back.label, back.num_votes) == ("open", None, 0)
    assert counts(store, task) == (0, 0, 0)
    assert give(store, task, "anna") == 1
    assert store.labelled.answers(task.id, [row.id]) == {row.id: []}
    said = store.labelled.answers(task.id, [row.id], with_replaced=True)[row.id]
    assert [(one.label, one.replaced_at is None) for one in said] == [("a", False), ("b", False)]


def test_a_decision_goes_before_votes_and_can_be_taken_back(store):
    task = a_task(store, rows=2, votes=2)
    say(store, task, "anna", "a", "a")
    say(store, task, "ben", "b", "a")
    row = store.labels.hand_out_tie(task.id, "carl")
    assert row.number == 1
    assert store.labels.hand_out_tie(task.id, "dora") is None  # carl looks at it
    decided = store.labels.decide(task.id, row.id, "carl", "b")
    assert (decided.state, decided.label, decided.decided_by) == ("done", "b", "carl")
    assert store.labels.hand_out_tie(task.id, "carl") is None
    assert counts(store, task) == (2, 2, 0)
    again = store.labels.decide(task.id, row.id, "dora", None)
    assert (again.state, again.label, again.decided_by) == ("tied", None, None)
    assert counts(store, task) == (2, 1, 1)


def test_a_row_that_two_labelled_where_one_was_wanted_may_tie(store):
    task = a_task(store, rows=1)
    row = store.labels.hand_out(task.id, "anna")
    store.labels.answer(task.id, row.id, "anna", "a")
    assert store.labels.answer(task.id, row.id, "ben", "b").state == "tied"


def test_only_labels_of_the_task_are_taken_and_only_when_it_has_begun(store):
    task = a_task(store)
    row = store.labels.hand_out(task.id, "anna")
    with pytest.raises(RequestError, match="'c' is no label"):
        store.labels.answer(task.id, row.id, "anna", "c")
    with pytest.raises(NotFound):
        store.labels.answer(task.id, "lrow_x", "anna", "a")
    draft = store.labelling.create(LabellingTaskRow(key_id="k", name="new"))
    with pytest.raises(StateError, match="has not begun"):
        store.labels.hand_out(draft.id, "anna")
    with pytest.raises(StateError):
        store.labelling.add_rows(draft.id, [])


def test_rows_that_a_helper_is_least_sure_of_come_first(store):
    task = a_task(store, rows=5)
    ids = {row.number: row.id for row in store.labelled.unsure(task.id, 9)}
    assert list(ids) == [1, 2, 3, 4, 5]
    store.labels.suggest(task.id, [(ids[3], "a", 0.9), (ids[4], "b", 0.55)])
    assert [row.number for row in store.labelled.unsure(task.id, 9)] == [1, 2, 5]
    assert store.labelled.num_asked(task.id) == 2
    assert give(store, task, "anna") == 4
    assert store.labels.hand_out(task.id, "anna").suggestion == "b"
    ranks = dict.fromkeys(store.labelled.asked(task.id), 1.5)
    store.labels.forget_suggestions(task.id, ranks)
    store.labels.release(task.id, ids[4], "anna")
    assert give(store, task, "anna") == 1
    assert row_of(store, task, 4).suggestion is None


# --- lists ----------------------------------------------------------------------------------------


def numbers(store, task, **asked):
    return [row.number for row in store.labelled.page(task.id, Asked(**asked)).data]


@pytest.fixture
def mixed(store):
    """1: both a; 2: a and b; 3: a, b, decided b; 4: anna a, ben skipped; 5: open."""
    task = a_task(store, rows=5, votes=2)
    say(store, task, "anna", "a", "a", "a", "a")
    say(store, task, "ben", "a", "b", "b", None)
    store.labels.decide(task.id, row_of(store, task, 3).id, "carl", "b")
    return task


def test_rows_are_found_by_what_was_said_of_them(store, mixed):
    task = mixed
    assert sorted(numbers(store, task)) == [1, 2, 3, 4]
    assert numbers(store, task, group="tied") == [2]
    assert sorted(numbers(store, task, group="apart")) == [2, 3]
    assert numbers(store, task, group="decided") == [3]
    assert numbers(store, task, group="skipped") == [4]
    assert numbers(store, task, group="skipped", annotator="anna") == []
    assert numbers(store, task, group="open") == [4, 5]
    assert sorted(numbers(store, task, label="a")) == [1, 4]
    assert sorted(numbers(store, task, annotator="ben", label="b")) == [2, 3]
    assert numbers(store, task, search="TEXT 2") == [2]
    assert numbers(store, task, search="%") == []


def test_pages_of_rows_follow_on_each_other(store):
    task = a_task(store, rows=9)
    say(store, task, "anna", *"abababa")
    for group, expected in (("labelled", 7), ("open", 2)):
        seen, after = [], ""
        while True:
            page = store.labelled.page(task.id, Asked(group=group), after=after, limit=3)
            seen += [row.number for row in page.data]
            if not page.has_more:
                break
            after = page.data[-1].id
        assert len(seen) == len(set(seen)) == expected
    with pytest.raises(RequestError):
        store.labelled.page(task.id, Asked(), after="lrow_x")


def test_counts_of_people_and_labels(store, mixed):
    shares = {share.annotator: share for share in store.labelled.shares(mixed.id)}
    assert [(s.votes, s.skips, s.decisions) for s in map(shares.get, ("anna", "ben", "carl"))] == [
        (4, 0, 0), (3, 1, 0), (0, 0, 1),
    ]  # fmt: skip
    assert store.labelled.labels(mixed.id) == {"a": 2, "b": 1}
    assert store.labelled.num_since(mixed.id, "anna", 0) == (4, 4)
    assert store.labelled.num_since(mixed.id, "anna", time.time() + 60) == (4, 0)
    assert len(store.labelled.trail(mixed.id, "ben")) == 4
    likenesses = sorted(store.labelled.likenesses(mixed.id), key=lambda one: (one.alike, one.label))
    assert likenesses == [
        Likeness(label="a", size=2, alike=1, num_rows=2),
        Likeness(label="b", size=2, alike=1, num_rows=2),
        Likeness(label="a", size=2, alike=2, num_rows=1),
    ]


def test_the_whole_table_comes_in_the_files_order(store, mixed, monkeypatch):
    monkeypatch.setattr(labelled_module, "ROWS_AT_ONCE", 2)

    def table(only_labelled):
        pieces = store.labelled.table(mixed.id, only_labelled=only_labelled)
        return [(row.number, [a.kind for a in said]) for piece in pieces for row, said in piece]

    assert table(True) == [
        (1, ["vote", "vote"]), (2, ["vote", "vote"]), (3, ["vote", "vote", "decision"]),
        (4, ["vote", "skip"]),
    ]  # fmt: skip
    assert table(False) == [*table(True), (5, [])]


# --- tenants, removal, backups --------------------------------------------------------------------


def test_a_task_is_its_projects_own(store):
    mine, other = store.of("proj_default"), store.of(store.projects.create("other").id)
    task = a_task(mine)
    row = mine.labels.hand_out(task.id, "anna")
    assert other.labelling.get(task.id) is None
    assert other.labelling.page(Cursor(limit=9)).data == []
    assert not other.labelling.delete(task.id)
    refused = [
        lambda: other.labelling.change(task.id, values={"name": "x"}),
        lambda: other.labelling.remove_rows(task.id),
        lambda: other.labels.hand_out(task.id, "eve"),
        lambda: other.labels.hand_out_tie(task.id, "eve"),
        lambda: other.labels.answer(task.id, row.id, "eve", "a"),
        lambda: other.labels.decide(task.id, row.id, "eve", "a"),
        lambda: other.labels.withdraw(task.id, row.id, "eve"),
        lambda: other.labels.suggest(task.id, []),
        lambda: other.labelled.row(task.id, row.id),
        lambda: other.labelled.page(task.id, Asked()),
        lambda: other.labelled.answers(task.id, [row.id]),
        lambda: other.labelled.shares(task.id),
        lambda: other.labelled.likenesses(task.id),
        lambda: list(other.labelled.table(task.id, only_labelled=False)),
    ]
    for call in refused:
        with pytest.raises(NotFound):
            call()
    assert mine.labelling.get(task.id).name == "tickets"
    # Nor does a task give access to another one's rows.
    second = a_task(mine)
    with pytest.raises(NotFound):
        mine.labels.answer(second.id, row.id, "anna", "a")


def test_a_deleted_task_is_gone_at_once_and_its_rows_soon(store, monkeypatch):
    monkeypatch.setattr(labelling_module, "ROWS_AT_ONCE", 3)
    task, kept = a_task(store, rows=10), a_task(store)
    say(store, task, "anna", *"abab")
    store.labels.hand_out(task.id, "anna")
    say(store, kept, "anna", "a")
    assert store.labelling.delete(task.id)
    assert store.labelling.get(task.id) is None
    assert [row.id for row in store.labelling.page(Cursor(limit=9)).data] == [kept.id]
    with pytest.raises(NotFound):
        store.labels.hand_out(task.id, "anna")
    assert store.labelling.purge() == 1
    assert store.labelling.purge() == 0
    assert counts(store, kept) == (1, 1, 0)
    assert not store.labelling.delete(task.id)


def test_rows_that_came_in_for_nothing_are_removed(store):
    task = store.labelling.create(LabellingTaskRow(key_id="k", name="new"))
    store.labelling.change(task.id, to="importing")
    row = LabellingRow(task_id=task.id, number=1, text="x", rank=1.5)
    store.labelling.add_rows(task.id, [row])
    assert store.labelling.get(task.id).num_rows == 1
    store.labelling.remove_rows(task.id)
    assert store.labelling.get(task.id).num_rows == 0
    begun = a_task(store)
    with pytest.raises(StateError, match="has begun"):
        store.labelling.remove_rows(begun.id)


def test_a_backup_holds_what_people_said(store, settings, tmp_path_factory, new_url):
    task = a_task(store, votes=2)
    say(store, task, "anna", "a", "b")
    store.labels.hand_out(task.id, "anna")
    draft = store.labelling.create(LabellingTaskRow(key_id="k", name="new"))
    store.labelling.change(draft.id, to="importing")
    row = LabellingRow(task_id=draft.id, number=1, text="x", rank=1.5)
    store.labelling.add_rows(draft.id, [row])
    folder = tmp_path_factory.mktemp("backup") / "made"
    back_up(settings, folder)
    elsewhere = Settings(data_dir=tmp_path_factory.mktemp("new") / "data", database_url=new_url())
    restore(elsewhere, folder)
    restored = open_store(elsewhere)
    (there,) = restored.labelling.page(Cursor(limit=9)).data
    assert there.id == task.id
    assert [share.votes for share in restored.labelled.shares(task.id)] == [2]
    assert give(restored, task, "ben") == 1  # nobody holds anything
    restored.close()
