"""Recognises chat and preference data in a table, and says by what.

Knows: how such tables name their columns and what is in them.
Does not know: how one conversation is spelled, how a row becomes an example, files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from tunesmith.data.chat.conversations import transcript, turns
from tunesmith.data.findings import counted, percent
from tunesmith.data.reading.table import Table
from tunesmith.errors import DataError

PROMPT_NAMES = (
    "prompt", "instruction", "question", "query", "input", "user", "human", "request",
)  # fmt: skip
ANSWER_NAMES = (
    "completion", "response", "answer", "output", "reply", "assistant", "target", "gpt",
)  # fmt: skip
CONVERSATION_NAMES = (
    "messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns",
)  # fmt: skip
SYSTEM_NAMES = ("system", "system_prompt", "system_message")
LABEL_NAMES = ("label", "labels", "class", "target", "sentiment", "kto_tag")
TEXT_NAMES = ("text", "content", "document")
PAIRS_OF_ANSWERS = (
    ("preferred_output", "non_preferred_output"),
    ("preferred_completion", "non_preferred_completion"),
    ("chosen", "rejected"),
    ("response_chosen", "response_rejected"),
)

MOST_LABELS = 200
LONGEST_LABEL = 60  # characters, on average
ENOUGH = 0.5  # of the rows must hold a shape for the table to have it
NEARLY_ALL = 0.95  # of the texts must hold a mark for it to separate prompts from answers
_MARKS = (
    "\nA:", "\nAnswer:", "\n### Response:", "\n### Answer:", "\nAssistant:", "\nSQL:",
    "\nOutput:", "\nSummary:", "\nTL;DR:",
)  # fmt: skip
_BESIDE_TEXT = {"id", "idx", "index", "uuid", "url", "timestamp", "meta", "metadata"}
_SAMPLE, _PARSED = 20_000, 200  # cells looked at, and cells parsed, spread over the table

Kind = Literal["chat", "preference", "text"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which chat shape a table has.

    name     openai messages, sharegpt, prompt/completion, alpaca, preference pairs, text.
    kind     chat and text are for supervised training, preference for DPO. Examples of kind text
             are pairs of an empty prompt and the text as completion.
    reason   a sentence fragment that says why.
    columns  part (messages, prompt, context, answer, text, chosen, rejected, system, tools,
             history) → name of the column that holds it.
    mark     in a text with prompt and answer, what stands between them; else empty.
    """

    name: str
    kind: Kind
    reason: str
    columns: Mapping[str, str]
    mark: str = ""


def recognise(table: Table) -> Shape | None:
    """The chat shape of a table, from its content; None for a table to be classified.

    Prompt and answer columns make chat data unless the answers look like labels: 2 to 200
    different ones, each on two rows or more on average, and 60 characters or fewer on average.
    A column named label, class, target or sentiment that holds labels in this sense makes it a
    table to be classified, whatever stands beside it.
    Raises: DataError for answers that are only marked good or bad.
    """
    looked = _Looked(table)
    found = [_preference(looked), _conversations(looked), _pairs(looked), _text(looked)]
    shapes = [shape for shape in found if shape and looked.coverage(shape) >= ENOUGH]
    if not shapes:
        return None
    shape = max(shapes, key=looked.coverage)
    if shape.kind == "preference" or not (label := _label_column(looked, shape)):
        return shape
    values = set(looked.sample(label).str.to_lowercase())
    if values <= {"true", "false"} and shape.columns.get("answer", "completion") == "completion":
        raise DataError(
            f"The answers are only marked good or bad in {label!r}; no method trains on that yet.",
            fix="Keep the rows whose answer is good, or make pairs of a good and a bad answer to "
            "one prompt (columns prompt, chosen, rejected).",
            path=table.path,
        )
    return None


class _Looked:
    """A table being looked at: its usable rows, blank cells null; names in lower case → columns."""

    def __init__(self, table: Table) -> None:
        rows = table.columns.filter(table.fates.is_null())
        self.rows = rows.select(filled(name) for name in rows.columns)
        self.names = {name.strip().lower(): name for name in reversed(rows.columns)}

    def first(self, candidates: Sequence[str], *, but: Sequence[str] = ()) -> str:
        """The column with the first of the names; empty when there is none."""
        there = (self.names[name] for name in candidates if name in self.names)
        return next((name for name in there if name not in but), "")

    def sample(self, column: str, size: int = _SAMPLE) -> pl.Series:
        """Some filled cells, spread over the whole column."""
        filled = self.rows[column].drop_nulls()
        return filled.gather_every(max(1, len(filled) // size))

    def coverage(self, shape: Shape) -> float:
        """Share of the rows that have all the shape needs."""
        parts = ("messages", "answer", "text", "chosen", "rejected")
        needed = [pl.col(shape.columns[p]).is_not_null() for p in parts if p in shape.columns]
        share = self.rows.select(pl.all_horizontal(needed).mean()).item()
        return float(share or 0)

    def extras(self, prompt: str) -> dict[str, str]:
        """Columns that go with a prompt: what it is about, and the system's message."""
        context = [name for name in ("input", "context") if self.names.get(name) != prompt]
        return self.optional(
            ("context", context), ("system", SYSTEM_NAMES), ("tools", ("tools", "functions"))
        )

    def optional(self, *parts: tuple[str, Sequence[str]]) -> dict[str, str]:
        """Part → column, for those parts that there is a filled column for."""
        found = {part: self.first(names) for part, names in parts}
        return {part: name for part, name in found.items() if name and len(self.sample(name, 1))}


def _preference(looked: _Looked) -> Shape | None:
    names = next((pair for pair in PAIRS_OF_ANSWERS if set(pair) <= looked.names.keys()), None)
    if not names:
        return None
    chosen, rejected = (looked.names[name] for name in names)
    prompt = looked.first((*PROMPT_NAMES, *CONVERSATION_NAMES))
    whole = [
        len(turns(cell) or transcript(cell) or ()) > 1 for cell in looked.sample(chosen, _PARSED)
    ]
    if not prompt and sum(whole) < ENOUGH * max(len(whole), 1):
        return None
    columns = {"prompt": prompt} if prompt else {}
    columns |= {"chosen": chosen, "rejected": rejected, **looked.extras(prompt)}
    reason = f"{chosen!r} and {rejected!r} hold the better and the worse answer"
    if prompt:
        reason += f" to {prompt!r}"
    return Shape(name="preference pairs", kind="preference", reason=reason, columns=columns)


def _conversations(looked: _Looked) -> Shape | None:
    """The first column, those with the usual names before others, that holds lists of turns."""
    usual = [looked.names[name] for name in CONVERSATION_NAMES if name in looked.names]
    for column in dict.fromkeys((*usual, *looked.rows.columns)):
        cells = looked.sample(column, _PARSED)
        if not cells.str.strip_chars_start().str.starts_with("[").mean():
            continue
        held = [listed for cell in cells if (listed := turns(cell))]
        if len(held) < ENOUGH * len(cells):
            continue
        is_sharegpt = sum("from" in listed[0] for listed in held) * 2 > len(held)
        keys = "from and value" if is_sharegpt else "role and content"
        share = f"{percent(len(held) / len(cells))} of {counted(len(cells), 'cell')} looked at"
        return Shape(
            name="sharegpt" if is_sharegpt else "openai messages",
            kind="chat",
            reason=f"{column!r} holds lists of turns with {keys} in {share}",
            columns={
                "messages": column,
                **looked.optional(("system", SYSTEM_NAMES), ("tools", ("tools", "functions"))),
            },
        )
    return None


def _pairs(looked: _Looked) -> Shape | None:
    """Columns with prompts and answers, unless the answers look like labels."""
    prompt = looked.first(PROMPT_NAMES)
    answer = looked.first(ANSWER_NAMES, but=[prompt])
    if not prompt or not answer:
        return None
    worded = looked.sample(prompt).str.contains(r"\p{L}").mean()
    answers = looked.sample(answer)
    is_worded = isinstance(worded, float) and worded >= ENOUGH
    if not is_worded or answers.is_empty() or _are_labels(answers):
        return None
    columns = {"prompt": prompt, "answer": answer, **looked.extras(prompt)}
    columns |= looked.optional(("history", ("history",)))
    alpaca = prompt.strip().lower() == "instruction" and answer.strip().lower() == "output"
    different = percent(answers.n_unique() / len(answers))
    why = f"{prompt!r} and {answer!r} hold prompts and answers, {different} of these different"
    why += f" and {_mean(answers.str.len_chars()):,.0f} characters long on average"
    if "context" in columns:
        why += f"; {columns['context']!r} is put below the prompt after a blank line"
    name = "alpaca" if alpaca else "prompt/completion"
    return Shape(name=name, kind="chat", reason=why, columns=columns)


def _text(looked: _Looked) -> Shape | None:
    """A column of texts with nothing to tell them apart by, perhaps with a mark in each."""
    column = looked.first(TEXT_NAMES)
    if not column or {n for n in looked.names if looked.names[n] != column} - _BESIDE_TEXT:
        return None
    texts = looked.sample(column)
    for mark in _MARKS:
        share = _mean(texts.str.contains(mark, literal=True))
        if share >= NEARLY_ALL:
            reason = f"{percent(share)} of the texts hold {mark.strip()!r}: what comes before the "
            reason += "last one and the mark itself is the prompt, what follows the answer"
            return Shape(
                name="text", kind="chat", reason=reason, columns={"text": column}, mark=mark
            )
    reason = f"{column!r} is the only column, and no mark parts prompts from answers in it"
    return Shape(name="text", kind="text", reason=reason, columns={"text": column})


def _label_column(looked: _Looked, shape: Shape) -> str:
    """A column that says by its name and its content that it holds labels; empty without one."""
    column = looked.first(LABEL_NAMES, but=list(shape.columns.values()))
    return column if column and _are_labels(looked.sample(column)) else ""


def _are_labels(values: pl.Series) -> bool:
    """Few values, each on several rows, and short; see `recognise`."""
    num_unique = values.n_unique()
    few = 2 <= num_unique <= MOST_LABELS and num_unique * 2 <= len(values)
    return few and _mean(values.str.len_chars()) <= LONGEST_LABEL


def filled(column: str) -> pl.Expr:
    """A column's cells, null for blank ones."""
    return blank_as_null(pl.col(column))


def blank_as_null(text: pl.Expr) -> pl.Expr:
    """Texts, null for those of white space only."""
    return pl.when(text.str.strip_chars() != "").then(text)


def _mean(series: pl.Series) -> float:
    mean = series.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0
