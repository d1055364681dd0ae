"""`tunesmith models`: base models and tuned ones."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from tunesmith.cli.asking import BaseUrl, provider_at

app = typer.Typer(help="Base models and tuned ones.", invoke_without_command=True)


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
    """All models, newest first."""
    with provider_at(base_url) as provider:
        found = sorted(provider.models(), key=lambda model: -model.created)
    if as_json:
        print(json.dumps([model.model_dump() for model in found]))
        return
    for model in found:
        made = time.strftime("%Y-%m-%d", time.localtime(model.created))
        print(f"{made}  {model.id}  ({model.owned_by})")


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
