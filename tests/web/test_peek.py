"""The first rows of files, in a process of its own."""

import gzip
import json

import polars as pl
import pytest

from tunesmith.web import peek as module
from tunesmith.web.peek import peek

ROWS = "message,topic,id\n" + "".join(
    f"the {word} number {n} of my order is wrong,{label},{n}\n"
    for n in range(30)
    for word, label in (("bill", "billing"), ("parcel", "delivery"))
)


def test_the_columns_are_guessed_with_reasons(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    found = peek({"path": str(path)})
    assert found["columns"] == ["message", "topic", "id"]
    assert found["rows"][0] == ["the bill number 0 of my order is wrong", "billing", "0"]
    assert len(found["rows"]) == module.ROWS and found["lines"][0] == 2
    assert (found["guess"]["text"], found["guess"]["label"]) == ("message", "topic")
    assert found["task"] == "classify" and found["is_whole"]
    assert {r["what"] for r in found["reasons"]} == {"text column", "label column"}
    json.dumps(found)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl"])
def test_of_a_large_text_file_the_head_is_read(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(module, "HEAD_BYTES", 500)
    path = tmp_path / f"rows{ending}"
    content = ROWS
    if ending == ".jsonl":
        names, *lines = ROWS.splitlines()
        rows = [dict(zip(names.split(","), line.split(","), strict=True)) for line in lines]
        content = "".join(json.dumps(row) + "\n" for row in rows)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    found = peek({"path": str(path)})
    assert not found["is_whole"] and found["num_rows"] < 20
    assert found["columns"] == ["message", "topic", "id"]


def test_parquet_is_read_too(tmp_path):
    path = tmp_path / "rows.parquet"
    pl.read_csv(ROWS.encode()).write_parquet(path)
    assert peek({"path": str(path)})["columns"] == ["message", "topic", "id"]


def test_chat_data_is_recognised(tmp_path):
    path = tmp_path / "chat.jsonl"
    lines = [{"prompt": f"What is {n}?", "completion": f"A number, {n}."} for n in range(9)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = peek({"path": str(path)})
    assert found["task"] == "chat" and found["reasons"][0]["what"] == "shape"


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\x03" * 50, b"PK\x03\x04 no zip", b"a,b\n"])
def test_what_is_no_table_is_told_by_its_name_only(tmp_path, content):
    path = tmp_path / "secret-folder" / "rows.csv"
    path.parent.mkdir()
    path.write_bytes(content)
    error = peek({"path": str(path)})["error"]
    assert error["what"] and "secret-folder" not in error["what"]


def test_where_nothing_can_be_guessed_the_columns_are_shown(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n" + "".join(f"{n},{n % 2},{n % 3}\n" for n in range(12)))
    found = peek({"path": str(path)})
    assert found["columns"] == ["a", "b", "c"] and found["guess_error"]["what"]
