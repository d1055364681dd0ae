"""`tunesmith models`: base models and tuned ones."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.asking import BaseUrl, provider_at
from tunesmith.cli.export import export

if TYPE_CHECKING:
    from tunesmith.catalog import BaseModel

app = typer.Typer(help="Base models and tuned ones.", invoke_without_command=True)
Name = Annotated[str, typer.Option(help="Name to keep it under. Empty: its own, in lower case.")]


@app.callback()
def main(context: typer.Context) -> None:
    """List all models, or do something with one."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(
    base_url: BaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """All models, newest first; and base models for text generation, here or to be fetched."""
    from tunesmith import settings

    with provider_at(base_url) as provider:
        found = sorted(provider.models(), key=lambda model: -model.created)
    here = settings.load()
    bases = [] if base_url or here.server else _bases(here.base_models_dir)
    told_below = {base.name for base, _ in bases}
    found = [model for model in found if model.id not in told_below]
    if as_json:
        ours = [_facts(base, state) for base, state in bases]
        print(json.dumps([model.model_dump() for model in found] + ours))
        return
    for model in found:
        made = time.strftime("%Y-%m-%d", time.localtime(model.created))
        print(f"{made}  {model.id}  ({model.owned_by})")
    if bases:
        print("\nBase models for text generation; `tunesmith models pull NAME` fetches one:")
        print(_line("name", "here", "GB", "tokens", "rate", "template", "licence"))
    for base, state in bases:
        print(
            _line(
                base.name,
                state,
                f"{base.num_bytes / 1e9:,.2f}",
                f"{base.max_length:,}",
                f"{base.learning_rate:g}".replace("e-0", "e-"),
                base.chat_template.partition(" with ")[0] or "none",
                # Of these words 80 columns have no room; --json has them.
                base.licence.removesuffix(" Community License").removesuffix(" Terms of Use"),
            )
        )


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="Name in the catalog, or OWNER/NAME at the hub.")],
    name: Name = "",
) -> None:
    """Fetch a base model for text generation; interrupted, it goes on where it stopped."""
    from tunesmith import hub, settings
    from tunesmith.cli.terminal import Terminal

    terminal = Terminal()
    try:
        base = hub.pull(model, settings.load().base_models_dir, name=name, report=terminal)
    finally:
        terminal.close()
    print(f"{base.name} is in {base.folder}: {_told(base)}.")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="Folder with config.json, tokenizer.json, …")],
    name: Name = "",
) -> None:
    """Keep a local folder as a base model for text generation, where it lies, with checksums."""
    from tunesmith import settings
    from tunesmith.catalog import shelf

    base = shelf.register(folder, settings.load().base_models_dir, name=name)
    print(f"{base.name} is kept; its {len(base.kept)} files stay in {base.folder}: {_told(base)}.")


app.command()(export)


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    base_url: BaseUrl = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a tuned model."""
    from tunesmith.errors import StateError

    if not yes and not typer.confirm(f"Delete {name} for good?"):
        raise StateError(f"{name} was not deleted.")
    with provider_at(base_url) as provider:
        provider.delete_model(name)
    print(f"{name} is deleted.")


def _bases(shelf_dir: Path) -> list[tuple[BaseModel, str]]:
    """Every base model for text generation, and whether it is on this machine."""
    from tunesmith.catalog import catalog, changed, shelf

    kept = shelf.installed(shelf_dir)
    states = {name: "changed" if changed(base) else "installed" for name, base in kept.items()}
    absent = [base for base in catalog().values() if base.hub and base.name not in kept]
    told = [(base, states[name]) for name, base in kept.items()]
    return told + [(base, "gated" if base.gated else "") for base in absent]


def _line(*cells: str) -> str:
    name, state, size, tokens, rate, template, licence = cells
    line = f"{name:<24} {state:<9} {size:>6} {tokens:>8} {rate:>5} {template:<8} {licence}"
    return line.rstrip()


def _facts(base: BaseModel, state: str) -> dict[str, object]:
    return {
        "id": base.name,
        "object": "base_model",
        "created": base.created,
        "owned_by": base.hub.split("/")[0],
        "state": state,
        "folder": str(base.folder or ""),
        **{
            fact: getattr(base, fact)
            for fact in (
                "hub", "gated", "architecture", "parameters", "num_bytes", "licence",
                "max_length", "chat_template", "learning_rate",
            )
        },
    }  # fmt: skip


def _told(base: BaseModel) -> str:
    parts = [f"{base.num_bytes / 1e9:.2f} GB", f"{base.max_length:,} tokens", base.licence]
    parts.append("" if base.chat_template else "no chat template of its own: it will get ChatML")
    return ", ".join(filter(None, parts))
