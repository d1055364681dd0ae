"""A table as requests of batches, and their answers as a table again: row by row, never whole.

A request's custom_id is its row's number. Does not know: who sends the requests.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from tunesmith.web.asking.request import How, body
from tunesmith.web.tables import scan
from tunesmith.web.tables.form import Row, Rows, load, said

INDEX = "index"
PREDICTIONS = "predictions.csv"
ENDPOINT = "/v1/chat/completions"
MOST_LINES, MOST_BYTES = 50_000, 150_000_000
"""Of one batch."""
MOST_TOLD = 100
"""Rows with an error that are told one by one."""
NO_TEXT = "There is no text in this row."
NOT_ASKED = "It was not asked: the batch ended before."


def write_requests(source: Path, folder: Path, ask: Mapping[str, Any]) -> dict[str, Any]:
    """Write the requests of all rows with a text to `folder`, in files for a batch each.

    ask  model, answers, column, how: as `request.body` takes them.
    The number of rows, and of each file its name, its last row, and how many requests it has.
    Raises: OSError.
    """
    form = scan.index(source, folder / INDEX)
    rows = Rows(folder / INDEX, form)
    parts: list[dict[str, Any]] = []
    lines = _lines(rows.after(0), ask)
    line = next(lines, None)
    while line is not None:
        name = f"requests-{len(parts)}.jsonl"
        part: dict[str, Any] = {"name": name, "requests": 0, "last": 0}
        with (folder / name).open("w", encoding="utf-8") as file:
            while line is not None and part["requests"] < MOST_LINES and file.tell() < MOST_BYTES:
                number, text = line
                file.write(text)
                part |= {"requests": part["requests"] + 1, "last": number}
                line = next(lines, None)
        parts.append(part)
    return {"rows": form.count, "parts": parts}


def _lines(rows: Iterator[Row], ask: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Number and request of every row that has a text."""
    how = How(**ask["how"])
    for row in rows:
        text = said(row.values.get(ask["column"]))
        if not text.strip():
            continue
        asked = body(ask["model"], ask["answers"], [{"role": "user", "content": text}], how)
        asked.pop("stream", None)
        asked.pop("top_logprobs", None)
        request = {"custom_id": str(row.number), "method": "POST", "url": ENDPOINT, "body": asked}
        yield row.number, json.dumps(request, ensure_ascii=False) + "\n"


def write_answers(folder: Path, column: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write predictions.csv: the table with the answers beside its columns.

    column  the one that was asked about.
    parts   of each batch its `last` row, and `answers`: files of answers, as batches give them.
    How many rows were answered and failed, and of the first that failed: row, line, what.
    Raises: OSError.
    """
    form = load(folder / INDEX)
    assert form is not None
    counts, errors = {"answered": 0, "failed": 0}, list[dict[str, Any]]()
    waiting, last = iter(parts), 0
    known: dict[int, tuple[str, str, str]] = {}
    draft = folder / f".{PREDICTIONS}"
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*form.columns, *_answer_columns(form.columns)])
        for row in Rows(folder / INDEX, form).after(0):
            while row.number > last and (part := next(waiting, None)):
                known, last = _read(part), part["last"]
            is_blank = not said(row.values.get(column)).strip()
            missing = ("", "", NO_TEXT if is_blank else NOT_ASKED)
            answer, probability, error = known.get(row.number, missing)
            counts["failed" if error else "answered"] += 1
            if error and len(errors) < MOST_TOLD:
                errors.append({"row": row.number, "line": row.line, "what": error})
            values = [said(row.values.get(name)) for name in form.columns]
            writer.writerow([*values, answer, probability, error])
    draft.replace(folder / PREDICTIONS)
    return {**counts, "errors": errors}


def _read(part: Mapping[str, Any]) -> dict[int, tuple[str, str, str]]:
    """Row → answer, probability and error, of one batch."""
    found: dict[int, tuple[str, str, str]] = {}
    with ExitStack() as stack:
        files: list[TextIO] = [
            stack.enter_context(Path(name).open(encoding="utf-8")) for name in part["answers"]
        ]
        for file in files:
            for line in file:
                answer = json.loads(line)
                found[int(answer["custom_id"])] = _answer(answer)
    return found


def _answer(given: Mapping[str, Any]) -> tuple[str, str, str]:
    """Answer, probability and error of one request."""
    response = given.get("response")
    if response is None:
        return "", "", str((given.get("error") or {}).get("message") or NOT_ASKED)
    content = response.get("body") or {}
    if response["status_code"] >= 300:
        return "", "", str((content.get("error") or {}).get("message") or "The server failed.")
    choice = content["choices"][0]
    tokens = (choice.get("logprobs") or {}).get("content") or []
    probability = f"{math.exp(tokens[0]['logprob']):.4f}" if len(tokens) == 1 else ""
    return str(choice["message"]["content"] or ""), probability, ""


def _answer_columns(names: Sequence[str]) -> list[str]:
    """Names for the columns of answers that no column has yet."""
    found = []
    for name in ("prediction", "probability", "error"):
        free = (f"{name}_{n}" if n > 1 else name for n in range(1, len(names) + 3))
        found.append(next(one for one in free if one not in names))
    return found
