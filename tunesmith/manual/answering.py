"""Questions answered from the documentation: the sentences that answer, the excerpts they stand in,
the pages these are on. Where nothing fits, that is the answer.

Sentences are the documentation's own, unless the caller has a model word them, from the excerpts.
Does not know: which model that is, who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.manual.pages import Page, find
from tunesmith.manual.passages import Passage
from tunesmith.manual.ranking import Hit, Index, pages_of

LONGEST = 400
"""Characters of a question; the rest is not read."""
LEAST, LEAST_BY_WORDS = 0.295, 0.23
"""A question whose best passage has a lower score is not documented: with vectors, and without.
Chosen as the middle of the values that tell apart best the questions at even places of
tests/manual/choosing.toml (96 % right, mean over both kinds); of those at odd places 95 % are."""
EXCERPTS, SENTENCES, PAGES = 4, 3, 3
NEAR = 0.85
"""Part of the best score that other excerpts and sentences must have."""
LATER, LATEST = 0.03, 5
"""What a sentence loses for each that stands before it in its passage, and for how many at most."""
MOST_CODE_LINES = 12
NOTHING = "Not documented."

INSTRUCTIONS = f"""You answer questions about Tunesmith from excerpts of its documentation.
Use nothing but the excerpts. Answer in at most four plain sentences; copy commands and names
exactly. If the excerpts do not answer the question, say "{NOTHING}" and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A page on which an answer rests."""

    page: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A part of a page, as it stands there."""

    page: str
    headings: tuple[str, ...]
    anchor: str
    text: str
    """Markdown."""
    score: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the documentation says to a question."""

    question: str
    is_documented: bool
    text: str
    """Markdown."""
    written_by: str
    """The model that wrote it; empty: these are the documentation's own sentences."""
    excerpts: tuple[Excerpt, ...]
    sources: tuple[Source, ...]
    """The pages that fit best, the best first; where nothing fits, those that come nearest."""


def answer(question: str, index: Index, pages: Sequence[Page]) -> Answer:
    """The answer, in the documentation's own words."""
    question = asked(question)
    hits = index.search(question)
    found = list(pages_of(hits))[:PAGES]
    sources = tuple(Source(page=name, title=find(pages, name).title) for name in found)
    if not hits or hits[0].score < (LEAST if index.embed else LEAST_BY_WORDS):
        return Answer(
            question=question, is_documented=False, text=NOTHING, written_by="", excerpts=(),
            sources=sources,
        )  # fmt: skip
    near = [hit for hit in hits[:EXCERPTS] if hit.score >= NEAR * hits[0].score]
    return Answer(
        question=question,
        is_documented=True,
        text=_extracted(question, near, index),
        written_by="",
        excerpts=tuple(map(_excerpt, near)),
        sources=sources,
    )


def asked(question: str) -> str:
    """As much of a question as is read."""
    return " ".join(question.split())[:LONGEST]


def prompt(found: Answer) -> list[dict[str, str]]:
    """Messages that have a model word the answer, from the excerpts alone."""
    told = "\n\n".join(f"[{e.page}: {e.headings[-1]}]\n{e.text}" for e in found.excerpts)
    text = f"Question: {found.question}\n\nExcerpts:\n\n{told}"
    return [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}]


def worded(found: Answer, text: str, writer: str) -> Answer:
    """`found` as the model `writer` worded it, which may be that the excerpts do not answer."""
    text = text.strip()
    if not text or text.startswith(NOTHING.rstrip(".")):
        return replace(found, is_documented=False, text=NOTHING, written_by=writer, excerpts=())
    return replace(found, text=text, written_by=writer)


def as_markdown(found: Answer) -> str:
    """The answer as a page of its own."""
    lines = [f"# {found.question}", "", found.text, ""]
    for excerpt in found.excerpts:
        place = " › ".join(excerpt.headings)
        lines += [f"## From [{place}]({address(excerpt.page, excerpt.anchor)})", "", excerpt.text]
        lines.append("")
    head = "## Sources" if found.is_documented else "## Nearest pages"
    lines += [head, "", *(f"- [{s.title}]({address(s.page)})" for s in found.sources)]
    return "\n".join(lines) + "\n"


def address(page: str, anchor: str = "") -> str:
    """Of a page, relative to the others."""
    return f"{page}.md#{anchor}" if anchor else f"{page}.md"


def _excerpt(hit: Hit) -> Excerpt:
    return Excerpt(
        page=hit.passage.page,
        headings=hit.passage.headings,
        anchor=hit.passage.anchor,
        text=hit.passage.source,
        score=round(hit.score, 3),
    )


def _extracted(question: str, hits: Sequence[Hit], index: Index) -> str:
    """The sentence that fits best and what follows it, or the rows that fit; and their code."""
    places = [(hit, i) for hit in hits for i in range(len(hit.passage.sentences))]
    if not places:
        return _code(hits[0].passage)
    # A sentence is read under its heading, which often has its subject.
    said = [f"{hit.passage.headings[-1]}: {hit.passage.sentences[i]}" for hit, i in places]
    fits = index.nearness(question, said)
    scores = [
        fit + hit.score - LATER * min(i, LATEST) for fit, (hit, i) in zip(fits, places, strict=True)
    ]
    best = max(range(len(places)), key=scores.__getitem__)
    passage, first = places[best][0].passage, places[best][1]
    chosen = list(passage.sentences[first : first + SENTENCES])
    if passage.is_table:
        rows = [k for k, (hit, _) in enumerate(places) if hit.passage is passage]
        near = [k for k in rows if fits[k] >= NEAR * fits[best]]
        chosen = [passage.sentences[places[k][1]] for k in near[:SENTENCES]]
    text = " ".join(map(_ended, chosen))
    return f"{text}\n\n{code}" if (code := _code(passage)) else text


def _ended(sentence: str) -> str:
    is_ended = sentence.rstrip('*")').endswith((".", "!", "?", ":", "…"))
    return sentence if is_ended else f"{sentence}."


def _code(passage: Passage) -> str:
    """The first block of code, if it is short."""
    code = passage.code[0] if passage.code else ""
    return f"```\n{code}\n```" if code and code.count("\n") < MOST_CODE_LINES else ""
