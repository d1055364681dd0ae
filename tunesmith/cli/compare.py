"""`tunesmith compare`: models of labels side by side on the same rows.

Knows: what is printed. Does not know: how models are compared.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.asking import BaseUrl, provider_at

if TYPE_CHECKING:
    from tunesmith.cli.terminal import Terminal
    from tunesmith.pipeline.compare import Compared

SHOWN = ("accuracy", "f1_macro", "precision_macro", "recall_macro")

Names = Annotated[
    list[str], typer.Argument(help="Folders of runs, or models; each is compared with the first.")
]
Data = Annotated[
    Path | None,
    typer.Option(help="Rows to compare on. Empty: those that the first run is scored on."),
]
Text = Annotated[str | None, typer.Option(help="Column of --data with the text. Empty: guessed.")]
Label = Annotated[str | None, typer.Option(help="Column of --data with the label. Empty: guessed.")]
Html = Annotated[Path, typer.Option(help="Where the report goes.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def compare(
    names: Names,
    data: Data = None,
    text: Text = None,
    label: Label = None,
    html: Html = Path("compare.html"),
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Compare models of labels on the same rows, and say whether the difference may be chance."""
    from tunesmith.cli.terminal import Terminal
    from tunesmith.pipeline.compare import compare as compared
    from tunesmith.pipeline.evaluating.labels.compare_report import write_compare

    terminal = Terminal(as_json=as_json)
    try:
        with provider_at(base_url) as provider:
            found = compared(names, provider, terminal, data=data, columns=(text, label))
    finally:
        terminal.close()
    write_compare(found, html)
    _tell(found, html, terminal)
    terminal.json(_json(found, html))


def _tell(found: Compared, html: Path, terminal: Terminal) -> None:
    width = 2 + max(12, *(len(one.name) for one in found.models))
    terminal.plain(f"{'%, 95 % sure':<{width}}" + "".join(f"{name:<20}" for name in SHOWN), "dim")
    for one in found.models:
        cells = []
        for name in SHOWN:
            low, high = one.intervals[name]
            span = f"{100 * low:.1f}–{100 * high:.1f}"
            cells.append(f"{f'{100 * one.metrics[name]:.1f} {span}':<20}")
        terminal.plain(f"{one.name:<{width}}" + "".join(cells))
    terminal.plain()
    for duel in found.duels:
        c = duel.comparison
        terminal.plain(
            f"{duel.name}: right where {found.models[0].name} is wrong on {c.only_ours:,} rows, "
            f"the other way round on {c.only_theirs:,} ({c.test}: p = {c.p_value:.3g})"
        )
    terminal.plain()
    for sentence in found.verdict:
        terminal.plain(sentence)
    terminal.plain()
    terminal.plain(f"report     {html}")


def _json(found: Compared, html: Path) -> dict[str, Any]:
    """All but the rows themselves; those that flipped by their number, from 0, and line."""
    told = asdict(found)
    rows = told.pop("rows")
    for one in told["models"]:
        one.pop("predicted")
    return {"report": str(html), "num_rows": len(rows["texts"]), "lines": rows["lines"], **told}
