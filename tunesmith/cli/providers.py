"""`tunesmith providers`: who can do the work, as the rows of providers.toml tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tunesmith.providers import ModelFacts, Row

app = typer.Typer(help="Who can do the work.", invoke_without_command=True)
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


@app.callback()
def main(context: typer.Context) -> None:
    """List all providers, or show what is known of one."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All providers, your own rows included."""
    from tunesmith import providers, settings

    found = providers.rows_of(settings.load())
    if as_json:
        print(json.dumps([_plain(row) for row in found], default=str))
        return
    for row in found:
        print(f"{row.name:<12} {row.title:<36} {_in_short(row)}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the provider.")], as_json: Json = False
) -> None:
    """All that is known of a provider, with the date and source of each fact."""
    from tunesmith import providers, settings

    row = providers.row(name, settings.load())
    if as_json:
        print(json.dumps(_plain(row), default=str))
        return
    print(row.title)
    for line in _lines(row):
        print(line)


def _plain(row: Row) -> dict[str, Any]:
    return asdict(row)


def _in_short(row: Row) -> str:
    can = row.can
    tunes = " and ".join(can.methods) if can.train else "does not train"
    is_priced = any(facts.training is not None for facts in can.models)
    money = "free" if can.free else ("prices known" if is_priced else "prices unknown")
    last = [end.on for end in can.ends if end.what == "training" and end.who == "everybody"]
    ends = f"; no new jobs from {min(last)}" if last else ""
    return f"{tunes}; {money}{ends}"


def _lines(row: Row) -> Iterator[str]:
    from tunesmith.providers.rows import SECTIONS

    yield from _section(row, "reach", asdict(row.reach))
    for section, names in SECTIONS.items():
        yield from _section(row, section, {name: getattr(row.can, name) for name in names})
    for facts in row.can.models:
        yield f"\nmodel {facts.name}"
        yield from (f"  {line}" for line in _model(facts, row.can.currency))
    for end in row.can.ends:
        yield f"\n{end.what} ends on {end.on} for {end.who}"
        yield f"  as of {end.as_of}: {end.source}"


def _section(row: Row, section: str, facts: dict[str, Any]) -> Iterator[str]:
    source = row.sources.get(section)
    yield f"\n{section}"
    for name, value in facts.items():
        if value not in ("", (), {}, None, 0) or value is False:
            yield f"  {name:<18} {_shown(value)}"
    yield f"  as of {source.as_of}: {source.source}" if source else "  nothing is known"


def _model(facts: ModelFacts, currency: str) -> Iterator[str]:
    yield f"tuned by {', '.join(facts.methods)}" if facts.methods else "not tuned"
    prices = {"training": facts.training, "read": facts.input, "written": facts.output}
    told = [f"{what} {price:g}" for what, price in prices.items() if price is not None]
    yield f"{currency} per million tokens: {', '.join(told)}" if told else "prices unknown"
    if facts.closes:
        gone = facts.closes <= date.today()
        yield f"{'stopped' if gone else 'stops'} answering on {facts.closes}"
    yield f"as of {facts.as_of}: {facts.source}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_shown(part)}" for key, part in value.items())
    if isinstance(value, tuple | list):
        if all(part is None or isinstance(part, float) for part in value):
            return " to ".join("any" if part is None else f"{part:g}" for part in value)
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
