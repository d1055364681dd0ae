"""The parity gate for written answers: the endpoint must write the trainer's own tokens.

Where two tokens are as likely as each other within what the arithmetic tells apart, either may come
first; from there on the texts part, and nothing more is asked of them.
Does not know: how a model is served, or what is done about a failed gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import ParityError
from tunesmith.metrics.generation import STOPPED
from tunesmith.pipeline.results import Parity
from tunesmith.providers.provider import Conversation, Provider, Reply, Writing

CONCURRENCY = 8
AS_ASKED = Writing(logprobs=True)
CLOSE = 2.0
"""Tolerances within which two tokens are as likely as each other: both may be off by one."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The trainer's own answer to a held-out prompt, the most probable token each time."""

    messages: Sequence[Mapping[str, Any]]
    ids: Sequence[int]
    logprobs: Sequence[float]
    """One a token, as are the gaps."""
    gaps: Sequence[float]
    """How far the next likely token was behind, in log-probability."""
    most: int
    """Tokens to which the answer was limited."""
    tools: Sequence[Mapping[str, Any]] = ()
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """One held-out prompt: the trainer's answer, and the endpoint's."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    trained_ids: Sequence[int]
    ids: Sequence[int] | None
    trained_text: str | None
    text: str
    parts_at: int | None
    """The token, from 0, at which the answers part; None: nowhere, or tokens were not compared."""
    is_tie: bool
    """Whether they part where two tokens are as likely as each other."""
    gap: float | None
    """Largest difference of a log-probability before that; None: the endpoint gives none."""
    same: bool
    why: str = ""
    """What differs: tokens, end, numbers, text, refused."""


def compare(
    provider: Provider, model: str, samples: Sequence[Mapping[str, Any]], tolerance: float
) -> Iterator[Written]:
    """The endpoint's answer to each sample beside the trainer's.

    tolerance  largest difference of a log-probability.
    Raises: ParityError where nothing can be compared; ProviderError.
    """
    known = Sample.__dataclass_fields__
    wanted = [
        Sample(**{k: v for k, v in s.items() if k in known and v is not None}) for s in samples
    ]
    asked = [Conversation(messages=s.messages, tools=s.tools, most=s.most) for s in wanted]
    replies = dict(provider.chat(model, asked, concurrency=CONCURRENCY, writing=AS_ASKED))
    for i, sample in enumerate(wanted):
        yield _compared(sample, replies[i], tolerance)


def parity(rows: Sequence[Written], tolerance: float) -> Parity:
    """What the rows come to."""
    gaps = [row.gap for row in rows if row.gap is not None]
    by_tokens = all(row.ids is not None or row.why == "refused" for row in rows)
    return Parity(
        compared=len(rows),
        label_disagreements=sum(row.why not in ("", "numbers") for row in rows),
        max_logprob_gap=max(gaps) if gaps else None,
        tolerance=tolerance,
        passed=all(row.same for row in rows),
        by="tokens" if by_tokens else "texts",
        ties=sum(row.is_tie for row in rows),
    )


def cause(rows: Sequence[Written]) -> str:
    """The likeliest reason why some rows differ, as far as the rows can tell."""
    bad = [row for row in rows if not row.same]
    good = [row for row in rows if row.same]
    kinds = {row.why for row in bad}
    if "refused" in kinds:
        return "The endpoint refuses prompts as too long that the trainer has read."
    if kinds == {"numbers"}:
        return (
            "All tokens are the same and log-probabilities are off: the numbers are computed in "
            "another precision, or scaled."
        )
    if kinds == {"end"}:
        return "The answers are the same and end elsewhere: the endpoint stops by other tokens."
    if all(row.tools for row in bad) and any(not row.tools for row in good):
        return "Only conversations with tools differ: the endpoint writes tools in another form."
    if good and min(map(_length, bad)) > max(map(_length, good)):
        return "Only the longest conversations differ: the endpoint cuts them, or loses its place."
    if all(row.parts_at for row in bad):
        return (
            "The answers begin alike and part later: another precision, or a fault in what the "
            "endpoint remembers of a text that it writes."
        )
    if not good:
        return (
            "Every row differs: other weights answer under this name, or the endpoint writes "
            "prompts in another form (chat template, first token)."
        )
    return "The rows that differ have neither length nor tools in common."


def _compared(sample: Sample, reply: Reply, tolerance: float) -> Written:
    if reply.refused:
        found = _Found(why="refused")
    elif reply.ids is None:
        found = _by_text(sample, reply)
    else:
        found = _by_tokens(sample, reply, tolerance)
    return Written(
        messages=sample.messages,
        tools=sample.tools,
        trained_ids=sample.ids,
        ids=reply.ids,
        trained_text=sample.text,
        text=reply.text or reply.refused,
        parts_at=found.parts_at,
        is_tie=found.is_tie,
        gap=found.gap,
        same=not found.why,
        why=found.why,
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    why: str = ""
    parts_at: int | None = None
    is_tie: bool = False
    gap: float | None = None


def _by_text(sample: Sample, reply: Reply) -> _Found:
    if sample.text is None:
        raise ParityError(
            "The endpoint does not say which tokens it writes, and the trainer has kept no texts, "
            "so the answers cannot be compared.",
            fix="Use a server that knows `return_token_ids`, as Tunesmith and vLLM do.",
        )
    return _Found(why="" if sample.text.strip() == reply.text.strip() else "text")


def _by_tokens(sample: Sample, reply: Reply, tolerance: float) -> _Found:
    ours, theirs = list(sample.ids), list(reply.ids or ())
    pairs = enumerate(zip(ours, theirs, strict=False))
    shared = next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
    gap = _gap(sample, reply, shared)
    if gap is not None and gap > tolerance:
        return _Found(why="numbers", gap=gap)
    if len(ours) == len(theirs) == shared or _lacks_only_end(sample, reply, shared):
        return _Found(gap=gap)
    if shared < len(ours) and sample.gaps[shared] <= CLOSE * tolerance:
        return _Found(parts_at=shared, is_tie=True, gap=gap)
    why = "end" if shared in (len(ours), len(theirs)) else "tokens"
    return _Found(why=why, parts_at=shared, gap=gap)


def _lacks_only_end(sample: Sample, reply: Reply, shared: int) -> bool:
    """Whether the endpoint stopped where the trainer did, and leaves out the token that says so."""
    is_short = shared == len(reply.ids or ()) == len(sample.ids) - 1
    return is_short and reply.finish_reason in STOPPED


def _gap(sample: Sample, reply: Reply, shared: int) -> float | None:
    """Largest difference over the tokens that both wrote; None where they have no numbers."""
    there, num_ids = reply.logprobs, len(reply.ids or ())
    # A server may leave out the token that ends an answer.
    if there is None or len(there) not in (num_ids, num_ids - 1):
        return None
    both = list(zip(sample.logprobs[:shared], there, strict=False))
    return max((abs(a - b) for a, b in both), default=0.0)


def _length(row: Written) -> int:
    return sum(len(str(message.get("content") or "")) for message in row.messages)
