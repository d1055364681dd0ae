"""The conversations that a model which writes was scored on, with its answers.

Knows: the columns of its predictions. Does not know: the report, how answers are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.data.chat.spans import content_text
from tunesmith.data.reading import kept
from tunesmith.web.results.asking import PREDICTIONS
from tunesmith.web.results.labels import shortened

SCORES = (
    "exact_match", "json_match", "tool_call_match", "judge_score", "token_f1", "rouge_l", "chrf",
    "json_valid", "schema_match", "stops_by_itself",
)  # fmt: skip
RIGHT = ("tool_call_match", "json_match", "exact_match")
"""Scores that tell right from wrong, the one that fits best first."""
TEXTS = ("line", "messages", "right_answer", "right_calls", "worse_answer", "judge_reason")
ANSWER = ("answer", "calls", "finish_reason", "refused")
UNTUNED = "untuned_"

Asked = Mapping[str, Any]


def answers(asked: Asked) -> dict[str, Any]:
    """total, and from `offset` on `limit` of the rows that are asked for.

    main    the score that the verdict is about.
    show    all, wrong, better or worse (than the untuned model); search: in prompt or answers.
    """
    path = Path(asked["folder"]) / PREDICTIONS
    main, show = asked["main"], asked.get("show", "all")
    right = next((name for name in RIGHT if name in kept.names(path)), main)
    wanted = {main, right, UNTUNED + main, *(TEXTS if asked.get("search") else ()), "answer"}
    table = kept.columns(path, sorted(wanted))
    total = len(table["answer"])
    ours, theirs = (table.get(name) or [None] * total for name in (main, UNTUNED + main))
    is_right = [_is_right(score, right) for score in table.get(right) or [None] * total]
    found = [
        i
        for i in range(total)
        if _shows(show, is_right[i], ours[i], theirs[i]) and _holds(table, i, asked)
    ]
    found.sort(key=lambda i: 2.0 if ours[i] is None else ours[i])
    start = int(asked.get("offset", 0))
    shown = found[start : start + int(asked.get("limit", 10))]
    names = kept.names(path)
    picked = kept.columns(path, names, rows=shown)
    return {
        "total": len(found),
        "rows": [
            _row({name: picked[name][i] for name in picked}, is_right[number])
            for i, number in enumerate(shown)
        ],
        "has_untuned": UNTUNED + "answer" in names,
    }


def turns(messages: str) -> list[tuple[str, str]]:
    """(role, text) of each message of a conversation, which is given as JSON."""
    said = []
    for message in json.loads(messages):
        calls = _calls(json.dumps([c["function"] for c in message.get("tool_calls") or ()]))
        content = content_text(message.get("content"))
        said.append((str(message.get("role")), "\n".join(filter(None, (content, calls)))))
    return said


def _row(row: Mapping[str, Any], is_right: bool) -> dict[str, Any]:
    found = {
        "line": row.get("line"),
        "turns": [(role, shortened(text)) for role, text in turns(row["messages"])],
        "right_answer": _said(row, "right_answer", "right_calls"),
        "worse_answer": shortened(row.get("worse_answer")),
        "answer": _said(row, "answer", "calls"),
        "is_right": is_right,
        "ended": row.get("refused") or row.get("finish_reason"),
        "scores": {name: row[name] for name in SCORES if row.get(name) is not None},
        "judged": row.get("judge_reason") or "",
    }
    if row.get(f"{UNTUNED}answer") is not None:
        found["untuned"] = _said(row, f"{UNTUNED}answer", f"{UNTUNED}calls")
        found["untuned_scores"] = {
            name: row[UNTUNED + name] for name in SCORES if row.get(UNTUNED + name) is not None
        }
    return found


def _said(row: Mapping[str, Any], text: str, calls: str) -> str:
    return shortened("\n".join(filter(None, (row.get(text), _calls(row.get(calls))))))


def _calls(calls: str | None) -> str:
    return "\n".join(f"{c['name']}({c['arguments']})" for c in json.loads(calls or "[]"))


def _is_right(score: float | None, name: str) -> bool:
    """Whether the row counts as right: of scores without a line between, when nothing is amiss."""
    return score is not None and score >= (5 if name == "judge_score" else 1)


def _shows(show: str, is_right: bool, ours: float | None, theirs: float | None) -> bool:
    if show in ("wrong", "right"):
        return is_right == (show == "right")
    if show in ("better", "worse"):
        if ours is None or theirs is None:
            return False
        return ours > theirs if show == "better" else ours < theirs
    return True


def _holds(table: Mapping[str, list[Any]], i: int, asked: Asked) -> bool:
    search = (asked.get("search") or "").casefold()
    places = ("messages", "right_answer", "answer")
    return not search or any(search in (table[p][i] or "").casefold() for p in places)
