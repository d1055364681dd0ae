"""What happened, line by line, and what to do where it went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.events import Event
from tunesmith.web.controls import Tag, tag
from tunesmith.web.drafts import in_words

SHOWN = 200


class Events:
    """The list of what happened, the newest first."""

    def __init__(self, events: Sequence[Event]) -> None:
        with tag("div", kind="events", role="log", tabindex=0, aria_label="What happened"):
            self._list = tag("ol")
        self._lines: list[Tag] = []
        self.add(events[-SHOWN:])

    def add(self, events: Sequence[Event]) -> None:
        """Put new ones on top; the oldest make room."""
        with self._list:
            for event in events:
                with tag("li", kind=event.kind) as line:
                    tag("time", data_at=int(event.at), data_form="clock")
                    tag("span", in_words(event.message))
                line.move(self._list, 0)
                self._lines.append(line)
        for old in self._lines[:-SHOWN]:
            old.delete()
        self._lines = self._lines[-SHOWN:]
