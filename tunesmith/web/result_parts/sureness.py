"""How far a model's probabilities can be trusted, and the threshold below which people decide.

Does not know: single rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from tunesmith.data.findings import counted
from tunesmith.web.controls import (
    VALUE,
    button,
    clear,
    details,
    facts,
    panel,
    script,
    table,
    tag,
    text,
)
from tunesmith.web.result_parts.looked import Looked, filled
from tunesmith.web.results import charts
from tunesmith.web.results.words import percent, span

CODE = """import math
from openai import OpenAI

client = OpenAI(base_url={address}, api_key=os.environ["OPENAI_API_KEY"])

def label_of(text: str) -> str | None:
    \"\"\"The label, or None where a person is to decide.\"\"\"
    reply = client.chat.completions.create(
        model={model},
        messages=[{{"role": "user", "content": text}}],
        logprobs=True,
    )
    choice = reply.choices[0]
    probability = math.exp(choice.logprobs.content[0].logprob)
    return choice.message.content if probability >= {threshold} else None
"""
ANSWERED = 0.8
"""Share of the texts that it is to answer at first, where no threshold is surely good."""
TELLING = 0.03
"""How far stated probabilities and shares right may differ, on average, to be called honest."""


class Sureness:
    """The part of the page."""

    def __init__(self, looked: Looked) -> None:
        self._looked = looked
        self._found: Mapping[str, Any] = {}

    def build(self) -> None:
        """The part."""
        report = self._looked.report
        if not report["calibration"]:
            return
        with panel("How sure is it, and can one believe that?").set(id="sureness"):
            text(self._honesty(), "")
            with tag("div", kind="grid two"):
                with tag("figure", kind="stack tight"):
                    tag("h3", "Stated and true")
                    ui.html(charts.reliability(report["calibration"]), sanitize=False)
                    tag(
                        "figcaption",
                        "Height: the share of answers that are right. On the dashed line the model "
                        "is as sure as it should be; bars below it mean that it is too sure.",
                        kind="quiet small",
                    )
                    self._bins(report["calibration"])
                self.threshold = tag("div", kind="stack")
            self.below = tag("div")
        filled(self.threshold, "Working out what thresholds bring", self._fill)

    def _honesty(self) -> str:
        error = self._looked.report["metrics"].get("expected_calibration_error", 0.0)
        told = "With each answer the model states how probable it is. On average that differs by "
        told += f"{100 * error:.1f} points from the share that is right: "
        if error <= TELLING:
            return told + "it can be believed."
        return told + "take it as a hint, and choose the threshold by what is measured here."

    def _bins(self, bins: Sequence[Mapping[str, Any]]) -> None:
        with details("The numbers", kind="small"):
            table(
                ("Stated", "Rows", "Sure on average", "Right"),
                [
                    (f"{100 * b['low']:.0f} to {100 * b['high']:.0f} %", b["num_rows"],
                     percent(b["confidence"]), percent(b["accuracy"]))
                    for b in bins
                ],
                caption="Share right by stated probability",
                kind="numbers",
            )  # fmt: skip

    async def _fill(self) -> None:
        self._found = await self._looked.ask("sureness")
        points = self._found["points"]
        with clear(self.threshold):
            if not points:
                text("This model states no probabilities.", "quiet")
                return
            tag("h3", "Let it answer only when it is sure")
            self.chart = ui.html("", sanitize=False)
            with tag("div", kind="field"):
                tag("label", "Least probability to answer", for_="threshold")
                self.slider = tag(
                    "input", type="range", id="threshold", min=0, max=len(points) - 1, step=1,
                    aria_describedby="threshold-said",
                )  # fmt: skip
            self.slider.on("input", self._moved, js_handler=VALUE, throttle=0.1)
            self.said = tag("p", id="threshold-said", role="status")
            self.numbers = tag("div")
            self._targets()
        with clear(self.below), details("The code that does so"):
            with tag("pre", kind="code"):
                self.code = tag("code", id="threshold-code")
            tag("button", "Copy", kind="button small", type="button", data_copy="threshold-code")
        self._jump(self._begin())()

    def _begin(self) -> Sequence[float]:
        """Where to begin: at the highest share right that is sure, else where most are answered."""
        reached: list[Sequence[float]] = [p for _, p in self._found["targets"] if p]
        total = self._found["num_rows"]
        answering = [p for p in self._found["points"] if p[1] >= ANSWERED * total]
        return reached[-1] if reached else answering[-1]

    def _targets(self) -> None:
        tag("h3", "To be right at least so often")
        with tag("div", kind="row"):
            for target, point in self._found["targets"]:
                name = f"{100 * target:.0f} %"
                if point:
                    button(name, self._jump(point), kind="small")
                else:
                    tag(
                        "button", f"{name}: not sure with these rows", kind="button small",
                        type="button", disabled=True,
                    )  # fmt: skip
        text("With 95 % certainty, for texts like these.", "quiet small")

    def _jump(self, point: Sequence[float]) -> Any:
        def do() -> None:
            points = self._found["points"]
            near = min(range(len(points)), key=lambda k: abs(points[k][0] - point[0]))
            script(f"document.getElementById('threshold').value = {near}")
            self._choose(point)

        return do

    def _moved(self, event: Any) -> None:
        self._choose(self._found["points"][int(event.args)])

    def _choose(self, point: Sequence[float]) -> None:
        threshold, answered, rightly, *interval = point
        total = self._found["num_rows"]
        self.chart.set_content(charts.coverage(self._found["points"], total, point))
        right = rightly / answered if answered else 0.0
        if answered:
            rest = counted(total - answered, "text", "texts")
            self.said.text = (
                f"From {percent(threshold)} on it answers {percent(answered / total)} of the texts "
                f"itself, {percent(right)} of them rightly (95 % sure: {span(interval)}). People "
                f"get {rest} of {total:,}."
            )
        else:
            self.said.text = f"No answer is as sure as {percent(threshold)}."
        with clear(self.numbers):
            facts(
                {
                    "Threshold": _digits(threshold),
                    "It answers": percent(answered / total),
                    "Right of these": percent(right) if answered else "–",
                }
            )
        address = str(ui.context.client.request.base_url) + "v1"
        self.code.text = "import os\n" + CODE.format(
            address=json.dumps(address),
            model=json.dumps(self._looked.report["model"], ensure_ascii=False),
            threshold=_digits(threshold),
        )


def _digits(threshold: float) -> str:
    """Four digits, rounded down, so that the rows at the threshold stay above it."""
    return f"{math.floor(1e4 * threshold) / 1e4:.4f}".rstrip("0").ljust(4, "0")
