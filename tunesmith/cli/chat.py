"""`tunesmith chat`: ask a model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.asking import BaseUrl, provider_at

if TYPE_CHECKING:
    from tunesmith.providers import Provider


def chat(
    model: Annotated[
        str,
        typer.Argument(
            help="Name of the model (`tunesmith models` lists them), or a run's folder."
        ),
    ],
    text: Annotated[str | None, typer.Argument(help="The text. Empty: lines are read.")] = None,
    system: Annotated[
        str | None, typer.Option(help="Instructions for a model that writes.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Of a model that writes. 0: the likeliest answer.", min=0, max=2)
    ] = 0.0,
    base_url: BaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an answer.")] = False,
) -> None:
    """Ask a model for the label of a text, or for what it writes, or the same of every line that
    is typed or piped in. Lines that are typed to a model that writes are one conversation."""
    from tunesmith.errors import NotFound, nearest

    model = _deployed(model) if Path(model).expanduser().is_dir() else model
    with provider_at(base_url) as provider:
        provider.warm_up()
        if (found := provider.model(model)) is None:
            known = [one.id for one in provider.models()]
            raise NotFound(f"There is no model {model!r}.", fix=nearest(model, known))
        lines = _lines() if text is None else iter([text])
        if found.tunesmith.get("answers") == "text":
            writer = _Writer(provider, model, system=system, temperature=temperature)
            writer.answer(lines, remembers=text is None and sys.stdin.isatty(), as_json=as_json)
        else:
            _label(provider, model, lines, echoes=text is None, as_json=as_json)


def _deployed(folder: str) -> str:
    """The model of the run in a folder. Raises: NotFound."""
    from tunesmith.errors import NotFound
    from tunesmith.pipeline import RunDir
    from tunesmith.pipeline.results import Deployed

    found = RunDir(Path(folder).expanduser()).latest("deploy", Deployed)
    if found is None:
        raise NotFound(
            f"The run in {folder} has deployed no model yet.",
            fix=f"Finish it: tunesmith run --run-dir {folder}",
        )
    return found.model


def _label(
    provider: Provider, model: str, lines: Iterator[str], *, echoes: bool, as_json: bool
) -> None:
    from tunesmith.cli.terminal import bars

    for line in lines:
        _, answer = next(iter(provider.classify(model, [line], concurrency=1)))
        if as_json:
            print(json.dumps({"text": line, **asdict(answer)}, ensure_ascii=False), flush=True)
            continue
        if echoes and not sys.stdin.isatty():
            print(line)
        for row in bars(answer, most=5):
            print(row, flush=True)


class _Writer:
    """A model that writes, and what was said so far."""

    def __init__(
        self, provider: Provider, model: str, *, system: str | None, temperature: float
    ) -> None:
        from tunesmith.providers import Writing

        self._provider, self._model = provider, model
        self._writing = Writing(temperature=temperature)
        self._said = [] if system is None else [{"role": "system", "content": system}]

    def answer(self, lines: Iterator[str], *, remembers: bool, as_json: bool) -> None:
        """Print the answer to each line; `remembers`: as one conversation."""
        for line in lines:
            asked = [*self._said, {"role": "user", "content": line}]
            text = self._told(line, asked) if as_json else self._shown(asked)
            if remembers:
                self._said = [*asked, {"role": "assistant", "content": text}]

    def _shown(self, asked: list[dict[str, str]]) -> str:
        from tunesmith.providers import Conversation

        text = ""
        conversation = Conversation(messages=asked)
        for piece in self._provider.stream(self._model, conversation, writing=self._writing):
            print(piece, end="", flush=True)
            text += piece
        print(flush=True)
        return text

    def _told(self, line: str, asked: list[dict[str, str]]) -> str:
        from tunesmith.providers import Conversation

        given = [Conversation(messages=asked)]
        writing = self._writing
        answers = self._provider.chat(self._model, given, concurrency=1, writing=writing)
        _, reply = next(iter(answers))
        known = {
            "text": line,
            "answer": reply.text,
            "finish_reason": reply.finish_reason,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "seconds": reply.seconds,
        }
        if reply.refused:
            known["refused"] = reply.refused
        print(json.dumps(known, ensure_ascii=False), flush=True)
        return reply.text


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
