"""Tells what was decided and found, as it happens, and keeps all of it.

Knows: events, decisions, findings.
Does not know: who listens, or what is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import polars as pl

from tunesmith.data.findings import Finding
from tunesmith.data.receipt import Step, settle
from tunesmith.events import Decision, Event

PRINTED = 10  # findings told at once; the others are only counted


@dataclass(kw_only=True)
class Journal:
    """What is told goes to `report`; `where` is named as the place of the findings not told."""

    report: Callable[[Event], None]
    where: str
    stages: tuple[str, ...]
    decisions: list[Decision] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def decide(self, decisions: Iterable[Decision], prefix: str = "") -> None:
        """Note automatic choices; `prefix` comes before what each is about."""
        for decision in decisions:
            decision = replace(decision, what=prefix + decision.what)
            self.decisions.append(decision)
            self.report(decision.event())

    def find(self, findings: Iterable[Finding], prefix: str = "") -> None:
        """Note findings; `prefix` comes before each sentence."""
        for finding in findings:
            finding = replace(finding, what=prefix + finding.what)
            self.findings.append(finding)
            if len(self.findings) <= PRINTED:
                self.report(finding.event())

    def stage(self, name: str) -> None:
        """Tell that the next of the stages begins."""
        data = {"done": self.stages.index(name), "total": len(self.stages)}
        self.report(Event(kind="progress", message=name, data=data))

    def close(self) -> None:
        """Tell how many findings were not told."""
        if (hidden := len(self.findings) - PRINTED) > 0:
            self.report(Event(kind="warning", message=f"… and {hidden:,} more in {self.where}"))

    def take(self, rows: pl.DataFrame, step: Step) -> pl.DataFrame:
        """The rows after a step that takes some out; tells of it."""
        self.decide(step.decisions)
        self.find(step.findings)
        return settle(rows, step.verdicts)
