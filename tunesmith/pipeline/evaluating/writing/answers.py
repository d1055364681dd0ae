"""Written answers: the held-out prompts put to a model, and what each of its answers is worth.

Knows: how long an answer may be, the JSON Schema that answers must fit, the judge.
Does not know: which models are compared, or what is told of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.config import EvaluateConfig
from tunesmith.data.texts import tokens
from tunesmith.errors import ConfigError, RequestError
from tunesmith.events import Decision, Event
from tunesmith.metrics.generation import Pair, compare, shape_of
from tunesmith.pipeline.evaluating.writing import judge
from tunesmith.pipeline.evaluating.writing.chat_rows import ChatRow, said
from tunesmith.pipeline.evaluating.writing.judge import Grade
from tunesmith.pipeline.workshop import Workshop
from tunesmith.providers import Conversation, Reply

FEWEST_TOKENS, ROOM = 64, 1.5
"""Of an answer: what it may have at least, and as a multiple of the longest right one."""
CHARACTERS_PER_TOKEN = 2
"""Where no tokenizer is at hand: few, so that no answer is cut short."""
JUDGED = "judge_score"
REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one model answered, and what each answer is worth."""

    model: str
    replies: Sequence[Reply]
    scores: Sequence[Mapping[str, float]]
    """Of each row the metrics that apply to it."""
    grades: Sequence[Grade] = ()

    @property
    def names(self) -> list[str]:
        """The metrics that apply to some row, in their order."""
        return list(dict.fromkeys(name for row in self.scores for name in row))

    def values(self, name: str) -> list[float]:
        """The scores of the rows that the metric applies to."""
        return [row[name] for row in self.scores if name in row]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The held-out prompts with their right answers, and how they are put to a model."""

    config: EvaluateConfig
    rows: Sequence[ChatRow]
    most: int
    """Tokens of an answer."""
    schema: Mapping[str, Any] | None

    def ask(self, model: str, shop: Workshop, *, doing: str) -> Answered:
        """The model's most probable answers, scored.

        doing  what is told of the progress.
        Raises: ProviderError; RequestError where the model cannot be asked; ConfigError for a JSON
        Schema that is none.
        """
        asked = [
            Conversation(messages=row.messages, tools=row.tools, most=self.most)
            for row in self.rows
        ]
        found: dict[int, Reply] = {}
        for i, reply in shop.provider.chat(model, asked, concurrency=self.config.concurrency):
            found[i] = reply
            self._tell(shop, doing, len(found))
        replies = [found[i] for i in range(len(self.rows))]
        scores = [dict(one) for one in compare(self._pairs(replies)).rows]
        grades = self._grades(replies, shop) if self.config.judge else []
        for row, grade in zip(scores, grades, strict=False):
            if grade.score is not None:
                row[JUDGED] = float(grade.score)
        return Answered(model=model, replies=replies, scores=scores, grades=grades)

    def _pairs(self, replies: Sequence[Reply]) -> list[Pair]:
        return [
            Pair(
                gold=row.gold,
                answer=reply.text,
                gold_calls=row.gold_calls,
                answer_calls=reply.calls,
                finish_reason=REFUSED if reply.refused else reply.finish_reason,
                schema=self.schema,
            )
            for row, reply in zip(self.rows, replies, strict=True)
        ]

    def _grades(self, replies: Sequence[Reply], shop: Workshop) -> list[Grade]:
        texts = [said(reply.text, reply.calls) for reply in replies]
        grades = []
        for grade in judge.grade(self.config, self.rows, texts, shop.provider):
            grades.append(grade)
            self._tell(shop, "The judge reads answers", len(grades))
        return grades

    def _tell(self, shop: Workshop, what: str, done: int) -> None:
        data = {"done": done, "total": len(self.rows)}
        shop.report(Event(kind="progress", message=what, data=data))


def questions(
    config: EvaluateConfig, rows: Sequence[ChatRow], taught: Sequence[ChatRow], base_model: str
) -> tuple[Questions, Decision]:
    """The held-out rows as questions, and why answers may be so long.

    taught      the training rows, whose answers show which form answers have.
    base_model  whose tokens are counted.
    """
    schema = schema_of(config, [row.gold for row in taught if row.gold.strip()])
    most, decision = _longest_answer(config, rows, base_model)
    return Questions(config=config, rows=rows, most=most, schema=schema), decision


def schema_of(config: EvaluateConfig, answers: Sequence[str]) -> Mapping[str, Any] | None:
    """The JSON Schema that answers must fit: as given, or as these right answers show it.

    Raises: ConfigError for a file that holds none.
    """
    if config.schema is None:
        return shape_of(answers)
    place = config.schema
    try:
        found = json.loads(Path(place).read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror
        raise ConfigError(f"{place} cannot be read: {why}.", fix="Check --schema.") from None
    except ValueError as error:
        raise ConfigError(f"{place} is not JSON: {error}.", fix="Correct that line.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{place} holds no JSON Schema, which is an object.")
    return found


def _longest_answer(
    config: EvaluateConfig, rows: Sequence[ChatRow], base_model: str
) -> tuple[int, Decision]:
    if config.max_tokens is not None:
        value = f"up to {config.max_tokens:,} tokens"
        return config.max_tokens, Decision(what="answers", value=value, reason="as asked")
    texts = [said(row.gold, row.gold_calls) for row in rows]
    try:
        longest = _most_tokens(texts, base_model)
        why = f"the longest right answer has {longest:,}, and 1.5 times as many are allowed"
    except RequestError:
        longest = math.ceil(max(map(len, texts)) / CHARACTERS_PER_TOKEN)
        why = f"the longest right answer has {longest:,} at most, told from its characters"
    # One more, for the token that ends an answer.
    most = max(FEWEST_TOKENS, math.ceil(ROOM * (longest + 1)))
    return most, Decision(what="answers", value=f"up to {most:,} tokens", reason=why)


def _most_tokens(texts: Sequence[str], base_model: str) -> int:
    """Tokens of the longest text. Raises: RequestError where no tokenizer is at hand."""
    import polars as pl

    tokenizer = tokens.reader(base_model).tokenizer
    counts = tokens.count(pl.Series(texts, dtype=pl.String), tokenizer, special=False)
    return max(map(int, counts))
