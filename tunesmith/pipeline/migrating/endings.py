"""When a tuned model ends: with its base model, on the day that its provider has named.

Knows: how tuned models are named. Does not know: the dates, which are the provider's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Until when a tuned model answers.

    base  its base model; empty: the name does not tell.
    on    the day, as YYYY-MM-DD; empty: none is known.
    says  all of it in a sentence.
    """

    base: str
    on: str
    is_over: bool
    says: str


def is_tuned(model: str) -> bool:
    """Whether that is the name of a tuned model, of the newer or the older kind."""
    return model.startswith("ft:") or ":ft-" in model


def base_of(model: str) -> str:
    """The base model in a tuned model's name; empty where it has none."""
    parts = model.split(":")
    if model.startswith("ft:"):
        return parts[1] if len(parts) > 1 else ""
    return parts[0] if is_tuned(model) else ""


def ending(model: str, closes: Callable[[str], date | None], today: date) -> Ending:
    """When the model ends; `closes` tells the last day of a base model, None: none is known."""
    base = base_of(model)
    if not base:
        says = "Its name does not tell the base model, so nobody can tell when it ends."
        return Ending(base="", on="", is_over=False, says=says)
    on = closes(base)
    if on is None:
        says = f"No closing date is known of {base}."
        return Ending(base=base, on="", is_over=False, says=says)
    left = (on - today).days
    if left < 0:
        says = f"It ended on {on} with its base model {base}."
    elif left == 0:
        says = f"It ends today, {on}, with its base model {base}."
    else:
        days = "day" if left == 1 else "days"
        says = f"It ends on {on}, in {left:,} {days}, with its base model {base}."
    return Ending(base=base, on=on.isoformat(), is_over=left < 0, says=says)
