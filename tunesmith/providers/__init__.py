"""Who does the work: one client for everything that speaks OpenAI's wire.

Knows: how a provider's name, address and key become something that can be asked.
Does not know: the verbs, files of a run, training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tunesmith.config import ProviderConfig
from tunesmith.errors import pick
from tunesmith.providers.embedded import EmbeddedServer
from tunesmith.providers.openai_wire import OpenAIWire
from tunesmith.providers.provider import (
    Answer,
    Capabilities,
    Conversation,
    Link,
    Provider,
    Reply,
    Writing,
)
from tunesmith.providers.remote import RemoteServer
from tunesmith.settings import Settings

__all__ = [
    "Answer",
    "Capabilities",
    "Conversation",
    "Provider",
    "Reply",
    "Writing",
    "connect",
    "endpoint",
]

NO_KEY = "none"
"""Sent where no key is known: the SDK wants one, and such endpoints look at none."""


def _local(config: ProviderConfig, settings: Settings) -> OpenAIWire:
    address = config.base_url or settings.server
    link: Link = RemoteServer(address, settings.api_key) if address else EmbeddedServer(settings)
    return OpenAIWire(link, can=Capabilities())


PROVIDERS: dict[str, Callable[[ProviderConfig, Settings], OpenAIWire]] = {"local": _local}


@contextmanager
def connect(config: ProviderConfig, settings: Settings) -> Iterator[Provider]:
    """The provider that `config` names. Nothing is started or asked before it is needed.

    Raises: ConfigError for a provider or an address that is none.
    """
    provider = pick(PROVIDERS, config.name, "provider")(config, settings)
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
    provider = OpenAIWire(link, can=Capabilities(train=False, options=False))
    try:
        yield provider
    finally:
        provider.close()
