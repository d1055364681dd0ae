"""A table as requests, and answers as a table again."""

import csv
import json
import math

import pytest

from tunesmith.web.many import table

ASK = {"model": "m", "answers": "labels", "column": "text", "how": {}}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f'"text {n}, so",{n},{"kept" * (n % 2)}' for n in range(1, 26)]
    rows[4] = ' ,5,"<img src=x>"'
    path.write_text("\n".join(["text,id,error", *rows, '"",26,', "last,27,"]) + "\n")
    return path


def answered(number, *, status=200, message=None, logprob=None):
    if message:
        response = {"status_code": status, "body": {"error": {"message": message}}}
    else:
        logprobs = None if logprob is None else {"content": [{"logprob": logprob}]}
        choice = {"message": {"content": f"says {number}"}, "logprobs": logprobs}
        response = {"status_code": 200, "body": {"choices": [choice]}}
    return {"custom_id": str(number), "response": response, "error": None}


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_every_row_with_a_text_becomes_a_request(source, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "MOST_LINES", 10)
    found = table.write_requests(source, tmp_path, ASK)
    assert found["rows"] == 27
    assert [part["requests"] for part in found["parts"]] == [10, 10, 5]
    assert [part["last"] for part in found["parts"]] == [11, 21, 27]
    lines = [
        json.loads(line)
        for part in found["parts"]
        for line in (tmp_path / part["name"]).read_text().splitlines()
    ]
    assert [line["custom_id"] for line in lines] == [
        str(n) for n in range(1, 28) if n not in (5, 26)
    ]
    assert lines[0]["url"] == "/v1/chat/completions" and lines[0]["method"] == "POST"
    message = {"role": "user", "content": "text 1, so"}
    assert lines[0]["body"] == {"model": "m", "messages": [message], "logprobs": True}


def test_a_model_that_writes_is_told_how_and_streams_nothing(source, tmp_path):
    how = {"system": "Be brief.", "temperature": 0.0, "max_tokens": 9}
    table.write_requests(source, tmp_path, {**ASK, "answers": "text", "how": how})
    body = json.loads((tmp_path / "requests-0.jsonl").read_text().splitlines()[0])["body"]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["max_tokens"], body["temperature"]) == (9, 0.0) and "stream" not in body


def test_answers_stand_beside_their_rows(source, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "MOST_LINES", 10)
    parts = table.write_requests(source, tmp_path, ASK)["parts"]
    log = math.log(0.75)
    first = write(tmp_path / "o0", [answered(n, logprob=log) for n in (11, 1, 2, 3, 4, 6)])
    wrong = write(tmp_path / "e0", [answered(7, status=400, message="Too long.")])
    gone = {"custom_id": "13", "response": None, "error": {"message": "Cancelled before."}}
    second = write(tmp_path / "o1", [gone, *(answered(n) for n in range(14, 22))])
    files = [[first, wrong], [second], []]
    given = [{"last": p["last"], "answers": a} for p, a in zip(parts, files, strict=True)]
    told = table.write_answers(tmp_path, "text", given)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["text", "id", "error", "prediction", "probability", "error_2"]
    assert [row["id"] for row in rows] == [str(n) for n in range(1, 28)]
    assert (rows[0]["prediction"], rows[0]["probability"]) == ("says 1", "0.7500")
    assert (rows[13]["prediction"], rows[13]["probability"]) == ("says 14", "")
    assert rows[0]["error"] == "kept" and rows[4]["error"] == "<img src=x>"
    assert rows[6]["error_2"] == "Too long." and rows[12]["error_2"] == "Cancelled before."
    assert rows[4]["error_2"] == rows[25]["error_2"] == table.NO_TEXT
    assert rows[7]["error_2"] == rows[26]["error_2"] == table.NOT_ASKED
    assert told["answered"] == 14 and told["failed"] == 13
    assert told["errors"][0] == {"row": 5, "line": 6, "what": table.NO_TEXT}
