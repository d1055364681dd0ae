"""The SDK's errors about what the other side said, in our words, and without the key.

Does not know: what was asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunesmith.errors import NotAllowed, NotFound, ProviderError, RequestError

if TYPE_CHECKING:
    from openai import APIStatusError

TOO_LONG = "context_length_exceeded"
HIDDEN = "[key]"
SHOWN = 2000
"""Characters of what the other side said: some answer with a whole page."""
_KEYS = re.compile(r"(?i)\b(?:sk|sess|tsk)-[\w*.-]{6,}|(?<=bearer )[\w.~+/=-]{6,}")


def without_keys(text: str, key: str = "") -> str:
    """The text without the key in use, and without what looks like one."""
    if len(key) >= 4:
        text = text.replace(key, HIDDEN)
    return _KEYS.sub(HIDDEN, text)[:SHOWN]


def refused(
    error: APIStatusError, where: str, *, key: str = "", fix: str = ""
) -> RequestError | ProviderError:
    """What to raise in the place of the SDK's error.

    where  begins a sentence with who said it; key: the one in use; fix: where another key is from.
    """
    body = error.body if isinstance(error.body, dict) else {}
    said, param = without_keys(str(body.get("message") or error.message), key), body.get("param")
    made = _made(error.status_code, said, where, fix)
    if made is None:
        return ProviderError(
            f"{where} failed ({error.status_code}): {said}",
            fix="Start the same command again; it goes on where it stopped.",
            status=error.status_code,
            code=body.get("code"),
            headers=dict(error.response.headers),
        )
    made.param, made.code = param, body.get("code")
    return made


def _made(status: int, said: str, where: str, fix: str) -> RequestError | None:
    """What is wrong with the request, or None where it is not the request."""
    if status == 401:
        return NotAllowed(f"{where} refused the API key: {said}", fix=fix)
    if status == 403:
        return NotAllowed(said)
    if status == 404:
        return NotFound(said)
    if status < 500 and status not in (408, 409, 429):
        return RequestError(said)
    return None


def is_too_long(error: RequestError) -> bool:
    """Whether a prompt is longer than the model reads."""
    return error.code == TOO_LONG
