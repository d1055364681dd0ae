"""A server that is running already: its address, its key, and what to say when it is silent."""

from __future__ import annotations

from urllib.parse import urlsplit

from tunesmith.errors import ConfigError, NotAllowed, ProviderError
from tunesmith.providers.provider import Endpoint
from tunesmith.providers.rows import Reach

NO_KEY = "none"
"""Sent where no key is known: the SDK wants one, and such endpoints look at none."""
OURS = Reach(
    key_variables=("TUNESMITH_API_KEY",),
    key_comes_from="made there with `tunesmith keys create NAME`",
)


class RemoteServer:
    """A base URL and a key. An address without a path gets the usual one.

    Raises: ConfigError when the address is none, or holds a password or a key.
    """

    def __init__(self, base_url: str, key: str, reach: Reach = OURS) -> None:
        try:
            parts = urlsplit(base_url)
            has_secret = bool(parts.password or parts.username or parts.query or parts.fragment)
        except ValueError:
            parts, has_secret = urlsplit(""), False
        if has_secret:
            raise ConfigError(
                "The base URL holds more than an address (a user, a password or a query).",
                fix="Give the address alone, and the key in an environment variable.",
            )
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(
                f"The base URL is {base_url!r}.",
                fix="Give one like http://host:8000/v1 (--base-url or TUNESMITH_SERVER).",
            )
        address = base_url.rstrip("/")
        self.place = address if parts.path.strip("/") else f"{address}{reach.path}"
        self._key = key
        self._reach = reach

    @property
    def key_fix(self) -> str:
        """Where a key that is accepted comes from."""
        variable = next(iter(self._reach.key_variables), "TUNESMITH_API_KEY")
        return f"Set {variable} to a key {self._reach.key_comes_from}."

    def warm_up(self) -> None:
        """There is nothing to start."""

    def endpoint(self) -> Endpoint:
        """Raises: NotAllowed when no key was given, and one is needed."""
        if not self._key and self._reach.needs_key:
            raise NotAllowed(f"No API key was given for {self.place}.", fix=self.key_fix)
        return Endpoint(
            base_url=self.place,
            key=self._key or NO_KEY,
            header=self._reach.header,
            query=self._reach.query,
            model_path=self._reach.model_path,
        )

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
