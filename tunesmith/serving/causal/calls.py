"""Calls of functions in a chat template's own format: found out, read, and demanded.

The template is given a conversation in which the assistant calls functions that we know, and what
it writes around their names and arguments is the format. Models that write no JSON are not read.
Does not know: tokens, sampling, which functions there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import DataError
from tunesmith.model.rendering import Renderer
from tunesmith.serving.causal.constraint import json_rule
from tunesmith.serving.causal.text import unsure
from tunesmith.serving.writing import Call

ASK = {"role": "user", "content": "a question of ours"}
SAY = "an answer of ours"
OURS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("our_first_function", {"our": 1}),
    ("our_other_function", {"others": 2}),
)
Place = tuple[str | int, ...]
"""Keys that lead to something in a JSON value."""
DECODER = json.JSONDecoder()
SURE = 200
"""Characters from which a bare JSON value is known to be a call or not."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How calls are written.

    before, middle, after  what stands before the first name, between a name and its arguments, and
                           after the last ones.
    between                from a call's arguments to the next call's name; None: one call a turn.
    opening, closing       what stands around the JSON value that holds a call; where name and
                           arguments are in none, around both.
    begin                  what that value begins with, up to the name.
    name, arguments        where they are in the value; None: in none.
    """

    before: str
    middle: str
    after: str
    between: str | None
    opening: str
    closing: str
    begin: str
    name: Place | None
    arguments: Place | None

    def grammar(
        self, tools: Sequence[Mapping[str, Any]], literal: Callable[[str], str], *, only: bool
    ) -> str:
        """A grammar's rule `calls`: of some of `tools`, one or more; `only`: exactly one."""
        calls, rules = [], []
        for i, tool in enumerate(tools):
            function = tool["function"]
            schema = {"type": "object", **(function.get("parameters") or {})}
            calls.append(f"{literal(function['name'] + self.middle)} arguments_{i}")
            rules.append(f"arguments_{i}: {json_rule(schema, lenient=True)}")
        more = "" if only or self.between is None else f"({literal(self.between)} call)* "
        start = f"calls: {literal(self.before)} call {more}{literal(self.after)}"
        return "\n".join([start, f"call: {' | '.join(calls)}", *rules])

    @property
    def is_bare(self) -> bool:
        """Whether a call is JSON and nothing else; such a one is all of an answer."""
        return not self.opening.strip()

    def read(
        self, text: str, names: Collection[str], *, closed: bool = False
    ) -> tuple[list[Call], int] | None:
        """The calls with which `text` begins, and how much of it they are; None: it does not.

        closed: what closes them must be there, too.
        """
        at = _skip(text, 0)
        opening, closing = self.opening.strip(), self.closing.strip()
        if not text.startswith(opening, at) or (closed and closing not in text):
            return None
        at = _skip(text, at + len(opening))
        try:
            calls, at = self._named(text, at) if self.name is None else self._held(text, at)
        except (ValueError, LookupError, TypeError):
            return None
        if not calls or any(call.name not in names for call in calls):
            return None
        end = _skip(text, at)
        if text.startswith(closing, end):
            return calls, end + len(closing) if closing else at
        return None if closed else (calls, at)

    def _held(self, text: str, at: int) -> tuple[list[Call], int]:
        """Calls in a JSON value. Raises: ValueError, LookupError, TypeError."""
        value, at = DECODER.raw_decode(text, at)
        assert self.name is not None
        assert self.arguments is not None
        is_list = isinstance(self.name[0], int)
        places = self.name[1:] if is_list else self.name, self.arguments[is_list:]
        found = [[_at(one, place) for place in places] for one in (value if is_list else [value])]
        return [Call(str(name), _object(arguments)) for name, arguments in found], at

    def _named(self, text: str, at: int) -> tuple[list[Call], int]:
        """A call's name, and then its arguments. Raises: ValueError."""
        middle = self.middle.strip()
        split = text.index(middle, at) if middle else text.index("{", at)
        arguments, end = DECODER.raw_decode(text, _skip(text, split + len(middle)))
        return [Call(text[at:split].strip(), _object(arguments))], end

    def may_be(self, text: str, names: Collection[str]) -> bool:
        """Whether `text`, which begins with a JSON value, may yet be a call."""
        found = _squashed(text[:SURE])
        begins = (_squashed(self.begin) + name for name in names)
        return any(b.startswith(found) or found.startswith(b) for b in begins)


class Reader:
    """Tells calls from the text around them, as it comes.

    names    functions that may be called.
    only     the first call is the last.
    hidden   special tokens in the format, which are no text where they are no call's.
    """

    def __init__(
        self, form: Form, names: Collection[str], *, only: bool, hidden: Collection[str] = ()
    ) -> None:
        self._form, self._names = form, names
        self._only, self._hidden = only, hidden
        self._held = ""
        self._is_begun = False
        self.calls: list[Call] = []

    @property
    def is_done(self) -> bool:
        """Whether no more is wanted."""
        return self._only and bool(self.calls)

    def add(self, text: str) -> str:
        """More of it; what is certain to be in no call."""
        self._held += text
        out = ""
        while not self.is_done:
            before, begins = self._split()
            out += self._plain(before)
            if not begins:
                break
            if found := self._form.read(self._held, self._names, closed=True):
                self._take(*found)
            elif self._form.is_bare and not self._form.may_be(self._held, self._names):
                self._is_begun = True
            else:
                break
        return out

    def end(self) -> str:
        """No more of it; the rest that is in no call."""
        out = ""
        while not self.is_done:
            before, begins = self._split()
            out += self._plain(before)
            found = self._form.read(self._held, self._names) if begins else None
            if not found:
                rest = "" if self.calls and self._held.isspace() else self._held
                return out + self._plain(rest)
            self._take(*found)
        return out

    def _split(self) -> tuple[str, bool]:
        """Take off what is before a call; and whether what is left begins like one.

        White space before a call belongs to nobody, so it waits for what follows it.
        """
        opening = self._form.opening.strip()
        if self._form.is_bare:
            begins = self._held.lstrip()[:1]
            if self._is_begun or (begins and begins != self._form.begin[:1]):
                return self._cut(len(self._held)), False
            return "", bool(begins)
        if (place := self._held.find(opening)) >= 0:
            return self._cut(place).rstrip(), True
        sure = len(self._held) - unsure(self._held, opening)
        return self._cut(len(self._held[:sure].rstrip())), False

    def _cut(self, place: int) -> str:
        out, self._held = self._held[:place], self._held[place:]
        return out

    def _plain(self, text: str) -> str:
        self._is_begun = self._is_begun or bool(text)
        for token in self._hidden:
            text = text.replace(token, "")
        return text

    def _take(self, calls: list[Call], end: int) -> None:
        self.calls += calls[:1] if self._only else calls
        self._is_begun = True
        self._cut(end)


# --- finding out --------------------------------------------------------------------------------


def lead_of(renderer: Renderer) -> str:
    """What the template writes before the text of an answer that has no call."""
    try:
        written = renderer.written([ASK, {"role": "assistant", "content": SAY}])
    except DataError:
        return ""
    return written.partition(SAY)[0] if SAY in written else ""


def form_of(renderer: Renderer, lead: str) -> Form | None:
    """The format of the template's calls; None where it writes none, or none that can be read."""
    written = _written(renderer, OURS[:1])
    first = _find(written, *OURS[0])
    if first is None:
        return None
    name, start, end = first
    both = _written(renderer, OURS)
    one, other = _find(both, *OURS[0]), _find(both, *OURS[1])
    skipped = len(lead) if written.startswith(lead) else 0
    held = _value(written, skipped, name)
    begin, close = (held[0], held[1]) if held else (name, end)
    if not held and not written[skipped:name].strip():
        return None  # any text could be a call
    return Form(
        before=written[:name],
        middle=written[name + len(OURS[0][0]) : start],
        after=written[end:],
        between=both[one[2] : other[0]] if one and other else None,
        opening=written[skipped:begin],
        closing=written[close:],
        begin=written[begin:name],
        name=held[2] if held else None,
        arguments=held[3] if held else None,
    )


def _written(renderer: Renderer, calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """A message with these calls as the template writes it; nothing where it refuses."""
    tools = [
        {"type": "function", "function": {"name": name, "description": SAY, "parameters": {
            "type": "object", "properties": {key: {"type": "integer"} for key in arguments}}}}
        for name, arguments in calls
    ]  # fmt: skip
    made = [
        {"id": f"call{i:05}", "type": "function",
         "function": {"name": name, "arguments": json.dumps(arguments)}}
        for i, (name, arguments) in enumerate(calls)
    ]  # fmt: skip
    try:
        return renderer.written([ASK, {"role": "assistant", "tool_calls": made}], tools)
    except DataError:
        return ""


def _find(text: str, name: str, arguments: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Where the name starts, and its arguments start and end."""
    at = text.find(name)
    start = text.find("{", at) if at >= 0 else -1
    while start >= 0:
        try:
            value, end = DECODER.raw_decode(text, start)
            if value == arguments:
                return at, start, end
        except ValueError:
            pass
        start = text.find("{", start + 1)
    return None


def _value(text: str, start: int, name: int) -> tuple[int, int, Place, Place] | None:
    """The outermost JSON value around a call: its start and end, and where in it the call is."""
    for at in range(start, name):
        if text[at] not in "{[":
            continue
        try:
            value, end = DECODER.raw_decode(text, at)
        except ValueError:
            continue
        places = _place(value, OURS[0][0]), _place(value, OURS[0][1])
        if places[0] and places[1] is not None and end > name:
            return at, end, places[0], places[1]
    return None


def _place(value: Any, wanted: Any) -> Place | None:
    """Where `wanted` is in a JSON value."""
    if value == wanted:
        return ()
    inside = value.items() if isinstance(value, dict) else ()
    for key, part in enumerate(value) if isinstance(value, list) else inside:
        if (place := _place(part, wanted)) is not None:
            return (key, *place)
    return None


def _at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def _object(arguments: Any) -> str:
    """Arguments as JSON. Raises: ValueError for what is no object."""
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(arguments, dict):
        raise ValueError(arguments)
    return json.dumps(arguments, ensure_ascii=False)


def _skip(text: str, at: int) -> int:
    """The next place that is no white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _squashed(text: str) -> str:
    return "".join(text.split())
