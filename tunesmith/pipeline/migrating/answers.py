"""The old models' answers to the validation rows of their jobs, kept while they can be had.

Knows: how rows become questions, what asking costs, the files of answers.
Does not know: what the answers are compared with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tunesmith.data.chat.rules import Method, faults, parse
from tunesmith.errors import RequestError, StorageError, storage_errors
from tunesmith.events import Event
from tunesmith.pipeline.evaluating.writing.answers import FEWEST_TOKENS, ROOM
from tunesmith.pipeline.evaluating.writing.chat_rows import ChatRow, read_chat_row, said
from tunesmith.pipeline.migrating.endings import base_of
from tunesmith.pipeline.migrating.manifest import Manifest, safe_id
from tunesmith.pipeline.migrating.recipes import Recipe
from tunesmith.pipeline.results import Estimate
from tunesmith.pipeline.spending import BYTES_PER_TOKEN, MILLION, PER_EXAMPLE, PER_MESSAGE
from tunesmith.providers import Capabilities, Conversation, Provider, Reply

ANSWERS = "answers"
CONCURRENCY = 16


@dataclass(frozen=True, kw_only=True)
class Question:
    """A validation row; line: in the validation file, from 1."""

    line: int
    row: ChatRow


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The rows that one old model has not answered yet.

    cost      about; None: nothing is asked, or it costs nothing.
    """

    job: str
    model: str
    questions: tuple[Question, ...] = field(repr=False)
    num_kept: int
    cost: Estimate | None


def askings(manifest: Manifest, recipes: Sequence[Recipe], can: Capabilities) -> list[Asking]:
    """What there is to ask of each old model that is listed and has validation rows.

    can  of the provider, with its prices.
    Raises: StorageError.
    """
    found = []
    for recipe in recipes:
        model = manifest["models"].get(recipe.old_model)
        if not recipe.scored_on or model is None or model.state == "unavailable":
            continue
        job = manifest["jobs"][recipe.job]
        validation = manifest["files"][str(job.about["validation_file"])]
        kept = read_answers(answers_place(manifest, recipe.job))
        rows = read_questions(manifest.place(validation))
        left = tuple(one for one in rows if one.line not in kept)
        asking = Asking(
            job=recipe.job,
            model=recipe.old_model,
            questions=left,
            num_kept=len(rows) - len(left),
            cost=None if can.free or not left else _cost(left, recipe.old_model, can),
        )
        found.append(asking)
    return found


def answers_place(manifest: Manifest, job: str) -> Path:
    """Where the answers of the job's model are kept."""
    return manifest.folder / ANSWERS / f"{safe_id(job)}.jsonl"


def read_questions(path: Path) -> list[Question]:
    """The usable rows of a validation file. Raises: StorageError."""
    found = []
    with storage_errors(path), path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            example = parse(line)
            if not isinstance(example, dict):
                continue
            method: Method = "dpo" if "input" in example else "supervised"
            if not next(faults(example, method), None):
                found.append(Question(line=number, row=read_chat_row(line)))
    return found


def read_answers(path: Path) -> dict[int, Mapping[str, Any]]:
    """Line → answer, of what was kept; a torn last line counts as none. Raises: StorageError."""
    if not path.is_file():
        return {}
    with storage_errors(path):
        lines = path.read_bytes().splitlines()
    found = (parse(line) for line in lines)
    return {one["line"]: one for one in found if isinstance(one, dict) and "line" in one}


def collect(
    asking: Asking, manifest: Manifest, provider: Provider, report: Callable[[Event], None]
) -> int:
    """Ask for what is missing, and keep each answer as it comes; how many came.

    Raises: ProviderError, RequestError; StorageError.
    """
    place = answers_place(manifest, asking.job)
    with storage_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        is_torn = place.is_file() and not place.read_bytes().endswith(b"\n")
    rows, done = [one.row for one in asking.questions], 0
    most = _longest(rows)
    asked = [Conversation(messages=row.messages, tools=row.tools, most=most) for row in rows]
    with storage_errors(place), place.open("ab", buffering=0) as file:
        if is_torn:
            file.write(b"\n")
        for i, reply in provider.chat(asking.model, asked, concurrency=CONCURRENCY):
            told = _told(asking.questions[i].line, asking.model, reply)
            file.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")
            done += 1
            data = {"done": done, "total": len(asked)}
            report(Event(kind="progress", message=f"Asking {asking.model}", data=data))
    return done


def collect_all(
    found: Sequence[Asking], manifest: Manifest, provider: Provider, report: Callable[[Event], None]
) -> Iterator[tuple[Asking, str]]:
    """Ask each model; with each, why it could not be asked, or nothing. The manifest is told."""
    for asking in found:
        why = ""
        try:
            if asking.questions:
                collect(asking, manifest, provider, report)
        except StorageError:
            raise
        except RequestError as error:
            why = error.what
            report(Event(kind="warning", message=f"{asking.model} was not asked: {why}"))
        num = len(read_answers(answers_place(manifest, asking.job)))
        model = manifest["models"][asking.model]
        told = {"path": f"{ANSWERS}/{safe_id(asking.job)}.jsonl", "num_rows": num}
        manifest.put("models", replace(model, about={**model.about, "answers": told}))
        manifest.save()
        yield asking, why


def _told(line: int, model: str, reply: Reply) -> dict[str, Any]:
    return {
        "line": line,
        "model": model,
        "answer": reply.text,
        "calls": [asdict(call) for call in reply.calls],
        "finish_reason": reply.finish_reason,
        "refused": reply.refused,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
    }


def _longest(rows: Sequence[ChatRow]) -> int:
    """Tokens that an answer may have: one character is one token at most, or nearly so."""
    longest = max((len(said(row.gold, row.gold_calls)) for row in rows), default=0)
    return max(FEWEST_TOKENS, math.ceil(ROOM * longest))


def _cost(questions: Sequence[Question], model: str, can: Capabilities) -> Estimate:
    """About what the answers cost, rather too much than too little."""
    read = sum(map(_tokens_read, questions))
    written = sum(_tokens(said(q.row.gold, q.row.gold_calls)) for q in questions)
    facts, cost = can.model(model), None
    if facts and facts.input is not None and facts.output is not None:
        cost = (read * facts.input + written * facts.output) / MILLION
    return Estimate(
        provider=can.title,
        model=base_of(model),
        currency=can.currency,
        as_of=facts.as_of.isoformat() if facts else None,
        source=facts.source if facts else "",
        num_requests=len(questions),
        read_tokens=read,
        written_tokens=written,
        evaluation=cost,
    )


def _tokens_read(question: Question) -> int:
    told = (*question.row.messages, *question.row.tools)
    return PER_EXAMPLE + sum(_tokens(json.dumps(one, ensure_ascii=False)) for one in told)


def _tokens(text: str) -> int:
    return PER_MESSAGE + math.ceil(len(text.encode()) / BYTES_PER_TOKEN)
