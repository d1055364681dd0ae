"""Requests through the official `openai` SDK: one client, its errors as ours, asked again in time.

Knows: how the SDK is set up and what it raises. Does not know: what is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from tunesmith.errors import ProviderError, TunesmithError
from tunesmith.providers.patience import Pace, Patience, Tell, until_reset
from tunesmith.providers.provider import Endpoint, Link
from tunesmith.providers.refusals import refused, without_keys

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")


def silent(_: str) -> None:
    """Tells nobody."""


class Caller:
    """Asks a server. The SDK is imported and the server reached at the first request.

    pace  is slowed down by what the server says of its rate limits.
    """

    def __init__(self, link: Link, pace: Pace, tell: Tell = silent) -> None:
        self.link = link
        self.patience = Patience(tell, link.is_gone)
        self._pace = pace
        self._guard = threading.Lock()
        self._opened: OpenAI | None = None
        self._endpoint: Endpoint | None = None

    def warm_up(self) -> None:
        """Start the server and import the SDK in the background."""
        threading.Thread(target=self._warm_up, daemon=True).start()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self.link.close()

    def ask(
        self,
        use: Callable[[OpenAI], T],
        *,
        pace: Pace | None = None,
        before_again: Callable[[], T | None] = lambda: None,
    ) -> T:
        """What `use` gets from the client, asked again while it fails in a way that passes.

        pace  of requests that many threads make at once; before_again: as in `Patience.call`.
        """

        def once() -> T:
            with self.asking() as client:
                return use(client)

        def in_turn() -> T:
            assert pace
            with pace.turn():
                return once()

        self._client()  # a server that does not start is not started again and again
        return self.patience.call(in_turn if pace else once, before_again=before_again)

    def pages(self, first: Callable[[OpenAI], Any]) -> Iterator[Any]:
        """The elements of a list, page after page, each asked for on its own."""
        page = self.ask(first)
        while True:
            yield from page.data or ()
            if not page.has_next_page():
                return
            page = self.ask(lambda _, page=page: page.get_next_page())  # type: ignore[misc]

    @contextmanager
    def asking(self) -> Iterator[OpenAI]:
        """The client, for one try; the SDK's errors leave as ours."""
        client = self._client()
        from openai import APIConnectionError, APIError, APIStatusError

        at, where = self._endpoint, self._where()
        key = at.key if at else ""
        try:
            yield client
        except APIStatusError as error:
            fix = getattr(self.link, "key_fix", "")
            raise refused(error, where, key=key, fix=fix) from None
        except APIConnectionError as error:
            raise self.link.lost(without_keys(str(error.__cause__ or error), key)) from None
        except (APIError, JSONDecodeError, ValidationError) as error:
            told = without_keys(str(error), key)
            # A body that is no JSON may have been cut on its way; a wrong one stays wrong.
            final = {} if isinstance(error, JSONDecodeError) else {"x-should-retry": "false"}
            raise ProviderError(
                f"The answer of {self.link.place} made no sense: {told}", headers=final
            ) from None

    def path(self, path: str, model: str) -> str:
        """Where requests to that model go."""
        self._client()
        assert self._endpoint
        return self._endpoint.model_path.replace("{model}", model) + path

    def _where(self) -> str:
        place = self.link.place
        return "The local server" if place == "embedded" else f"The server at {place}"

    def _warm_up(self) -> None:
        with suppress(TunesmithError):  # the first call will meet it again, and raise it
            self.link.warm_up()
            import openai  # noqa: F401

    def _client(self) -> OpenAI:
        with self._guard:
            if self._opened is None:
                self._endpoint = self.link.endpoint()
                self._opened = self._open(self._endpoint)
            return self._opened

    def _open(self, at: Endpoint) -> OpenAI:
        from openai import DefaultHttpxClient, OpenAI

        host = urlsplit(at.base_url).netloc

        def address(request: Any) -> None:
            """Put the key where this server looks for it, and nowhere else on a redirect."""
            if at.header != "Authorization":
                request.headers.pop("Authorization", None)
                if request.url.netloc.decode() == host:
                    request.headers[at.header] = at.key

        hooks: Any = {"request": [address], "response": [self._heard]}
        return OpenAI(
            base_url=at.base_url,
            api_key=at.key,
            default_query=dict(at.query),
            max_retries=0,  # Patience asks again, and says so
            http_client=DefaultHttpxClient(event_hooks=hooks),
        )

    def _heard(self, response: Any) -> None:
        self._pace.hold(until_reset(response.headers))
