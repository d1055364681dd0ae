"""The tokenizer of a model folder: whether tokenizer.json is whole, and fits the weights.

Knows: the layout of tokenizer.json, as the library tokenizers writes it.
Does not know: how a text is cut into tokens.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tunesmith.errors import ConfigError

FILE = "tokenizer.json"


def check(folder: Path, size: int | None) -> None:
    """Refuse a tokenizer that is missing, damaged, or writes token ids that the model has not.

    Special tokens beyond them are fine: texts are never read as such, and some published models
    name one for pictures that has no place in a model of text.

    size  rows of the input embedding, where they are known.
    Raises: ConfigError.
    """
    path = folder / FILE
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {FILE}.",
            fix="Put it there; transformers writes it: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder).",
        )
    highest = _highest(path, path.stat().st_mtime_ns)
    if highest is None:
        raise ConfigError(
            f"{path} is damaged: no vocabulary can be read from it.",
            fix="Copy or download it again.",
        )
    if size and highest >= size:
        raise ConfigError(
            f"{path} does not belong to these weights: it has token ids up to {highest:,}, and "
            f"the model has {size:,} tokens (vocab_size in config.json).",
            fix="Take tokenizer and weights from one model. If tokens were added, enlarge the "
            "embedding with transformers' resize_token_embeddings and save the model again.",
        )


@cache
def _highest(path: Path, _changed: int) -> int | None:
    """The highest id that a text can become; None where no vocabulary can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary, added = content["model"]["vocab"], content.get("added_tokens") or ()
        if isinstance(vocabulary, list):  # Unigram's: (token, score) in the order of their ids
            vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
        ids = {**vocabulary, **{token["content"]: token["id"] for token in added}}
        special = {token["content"] for token in added if token.get("special")}
        return max(int(number) for token, number in ids.items() if token not in special)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
