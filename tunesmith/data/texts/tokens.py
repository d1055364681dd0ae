"""How many tokens texts have by a base model's own tokenizer, and which are longer than it reads.

Whoever trains cuts what is too long; what is counted here is what is lost there. So the numbers
are those of `model.tokens`, special tokens included.
Of a causal model it is the text alone: its chat template puts tokens of its own around it, which
are counted where it is trained.
Does not know: models beyond their tokenizer, cleaning, what a row is besides its text.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tunesmith import catalog, settings
from tunesmith.data.findings import counted
from tunesmith.errors import MissingExtra, NotFound, TunesmithError
from tunesmith.events import Decision

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LONG = 200_000
"""Characters that are tokenized at a time: their tokens take some 200 MB."""
SAMPLE = 20_000
"""Texts of a long table that are counted to see how lengths are spread."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A base model as a reader: its tokenizer, and how many tokens of a text it takes in."""

    name: str
    tokenizer: Path
    limit: int
    is_causal: bool = False
    """Then the text shares the limit with what the chat template writes and with the answer."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The texts of some rows in tokens."""

    reader: Reader
    num_texts: int
    lengths: pl.Series
    """Tokens of every text, or of `SAMPLE` of them, evenly spread."""
    cut: pl.DataFrame
    """row, tokens of every text that is longer than the limit."""

    def noted(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows (in the order of `row`), with a word in the note of those that are cut."""
        places = rows["row"].search_sorted(self.cut["row"])
        word = pl.lit(f"cut to {self.reader.limit:,} tokens")
        joined = pl.concat_str("note", word, separator="; ", ignore_nulls=True)
        notes = rows.select(pl.col("note").gather(places)).select(joined)["note"]
        return rows.with_columns(rows["note"].clone().scatter(places, notes))

    @property
    def decision(self) -> Decision:
        """What becomes of long texts."""
        name, limit = self.reader.name, f"{self.reader.limit:,} tokens"
        if self.reader.is_causal:
            longer = f"{self.cut.height:,} of {counted(self.num_texts, 'text')}"
            value = f"{'no text' if self.cut.is_empty() else longer} of more than {limit}"
            reason = f"{name} reads no more; the chat template's tokens and the answer come on top"
            return Decision(what="length", value=value, reason=reason)
        if self.cut.is_empty():
            value, reason = "no text is cut", f"{name} reads {limit} of a text"
        else:
            value = f"{self.cut.height:,} of {counted(self.num_texts, 'text')} cut to {limit}"
            lost = (
                int(self.cut["tokens"].cast(pl.Int64).sum()) - self.cut.height * self.reader.limit
            )
            reason = f"{name} reads no more; {counted(lost, 'token is', 'tokens are')} lost"
        return Decision(what="length", value=value, reason=reason)


def reader(base_model: str, max_length: int | None = None) -> Reader:
    """How the base model of that name reads, of each text `max_length` tokens if that is given.

    It is one of the catalog, one that is kept on this machine, or a folder.
    Raises: NotFound, ConfigError, NotOffered as `catalog.find` does; MissingExtra or NotFound when
    the tokenizer, or the library that runs it, is not on this machine.
    """
    base = catalog.find(base_model, settings.load().base_models_dir)
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingExtra(
            "The library tokenizers is not installed.", fix="Run: pip install 'tunesmith[train]'"
        )
    path = base.files() / "tokenizer.json"
    if not path.is_file():
        raise NotFound(f"Base model {base.name} has no {path.name} in {path.parent}.")
    limit, is_causal = max_length or base.max_length, base.kind == "causal"
    return Reader(name=base.name, tokenizer=path, limit=limit, is_causal=is_causal)


def uncounted(error: TunesmithError) -> Decision:
    """What is told where there is no `reader`, and why."""
    return Decision(what="length", value="not in tokens", reason=error.what.rstrip("."))


def of_rows(
    rows: pl.Series,
    reader: Reader,
    pieces: Iterable[tuple[int, pl.Series]],
    gather: Callable[[pl.Series], pl.Series],
) -> Counted:
    """The texts of these rows in tokens: their lengths sampled in long tables, the cut exact.

    pieces  (number of its first row, texts) of the whole table; only long tables are gone through.
    gather  the texts of some rows, none of them null.
    """
    lengths = count(gather(rows.gather(spread(len(rows)))), reader.tokenizer)
    if len(lengths) == len(rows):
        every = pl.DataFrame({"row": rows, "tokens": lengths})
        longer = every.filter(pl.col("tokens") > reader.limit)
    else:
        longer = pl.concat(_cut_rows(first, texts, reader) for first, texts in pieces)
        used = rows.filter(rows.is_in(longer["row"].implode()))
        longer = longer.filter(pl.col("row").is_in(used.implode()))
    return Counted(reader=reader, num_texts=len(rows), lengths=lengths, cut=longer)


def spread(number: int, most: int = SAMPLE) -> pl.Series:
    """At most so many of the places from 0 to `number`, evenly spread."""
    places = np.arange(min(number, most)) * number // max(1, min(number, most))
    return pl.Series(places, dtype=pl.UInt32)


def count(texts: pl.Series, tokenizer: Path, *, special: bool = True) -> pl.Series:
    """The tokens (UInt32) of each text (String, no nulls).

    special  whether the special tokens around a text count too.
    """
    loaded = _load(tokenizer)
    around = loaded.num_special_tokens_to_add(False) if special else 0
    numbers = np.empty(len(texts), np.uint32)
    done = 0
    for chunk in chunks(texts):
        if len(chunk[0]) > LONG:
            in_parts = (loaded.encode(p, add_special_tokens=False) for p in parts(chunk[0]))
            found = [around + sum(map(len, in_parts))]
        else:
            encodings = loaded.encode_batch_fast(chunk, add_special_tokens=special)
            found = [len(encoding) for encoding in encodings]
        numbers[done : done + len(chunk)] = found
        done += len(chunk)
    return pl.Series("tokens", numbers)


def cut(texts: pl.Series, tokenizer: Path, limit: int) -> pl.DataFrame:
    """place, tokens (both UInt32) of each text (String or null) of more than `limit` tokens.

    Texts that are too short to have so many are not looked at.
    """
    places = _suspects(texts, _load(tokenizer), limit)
    tokens = count(texts.gather(places), tokenizer)
    return pl.DataFrame({"place": places, "tokens": tokens}).filter(pl.col("tokens") > limit)


def num_read(text: str, reader: Reader) -> int:
    """How many characters of a text are within the limit."""
    tokenizer = _load(reader.tokenizer)
    room = reader.limit - tokenizer.num_special_tokens_to_add(False)
    # So many characters mostly have more tokens than are read; else all of the text is looked at.
    for start in (text[: 50 * reader.limit], text[:LONG]):
        places = tokenizer.encode(start, add_special_tokens=False).offsets
        if room < len(places) or len(start) == len(text):
            break
    if room >= len(places):
        return len(start)
    return int(places[room - 1][1]) if room > 0 else 0


def parts(text: str) -> Iterator[str]:
    """A text as a tokenizer can take it: a long one in parts, since it needs a thousand times their
    size of memory. Parts begin with a space where they can: tokens do not go over one."""
    start = 0
    while len(text) - start > LONG:
        space = text.rfind(" ", start + LONG // 2, start + LONG)
        stop = space if space > 0 else start + LONG
        yield text[start:stop]
        start = stop
    yield text[start:]


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists for a tokenizer: long ones alone, others up to as much together."""
    chunk: list[str] = []
    room = LONG
    for text in texts:
        if chunk and len(text) > room:
            yield chunk
            chunk, room = [], LONG
        chunk.append(text)
        room -= len(text)
    if chunk:
        yield chunk


def _cut_rows(first: int, texts: pl.Series, reader: Reader) -> pl.DataFrame:
    found = cut(texts, reader.tokenizer, reader.limit)
    return found.select((pl.col("place") + first).alias("row"), "tokens")


def _suspects(texts: pl.Series, tokenizer: Tokenizer, limit: int) -> pl.Series:
    """Places of the texts that are long enough, in bytes, to have more than `limit` tokens."""
    most = _most_tokens(tokenizer)
    if most is None:
        return texts.is_not_null().arg_true()
    room = limit - tokenizer.num_special_tokens_to_add(False)
    return (texts.str.len_bytes().cast(pl.Int64) * most > room).fill_null(False).arg_true()


def _most_tokens(tokenizer: Tokenizer) -> int | None:
    """How many tokens one byte of a text can become at most; None where that was not proved.

    BERT's tokens are one character or more of the normalized text, spaces apart, and no character
    becomes more of these than it has bytes (a test goes through all of Unicode). Byte-level tokens
    are one byte or more, and NFC makes a text three times as long at most, U+1D160 being the worst
    (UAX #15, "Maximum expansion factors").
    """
    pieces = tokenizer.model, tokenizer.normalizer, tokenizer.pre_tokenizer
    match [type(piece).__name__ for piece in pieces]:
        case ["WordPiece", "BertNormalizer", "BertPreTokenizer"]:
            return 1
        case ["BPE", "NoneType" | "NFC" as normalizer, "ByteLevel"]:
            model, _, splitter = pieces
            if not (splitter.add_prefix_space or model.byte_fallback):  # these add to a text
                return 3 if normalizer == "NFC" else 1
    return None


@lru_cache(maxsize=1)
def _load(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
