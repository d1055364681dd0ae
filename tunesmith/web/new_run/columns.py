"""The first rows of the file, and which column is what: guessed with reasons, and changeable."""

from __future__ import annotations

from typing import Any

from tunesmith.web.controls import choice_field, details, grid, notice, table, tag, text
from tunesmith.web.drafts import in_words
from tunesmith.web.new_run.form import Form

TASKS = {"classify": "labels of texts", "chat": "answers", "preference": "better answers"}
WIDEST = 12
"""Columns that are shown."""


def show(form: Form) -> None:
    """The part, once the first rows are known."""
    peeked = form.peeked
    if "error" in peeked:
        _broken(peeked["error"])
        return
    _choices(form)
    _first_rows(peeked)
    if reasons := [*peeked["reasons"], *peeked["decisions"]]:
        with details("Why it was read like this"):
            reasons_list(reasons)


def _broken(error: dict[str, str]) -> None:
    notice(in_words(error["what"]), "bad", title="This file cannot be read")
    if error["fix"]:
        text(in_words(error["fix"]))
    text("Then drop it above once more, or drop another one.", "quiet")


def _choices(form: Form) -> None:
    peeked, asked = form.peeked, form.asked.prepare
    guess, columns = peeked.get("guess") or {}, {name: name for name in peeked["columns"]}
    if wrong := peeked.get("guess_error"):
        notice(f"{in_words(wrong['what'])} {in_words(wrong['fix'])}".strip(), "warn")
    with grid():
        seen = TASKS.get(peeked["task"], "")
        tasks = {
            "auto": f"As seen in the file: {seen}",
            "classify": "Labels of texts",
            "chat": "Answers, from examples of them",
        }
        choice_field(
            "What the model learns", tasks, asked.task,
            lambda value: form.change({"prepare": {"task": value}}, by="columns"),
        )  # fmt: skip
        if peeked["task"] == "classify" or asked.task == "classify":
            _column(form, "text", "Text", _shown(guess.get("text")), columns)
            labels = guess.get("annotators") or guess.get("votes") or []
            said = f"most votes of {', '.join(labels)}" if labels else _shown(guess.get("label"))
            _column(form, "label", "Label", said, columns)


def _column(form: Form, name: str, label: str, guessed: str, columns: dict[str, str]) -> None:
    now = getattr(form.asked.prepare, name) or ""
    options = {"": f"As guessed: {guessed}" if guessed else "Please choose", **columns}
    if now and now not in options:
        options[now] = now
    choice_field(
        f"Column with the {label.lower()}", options, now,
        lambda value: form.change({"prepare": {name: value or None}}, by="columns"),
    )  # fmt: skip


def _shown(column: Any) -> str:
    """A column, or a template such as "{subject}\\n\\n{body}", in words."""
    if not column:
        return ""
    parts = [part.strip() for part in str(column).split("\n\n")]
    return " and ".join(part.strip("{}") for part in parts)


def _first_rows(peeked: dict[str, Any]) -> None:
    head = peeked["columns"][:WIDEST]
    rows = [
        [f"{line:,}", *cells[:WIDEST]]
        for line, cells in zip(peeked["lines"], peeked["rows"], strict=True)
    ]
    table(("Line", *head), rows, caption="The first rows of the file", kind="wide")
    more = len(peeked["columns"]) - WIDEST
    if more > 0:
        text(
            f"{more:,} more columns are not shown here; they are there all the same.", "quiet small"
        )


def reasons_list(reasons: list[dict[str, Any]]) -> None:
    """Choices with their reasons."""
    with tag("dl", kind="reasons"):
        for reason in reasons:
            with tag("div"):
                with tag("dt", f"{reason['what'][:1].upper()}{reason['what'][1:]}: "):
                    tag("span", in_words(str(reason["value"])))
                tag("dd", in_words(str(reason["reason"])))
