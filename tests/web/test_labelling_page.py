"""Labelling on the page: by keyboard, by two people at once, votes and ties, the table that comes
out, tenants, hostile texts, large tables."""

import csv
import io
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import polars as pl
import pytest
from labelling_tasks import LABELS, a_task

from tunesmith.data.labels import agreement as by_polars
from tunesmith.store.labelled import Asked, Likeness
from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.store.paging import Cursor
from tunesmith.web.labelling import reading
from tunesmith.web.labelling.agreement import agreement

HOSTILE = "<img src=x onerror=\"document.title='hit'\">{{ 1 + 1 }}"


def person(site, name, project, role="member"):
    key, row = site.store.keys.create(name, role=role, project=project)
    return key, row.id


def shown(page):
    """The text of the row that is shown."""
    return page.locator(".label-text").inner_text()


def press(page, key):
    """Press a key that brings another row, and wait for it; the text of the row it was for."""
    text = shown(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "(text) => document.querySelector('.empty')?.getClientRects().length"
        " || document.querySelector('.label-text').innerText !== text",
        arg=text,
    )
    return text


def open_task(visit, task, key, place="", **given):
    page = visit(f"/labelling/{task.id}{place}", key=key, **given)
    page.wait_for_selector(".label-text, .empty:visible, table, .facts")
    return page


def votes_of(site, project, task):
    """Text → annotator → label."""
    pieces = site.store.of(project).labelled.table(task.id, only_labelled=True)
    return {
        row.text: {a.annotator: a.label for a in said if a.kind == "vote"}
        for piece in pieces
        for row, said in piece
    }


# --- from a file to labels ------------------------------------------------------------------------


def test_a_dropped_table_is_labelled_by_keys_alone_and_prepare_reads_it(visit, site, tmp_path):
    project = site.project("labelling whole")
    key, me = person(site, "anna", project)
    table = tmp_path / "tickets.csv"
    words = ["invoice", "parcel", "screen"]
    kinds = [LABELS[n % 3] for n in range(24)]
    with table.open("w", newline="") as file:
        rows = [(n, f"my {words[n % 3]} number {n},\nplease", kinds[n]) for n in range(24)]
        csv.writer(file).writerows([("id", "message", "kind"), *rows, (99, "", "none")])
    page = visit("/labelling", key=key)
    page.get_by_role("link", name="Label a table").click()
    page.set_input_files("file-drop input", table)
    page.wait_for_url("**/labelling/lab_*")
    page.get_by_label("Column that holds the text").wait_for()
    assert page.get_by_label("Column that holds the text").input_value() == "message"
    page.get_by_role("checkbox", name="id", exact=True).check()
    page.get_by_label("A column").select_option("kind")
    page.get_by_role("button", name="Take its values").click()
    labels = page.get_by_label("Labels, one a line")
    page.wait_for_function("document.querySelector('textarea').value.includes('technical')")
    labels.fill("\n".join(LABELS))
    page.get_by_label("Guideline").fill("What the customer wants.")
    page.get_by_role("button", name="Bring in the rows").click()
    page.wait_for_selector(".label-text")
    page.get_by_text("0 of 24 rows done").wait_for()
    expected = {}
    for _ in range(24):
        which = next(n for n, word in enumerate(words) if word in shown(page))
        expected[press(page, str(which + 1))] = LABELS[which]
    page.get_by_text("Every row is labelled").wait_for()
    (task,) = site.store.of(project).labelling.page(Cursor(limit=9)).data
    assert (task.num_rows, task.num_empty, task.num_done) == (24, 1, 24)
    assert not (site.settings.data_dir / "labelling" / project / task.id).exists()
    said = votes_of(site, project, task)
    assert {text: who[me] for text, who in said.items()} == expected
    assert site.store.of(project).labelled.page(task.id, Asked()).data[0].shown.keys() == {"id"}
    # The file that can be taken along is one that prepare reads.
    page.get_by_role("link", name="To the overview").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Labelled rows as CSV").click()
    got = tmp_path / "labelled.csv"
    download.value.save_as(got)
    with got.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["message"] for line in lines] == [row[1] for row in rows]  # the table's order
    assert [line["label"] for line in lines] == [line["anna"] for line in lines] == kinds
    command = [sys.executable, "-m", "tunesmith", "prepare", str(got), "--text", "message"]
    command += ["--annotators", "anna", "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # A new run begins with the same table.
    page.get_by_role("button", name="Train with these").click()
    page.wait_for_url("**/new/run_*")
    run = site.store.of(project).runs.get(page.url.rpartition("/")[2])
    folder = site.settings.data_dir / "runs" / run.folder
    assert (folder / "table" / "tickets.csv").read_bytes() == got.read_bytes()
    config = (folder / "config.toml").read_text()
    assert 'text = "message"' in config and 'label = "label"' in config


def test_a_file_that_is_no_table_is_told(visit, site, tmp_path):
    project = site.project("labelling broken")
    key, _ = person(site, "anna", project)
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"%PDF-1.7 nothing")
    page = visit("/labelling/new", key=key)
    page.set_input_files("file-drop input", broken)
    page.wait_for_url("**/labelling/lab_*")
    page.get_by_role("alert").wait_for()
    assert "PDF" in page.get_by_role("alert").first.inner_text()
    page.get_by_role("button", name="Throw this draft away").click()
    page.wait_for_url("**/labelling")
    page.get_by_role("link", name="Label a table").wait_for()


# --- keys -----------------------------------------------------------------------------------------


def test_undo_skip_back_and_forward(visit, site):
    project = site.project("labelling keys")
    key, me = person(site, "anna", project)
    task = a_task(site, project, texts=4)
    page = open_task(visit, task, key)
    texts = [press(page, "1"), press(page, "s"), press(page, "3")]
    pressed = page.locator("[aria-pressed=true]")
    press(page, "ArrowLeft")
    assert shown(page) == texts[2] and "technical" in pressed.inner_text()
    press(page, "2")  # the label is changed, and the row that is next comes again
    assert shown(page) == "Ticket number 4"
    for text in reversed(texts):
        press(page, "ArrowLeft")
        assert shown(page) == text
    assert "billing" in pressed.inner_text()
    page.keyboard.press("u")
    page.get_by_text("Taken back: billing").wait_for()
    assert shown(page) == texts[0] and pressed.count() == 0
    assert votes_of(site, project, task) == {texts[2]: {me: "delivery"}}
    page.reload()
    page.wait_for_selector(".label-text")
    assert shown(page) == texts[0]  # what one holds, one gets again
    press(page, "1")
    press(page, "1")
    page.get_by_role("button", name="Look at skipped rows again").wait_for()
    page.get_by_role("button", name="Look at skipped rows again").click()
    page.wait_for_function("document.querySelector('.label-text').innerText.includes('2')")
    press(page, "1")
    assert len(votes_of(site, project, task)) == 4


def test_keys_can_be_read_and_turned_off_and_fields_keep_theirs(visit, site):
    project = site.project("labelling help")
    key, _ = person(site, "anna", project)
    labels = [f"label {n}" for n in range(1, 41)]
    task = a_task(site, project, labels=labels)
    page = open_task(visit, task, key)
    press(page, "a")  # the tenth
    page.keyboard.press("/")
    page.keyboard.type("40")
    page.wait_for_function("document.querySelectorAll('.label-button:not([hidden])').length === 1")
    press(page, "Enter")
    page.get_by_text("Labelled label 40.").wait_for()
    found = votes_of(site, project, task)
    assert [list(who.values()) for who in found.values()] == [["label 10"], ["label 40"]]
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("take the last answer back").wait_for()
    page.get_by_role("checkbox", name="Use keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.reload()
    page.wait_for_selector(".label-text")
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert len(votes_of(site, project, task)) == 2
    page.get_by_role("button", name="label 7", exact=True).focus()
    press(page, "Enter")
    assert len(votes_of(site, project, task)) == 3


# --- several people -------------------------------------------------------------------------------


def test_two_people_at_once_never_get_the_same_row(visit, site):
    project = site.project("labelling two")
    (anna, a), (ben, b) = person(site, "anna", project), person(site, "ben", project)
    task = a_task(site, project, texts=12)
    pages = {a: open_task(visit, task, anna), b: open_task(visit, task, ben)}
    for _ in range(5):
        assert shown(pages[a]) != shown(pages[b])
        press(pages[a], "1")
        press(pages[b], "2")
    found = votes_of(site, project, task)
    assert len(found) == 10 and all(len(who) == 1 for who in found.values())
    assert {label for who in found.values() for label in who.values()} == {"billing", "delivery"}


def test_votes_ties_and_a_decision(visit, site):
    project = site.project("labelling votes")
    (anna, a), (ben, _) = person(site, "anna", project), person(site, "ben", project)
    task = a_task(site, project, texts=4, votes=2)
    first, second = open_task(visit, task, anna), open_task(visit, task, ben)
    for one, other in (("1", "1"), ("2", "2"), ("3", "1"), ("1", "1")):
        press(first, one)
        press(second, other)
    overview = open_task(visit, task, anna, "/overview")
    overview.get_by_role("link", name="Decide 1 tied").wait_for()
    facts = overview.locator(".facts").all_inner_texts()
    assert any("75.0 %" in said and "Krippendorff" in said for said in facts)
    assert overview.get_by_role("cell", name="ben").is_visible()
    overview.get_by_role("link", name="Decide 1 tied").click()
    overview.wait_for_selector(".label-text")
    assert shown(overview) == "Ticket number 3"
    assert "anna: technical" in overview.locator(".reading").inner_text()
    press(overview, "1")
    overview.get_by_text("There is no tie to decide").wait_for()
    row = site.store.of(project).labelled.page(task.id, Asked(group="decided")).data[0]
    assert (row.label, row.decided_by, row.state) == ("billing", a, "done")
    # The table has what everybody said, and what was settled.
    sent = httpx.get(
        f"{site.url}/labelling/{task.id}/table.csv",
        cookies={"tunesmith_session": site.cookie(ben)},
    )
    lines = list(csv.DictReader(io.StringIO(sent.text)))
    assert lines[2] == {
        "text": "Ticket number 3", "label": "billing", "anna": "technical", "ben": "billing",
    }  # fmt: skip


def test_rows_are_found_changed_later_and_keep_their_history(visit, site):
    project = site.project("labelling rows")
    key, me = person(site, "anna", project)
    task = a_task(site, project, texts=5)
    labels = site.store.of(project).labels
    for label in ("billing", "delivery", "billing"):
        labels.answer(task.id, labels.hand_out(task.id, me).id, me, label)
    page = open_task(visit, task, key, "/rows")
    assert page.locator("tbody tr").count() == 3
    page.get_by_label("Label", exact=True).select_option("delivery")
    page.wait_for_url("**label=delivery*")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="Ticket number 2").click()
    page.get_by_label("Your label").select_option("technical")
    page.get_by_text("changed or taken back").wait_for()
    history = [
        row.split("\t")[:2] for row in page.locator("section:has(table) tbody tr").all_inner_texts()
    ]
    assert history == [["anna", "technical"], ["anna", "delivery"]]
    assert votes_of(site, project, task)["Ticket number 2"] == {me: "technical"}
    page.goto(f"{site.url}/labelling/{task.id}/rows?q=number+3")
    page.get_by_role("link", name="Ticket number 3").wait_for()
    assert page.locator("tbody tr").count() == 1


# --- tenants, roles, hostile texts ----------------------------------------------------------------


def test_another_project_finds_nothing_of_it(visit, site):
    project, other = site.project("labelling mine"), site.project("labelling other")
    key, me = person(site, "anna", project)
    task = a_task(site, project)
    row = site.store.of(project).labels.hand_out(task.id, me)
    stranger, _ = person(site, "eve", other)
    cookies = {"tunesmith_session": site.cookie(stranger)}
    places = ("", "/overview", "/rows", "/ties", f"/rows/{row.id}", "/table.csv")
    for place in places:
        sent = httpx.get(f"{site.url}/labelling/{task.id}{place}", cookies=cookies)
        assert sent.status_code == 404, place
        assert "Tickets" not in sent.text and "Ticket number" not in sent.text
    assert httpx.get(f"{site.url}/labelling/{task.id}").status_code == 303  # to the log-in page
    page = visit("/labelling", key=stranger)
    page.get_by_role("link", name="Label a table").wait_for()
    own = a_task(site, other)  # nor does an own task open another one's row
    sent = httpx.get(f"{site.url}/labelling/{own.id}/rows/{row.id}", cookies=cookies)
    assert sent.status_code == 404


def test_a_reader_looks_and_changes_nothing(visit, site):
    project = site.project("labelling reader")
    key, _ = person(site, "rita", project, role="reader")
    task = a_task(site, project)
    page = visit(f"/labelling/{task.id}", key=key)
    page.get_by_text("Votes wanted a row").wait_for()
    assert page.get_by_role("button", name="Delete this task").count() == 0
    assert page.get_by_role("button", name="Train with these").count() == 0
    headers = {"origin": site.url}
    cookies = {"tunesmith_session": site.cookie(key)}
    place = f"{site.url}/labelling/table?name=a.csv"
    sent = httpx.put(place, content=b"a,b\n1,2\n", headers=headers, cookies=cookies)
    assert sent.status_code == 403
    assert visit(f"/labelling/{task.id}/ties", key=key).locator(".label-text").count() == 0


def test_texts_labels_and_names_are_shown_as_text(visit, site):
    project = site.project("labelling hostile")
    key, me = person(site, HOSTILE, project)
    task = a_task(
        site, project, texts=[HOSTILE, "other"], labels=[HOSTILE, "b"], name=HOSTILE,
        guideline=HOSTILE, votes=2,
    )  # fmt: skip
    store = site.store.of(project)
    row = store.labels.hand_out(task.id, me)
    store.labels.answer(task.id, row.id, me, HOSTILE)
    store.labels.answer(task.id, row.id, "key_of_nobody", "b")
    for place in ("", "/ties", "/rows", f"/rows/{row.id}", "/overview"):
        page = open_task(visit, task, key, place)
        page.get_by_text(HOSTILE).first.wait_for(state="attached")
        assert page.locator("img").count() == 0
        assert page.title() != "hit"
    visit("/labelling", key=key).get_by_role("link", name=HOSTILE).wait_for()


def test_a_task_is_deleted_when_that_is_confirmed(visit, site):
    project = site.project("labelling deleted")
    key, _ = person(site, "anna", project)
    task = a_task(site, project)
    page = open_task(visit, task, key, "/overview")
    page.get_by_role("button", name="Delete this task").click()
    page.get_by_role("dialog").get_by_text("All 8 rows go").wait_for()
    page.get_by_role("button", name="Keep as it is").click()
    page.get_by_role("button", name="Delete this task").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url("**/labelling")
    assert site.store.of(project).labelling.get(task.id) is None


# --- the phone, the helper, large tables ----------------------------------------------------------


def test_on_a_phone_nothing_scrolls_sideways(visit, site):
    project = site.project("labelling phone")
    key, me = person(site, "anna", project)
    task = a_task(site, project, texts=["w" * 300, "short"])
    labels = site.store.of(project).labels
    labels.answer(task.id, labels.hand_out(task.id, me).id, me, "billing")
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    for place in ("", "/rows", "/overview"):
        page = open_task(visit, task, key, place, viewport={"width": 390, "height": 800})
        assert page.evaluate(wide) is False, place
    page = open_task(visit, task, key, viewport={"width": 390, "height": 800})
    page.get_by_role("button", name="technical").click()
    page.get_by_text("Every row is labelled").wait_for()


def test_agreement_is_that_of_prepare():
    draw = random.Random(0)
    votes = [
        (item, f"r{rater}", draw.choice("aab"), 1)
        for item in range(60)
        for rater in range(draw.randint(1, 5))
    ]
    ballots = pl.DataFrame(votes, schema=by_polars_schema(), orient="row")
    tally = {}
    for item, _, label, _ in votes:
        tally.setdefault(item, []).append(label)
    kinds = {}
    for labels in tally.values():
        for label in set(labels) if len(labels) > 1 else ():
            kind = (label, len(labels), labels.count(label))
            kinds[kind] = kinds.get(kind, 0) + 1
    found = agreement(
        [
            Likeness(label=label, size=size, alike=alike, num_rows=rows)
            for (label, size, alike), rows in kinds.items()
        ]
    )
    expected = by_polars.agreement(ballots)
    assert found.krippendorff_alpha == pytest.approx(expected.krippendorff_alpha)
    assert found.fleiss_kappa == pytest.approx(expected.fleiss_kappa)
    assert (found.num_rows, found.num_votes) == (expected.num_items, expected.num_ratings)
    assert agreement([]) is None
    same = [Likeness(label="a", size=2, alike=2, num_rows=3)]
    assert agreement(same).krippendorff_alpha is None


def by_polars_schema():
    from tunesmith.data.labels.ballots import BALLOTS

    return BALLOTS


def test_a_large_table_comes_in_some_rows_at_a_time(site, tmp_path, monkeypatch):
    store = site.store.of(site.project("labelling large"))
    table = tmp_path / "large.csv"
    lines = (f'{n},"text {n}\nsecond line",x' for n in range(5000))
    table.write_text("id,text,note\n" + "\n".join(lines))
    given = {"text_column": "text", "shown": ["note"], "labels": ["a", "b"]}
    task = store.labelling.create(LabellingTaskRow(key_id="k", name="large", **given))
    store.labelling.change(task.id, to="importing")
    sizes = []
    add_rows = store.labelling.add_rows
    monkeypatch.setattr(
        store.labelling,
        "add_rows",
        lambda id_, rows: (sizes.append(len(rows)), add_rows(id_, rows)),
    )
    reading.bring_in(store, {"path": str(table), "task": task.id})
    task = store.labelling.get(task.id)
    assert (task.state, task.num_rows, task.total) == ("ready", 5000, 5000)
    assert sizes == [4000, 1000]
    first = [store.labels.hand_out(task.id, f"p{n}").number for n in range(5)]
    assert first != sorted(first)  # in random order
    with ThreadPoolExecutor(4) as people:

        def label(who):
            for _ in range(10):
                row = store.labels.hand_out(task.id, who)
                store.labels.answer(task.id, row.id, who, "a")

        list(people.map(label, ["q1", "q2", "q3", "q4"]))
    assert store.labelling.get(task.id).num_done == 40


def test_rows_that_cannot_come_in_say_why(site, tmp_path):
    store = site.store.of(site.project("labelling failed"))
    table = tmp_path / "a.csv"
    table.write_text("text,note\na,b\nc,d\n")
    task = store.labelling.create(
        LabellingTaskRow(key_id="k", name="a", text_column="body", labels=["a", "b"])
    )
    store.labelling.change(task.id, to="importing")
    reading.bring_in(store, {"path": str(table), "task": task.id})
    task = store.labelling.get(task.id)
    assert task.state == "draft" and "no column 'body'" in task.error
    assert str(tmp_path) not in task.error


def test_spellings_of_a_label_are_one(tmp_path):
    table = tmp_path / "a.csv"
    kinds = ["Delivery", "delivery", "delivery", " DELIVERY ", "billing", "", "de livery"]
    table.write_text("text,kind\n" + "\n".join(f"t{n},{kind}" for n, kind in enumerate(kinds)))
    asked = {"path": str(table), "column": "kind", "most": 9}
    assert reading.labels(asked) == {"labels": ["delivery", "billing"]}
    assert "more than 1" in reading.labels({**asked, "most": 1})["error"]["what"]
