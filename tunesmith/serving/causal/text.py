"""A text that grows by bytes: whole characters come out, up to where it must stop.

Does not know: tokens, models.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Growing:
    """Bytes in, characters out.

    stops  texts before which it ends.
    lead   what is left out if the text begins with it, and has something after it or ends.
    """

    def __init__(self, stops: Sequence[str] = (), *, lead: str = "") -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._stops = [stop for stop in stops if stop]
        self._lead = lead
        self._held = ""
        """What may be the beginning of a stop, or of the lead."""
        self.is_stopped = False

    def add(self, raw: bytes) -> str:
        """More bytes; the characters that are certain to belong to the text."""
        return self._add(self._decode(raw))

    def end(self) -> str:
        """No more bytes; the rest. Bytes that are no character become U+FFFD."""
        if self.is_stopped:
            return ""
        if self._held == self._lead:
            self._held = ""
        self._lead = ""
        out = self._add(self._decode(b"", final=True))
        return out if self.is_stopped else out + self._release(0)

    def _add(self, text: str) -> str:
        self._held += text
        if self._lead:
            if self._lead.startswith(self._held):
                return ""
            self._held, self._lead = self._held.removeprefix(self._lead), ""
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            out, self._held = self._held[: min(found)], ""
            return out
        return self._release(max((unsure(self._held, stop) for stop in self._stops), default=0))

    def _release(self, kept: int) -> str:
        cut = len(self._held) - kept
        out, self._held = self._held[:cut], self._held[cut:]
        return out


def unsure(text: str, wanted: str) -> int:
    """How many of the last characters may be the beginning of `wanted`."""
    most = min(len(text), len(wanted) - 1)
    return next((n for n in range(most, 0, -1) if wanted.startswith(text[-n:])), 0)
