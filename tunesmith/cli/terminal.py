"""What a person sees while a run goes on, and at its end.

On a terminal with colours and bars, elsewhere as plain lines. With --json it all goes to standard
error, and standard output is left to the one JSON object.
Knows: events and results. Does not know: who makes them.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tunesmith.events import Event
from tunesmith.pipeline import (
    Deployed,
    Evaluated,
    EvaluatedText,
    Prepared,
    Result,
    RunDir,
    Trained,
    Uploaded,
)
from tunesmith.pipeline.evaluating.labels.advice import TOP
from tunesmith.pipeline.evaluating.writing.report import between, headlines, shown
from tunesmith.providers import Answer, Reply

BAR_AFTER = 2.0  # seconds
SHOWN = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
LOOKS_SHOWN = 6
"""Looks at the dev slice that get a line each; after that every fifth."""
LOOKS = {"dev": "dev", "valid": "held-out"}
"""Rows that are looked at while training: prefix of the measures, and what is said of them."""
RIGHT = {
    "accuracy": "accuracy",
    "mean_token_accuracy": "right",
    "reward_accuracy": "pairs right",
}
"""Shares of what is right among them."""
STYLES = {"warning": "yellow", "error": "red"}


class Terminal:
    """Prints a run. Call it with events; tell it which verb begins and what came out."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._console = Console(stderr=as_json, highlight=False, emoji=False, markup=False)
        self._as_json = as_json
        self._began = time.monotonic()
        self._verb = ""
        self._is_told = True
        self._verb_began = 0.0
        self._looks = 0
        self._bar: Progress | None = None

    def __call__(self, event: Event) -> None:
        """Tell an event."""
        self._head()
        if event.kind == "metric":
            self._metric(event)
        elif event.kind == "progress":
            self._progress(event.message, event.data.get("done", 0), event.data.get("total", 0))
        elif event.kind == "decision":
            self._decision(event.data)
        elif event.kind in ("note", "warning", "error"):
            self.line(f"  {event.message}", STYLES.get(event.kind, "dim"))

    def begin(self, verb: str) -> None:
        """A verb begins. Its heading waits for the first event: without one, nothing is done."""
        self._verb, self._is_told, self._verb_began = verb, False, time.monotonic()

    def line(self, text: str | Text, style: str = "") -> None:
        """One line, under the heading of the verb that is at work."""
        self._head()
        self._console.print(text, style=style, soft_wrap=True)

    def _head(self) -> None:
        if not self._is_told:
            self._is_told = True
            heading = Text(f"[{clock(self._verb_began - self._began)}] ", "dim")
            self._console.print(heading + Text(self._verb, "bold cyan"), soft_wrap=True)

    def result(self, result: Result, *, reused: bool) -> None:
        """What the verb came to; nothing if it had been done before."""
        self._end_bar()
        if reused:
            return
        match result:
            case Prepared():
                self._prepared(result)
            case Uploaded():
                if not result.num_sent:
                    self.line("  both files were there already")
            case Trained():
                self._trained(result)
            case Deployed():
                self._deployed(result)
            case Evaluated():
                self.line(f"  {result.num_examples:,} validation examples answered and scored")
            case EvaluatedText():
                self.line(f"  {result.num_examples:,} held-out prompts answered and scored")

    def plain(self, text: str | Text = "", style: str = "") -> None:
        """A line that belongs to no verb."""
        self._end_bar()
        self._console.print(text, style=style, soft_wrap=True)

    def summary(
        self, evaluated: Evaluated | EvaluatedText, run_dir: RunDir, *, base_url: str | None
    ) -> None:
        """The final table, the verdict, and what can be done next."""
        self.plain()
        if isinstance(evaluated, Evaluated):
            self._scores(evaluated)
        else:
            self._written_scores(evaluated)
        self.plain()
        for sentence in evaluated.verdict:
            self.plain(sentence)
        if isinstance(evaluated, Evaluated):
            self._next_steps(evaluated)
        self.plain()
        self.plain(f"report     {shortest(run_dir.path / evaluated.report)}")
        self.plain(f"model      {evaluated.model}")
        self.plain(f'ask it     tunesmith chat {evaluated.model} "your text"')
        if base_url is None:
            self.plain("serve it   tunesmith serve")
        message = {"role": "user", "content": "your text"}
        body = json.dumps({"model": evaluated.model, "messages": [message]})
        url = f"{base_url or 'http://127.0.0.1:8000/v1'}/chat/completions"
        self.plain(
            f'over HTTP  curl {url} -H "Authorization: Bearer $TUNESMITH_API_KEY" '
            f"-H 'Content-Type: application/json' -d '{body}'"
        )

    def answer(self, text: str, answer: Answer, *, most: int = 3) -> None:
        """An answer: its best labels with their probabilities, as small bars."""
        self.plain()
        self.plain(f"› {text if len(text) <= 100 else text[:99] + '…'}", "bold")
        for row in bars(answer, most=most):
            self.plain(row)

    def reply(self, text: str, reply: Reply) -> None:
        """A written answer."""
        self.plain()
        self.plain(f"› {text if len(text) <= 100 else text[:99] + '…'}", "bold")
        self.plain(reply.refused or reply.text)
        for call in reply.calls:
            self.plain(f"calls {call.name}({call.arguments})")
        if reply.finish_reason == "length":
            self.plain("(cut off: the limit of tokens was reached)", "dim")

    def json(self, data: object) -> None:
        """The one object of --json."""
        if self._as_json:
            print(json.dumps(data, ensure_ascii=False), flush=True)

    def close(self) -> None:
        """Take a bar off the screen."""
        self._end_bar()

    # --- verbs ----------------------------------------------------------------------------------

    def _decision(self, data: Mapping[str, object]) -> None:
        line = Text(f"  {data['what']}: {data['value']} ")
        self.line(line + Text(f"({data['reason']})", "dim"))

    def _prepared(self, result: Prepared) -> None:
        kept = result.fates.get("kept", 0)
        gone = {fate: n for fate, n in result.fates.items() if fate != "kept"}
        self.line(f"  {result.num_rows:,} rows: {kept:,} kept")
        for fate, number in gone.items():
            self.line(f"    {number:>7,} {fate}")
        sides = f"  {result.num_train:,} to train on, {result.num_validation:,} to validate"
        sides += f", {result.num_test:,} to test" if result.num_test else ""
        self.line(sides + (f", {len(result.labels)} labels" if result.labels else ""))

    def _trained(self, result: Trained) -> None:
        self.line(f"  trained on {result.trained_tokens:,} tokens in {duration(result.seconds)}")

    def _deployed(self, result: Deployed) -> None:
        parity = result.parity
        if not parity.compared:
            self.line(f"  {result.model} answers")
            return
        same = {
            "labels": "every label as the trainer gave it",
            "tokens": "every token as the trainer wrote it",
            "texts": "every text as the trainer wrote it",
        }[parity.by]
        line = f"  parity: {parity.compared} held-out prompts, {same}"
        if parity.ties:
            line += f" but for {parity.ties:,} ties of two tokens"
        if parity.max_logprob_gap is None:
            line += "; the endpoint gives no log-probabilities"
        else:
            line += f", log-probabilities within {parity.max_logprob_gap:.1e}"
        self.line(line)

    def _metric(self, event: Event) -> None:
        data = event.data
        step, total = data.get("step", 0), data.get("total_steps", 0)
        part = next((part for part in LOOKS if f"{part}_loss" in data), None)
        if part:
            self._looks += 1
            if self._looks <= LOOKS_SHOWN or self._looks % 5 == 0 or step == total:
                self.line(_look(data, part, step, total))
        if step and total:
            self._progress("Training", step, total)

    # --- bars -----------------------------------------------------------------------------------

    def _progress(self, what: str, done: float, total: float) -> None:
        if not self._console.is_terminal or time.monotonic() - self._verb_began < BAR_AFTER:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task(what, total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=what)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    # --- the table ------------------------------------------------------------------------------

    def _scores(self, evaluated: Evaluated) -> None:
        rows = [("this model", evaluated.metrics, evaluated.intervals)]
        rows += [(b.name.replace("_", " "), b.metrics, b.intervals) for b in evaluated.baselines]
        rows += [(other.title, other.metrics, other.intervals) for other in evaluated.against]
        titles = (name.removesuffix("_macro") for name in SHOWN)
        width = max(15, 1 + max(len(name) for name, _, _ in rows))
        self.plain(f"{'%, 95 % sure':<{width}}" + "".join(f"{t:<17}" for t in titles), "dim")
        for name, metrics, intervals in rows:
            line = Text(f"{name:<{width}}", "bold" if name == "this model" else "")
            for key in SHOWN:
                value = f"{100 * metrics[key]:.1f}"
                low, high = intervals[key]
                span = f" {100 * low:.1f}–{100 * high:.1f}"
                line.append(value).append(f"{span:<{17 - len(value)}}", "dim")
            self.plain(line)

    def _next_steps(self, evaluated: Evaluated) -> None:
        """The advice that helps most; the report tells the rest."""
        for number, one in enumerate(evaluated.advice[:TOP], start=1):
            self.plain()
            self.plain(f"{number}. {one.change}", "bold")
            self.plain(f"   {one.evidence}")
            self.plain(f"   To be expected: {one.expected}")

    def _written_scores(self, evaluated: EvaluatedText) -> None:
        names = headlines(evaluated)
        models = {"this model": evaluated, "untuned": evaluated.untuned}
        self.plain(
            f"{'95 % sure':<15}" + "".join(f"{name.replace('_', ' '):<23}" for name in names), "dim"
        )
        for title, scores in models.items():
            if scores is None:
                continue
            line = Text(f"{title:<15}", "bold" if title == "this model" else "")
            for name in names:
                value, span = "–", ""
                if name in scores.metrics:
                    value = shown(name, scores.metrics[name]).replace("\u202f", " ")
                    span = between(name, scores.intervals[name])
                    span = " " + span.replace(" and ", "–").removesuffix("\u202f%")
                line.append(value).append(f"{span:<{max(1, 23 - len(value))}}", "dim")
            self.plain(line)


def _look(data: Mapping[str, Any], part: str, step: int, total: int) -> str:
    """A line on what was measured at a step."""
    parts = [f"  {f'step {step}/{total}' if step else 'start':<14}"]
    if "train_loss" in data:
        parts.append(f"loss {data['train_loss']:.3f}")
    parts.append(f"{LOOKS[part]} loss {data[f'{part}_loss']:.3f}")
    for name, words in RIGHT.items():
        if f"{part}_{name}" in data:
            parts.append(f"{LOOKS[part]} {words} {data[f'{part}_{name}']:.1%}")
    return "  ".join(parts)


def bars(answer: Answer, *, most: int) -> Iterable[str]:
    """One line a label: name, bar, probability."""
    top = sorted(answer.top.items(), key=lambda item: -item[1])[:most]
    top = top or [(answer.label, answer.logprob)]
    width = max(len(label) for label, _ in top)
    for label, logprob in top:
        share = math.exp(logprob) if math.isfinite(logprob) else 1.0
        yield f"  {label:<{width}}  {'█' * round(20 * share):<20} {100 * share:5.1f} %"
    if answer.cut_tokens:
        yield f"  (the last {answer.cut_tokens} tokens of the text were not read)"


def clock(seconds: float) -> str:
    """75 → "1:15"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def duration(seconds: float) -> str:
    """75 → "1 min 15 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.0f} s"


def shortest(path: Path) -> str:
    """The path as seen from the current folder, where it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def is_interactive() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
