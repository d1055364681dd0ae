"""The pages: where they lie, what they are called, in which order they are read.

Does not know: what is in them beyond titles and links.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import NotFound, nearest

FIRST = "index"
HERE = Path(__file__).parent
CHECKOUT, PACKED = HERE.parent.parent, HERE / "docs"
"""A checkout has the pages beside the package; an installed package has them inside."""
LISTED = re.compile(r"^(?:[-|] )?\[[^\]]*\]\(([\w-]+)\.md", re.M)
"""A link at the beginning of an item, a row or a line: the first page's list of pages."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of the documentation."""

    name: str
    """Of its file, without the ending."""
    title: str
    summary: str
    """Its first paragraph."""
    text: str
    """All of it, as Markdown."""


def folder() -> Path:
    """Where the pages lie.

    Raises: NotFound.
    """
    beside = CHECKOUT / "docs"
    for place in (beside, PACKED) if (CHECKOUT / "pyproject.toml").is_file() else (PACKED, beside):
        if (place / f"{FIRST}.md").is_file():
            return place
    raise NotFound(
        "The documentation is not where it was installed.", fix="Install Tunesmith again."
    )


def read(place: Path) -> tuple[Page, ...]:
    """All pages in `place`: the first one, those it lists in their order, then the others."""
    found = {path.stem: _page(path) for path in sorted(place.glob("*.md"))}
    listed = [name for name in LISTED.findall(found[FIRST].text) if name in found]
    return tuple(found[name] for name in dict.fromkeys([FIRST, *listed, *found]))


def find(pages: Sequence[Page], name: str) -> Page:
    """The page of that name. Raises: NotFound, with the nearest name."""
    known = {page.name: page for page in pages}
    if name not in known:
        raise NotFound(f"There is no page {name!r}.", fix=nearest(name, known))
    return known[name]


def overview(pages: Sequence[Page]) -> str:
    """The list of pages for programs, in the manner of llms.txt. Addresses are relative."""
    first = pages[0]
    lines = [
        f"# {first.title}",
        "",
        f"> {first.summary}",
        "",
        "Every page is Markdown. Add `?ask=QUESTION` to the address of any page for an answer with "
        "the excerpts and pages it comes from; send `Accept: application/json` for JSON.",
        "",
        "## Pages",
        "",
        *(f"- [{page.title}]({page.name}.md): {page.summary}" for page in pages),
    ]
    return "\n".join(lines) + "\n"


def _page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    heading, *rest = re.split(r"\n\s*\n", text.strip(), maxsplit=2)
    summary = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(rest[0].split())) if rest else ""
    return Page(name=path.stem, title=heading.lstrip("# ").strip(), summary=summary, text=text)
