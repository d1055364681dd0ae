"""A report as one HTML file, complete in itself, from a template in this folder.

Knows: templates, and how texts, labels and numbers are written in them.
Does not know: what a report says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from tunesmith.pipeline.pages import charts
from tunesmith.pipeline.rundir import write_atomic

MAX_TEXT = 200
"""Letters of a text shown at once; the rest unfolds."""


def template(name: str, words: Mapping[str, Callable[..., str]]) -> jinja2.Template:
    """The template `name`, with `words` as further filters and functions."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": charts.percent,
        "shortened": shortened,
        "breakable": lambda label: escape(label).replace("_", Markup("_<wbr>")),
        "count": "{:,}".format,
        **words,
    }
    environment.globals |= {"charts": charts, **words}
    return environment.get_template(name)


def write(path: Path, page: str) -> None:
    """Write the page to `path`, whole or not at all. Raises: StorageError."""
    # Texts may hold halves of letters (lone surrogates), which no file can.
    write_atomic(path, page.encode("utf-8", "replace"))


def shortened(text: str, most: int = MAX_TEXT) -> str:
    """`text`, cut at a space and ended by "…" where it is longer than `most` letters."""
    if len(text) <= most:
        return text
    head = text[:most]
    words = head.rsplit(maxsplit=1) if " " in head[most // 2 :] else []
    return (words[0] if words else head).rstrip() + "…"
