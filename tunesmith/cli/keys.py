"""`tunesmith keys`: the API keys of the server in this machine's data folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.store.store import Store

app = typer.Typer(help="API keys for this machine's server.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="For whom or what it is.")],
    admin: Annotated[bool, typer.Option("--admin", help="It may also delete models.")] = False,
) -> None:
    """Make a key. It is shown once."""
    with _store() as store:
        key, _ = store.keys.create(name, role="admin" if admin else "user")
    print(key)


@app.command("list")
def list_() -> None:
    """All keys, without their secret part."""
    with _store() as store:
        for row in store.keys.all():
            made = time.strftime("%Y-%m-%d", time.localtime(row.created_at))
            state = "revoked" if row.revoked_at else row.role
            print(f"{row.id}  {row.name:<20} {row.prefix}  {made}  {state}")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Name or id of the key.")]) -> None:
    """End a key's validity, within seconds."""
    with _store() as store:
        row = store.keys.revoke(name)
    print(f"{row.name} is revoked.")


@contextmanager
def _store() -> Iterator[Store]:
    from tunesmith import settings
    from tunesmith.store.store import open_store

    store = open_store(settings.load())
    try:
        yield store
    finally:
        store.close()
