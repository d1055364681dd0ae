"""Scores of written answers: how near each one is to the right answer of its row.

Knows: texts, JSON, calls of functions, why an answer ended.
Does not know: prompts, models, files, how sure the scores are (that is `intervals`).
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tunesmith.data.chat.rules import Unreadable, parse
from tunesmith.errors import ConfigError, DataError
from tunesmith.metrics.graders import similarity
from tunesmith.wire.schemas import Schema, faults

Json = Any

CHRF_ORDER = 6
CHRF_BETA = 2
"""How many times as much recall counts as precision."""
STOPPED = ("stop", "tool_calls", "function_call")
"""Reasons to end that are the model's own."""
MOST_DEPTH = 30
"""Objects within objects that `shape_of` describes: a schema is checked to 40 (`DEPTH`)."""

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
# Thai to Khmer, kana, Chinese: written without spaces, so each character is a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}\U00020000-\U0003ffff]|[^\s{_UNSPACED}\U00020000-\U0003ffff]+")
_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function that is called. `arguments` is JSON; blank stands for no arguments."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A row's right answer (`gold`) and the one that was given.

    finish_reason  OpenAI's word for why the answer ended; None where nobody knows.
    schema         a JSON Schema that the answer is to fit, such as `shape_of` the right answers.
    """

    gold: str
    answer: str
    gold_calls: Sequence[Call] = ()
    answer_calls: Sequence[Call] = ()
    finish_reason: str | None = None
    schema: Mapping[str, Json] | None = None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What `compare` found, all from 0 to 1.

    metrics  the mean of each metric over the rows that have it.
    rows     the metrics of each row, as far as they apply to it.
    """

    metrics: dict[str, float]
    rows: list[dict[str, float]]


def compare(rows: Sequence[Pair]) -> Scores:
    """Score written answers, row by row.

    exact_match      the texts are equal but for white space at the ends, and so are the calls.
    token_f1         words in common (SQuAD); rouge_l: the longest common subsequence of words;
                     chrf: n-grams of characters in common (sacrebleu's, of each row by itself).
                     Of all rows but those whose right answer is nothing but calls.
    json_valid       of rows whose right answer is a JSON object or list, or that have a schema.
    json_match       the same JSON value, however it is written; of rows with JSON as right answer.
    schema_match     of rows that have a schema.
    tool_call_match  the same functions with the same arguments, in any order; of rows whose right
                     answer calls some.
    stops_by_itself  the answer did not run into a limit; of rows that have a finish_reason.

    Raises: DataError when there are no rows; ConfigError for a schema that is none.
    """
    if not rows:
        raise DataError("There are no rows to score.", fix="Give at least one validation row.")
    schemas = {id(row.schema): _checked(row.schema) for row in rows if row.schema is not None}
    found = [_row(row, schemas.get(id(row.schema))) for row in rows]
    values: defaultdict[str, list[float]] = defaultdict(list)
    for one in found:
        for name, value in one.items():
            values[name].append(value)
    return Scores(
        metrics={name: fmean(values[name]) for name in METRICS if name in values}, rows=found
    )


def _checked(schema: Mapping[str, Json]) -> Schema:
    for fault in faults(dict(schema), strict=False):
        raise ConfigError(f"The JSON schema cannot be used: {fault}", fix="Correct the schema.")
    return Schema(dict(schema))


def _row(row: Pair, schema: Schema | None) -> dict[str, float]:
    is_same = row.gold.strip() == row.answer.strip()
    has_same_calls = _same_calls(row.gold_calls, row.answer_calls)
    found = {"exact_match": float(is_same and has_same_calls)}
    if row.gold.strip() or not row.gold_calls:
        for name, metric in LIKENESS.items():
            # A text without any word is like itself, too.
            found[name] = 1.0 if is_same else metric(row.answer, row.gold)
        found |= _json_scores(row, schema)
    if row.gold_calls:
        found["tool_call_match"] = float(has_same_calls)
    if row.finish_reason is not None:
        found["stops_by_itself"] = float(row.finish_reason in STOPPED)
    return found


def _json_scores(row: Pair, schema: Schema | None) -> dict[str, float]:
    gold, answer = parse(row.gold), parse(row.answer)
    is_json, is_valid = isinstance(gold, dict | list), not isinstance(answer, Unreadable)
    found: dict[str, float] = {}
    if is_json or schema:
        found["json_valid"] = float(is_valid)
    if is_json:
        found["json_match"] = float(is_valid and _same_json(gold, answer))
    if schema:
        found["schema_match"] = float(is_valid and schema.fits(answer, steps=sys.maxsize))
    return found


def _same_json(one: Json, other: Json) -> bool:
    """Equal, whatever the order of keys; 1 is 1.0, and true is not 1."""
    pairs = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            pairs += [(a[key], b[key]) for key in a]
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            pairs += zip(a, b, strict=True)
        elif isinstance(a, dict | list) or isinstance(a, bool) != isinstance(b, bool) or a != b:
            return False
    return True


def _same_calls(ones: Sequence[Call], others: Sequence[Call]) -> bool:
    left = list(others)
    for one in ones:
        match = next((other for other in left if _same_call(one, other)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _same_call(one: Call, other: Call) -> bool:
    if one.name != other.name:
        return False
    ours, theirs = (parse(call.arguments.strip() or "{}") for call in (one, other))
    if isinstance(ours, Unreadable) or isinstance(theirs, Unreadable):
        return one.arguments.strip() == other.arguments.strip()
    return _same_json(ours, theirs)


def token_f1(text: str, reference: str) -> float:
    """F1 of the words as bags, lower-cased, without punctuation and English articles.

    Where a script has no spaces, each character is a word.
    Source: SQuAD (Rajpurkar et al. 2016); punctuation of all scripts, as in MLQA (Lewis et al.
    2020). Texts without words are alike, and like nothing else.
    """
    ours, theirs = _bag(text), _bag(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def _bag(text: str) -> Counter[str]:
    plain = "".join(c for c in text.lower() if not _is_punctuation(c))
    return Counter(_WORD.findall(_ARTICLE.sub(" ", plain)))


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def chrf(text: str, reference: str) -> float:
    """F2 of the n-grams of 1 to 6 characters, white space left out.

    Source: Popović 2015, as sacrebleu computes it for one sentence by default. Own code, since
    sacrebleu with all it needs would be the largest part of the client half.
    """
    ours, theirs = ("".join(one.split()) for one in (text, reference))
    precisions, recalls = [], []
    for n in range(1, min(CHRF_ORDER, len(ours), len(theirs)) + 1):
        a, b = (Counter(one[i : i + n] for i in range(len(one) - n + 1)) for one in (ours, theirs))
        hits = (a & b).total()
        precisions.append(hits / a.total())
        recalls.append(hits / b.total())
    if not any(precisions):
        return 0.0
    precision, recall, weight = fmean(precisions), fmean(recalls), CHRF_BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall)


LIKENESS: dict[str, Callable[[str, str], float]] = {
    "token_f1": token_f1,
    "rouge_l": similarity.METRICS["rouge_l"],
    "chrf": chrf,
}
"""Of an answer and the right one, in this order."""
METRICS = (
    "exact_match", *LIKENESS, "json_valid", "json_match", "schema_match", "tool_call_match",
    "stops_by_itself",
)  # fmt: skip
"""All that `compare` may find."""


def shape_of(answers: Sequence[str]) -> dict[str, Json] | None:
    """The JSON Schema of answers that are all JSON objects; None where one is not.

    Keys that all of them have are required. Others are not allowed, unless a key stands in a single
    one of several answers: then keys are taken to be open.
    """
    values = [parse(answer) for answer in answers]
    if not values or not all(isinstance(value, dict) for value in values):
        return None
    return _shape(values)


def _shape(values: Iterable[Json], depth: int = 0) -> dict[str, Json]:
    """The schema that all values fit; what lies deeper than MOST_DEPTH may be anything."""
    if depth > MOST_DEPTH:
        return {}
    objects, lists, kinds = [], [], set()
    for value in values:
        if isinstance(value, dict):
            objects.append(value)
        elif isinstance(value, list):
            lists.append(value)
        else:
            kinds.add(_KINDS[type(value)])
    if "number" in kinds:
        kinds.discard("integer")
    kinds |= ({"object"} if objects else set()) | ({"array"} if lists else set())
    shape: dict[str, Json] = {}
    if kinds:
        shape["type"] = kinds.pop() if len(kinds) == 1 else sorted(kinds)
    if objects:
        shape |= _object_shape(objects, depth + 1)
    if any(lists):
        shape["items"] = _shape((item for one in lists for item in one), depth + 1)
    return shape


def _object_shape(objects: Sequence[Mapping[str, Json]], depth: int) -> dict[str, Json]:
    counts = Counter(key for one in objects for key in one)
    properties = {key: _shape((one[key] for one in objects if key in one), depth) for key in counts}
    required = [key for key, count in counts.items() if count == len(objects)]
    shape: dict[str, Json] = {"properties": properties, "required": required}
    if all(count > 1 for count in counts.values()) or len(objects) == 1:
        shape["additionalProperties"] = False
    return shape


@dataclass(frozen=True)
class Vote:
    """The answer that won, and whether others were as frequent."""

    label: str
    tied: bool


def majority(answers: Sequence[str], logprobs: Sequence[float]) -> Vote:
    """The most frequent of at least one answers.

    logprobs  the log-probability of each answer. Of answers that are equally frequent, the one with
              the highest mean wins, and the first of those where even that is equal.
    """
    assert len(answers) == len(logprobs) > 0
    counts = Counter(answers)
    most = max(counts.values())
    tied = [answer for answer, count in counts.items() if count == most]

    def mean(answer: str) -> float:
        return fmean(value for a, value in zip(answers, logprobs, strict=True) if a == answer)

    return Vote(max(tied, key=mean), len(tied) > 1)
