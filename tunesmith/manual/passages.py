"""Pages cut into passages: what stands under one heading, and no more than a model reads at once.

Does not know: questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tunesmith.manual.pages import Page

MOST_WORDS, MOST_ROW_WORDS = 110, 30
"""Of a passage, and of one made of rows: the encoder reads about 200, headings included, and rows
speak of one thing each. A block is never cut."""
SENTENCE = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\")*])|(?<=[.!?]\*\*))\s+(?=[\"(*`]*[A-Z0-9`…-])")
COMMAND = re.compile(r"`([^`]+)`")
"""A paragraph of nothing else is a block of code."""
LINKED = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
STANDS_ALONE = re.compile(r"^\*\*.+?\*\*")
"""A paragraph that begins in bold has a subject of its own, such as an error message."""

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """What is found: some blocks under one heading."""

    page: str
    headings: tuple[str, ...]
    """From the page's title down."""
    anchor: str
    """Of the lowest heading; empty at the top of a page."""
    sentences: tuple[str, ...]
    """In their order; a row of a table is one. Links are plain text."""
    code: tuple[str, ...]
    """Its blocks of code."""
    source: str
    """The Markdown, as it stands in the page."""

    @property
    def is_table(self) -> bool:
        """Whether its sentences are rows."""
        return self.source.startswith("|")

    @property
    def prose(self) -> str:
        """All its sentences."""
        return " ".join(self.sentences)

    @property
    def text(self) -> str:
        """What a model reads of it."""
        return f"{': '.join(self.headings)}. {plain(self.prose)} {' '.join(self.code)}".strip()


def passages(pages: Iterable[Page]) -> tuple[Passage, ...]:
    """The passages of all pages, in their order."""
    return tuple(passage for page in pages for passage in _passages(page))


def anchor_of(heading: str) -> str:
    """The part of an address that leads to the heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", plain(heading).lower()).replace(" ", "-")


def plain(text: str) -> str:
    """Inline Markdown without its marks."""
    return re.sub(r"[`*]", "", LINKED.sub(r"\1", text))


@dataclass(kw_only=True)
class _Block:
    sentences: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    lines: tuple[int, int]
    table: int | None = None
    """Of a row: the line on which its table begins."""

    @property
    def words(self) -> int:
        return sum(len(text.split()) for text in (*self.sentences, *self.code))

    @property
    def stands_alone(self) -> bool:
        return bool(self.sentences and STANDS_ALONE.match(self.sentences[0]))


def _passages(page: Page) -> Iterator[Passage]:
    lines = page.text.splitlines()
    headings: list[str] = [page.title]
    held: list[_Block] = []

    def out() -> Iterator[Passage]:
        for blocks in _grouped(held):
            first, last = blocks[0].lines[0], blocks[-1].lines[1]
            yield Passage(
                page=page.name,
                headings=tuple(headings),
                anchor=anchor_of(headings[-1]) if len(headings) > 1 else "",
                sentences=tuple(s for block in blocks for s in block.sentences),
                code=tuple(c for block in blocks for c in block.code),
                source="\n".join([*_head(lines, blocks[0]), *lines[first:last]]).strip(),
            )
        held.clear()

    for level, found in _parts(MARKDOWN.parse(page.text)):
        if isinstance(found, _Block):
            held.append(found)
        else:
            yield from out()
            headings = [*headings[: max(level - 1, 0)], found] if level > 1 else [found]
    yield from out()


def _grouped(blocks: Sequence[_Block]) -> Iterator[list[_Block]]:
    """Blocks that go together: as many as a passage has room for. Code stays with its text."""
    held: list[_Block] = []
    for block in blocks:
        most = MOST_WORDS if block.table is None else MOST_ROW_WORDS
        is_full = sum(b.words for b in held) + block.words > most
        ends = held and held[-1].stands_alone and block.sentences
        if held and (block.stands_alone or ends or (is_full and block.sentences)):
            yield held
            held = []
        held.append(block)
    if held:
        yield held


def _parts(tokens: Sequence[Token]) -> Iterator[tuple[int, str | _Block]]:
    """Headings with their level, and blocks (level 0)."""
    is_heading, head, cells = 0, list[str](), list[str]()
    row, table = (0, 0), 0
    in_head = False
    for token in tokens:
        if token.type == "heading_open":
            is_heading = int(token.tag[1])
        elif token.type == "thead_open":
            in_head, head, table = True, [], _lines(token)[0]
        elif token.type == "thead_close":
            in_head = False
        elif token.type == "tr_open":
            cells, row = [], _lines(token)
        elif token.type == "tr_close" and not in_head:
            yield 0, _Block(sentences=[_said(head, cells)], lines=row, table=table)
        elif token.type in ("fence", "code_block"):
            yield 0, _Block(code=[token.content.strip()], lines=_lines(token))
        elif token.type == "inline" and is_heading:
            yield is_heading, plain(token.content)
            is_heading = 0
        elif token.type == "inline" and token.map and _is_cell(token, row):
            (head if in_head else cells).append(_joined(token.content))
        elif token.type == "inline" and (code := COMMAND.fullmatch(token.content)):
            yield 0, _Block(code=[code[1]], lines=_lines(token))
        elif token.type == "inline":
            found = SENTENCE.split(_joined(token.content))
            yield 0, _Block(sentences=[s for s in found if s], lines=_lines(token))


def _is_cell(token: Token, row: tuple[int, int]) -> bool:
    return row[1] > 0 and _lines(token) == row


def _lines(token: Token) -> tuple[int, int]:
    return (token.map[0], token.map[1]) if token.map else (0, 0)


def _joined(content: str) -> str:
    return LINKED.sub(r"\1", " ".join(content.split()))


def _head(lines: Sequence[str], block: _Block) -> Sequence[str]:
    """The two lines that make a table of a row."""
    return () if block.table is None else lines[block.table : block.table + 2]


def _said(head: Sequence[str], cells: Sequence[str]) -> str:
    """A row as a sentence: first cell, last cell, and those between with their columns' names."""
    first, *between, last = cells if len(cells) > 1 else (*cells, "")
    told = [f"{name}: {cell}" for name, cell in zip(head[1:], between, strict=False) if cell]
    said = ": ".join(filter(None, (first, last)))
    return f"{said} ({'; '.join(told)})" if told else said
