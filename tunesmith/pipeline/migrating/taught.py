"""What a fine-tuning file teaches: to give one of a few labels, to write, or to prefer.

Reads a file once, line by line, without holding it.
Does not know: jobs, base models, how a file is trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunesmith.data.chat.files import prompt_text
from tunesmith.data.chat.rules import faults, num_images, parse
from tunesmith.data.chat.spans import PREFERRED, content_text
from tunesmith.errors import storage_errors

Task = Literal["classify", "chat", "preference", "completions"]

MOST_LABELS, LONGEST_LABEL = 200, 60
"""More different answers, or longer ones (in characters), are written text and no labels."""
FEWEST_PER_LABEL = 4
"""Examples for each different answer, on average."""
LONG_SYSTEM = 60
"""Words of a system message from which on it takes room that an encoder needs for the text."""


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What a file teaches.

    reason         why it is taken for that, in a phrase.
    labels         answer → examples with different prompts; of classification.
    system         the system message of all examples; empty: they differ, or have none.
    longest        characters of the longest example.
    num_broken     lines that break a rule of OpenAI's.
    has_images     whether there are pictures, which models of text cannot learn from.
    """

    task: Task
    reason: str
    num_examples: int
    labels: Mapping[str, int] = field(default_factory=dict)
    system: str = ""
    longest: int = 0
    num_broken: int = 0
    has_images: bool = False


@dataclass(kw_only=True)
class _Counts:
    """What is gathered line by line."""

    num_examples: int = 0
    num_broken: int = 0
    num_pairs: int = 0
    num_preferences: int = 0
    longest: int = 0
    has_images: bool = False
    systems: set[str] = field(default_factory=set)
    labels: dict[str, set[int]] = field(default_factory=dict)
    """Answer → hashes of its prompts, as long as the answers look like labels."""
    why_written: str = ""

    def add(self, line: bytes) -> None:
        self.num_examples += 1
        self.longest = max(self.longest, len(line))
        example = parse(line)
        if isinstance(example, dict) and "completion" in example:
            self.num_pairs += 1
        elif isinstance(example, dict) and "input" in example:
            self.num_preferences += any(name in example for name in PREFERRED)
        elif next(faults(example), None):
            self.num_broken += 1
        else:
            self._chat(example)

    def _chat(self, example: Mapping[str, Any]) -> None:
        messages = example["messages"]
        self.has_images |= num_images(messages) > 0
        first = messages[0]
        is_system = first["role"] in ("system", "developer")
        if len(self.systems) < 2:
            self.systems.add(content_text(first.get("content")) if is_system else "")
        if self.why_written:
            return
        self.why_written = _why_written(example)
        if self.why_written:
            return
        answer = content_text(messages[-1].get("content")).strip()
        self.labels.setdefault(answer, set()).add(hash(prompt_text(messages)))
        if len(self.labels) > MOST_LABELS:
            self.why_written = f"there are more than {MOST_LABELS} different answers"


def look(path: Path) -> Taught:
    """What the file teaches. Raises: StorageError."""
    counts = _Counts()
    with storage_errors(path), path.open("rb") as file:
        for line in file:
            counts.add(line)
    if counts.num_preferences:
        return _taught(counts, "preference", "it holds pairs of a better and a worse answer")
    if counts.num_pairs:
        return _taught(counts, "completions", "it holds prompts and completions, of older models")
    usable = counts.num_examples - counts.num_broken
    few = FEWEST_PER_LABEL * len(counts.labels) <= usable and len(counts.labels) > 1
    if counts.why_written or not few:
        alike = "all answers are the same" if len(counts.labels) == 1 else "most answers differ"
        return _taught(counts, "chat", counts.why_written or alike)
    named = ", ".join(sorted(counts.labels)[:3])
    reason = f"the answers are {len(counts.labels):,} short labels ({named}"
    return _taught(counts, "classify", reason + (", …)" if len(counts.labels) > 3 else ")"))


def _taught(counts: _Counts, task: Task, reason: str) -> Taught:
    labels = {name: len(prompts) for name, prompts in sorted(counts.labels.items())}
    return Taught(
        task=task,
        reason=reason,
        num_examples=counts.num_examples,
        labels=labels if task == "classify" else {},
        system=next(iter(counts.systems)) if len(counts.systems) == 1 else "",
        longest=counts.longest,
        num_broken=counts.num_broken,
        has_images=counts.has_images,
    )


def _why_written(example: Mapping[str, Any]) -> str:
    """Why the answer is no label; empty: it may be one."""
    messages = example["messages"]
    answer = messages[-1]
    said = content_text(answer.get("content")).strip()
    if answer.get("tool_calls") or answer.get("function_call") or example.get("tools"):
        return "functions are called"
    if sum(message["role"] == "assistant" for message in messages) > 1:
        return "there are conversations of several answers"
    if len(said) > LONGEST_LABEL or "\n" in said:
        return f"there are answers of more than {LONGEST_LABEL} characters"
    return "" if said and said[0] not in "{[" else "there are answers in JSON"


def write_table(path: Path, table: Path, taught: Taught, *, system: bool) -> int:
    """Write a classification file as rows of text and label; how many cannot be used.

    Rows keep their line: one that breaks a rule, or has a label of fewer than two examples in
    `taught` (which nothing can be learned of), is there without text and label.
    system  whether the text holds the system message, as it will when the model is asked.
    Raises: StorageError.
    """
    num_left_out = 0
    with storage_errors(table), path.open("rb") as lines:
        table.parent.mkdir(parents=True, exist_ok=True)
        draft = table.with_name(f".{table.name}.part")
        with draft.open("w", encoding="utf-8") as out:
            for row in _rows(lines, taught, system=system):
                num_left_out += row["label"] is None
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
        draft.replace(table)
    return num_left_out


def _rows(lines: Any, taught: Taught, *, system: bool) -> Iterator[dict[str, Any]]:
    for line in lines:
        example = parse(line)
        row: dict[str, Any] = {"text": None, "label": None}
        if isinstance(example, dict) and next(faults(example), None) is None:
            messages = example["messages"]
            label = content_text(messages[-1].get("content")).strip()
            if taught.labels.get(label, 0) > 1:
                asked = [m for m in messages if system or m["role"] not in ("system", "developer")]
                row |= {"text": prompt_text(asked), "label": label}
        yield row
