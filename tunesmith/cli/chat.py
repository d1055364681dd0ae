"""`tunesmith chat`: ask a tuned model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from tunesmith.cli.asking import BaseUrl, provider_at


def chat(
    model: Annotated[str, typer.Argument(help="Name of the model; `tunesmith models` lists them.")],
    text: Annotated[str | None, typer.Argument(help="The text. Empty: lines are read.")] = None,
    base_url: BaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an answer.")] = False,
) -> None:
    """Ask a model for the label of a text, or of every line typed or piped in."""
    from tunesmith.cli.terminal import bars
    from tunesmith.errors import NotFound, nearest

    with provider_at(base_url) as provider:
        provider.warm_up()
        if provider.model(model) is None:
            known = [found.id for found in provider.models()]
            raise NotFound(f"There is no model {model!r}.", fix=nearest(model, known))
        for line in [text] if text is not None else _lines():
            _, answer = next(iter(provider.classify(model, [line], concurrency=1)))
            if as_json:
                print(json.dumps({"text": line, **asdict(answer)}, ensure_ascii=False), flush=True)
                continue
            if text is None and not sys.stdin.isatty():
                print(line)
            for row in bars(answer, most=5):
                print(row, flush=True)


def _lines() -> Iterator[str]:
    """Non-empty lines of standard input, with a prompt where somebody types them."""
    asks = sys.stdin.isatty()
    while True:
        if asks:
            print("› ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
