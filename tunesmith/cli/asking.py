"""The provider that commands outside of a run speak to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.providers import Provider

BaseUrl = Annotated[
    str | None,
    typer.Option(help="A running server. Empty: TUNESMITH_SERVER, or one started for the command."),
]


@contextmanager
def provider_at(base_url: str | None) -> Iterator[Provider]:
    """The provider at that address, or an embedded one."""
    from tunesmith import providers, settings
    from tunesmith.config import ProviderConfig

    with providers.connect(ProviderConfig(base_url=base_url), settings.load()) as provider:
        yield provider
