"""What an account holds, in the other side's own words: lists page by page, contents of files.

Nothing is fitted into our shapes: what a service that closes sends is kept as it is, be it older
or newer than what we know.
Knows: the SDK's plain requests. Does not know: what the lists are of, folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from tunesmith.errors import ProviderError

if TYPE_CHECKING:
    from openai import OpenAI

    from tunesmith.providers.caller import Caller

PIECE = 1 << 20
"""Bytes of a download that are held at once."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose account it is, as far as the other side says."""

    organization: str = ""
    project: str = ""


class Account:
    """Reads an account; usable from several threads. Raises as the calls of `Provider` do."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def owner(self) -> Owner:
        """Whose key this is."""

        def headers(client: OpenAI) -> Mapping[str, str]:
            return client.models.with_raw_response.list().headers

        told = self._caller.ask(headers)
        return Owner(
            organization=told.get("openai-organization") or "",
            project=told.get("openai-project") or "",
        )

    def page(self, path: str, *, after: str | None = None, limit: int | None = None) -> Any:
        """One page of the list at `path` (/files), after the element `after`, as it was sent."""
        asked = {"after": after, "limit": limit}
        return self.get(path, {name: value for name, value in asked.items() if value is not None})

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """What is at `path`, as it was sent."""
        options: Any = {"params": query or {}}
        return self._caller.ask(lambda client: client.get(path, cast_to=object, options=options))

    def download(self, file_id: str, into: BinaryIO) -> None:
        """Write the file's content, piece by piece; from the start again where it breaks off.

        Raises: OSError of the disk, too.
        """

        def download(client: OpenAI) -> None:
            from httpx2 import HTTPError  # what the SDK speaks HTTP with

            into.seek(0)
            into.truncate()
            streaming = client.files.with_streaming_response
            try:
                with streaming.content(file_id) as response:
                    for piece in response.iter_bytes(PIECE):
                        into.write(piece)
            except HTTPError as error:
                raise ProviderError(f"The download of {file_id} broke off: {error}.") from None

        self._caller.ask(download)
