"""Makes texts plain: composed Unicode, nothing invisible, tidy spaces and line breaks.

A model sees what `clean_text` returns, in training and when it answers: whatever asks a tuned
model about a raw text must pass the text through `clean_text` first. Cleaning twice changes
nothing more.
Does not know: columns, labels, tokens.
"""

from __future__ import annotations

import re
import unicodedata

import polars as pl

# Control and zero-width characters, soft hyphens and direction marks. The zero-width joiner and
# non-joiner stay: emoji, Persian and the Indic scripts mean something by them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
)
_SPACE = " \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_BREAK = "\n\r\x0b\x0c\x85\u2028\u2029"
_SPACES = re.compile(f"[{_SPACE}]+")
_BREAKS = re.compile(f" ?[{_BREAK}][{_BREAK} ]*")

# Characters that cleaning leaves alone wherever they stand (but for spaces and line breaks beside
# each other or at an end). A text made of these skips the slow path; one outside merely takes it.
SAFE = (
    "\n -~¡-¬®-\u02ff\u0388-\u0482\u048a-\u052f\u05d0-\u05ea\u0621-\u064a\u2010-\u2027"
    "\u2030-\u205e\u20a0-\u20c0\u2190-\u21ff\u2500-\u27bf\u3001-\u3029\u3041-\u3096\u30a1-\u30fe"
    "\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60\U0001f300-\U0001faff"
)
_UNCLEAN = f"[^{SAFE}]|[ \n][ \n]|^[ \n]|[ \n]$"


def clean_text(text: str) -> str:
    """`text` as a model sees it."""
    return _tidy(_compose(_strip_invisible(text)))


def clean(texts: pl.Series) -> tuple[pl.Series, dict[str, int]]:
    """`clean_text` over a column, and how many texts each kind of cleaning changed (`texts`: any).

    Takes and returns a String series of one length; nulls stay null.
    """
    kinds = ("texts", "invisible characters", "Unicode composition", "spaces and line breaks")
    counts = dict.fromkeys(kinds, 0)
    unclean = texts.str.contains(_UNCLEAN).fill_null(False)
    cleaned = []
    for text in texts.filter(unclean):
        visible = _strip_invisible(text)
        composed = _compose(visible)
        tidy = _tidy(composed)
        counts["texts"] += tidy != text
        counts["invisible characters"] += visible != text
        counts["Unicode composition"] += composed != visible
        counts["spaces and line breaks"] += tidy != composed
        cleaned.append(tidy)
    if not cleaned:
        return texts, counts
    return texts.clone().scatter(unclean.arg_true(), pl.Series(cleaned, dtype=pl.String)), counts


def _strip_invisible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _tidy(text: str) -> str:
    return _BREAKS.sub("\n", _SPACES.sub(" ", text)).strip(" \n")
