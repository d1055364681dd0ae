"""Trials as they come: a table that keeps itself up to date on a terminal, elsewhere a line each.

Knows: the events of trials. Does not know: how trials are run or chosen.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tunesmith.cli.terminal import STYLES, Terminal, duration
from tunesmith.events import Event
from tunesmith.metrics.targets import UNBOUNDED

Row = Mapping[str, Any]

STATES = {"done": "", "pruned": "dim", "stopped": "dim", "failed": "red", "running": ""}
REFRESHES = 4
"""Times a second that the table is drawn again, at most."""


class TrialTable:
    """Call it with events. Those of trials it shows itself, all others it hands to the terminal."""

    def __init__(self, terminal: Terminal, *, as_json: bool) -> None:
        self._terminal = terminal
        self._console = Console(stderr=as_json, highlight=False, emoji=False, markup=False)
        self._guard = threading.Lock()
        self._rows: dict[int, dict[str, Any]] = {}
        self._best = -1
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        """Show an event. Trials that run at once may tell theirs at once."""
        with self._guard:
            if row := event.data.get("trial"):
                self._show(row)
            elif self._live is None:
                self._terminal(event)
            elif event.kind != "progress":
                self._console.print(f"  {event.message}", style=STYLES.get(event.kind, "dim"))

    def close(self) -> None:
        """Leave the table as it is; what comes after is for the terminal."""
        with self._guard:
            if self._live is not None:
                self._live.update(self._table(), refresh=True)
                self._live.stop()
                self._live = None

    def _show(self, row: Row) -> None:
        known = self._rows.setdefault(row["number"], {})
        known.update(row)
        if row.get("best"):
            self._best = row["number"]
        if not self._console.is_terminal:
            if row["state"] != "running":
                self._terminal.line(Text("  ") + self._line(known))
            return
        if self._live is None:
            self._terminal.line("")
            self._live = Live(self._table(), console=self._console, refresh_per_second=REFRESHES)
            self._live.start(refresh=True)
        self._live.update(self._table())

    def _line(self, row: Row) -> Text:
        line = Text(f"trial {row['number'] + 1:<3} ")
        line.append(f"{_score(row):<18}", "bold" if row["number"] == self._best else "")
        line.append(f"{duration(row['seconds']):<13}", "dim")
        return line + Text(_settings(row)) + Text(_why(row), "dim")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 1))
        for name in ("trial", "score", "time", "settings"):
            table.add_column(
                name, header_style="dim", justify="right" if name == "trial" else "left"
            )
        for number, row in sorted(self._rows.items()):
            style = "bold green" if number == self._best else STATES[row["state"]]
            time = duration(row["seconds"]) if row["state"] != "running" else ""
            table.add_row(
                str(number + 1), _score(row), time, _settings(row) + _why(row), style=style
            )
        return table


def _score(row: Row) -> str:
    """accuracy 93.1%; of a trial that runs, how far it is."""
    if row["state"] == "running":
        return _progress(row)
    if row["state"] != "done" or row.get("score") is None:
        return str(row["state"])
    metric, score = row["metric"], row["score"]
    return f"{metric} {score:.4f}" if metric in UNBOUNDED else f"{metric} {score:.1%}"


def _progress(row: Row) -> str:
    if not row.get("total"):
        return "begins"
    words = f"{row.get('done', 0):,.0f}/{row['total']:,.0f}"
    return f"{words}, dev {row['look']:.3f}" if "look" in row else words


def _settings(row: Row) -> str:
    """n_epochs 5, label_smoothing 0.1."""
    parts = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row["settings"].items()
    ]
    return ", ".join(parts) or "the usual settings"


def _why(row: Row) -> str:
    return f" ({row['why']})" if row.get("why") else ""
