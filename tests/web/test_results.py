"""What finished runs have left, asked of a process; decisions about rows, kept and undone."""

import asyncio
import csv
import io
import json
import subprocess
import sys

import pytest
from finished_runs import HOSTILE, chat_run, label_rows, label_run

from tunesmith.data.labels import review
from tunesmith.web.results import reviews
from tunesmith.web.results.asking import Unanswered, ask, pieces
from tunesmith.web.results.reviews import DROP, Row


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return label_run(tmp_path_factory.mktemp("runs") / "three", label_rows(3, 60), errors=0.1)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return label_run(tmp_path_factory.mktemp("runs") / "other", label_rows(3, 60), errors=0.5)


@pytest.fixture(scope="module")
def writing(tmp_path_factory):
    return chat_run(tmp_path_factory.mktemp("runs") / "notes")


def told(*questions):
    return asyncio.run(ask(*questions))


def test_a_run_of_labels_is_read_in_one_go(run):
    report, rows, sure, suspects = told(
        {"what": "report", "folder": str(run)},
        {"what": "rows", "folder": str(run), "show": "wrong", "limit": 3},
        {"what": "sureness", "folder": str(run)},
        {"what": "suspects", "folder": str(run), "review": "05-evaluate/review.csv"},
    )
    result = json.loads((run / "05-evaluate" / "result.json").read_text())
    assert report["kind"] == "labels" and report["file"] == "topics.csv"
    assert sum(n for _, _, n in report["cells"]) == report["num_examples"]
    wrong = sum(n for i, j, n in report["cells"] if i != j)
    assert rows["total"] == wrong and len(rows["rows"]) == min(3, wrong)
    worst = [row["gold_probability"] for row in rows["rows"]]
    assert worst == sorted(worst) and all(row["gold"] != row["predicted"] for row in rows["rows"])
    assert str(rows["rows"][0]["row"]) in report["nearest"]
    first, *_ = sure["points"]
    assert first[:3] == [0.0, report["num_examples"], report["num_examples"] - wrong]
    assert first[2] / first[1] == pytest.approx(result["metrics"]["accuracy"])
    assert suspects["num_open"] > 0 and suspects["num_decided"] == 0
    assert "mistakes" not in report and "flips" not in report["baselines"][0]


def test_rows_are_found_by_label_answer_and_text(run):
    report, every = told(
        {"what": "report", "folder": str(run)},
        {"what": "rows", "folder": str(run), "limit": 1000, "order": "line"},
    )
    assert every["total"] == len(every["rows"]) == report["num_examples"]
    assert [r["line"] for r in every["rows"]] == sorted(r["line"] for r in every["rows"])
    gold, answer, number = next(
        (report["labels"][i], report["labels"][j], n) for i, j, n in report["cells"] if i != j
    )
    cell = {"what": "rows", "folder": str(run), "gold": gold, "predicted": answer}
    found, page, right, held = told(
        cell,
        {**cell, "offset": number - 1, "limit": 5},
        {"what": "rows", "folder": str(run), "gold": gold, "show": "right"},
        {"what": "rows", "folder": str(run), "search": "ONERROR="},
    )
    assert found["total"] == number and len(page["rows"]) == 1
    assert {r["predicted"] for r in right["rows"]} == {gold}
    assert held["total"] and all(HOSTILE in r["text"] for r in held["rows"])


def test_two_runs_are_told_apart_on_the_rows_of_both(run, other):
    broken, mended = told(
        {"what": "against", "folder": str(run), "other": str(other), "list": "broken"},
        {"what": "against", "folder": str(run), "other": str(other), "list": "mended", "limit": 2},
    )
    assert broken["num_rows"] == broken["num_ours"] and broken["num_relabelled"] == 0
    assert len(broken["rows"]) == broken["num_broken"] < broken["num_mended"]
    assert broken["comparison"]["verdict"] == "better"
    for row in mended["rows"]:
        assert row["predicted"] == row["gold"] != row["theirs"]
    (both,) = told({"what": "compare", "folders": [str(other), str(run)]})
    (duel,) = both["duels"]
    assert duel["num_mended"] == broken["num_mended"] and duel["verdict"] == "better"
    assert duel["gain"] == pytest.approx(broken["comparison"]["gain"])
    assert both["models"][1]["metrics"]["accuracy"] > both["models"][0]["metrics"]["accuracy"]


def test_runs_without_a_row_or_a_score_in_common_are_refused(run, writing, tmp_path):
    stranger = label_run(tmp_path / "stranger", label_rows(3, 30, seed=5))
    with pytest.raises(Unanswered, match="No row was held out by all"):
        told({"what": "against", "folder": str(run), "other": str(stranger)})
    with pytest.raises(Unanswered, match="no score in common"):
        told({"what": "compare", "folders": [str(run), str(writing)]})
    with pytest.raises(Unanswered, match="not been evaluated yet"):
        told({"what": "report", "folder": str(tmp_path)})


def test_written_answers_stand_beside_the_untuned_ones(writing):
    (report,) = told({"what": "report", "folder": str(writing)})
    assert report["kind"] == "written" and report["main"] == "json_match"
    asked = {"what": "answers", "folder": str(writing), "main": "json_match", "limit": 100}
    every, wrong, better, worse, held = told(
        asked,
        *({**asked, "show": show} for show in ("wrong", "better", "worse")),
        {**asked, "search": "order a1037?"},
    )
    assert every["total"] == report["num_examples"] and every["has_untuned"]
    assert 0 < wrong["total"] < every["total"] and not any(r["is_right"] for r in wrong["rows"])
    assert better["total"] == every["total"] - wrong["total"] and worse["total"] == 0
    row = better["rows"][0]
    assert row["answer"] == row["right_answer"] != row["untuned"]
    assert row["turns"][0][0] == "user" and row["turns"][0][1].startswith(HOSTILE)
    assert held["total"] <= 1
    (both,) = told({"what": "compare", "folders": [str(writing)] * 2, "main": "json_match"})
    assert both["kind"] == "written" and both["duels"][0]["verdict"] == "undecided"


def test_predictions_come_as_csv(run, writing):
    async def read(folder):
        parts = [piece async for piece in pieces({"what": "csv", "folder": str(folder)})]
        return list(csv.DictReader(io.StringIO(b"".join(parts).decode())))

    rows = asyncio.run(read(run))
    (report,) = told({"what": "report", "folder": str(run)})
    assert len(rows) == report["num_examples"]
    right = sum(row["label"] == row["predicted"] for row in rows) / len(rows)
    assert right == pytest.approx(report["metrics"]["accuracy"])
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    answers = asyncio.run(read(writing))
    assert {"messages", "right_answer", "answer", "untuned_answer"} <= set(answers[0])


# --- decisions ------------------------------------------------------------------------------------


def row(line, decision="", before=""):
    return Row(file="t.csv", line=line, text=f"text {line}", label="a",
               decision=decision, before=before)  # fmt: skip


def test_decisions_are_kept_and_undone_act_by_act(tmp_path):
    reviews.decide(tmp_path, [row(2, "b"), row(3, DROP)], by="ann")
    reviews.decide(tmp_path, [row(2, "c")], by="bob")
    assert reviews.load(tmp_path).decided == {("t.csv", 2): "c", ("t.csv", 3): DROP}
    assert reviews.undo(tmp_path, by="bob")[0].decision == "b"
    assert reviews.undo(tmp_path, by="bob") == []
    assert {r.line: r.decision for r in reviews.undo(tmp_path, by="ann")} == {2: "", 3: ""}
    assert reviews.load(tmp_path).decided == {("t.csv", 2): "", ("t.csv", 3): ""}


def test_an_earlier_decision_comes_back(tmp_path):
    reviews.decide(tmp_path, [row(2, "b", before="c")], by="ann")
    assert reviews.undo(tmp_path, by="ann")[0].decision == "c"


def test_half_an_act_is_none(tmp_path):
    reviews.decide(tmp_path, [row(2, "b")], by="ann")
    with (tmp_path / reviews.LOG).open("ab") as file:
        file.write(b'{"by": "ann", "rows": [{"fi')
    reviews.decide(tmp_path, [row(3, "b")], by="ann")
    assert reviews.load(tmp_path).decided == {("t.csv", 2): "b", ("t.csv", 3): "b"}


def test_what_is_written_is_what_prepare_reads(tmp_path):
    place = tmp_path / "review.csv"
    text = 'two\nlines, "quoted"'
    reviews.write([Row(file="t.csv", line=2, text=text, label="a", decision=DROP)], place)
    (said,) = csv.DictReader(io.StringIO(place.read_text()))
    assert said == {"file": "t.csv", "line": "2", "text": text, "label": "a", "decision": DROP}
    assert DROP == review.DROP


def test_the_server_loads_no_tables(tmp_path):
    code = (
        "import sys, tunesmith.web.pages.result, tunesmith.web.pages.compare;"
        "import tunesmith.web.results.downloads;"
        "assert not {'polars', 'scipy', 'torch'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
