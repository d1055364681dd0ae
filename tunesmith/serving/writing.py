"""What the server and the process that writes say to each other about causal models.

A request is answered by a stream: `Began`, then `Piece`s of its choices in any order, an `Ended`
for each choice, or an exception instead of whatever is left.
Does not know: either of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tunesmith.errors import ConfigError

Message: TypeAlias = Mapping[str, Any]
"""In OpenAI's form."""
Reason = Literal["stop", "length", "tool_calls"]


class TooLong(ConfigError):
    """A prompt leaves no room for an answer in the model's context; both in tokens."""

    def __init__(
        self,
        what: str,
        *,
        fix: str = "",
        param: str | None = None,
        prompt_tokens: int = 0,
        context: int = 0,
    ) -> None:
        super().__init__(what, fix=fix, param=param)
        self.prompt_tokens = prompt_tokens
        self.context = context


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How tokens are drawn. The temperature 0 takes the most probable one."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these token ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to write."""

    model: str
    """Its name; a base model goes by its name in the catalog."""
    folder: Path
    """Where its files are: whole weights, an adapter with a card, or a base model."""
    messages: Sequence[Message] | None = None
    """Rendered by the model's chat template; or else `prompt`."""
    prompt: str | Sequence[int] | None = None
    """Goes to the model as it is: a text, or token ids."""
    tools: Sequence[Mapping[str, Any]] = ()
    """In OpenAI's form: {"type": "function", "function": {...}}."""
    call: Literal["none", "auto", "required"] | Mapping[str, str] = "auto"
    """Whether functions are called: a mapping names the one that must be, {"name": ...}."""
    parallel: bool = True
    """Whether several may be called at once."""
    schema: Mapping[str, Any] | bool = False
    """A JSON Schema that the answer fits; True: any JSON object."""
    n: int = 1
    """Choices."""
    most: int | None = None
    """Tokens of an answer; None: as many as the model's context leaves."""
    stop: Sequence[str] = ()
    """Texts before which an answer ends."""
    drawing: Drawing = Drawing()
    top: int | None = None
    """Alternatives to tell with each token's log-probability; None: no log-probabilities."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was written. Log-probabilities are the model's own, at temperature 1, before
    anything was ruled out by a schema."""

    id: int
    text: str
    """What it stands for; bytes that are no whole characters as \\xNN."""
    raw: bytes
    logprob: float
    top: Sequence[tuple[int, str, bytes, float]] = ()
    """(id, text, raw, log-probability) of the most probable ones."""


@dataclass(frozen=True, slots=True)
class Began:
    """The prompt is read."""

    prompt_tokens: int
    prompt_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """The next of a choice's text, whole characters only, and the tokens since the last piece.

    What ends an answer is among the tokens and not in the text."""

    choice: int
    text: str
    tokens: Sequence[Token]
    """Their log-probabilities are nan where none were asked for."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function that the model wants called."""

    name: str
    arguments: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A choice is at its end."""

    choice: int
    reason: Reason
    completion_tokens: int
    """The one that ended it included."""
    calls: Sequence[Call] = ()
    """Their text is in no piece."""


Event: TypeAlias = Began | Piece | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose:
    """A request to choose among labels, by their probability.

    It is answered by a `Classification`, as a classifier's text is.
    """

    model: str
    folder: Path
    messages: Sequence[Message]
    labels: tuple[str, ...] = ()
    """Each another one; empty: those that the model was tuned to (see `CausalCard.labels`)."""
