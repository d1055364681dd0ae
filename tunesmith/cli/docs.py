"""`tunesmith docs`: the documentation in the terminal, and questions to it.

All of it works without a network and without a server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.manual.answering import Answer
    from tunesmith.manual.ranking import Embed, Vectors

app = typer.Typer(help="The documentation: read it, or ask it a question.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All pages."""
    from tunesmith.manual import pages

    found = pages.read(pages.folder())
    if as_json:
        print(json.dumps([{"page": p.name, "title": p.title, "about": p.summary} for p in found]))
        return
    for page in found:
        print(f"{page.name:<16} {page.summary.split('. ')[0].rstrip('.')}")


@app.command()
def show(page: Annotated[str, typer.Argument(help="Name of the page, such as train.")]) -> None:
    """A page: laid out in a terminal, as Markdown in a pipe."""
    from tunesmith.cli.terminal import is_interactive
    from tunesmith.manual import pages

    found = pages.find(pages.read(pages.folder()), page.removesuffix(".md"))
    if is_interactive():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(found.text, hyperlinks=False))
    else:
        print(found.text, end="")


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    as_json: Json = False,
) -> None:
    """Answer a question from the documentation, with the pages that the answer comes from."""
    from tunesmith import settings
    from tunesmith.errors import ConfigError
    from tunesmith.manual import pages
    from tunesmith.manual.answering import answer
    from tunesmith.manual.passages import passages
    from tunesmith.manual.ranking import Index

    if not question.strip():
        raise ConfigError("The question is empty.", fix='Ask one: tunesmith docs ask "…"')
    read = pages.read(pages.folder())
    index = Index(passages(read), _encoder(), settings.load().manual_dir)
    found = answer(question, index, read)
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False))
    else:
        _tell(found, by_words=index.embed is None)


def _encoder() -> Embed | None:
    """The bundled encoder, in this process; None where it is not installed."""
    import numpy as np

    from tunesmith import catalog
    from tunesmith.errors import MissingExtra, NotFound

    name = catalog.DEFAULT
    try:
        folder = catalog.catalog()[name].files()
        from tunesmith.serving.batch import Batch, Embedding
        from tunesmith.serving.engine import Engine
    except (ImportError, MissingExtra, NotFound):
        return None
    engine = Engine(max_loaded=1, max_batch_tokens=2048)

    def embed(texts: Sequence[str]) -> Vectors:
        answers = engine.answer(Batch(model=name, folder=folder, texts=texts, task="embed"))
        vectors = [a.vector for a in answers if isinstance(a, Embedding)]
        return np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1)

    return embed


def _tell(found: Answer, *, by_words: bool) -> None:
    print(found.text)
    print("\nSources:" if found.is_documented else "\nNearest pages:")
    for source in found.sources:
        print(f"  {source.title}  (tunesmith docs show {source.page})")
    if by_words:
        print("\nFound by words alone: the base model minilm-l6 is not installed here.")
