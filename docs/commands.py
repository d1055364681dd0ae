"""Makes the page of all commands from the command line itself: `python docs/commands.py`.

A test compares the page with what this makes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tunesmith.cli import COMMANDS, GROUPS, app
from tunesmith.config import RunConfig

PAGE = Path(__file__).parent / "commands.md"
HEAD = """# All commands

Every command and every option, as `tunesmith COMMAND --help` tells them. Options of the verbs stand
on the verbs' own pages. This page is made from the command line itself (`python docs/commands.py`).
"""
VERBS = [field.name for field in dataclasses.fields(RunConfig)]
PAGES = {"provider": "upload"}
"""Sections whose options stand on a page of another name."""


def text() -> str:
    """The whole page."""
    group: Any = typer.main.get_command(app)
    parts = [HEAD]
    for name in (*COMMANDS, *GROUPS):
        parts += _command(f"tunesmith {name}", group.commands[name])
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## {name}\n"
    yield from _told(name, command)
    for below, one in getattr(command, "commands", {}).items():
        yield f"### {name} {below}\n"
        yield from _told(f"{name} {below}", one)


def _told(name: str, command: Any) -> Iterator[str]:
    says = " ".join((command.help or "").split())
    yield f"{says}\n"
    if hasattr(command, "commands"):
        return
    own = [p for p in command.params if not p.hidden and _section(p) is None and p.name != "help"]
    sections = dict.fromkeys(s for p in command.params if (s := _section(p)))
    arguments = [p for p in own if p.param_type_name == "argument"]
    if arguments:
        yield f"`{name} {' '.join(_metavar(p) for p in arguments)}`\n"
    if own:
        yield "| option | meaning |\n|---|---|"
        yield "\n".join(f"| {_names(p)} | {_cell(p.help or '')}{_default(p)} |" for p in own) + "\n"
    if sections:
        pages = [PAGES.get(s, s) for s in sections]
        links = ", ".join(f"[{page}]({page}.md#options)" for page in dict.fromkeys(pages))
        yield f"And the options of {links}.\n"


def _section(parameter: Any) -> str | None:
    panel = getattr(parameter, "rich_help_panel", None)
    return panel if panel in VERBS else None


def _metavar(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required else f"[{name.strip('[]')}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_cell(_metavar(parameter))}`"
    return ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    """Of a number or text; what a switch is without being given is plain."""
    value = parameter.default
    shown = isinstance(value, int | float | str) and not isinstance(value, bool) and value != ""
    return f" Default: `{value}`." if shown else ""


def _cell(said: str) -> str:
    return " ".join(said.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
