"""Who does the work: rows of what providers can, and one client for OpenAI's wire.

Knows: how a provider's name, address and key become something that can be asked.
Does not know: the verbs, files of a run, training.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tunesmith.config import ProviderConfig
from tunesmith.errors import ConfigError, pick
from tunesmith.providers import rows
from tunesmith.providers.caller import silent
from tunesmith.providers.embedded import EmbeddedServer
from tunesmith.providers.openai_wire import OpenAIWire
from tunesmith.providers.patience import Tell, passes
from tunesmith.providers.provider import (
    Answer,
    Capabilities,
    Conversation,
    Link,
    ModelFacts,
    Provider,
    Reply,
    Writing,
)
from tunesmith.providers.remote import NO_KEY, RemoteServer
from tunesmith.providers.rows import Row
from tunesmith.settings import PREFIX, Settings

__all__ = [
    "Answer",
    "Capabilities",
    "Conversation",
    "ModelFacts",
    "Provider",
    "Reply",
    "Row",
    "Writing",
    "connect",
    "endpoint",
    "foreseen",
    "passes",
    "row",
    "rows_of",
]

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def row(name: str, settings: Settings) -> Row:
    """What is known of the provider of that name. Raises: ConfigError where there is none."""
    return rows.find(name, settings.data_dir)


def rows_of(settings: Settings) -> list[Row]:
    """All that is known of all providers, the user's own rows included."""
    return [rows.find(name, settings.data_dir) for name in rows.names(settings.data_dir)]


def foreseen(config: ProviderConfig, settings: Settings) -> Capabilities | None:
    """What the provider can do, as far as that is known before it is asked; None: it is not."""
    found = row(config.name, settings)
    is_open = found.reach.otherwise and _address(config, found, settings)
    return None if is_open else found.can


def _openai_wire(
    row: Row, config: ProviderConfig, settings: Settings, tell: Tell = silent
) -> OpenAIWire:
    address = _address(config, row, settings)
    if not address and row.reach.starts:
        return OpenAIWire(EmbeddedServer(settings), can=row.can, tell=tell)
    if not address:
        wanted = " or ".join(["--base-url", *row.reach.address_variables])
        raise ConfigError(f"No address is given for {row.title}.", fix=f"Give it with {wanted}.")
    link: Link = RemoteServer(address, _key(config, row, settings), row.reach)
    named = row.reach.otherwise
    otherwise = rows.find(named, settings.data_dir).can if named else None
    return OpenAIWire(link, can=row.can, otherwise=otherwise, tell=tell)


APIS: dict[str, Callable[[Row, ProviderConfig, Settings, Tell], Provider]] = {
    "openai": _openai_wire
}
"""What rows say that they speak → how it is spoken."""


@contextmanager
def connect(config: ProviderConfig, settings: Settings, tell: Tell = silent) -> Iterator[Provider]:
    """The provider that `config` names. Nothing is started or asked before it is needed.

    tell  is told, in a sentence, when something is waited for.
    Raises: ConfigError for a provider or an address that is none.
    """
    found = row(config.name, settings)
    provider = pick(APIS, found.api, "interface")(found, config, settings, tell)
    try:
        yield provider
    finally:
        provider.close()


@contextmanager
def endpoint(base_url: str, key: str) -> Iterator[Provider]:
    """Any server that answers chat completions, be it Tunesmith's or not.

    Raises: ConfigError for an address that is none.
    """
    link = RemoteServer(base_url, key or NO_KEY)
    can = Capabilities(train=False, options=False, token_ids=False)
    provider = OpenAIWire(link, can=can)
    try:
        yield provider
    finally:
        provider.close()


def check(config: ProviderConfig, settings: Settings) -> None:
    """Refuse, before anything is written, what is no provider, no address or no key's variable.

    Raises: ConfigError; its text never holds a key that was given in the place of a name.
    """
    found = row(config.name, settings)
    if config.key_env is not None and not os.environ.get(config.key_env):
        is_name = _VARIABLE.fullmatch(config.key_env)
        told = f"The environment variable {config.key_env} is" if is_name else "That variable is"
        raise ConfigError(
            f"{told} not set, and the API key was to be there (--key-env).",
            fix="Set it. --key-env takes the variable's name, never the key itself.",
        )
    if address := _address(config, found, settings):
        RemoteServer(address, "", found.reach)


def _address(config: ProviderConfig, row: Row, settings: Settings) -> str:
    if config.base_url:
        return config.base_url
    told = (_variable(name, settings) for name in row.reach.address_variables)
    return next(filter(None, told), row.reach.base_url)


def _key(config: ProviderConfig, row: Row, settings: Settings) -> str:
    if config.key_env:
        return os.environ.get(config.key_env, "")
    told = (_variable(name, settings) for name in row.reach.key_variables)
    return next(filter(None, told), "")


def _variable(name: str, settings: Settings) -> str:
    """What an environment variable holds; Tunesmith's own ones are settings."""
    if name.startswith(PREFIX):
        return str(getattr(settings, name.removeprefix(PREFIX).lower(), ""))
    return os.environ.get(name, "")
