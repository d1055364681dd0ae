"""The SDK's errors about what the other side said, in our words.

Does not know: what was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.errors import NotAllowed, NotFound, ProviderError, RequestError, TunesmithError

if TYPE_CHECKING:
    from openai import APIStatusError

TOO_LONG = "context_length_exceeded"


def refused(error: APIStatusError, where: str) -> TunesmithError:
    """What to raise in the place of the SDK's error; `where` begins a sentence with who said it."""
    body = error.body if isinstance(error.body, dict) else {}
    said, param = str(body.get("message") or error.message), body.get("param")
    if error.status_code == 401:
        return NotAllowed(
            f"{where} refused the API key: {said}",
            fix="Set TUNESMITH_API_KEY to a key made there with `tunesmith keys create NAME`.",
        )
    if error.status_code == 403:
        return NotAllowed(said, param=param)
    if error.status_code == 404:
        return NotFound(said, param=param)
    if error.status_code < 500 and error.status_code not in (408, 409, 429):
        return RequestError(said, param=param)
    return ProviderError(
        f"{where} failed ({error.status_code}): {said}",
        fix="Start the same command again; it goes on where it stopped.",
        status=error.status_code,
        code=body.get("code"),
    )


def is_too_long(error: RequestError) -> bool:
    """Whether a prompt is longer than the model reads."""
    body = getattr(error.__cause__, "body", None)
    return isinstance(body, dict) and body.get("code") == TOO_LONG
