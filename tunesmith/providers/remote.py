"""A server that is running already: its address, its key, and what to say when it is silent."""

from __future__ import annotations

from urllib.parse import urlsplit

from tunesmith.errors import ConfigError, NotAllowed, ProviderError
from tunesmith.providers.provider import Endpoint


class RemoteServer:
    """A base URL and a key. An address without a path gets `/v1`.

    Raises: ConfigError when the address is none.
    """

    def __init__(self, base_url: str, key: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(
                f"The base URL is {base_url!r}.",
                fix="Give one like http://host:8000/v1 (--base-url or TUNESMITH_SERVER).",
            )
        self.place = base_url.rstrip("/") if parts.path.strip("/") else f"{base_url.rstrip('/')}/v1"
        self._key = key

    def warm_up(self) -> None:
        """There is nothing to start."""

    def endpoint(self) -> Endpoint:
        """Raises: NotAllowed when no key was given."""
        if not self._key:
            raise NotAllowed(
                f"No API key was given for {self.place}.",
                fix="Set TUNESMITH_API_KEY to a key made there with `tunesmith keys create NAME`.",
            )
        return Endpoint(base_url=self.place, key=self._key)

    def lost(self, reason: str) -> ProviderError:
        return ProviderError(
            f"The server at {self.place} does not answer: {reason}",
            fix="Check that it runs (`tunesmith serve`) and that the address is right "
            "(--base-url or TUNESMITH_SERVER).",
        )

    def is_gone(self) -> bool:
        return False

    def close(self) -> None:
        """It is not ours to stop."""
