"""How a tuned model answers, for those who need not know what is in its folder.

Does not know: torch, which models there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tunesmith.errors import NotFound
from tunesmith.model import cards
from tunesmith.model.cards import kind_of, read_card

Way = Literal["classify", "choose", "write"]
"""An encoder classifies; a causal model chooses among its labels, or writes what it likes."""


def way_of(folder: Path) -> Way:
    """How the tuned model in a folder answers.

    A folder whose files are gone counts as a classifier's: whoever is to load it says so.
    Raises: NotFound when it is an adapter, and the base model's files are gone.
    """
    try:
        if kind_of(folder) != "causal":
            return "classify"
        card = read_card(folder)
    except NotFound:
        return "classify"
    if card.is_adapter and not Path(card.base_folder).is_dir():
        raise NotFound(
            f"This model was tuned as an adapter on top of {card.base_model}, whose files in "
            f"{card.base_folder} are gone.",
            fix="Put them back there.",
        )
    return "choose" if card.labels else "write"


def labels_of(folder: Path) -> tuple[str, ...]:
    """The labels of the tuned model in a folder; none of one that writes, or whose files are
    gone."""
    try:
        return cards.labels_of(folder)
    except NotFound:
        return ()
