"""Files to hurt `prepare` with: small tables in every format, changed by kind and number.

The same kind and number give the same bytes in every run. Heavy files are listed, not drawn.
"""

import csv
import gzip
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import zstandard
from workbooks import Cell, packed, sheet, workbook

DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data"
PLACES = ("oven", "mill", "pump", "lamp", "door", "café", "дом", "机器", "kettle", "scale")
FORMS = ("the {} {} is broken again", "who fixed {} number {}?", 'a "{}" for {}, please', "{}\n{}!")

Bytes = bytes


@dataclass(frozen=True)
class Mutant:
    """A file's name and bytes, what it was made of, and the settings it is prepared with."""

    name: str
    content: Bytes
    seed: str
    settings: dict[str, Any] = field(default_factory=dict)


# --- small files of every format -----------------------------------------------------------------


def table(number: int = 34) -> dict[str, list[Any]]:
    """Columns of a table in two labels, with a number, a date-like text and a gap or two."""
    texts = [FORMS[i % 4].format(PLACES[i * 3 % 10], i * 7 + 1) for i in range(number)]
    return {
        "id": list(range(1, number + 1)),
        "text": texts,
        "label": ["good" if i % 3 else "bad" for i in range(number)],
        "note": [None if i % 5 == 0 else f"2024-03-{i % 28 + 1:02}" for i in range(number)],
    }


def objects() -> list[dict[str, Any]]:
    return pl.DataFrame(table()).to_dicts()


def delimited(separator: str, columns: dict[str, list[Any]] | None = None) -> str:
    columns = columns or table()
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return out.getvalue()


def lines(values: list[Any]) -> Bytes:
    return "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values).encode()


def conversations() -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": t},
                {"role": "assistant", "content": f"Yes, {t}"},
            ]
        }
        for t in table()["text"]
    ]


def columnar(frame: pl.DataFrame, kind: str) -> Bytes:
    out = io.BytesIO()
    if kind == "parquet":
        frame.write_parquet(out, row_group_size=13)
    elif kind == "stream":
        frame.write_ipc_stream(out)
    else:
        frame.write_ipc(out, compression="zstd" if kind == "zstd" else "uncompressed")
    return out.getvalue()


def rich_frame() -> pl.DataFrame:
    """Columns of many types beside text and label."""
    frame = pl.DataFrame(table())
    return frame.with_columns(
        pl.col("label").cast(pl.Categorical),
        pl.col("id").cast(pl.Decimal(10, 2)).alias("price"),
        pl.from_epoch("id", "d").alias("day"),
        pl.struct("id", "text").alias("both"),
        pl.concat_list("text", "note").alias("parts"),
    )


def book(strings: bool) -> Bytes:
    columns = table()
    rows: list[list[Cell]] = [[*columns], *map(list, zip(*columns.values(), strict=True))]
    notes = sheet([["Read me"], ["This is how"]])
    if not strings:
        return workbook({"Data": sheet(rows), "Notes": notes})
    texts = list(dict.fromkeys(cell for row in rows for cell in row if isinstance(cell, str)))
    shared = [
        [f'<c t="s"><v>{texts.index(c)}</v></c>' if isinstance(c, str) else c for c in row]
        for row in rows
    ]
    return workbook({"Data": sheet(shared), "Notes": notes}, texts)


@cache
def seeds() -> dict[str, Bytes]:
    """Name → content."""
    columns, frame = table(), pl.DataFrame(table())
    comma = delimited(",").encode()
    ratings = {
        "item": [i // 2 for i in range(68)],
        "text": [text for text in columns["text"] for _ in "ab"],
        "rater_id": ["anna", "ben"] * 34,
        "label": [label for label in columns["label"] for _ in "ab"],
    }
    votes = columns | {"rater_1": columns["label"], "rater_2": ["good", "bad"] * 17}
    del votes["label"], votes["note"]
    pairs = [
        {"prompt": m["messages"][0]["content"], "chosen": f"Yes {i}", "rejected": "No"}
        for i, m in enumerate(conversations())
    ]
    return {
        "comma.csv": comma,
        "semicolon.csv": delimited(";").encode("utf-8-sig"),
        "latin.csv": delimited(",").encode("latin-1", "replace"),
        "wide.csv": delimited(",").encode("utf-16"),
        "ratings.csv": delimited(",", ratings).encode(),
        "votes.csv": delimited("|", votes).replace("\n", "\r\n").encode(),
        "tab.tsv": delimited("\t").encode(),
        "list.json": json.dumps(objects(), indent=1).encode(),
        "columns.json": json.dumps(columns).encode(),
        "nested.json": json.dumps({"version": 1, "data": objects()}).encode(),
        "lines.jsonl": lines(objects()),
        "chat.jsonl": lines(conversations()),
        "pairs.jsonl": lines(pairs),
        "table.parquet": columnar(frame, "parquet"),
        "rich.parquet": columnar(rich_frame(), "parquet"),
        "table.arrow": columnar(frame, "file"),
        "rich.arrow": columnar(rich_frame(), "zstd"),
        "stream.arrow": columnar(rich_frame(), "stream"),
        "inline.xlsx": book(strings=False),
        "shared.xlsx": book(strings=True),
        "comma.csv.gz": gzip.compress(comma, mtime=0),
        "table.parquet.gz": gzip.compress(columnar(frame, "parquet"), mtime=0),
        "lines.jsonl.zst": zstandard.compress(lines(objects())),
    }


@cache
def real_seeds() -> dict[str, Bytes]:
    """The heads of real files, where they lie beside the checkout."""
    found = {}
    for path in sorted(DATA.rglob("*")) if DATA.is_dir() else ():
        name = f"{path.parent.name}-{path.name}"
        if path.suffix in (".csv", ".jsonl") or path.name == "SMSSpamCollection":
            with path.open("rb") as file:
                found[name] = b"".join(line for line, _ in zip(file, range(50), strict=False))
        elif path.suffix == ".json":
            found[name] = json.dumps(json.loads(path.read_bytes())[:15], indent=1).encode()
    return found


# --- the kinds, each drawn by number -------------------------------------------------------------

Draw = random.Random
TEXTS = ("comma.csv", "semicolon.csv", "latin.csv", "ratings.csv", "votes.csv", "tab.tsv")
JSONS = ("list.json", "columns.json", "nested.json", "lines.jsonl", "chat.jsonl", "pairs.jsonl")
ODD = ("", " ", "\x00", "\ufeff", "\u2028", "\r", "\n", '"', '""', "'", "\\", "{", "[", "<a>", "é")
ODD += (
    "nan",
    "NULL",
    "1e999",
    "-0",
    "=1+1",
    "=cmd|' /C calc'!A0",
    "\ud7ff",
    "\U0001f469\u200d\U0001f527",
)
ODD += ("a" * 5000, "\u202e", "i\u0307", "ß", "%s%n", "{text}", "--", "0" * 400, "\x1b[31m", "١٢")


def _of(draw: Draw, names: Any = None) -> tuple[str, Bytes]:
    names = sorted(names or seeds())
    name = draw.choice(names)
    return name, {**seeds(), **real_seeds()}[name]


def cut(draw: Draw) -> Mutant:
    """The file's beginning, end, or all but its middle."""
    name, content = _of(draw)
    start, stop = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    parts = (content[:stop], content[start:], content[:start] + content[stop:])
    return Mutant(name, draw.choice(parts), name)


def flipped(draw: Draw) -> Mutant:
    """One to fifty bytes are others."""
    name, content = _of(draw)
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 50))):
        odd = 34, 10, 44, 123, 32, draw.randrange(128), draw.randrange(256)
        changed[draw.randrange(len(changed))] = draw.choice(odd)
    return Mutant(name, bytes(changed), name)


def spliced(draw: Draw) -> Mutant:
    """Pieces of the file again, elsewhere; or of another one."""
    name, content = _of(draw)
    for _ in range(draw.randint(1, 4)):
        _, other = _of(draw) if draw.random() < 0.3 else (name, content)
        start = draw.randrange(len(other))
        piece = other[start : start + draw.choice((1, 8, 100, 2000))] * draw.choice((1, 1, 2, 30))
        at = draw.randrange(len(content))
        content = content[:at] + piece + content[at + draw.choice((0, 0, len(piece))) :]
    return Mutant(name, content, name)


def delimiters(draw: Draw) -> Mutant:
    """Separators, quotes and line ends become others, everywhere or here and there."""
    name, content = _of(draw, TEXTS)
    marks = ",", ";", "\t", "|", '"', "\n", "\r", "\r\n", "\n\n", " ", "'", "\\", "~", ":", "  "
    text = content.decode("latin-1")
    for _ in range(draw.randint(1, 3)):
        old, new = draw.choice(marks[:6]), draw.choice(marks)
        share = draw.choice((1.0, 0.5, 0.05))
        pieces = text.split(old)
        joints = [new if draw.random() < share else old for _ in pieces[1:]] + [""]
        text = "".join(p + j for p, j in zip(pieces, joints, strict=True))
    return Mutant(name, text.encode("latin-1"), name)


def _odd_value(draw: Draw, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: draw.choice((None, True, False, 0, -1, 2**70, 1.5, float("nan"), float("inf"))),
        lambda: draw.choice(ODD),
        lambda: "\ud83d",
        lambda: {draw.choice(("text", "label", "", *ODD)): _odd_value(draw, depth + 1)},
        lambda: [_odd_value(draw, depth + 1) for _ in range(draw.randrange(4))],
    ]
    return draw.choice(kinds if depth < 4 else kinds[:2])()


def nested(draw: Draw) -> Mutant:
    """Values, keys and whole rows of JSON become others: lists, objects, numbers, odd texts."""
    name, content = _of(draw, JSONS)
    if name.endswith("jsonl"):
        document = [json.loads(line) for line in content.splitlines()]
    else:
        document = json.loads(content)
    share = draw.choice((0.01, 0.05, 0.5))

    def change(value: Any) -> Any:
        if draw.random() < share:
            return _odd_value(draw)
        if isinstance(value, dict):
            return {
                draw.choice(ODD) if draw.random() < share / 9 else key: change(inner)
                for key, inner in value.items()
            }
        return [change(inner) for inner in value] if isinstance(value, list) else value

    document = [change(v) for v in document] if isinstance(document, list) else change(document)
    if isinstance(document, list) and name.endswith("jsonl"):
        mutant = "".join(json.dumps(value) + "\n" for value in document)
    else:
        mutant = json.dumps(document)
    return Mutant(name, mutant.encode(), name)


def deep(draw: Draw) -> Mutant:
    """JSON nested some to very many levels deep, in one place."""
    name, content = _of(draw, JSONS)
    depth = draw.choice((60, 130, 900, 1_100, 5_000, 200_000))
    opening, closing = draw.choice((("[", "]"), ('{"a":', "}"), ('[{"text":', "}]")))
    value = opening * depth + "1" + closing * draw.choice((depth, depth, depth, 0, depth // 2))
    text = content.decode()
    places = [m.end() for m in re.finditer(r"[:\[]\s*", text)]
    at = draw.choice([0, len(text), *places])
    return Mutant(
        name, (text[:at] + value + draw.choice((",", "", "\n")) + text[at:]).encode(), name
    )


CELLS = (
    '<c r="@"><f>1+1</f></c>',
    '<c r="@" t="str"><f>HYPERLINK("http://x","y")</f><v>stored</v></c>',
    '<c r="@"><f t="shared" ref="A1:XFD1048576" si="0">A1</f><v>3</v></c>',
    '<c r="@"><f t="array" ref="A1:C900000">SUM(A1)</f><v>1e308</v></c>',
    '<c r="@" t="e"><f>1/0</f><v>#DIV/0!</v></c>',
    '<c r="@" t="e"><v>no error</v></c>',
    '<c r="@" t="s"><v>999999</v></c>',
    '<c r="@" t="s"><v>-1</v></c>',
    '<c r="@" t="s"><v></v></c>',
    '<c r="@" t="b"><v>7</v></c>',
    '<c r="@" s="1"><v>45000.5</v></c>',
    '<c r="@" s="1"><v>-700000</v></c>',
    '<c r="@" s="1"><v>1e300</v></c>',
    '<c r="@" s="99"><v>1</v></c>',
    '<c r="@" t="d"><v>2024-02-30T25:61:00</v></c>',
    '<c r="@" t="zz"><v>1</v></c>',
    '<c r="@"><v>nan</v></c>',
    '<c r="@"><v>1_000</v></c>',
    '<c r="@" t="inlineStr"><is><r><t>rich</t></r><r><t> text</t></r></is></c>',
    '<c r="@" t="inlineStr"><is><t>_x0000__x000D_&#10;&amp;&lt;</t></is></c>',
    '<c r="@" t="inlineStr"><is><t>&bogus;</t></is></c>',
    '<c r="@" t="inlineStr"><is><t><![CDATA[<c r="Z9"/>]]></t></is></c>',
    "<c><v>8</v></c>",
    '<c r="ZZZ1"><v>1</v></c>',
    '<c r="A0"><v>1</v></c>',
    '<c r="a1"><v>1</v></c>',
    '<c r="XFD9"><v>1</v></c>',
    '<c r="B900000"><v>1</v></c>',
    '<c r="A99999999999"><v>1</v></c>',
    '<c r="@" t="s" t="n"><v>1</v></c>',
    '<c r="@"><v>1</v>',
    "</row><row>",
    '</row><row r="3">',
    '</row><row r="4294967296">',
    "</sheetData>",
)


def cells(draw: Draw) -> Mutant:
    """Cells of a workbook become formulas, errors, dates, or stand where none can."""
    name, content = _of(draw, ("inline.xlsx", "shared.xlsx"))
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        parts = {info.filename: source.read(info).decode() for info in source.infolist()}
    xml = parts["xl/worksheets/s1.xml"]
    for _ in range(draw.choice((1, 2, 30))):
        old = draw.choice(list(re.finditer(r'<c r="([A-Z]+[0-9]+)".*?</c>', xml)))
        xml = xml[: old.start()] + draw.choice(CELLS).replace("@", old[1]) + xml[old.end() :]
    parts["xl/worksheets/s1.xml"] = xml
    if draw.random() < 0.3:
        part = draw.choice(list(parts))
        where = draw.randrange(len(parts[part]))
        bad = draw.choice(("<", "&", "]]>", "<!--", '"', "<si>", "</sst>", "\ufffe", ""))
        parts[part] = parts[part][:where] + bad + parts[part][where + 1 :]
    if draw.random() < 0.1:
        del parts[draw.choice(list(parts))]
    return Mutant(name, packed(parts), name)


def encodings(draw: Draw) -> Mutant:
    """Text in another encoding, in two, with marks, zeros and halves of characters."""
    name, content = _of(draw, (*TEXTS, *JSONS))
    text = content.decode("utf-8-sig", "replace")
    codecs = "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "cp437"
    codecs = *codecs, "shift_jis", "utf-7", "latin-1", "koi8-r"
    first, second = draw.choice(codecs), draw.choice(codecs)
    half = len(text) // 2 if draw.random() < 0.4 else len(text)
    raw = text[:half].encode(first, "replace") + text[half:].encode(second, "replace")
    for _ in range(draw.randrange(4)):
        at = draw.randrange(len(raw))
        odd = b"\x00", b"\xed\xa0\x80", b"\xff\xfe", b"\xf0\x9f", b"\x85", b"\x1a", b"\xe2\x80\xa8"
        raw = raw[:at] + draw.choice(odd) + raw[at:]
    asked = {"encoding": draw.choice(codecs)} if draw.random() < 0.3 else {}
    return Mutant(name, raw, name, asked)


TYPES = (
    pl.Int8, pl.UInt64, pl.Float32, pl.Float64, pl.Boolean, pl.Date, pl.Datetime("ns", "UTC"),
    pl.Time, pl.Duration("us"), pl.Decimal(38, 10), pl.Categorical, pl.Binary, pl.Null,
    pl.List(pl.String), pl.Array(pl.Float64, 2), pl.Struct({"a": pl.Int64, "b": pl.Binary}),
    pl.List(pl.Struct({"role": pl.String, "content": pl.String})), pl.Int128,
)  # fmt: skip


def types(draw: Draw) -> Mutant:
    """Parquet and Arrow tables of columns of any type and name."""
    frame = pl.DataFrame(table())
    for _ in range(draw.randint(1, 5)):
        kind = draw.choice(TYPES)
        name = draw.choice(("text", "label", "id", "x", "messages", "", *ODD[:16]))
        values = [draw.choice((None, *range(-3, 130))) for _ in range(frame.height)]
        try:
            column = pl.Series(name, values, strict=False).cast(kind, strict=False)
        except pl.exceptions.PolarsError:
            column = pl.Series(name, [None] * frame.height, dtype=kind)
        frame = frame.with_columns(column)
    if draw.random() < 0.2:
        frame = frame.drop(draw.choice(frame.columns))
    if draw.random() < 0.1:
        frame = frame.clear()
    form = draw.choice(("parquet", "file", "zstd", "stream"))
    try:
        content = columnar(frame, form)
    except pl.exceptions.PolarsError:
        form, frame = "parquet", pl.DataFrame(table())
        content = columnar(frame, form)
    suffix = "parquet" if form == "parquet" else "arrow"
    return Mutant(f"types.{suffix}", content, f"{form} {frame.schema}")


def values(draw: Draw) -> Mutant:
    """Header and cells become odd ones; columns too many, too few, twice, empty."""
    columns: dict[str, list[Any]] = table()
    names = list(columns)
    rows = [names, *map(list, zip(*columns.values(), strict=True))]
    for _ in range(draw.choice((1, 3, 40))):
        draw.choice(rows[:1] if draw.random() < 0.2 else rows)[draw.randrange(4)] = draw.choice(ODD)
    change = draw.choice(("", "", "wide", "narrow", "one label", "ids", "empty", "twice", "header"))
    if change == "wide":
        number = draw.choice((40, 400, 6_000))
        rows = [
            [*row, *([f"c{i}" for i in range(number)] if row is rows[0] else "")] for row in rows
        ]
    elif change == "narrow":
        rows = [row[: draw.randrange(5)] for row in rows]
    elif change == "one label":
        rows[1:] = [[*row[:2], "same", *row[3:]] for row in rows[1:]]
    elif change == "ids":
        rows[1:] = [[row[0], row[1], str(row[0]), *row[3:]] for row in rows[1:]]
    elif change == "empty":
        rows[1:] = [draw.choice(([], [""] * 4, row)) for row in rows[1:]]
    elif change == "twice":
        rows[1:] = [row for row in rows[1:] for _ in range(draw.randint(1, 3))]
    elif change == "header":
        rows = rows[: draw.choice((0, 1, 2))]
    separator = draw.choice((",", ";", "\t", "|"))
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
    name = draw.choice(("values.csv", "values.tsv", "values.txt"))
    return Mutant(
        name, out.getvalue().encode("utf-8", "replace"), f"table, {change or 'odd cells'}"
    )


def renamed(draw: Draw) -> Mutant:
    """A file under the name of another format, packed once more, or packed twice."""
    name, content = _of(draw)
    for _ in range(draw.randrange(3)):
        content = draw.choice((gzip.compress, zstandard.compress))(content)
    other, _ = _of(draw)
    endings = (
        ".json",
        ".jsonl",
        ".csv",
        ".xls",
        ".xlsx",
        ".gz",
        ".zst",
        ".parquet",
        ".arrow",
        ".pdf",
    )
    new = draw.choice((other, name + draw.choice(endings), "table", "table" + draw.choice(endings)))
    if draw.random() < 0.2:
        content = content[: draw.randrange(40)]
    return Mutant(new, content, name)


SETTINGS: tuple[dict[str, Any], ...] = (
    {"mask": ("all",)},
    {"balance": "smallest"},
    {"balance": "repeat", "rare_labels": "drop"},
    {"balance": "weight", "rare_labels": "drop", "missing_label": "other"},
    {"split": "80/10/10", "near_duplicates": 0.3},
    {"text": r"{text}\n{note}", "label": "label"},
    {"text": "text", "label": "note", "rare_labels": "drop", "merge_labels": False},
    {"text": "text", "label": "label", "group": "note", "rare_labels": "drop"},
    {"text": "text", "label": "label", "field": ("id",), "rare_labels": "drop"},
    {"split_by": "time", "rare_labels": "drop"},
    {"task": "chat"},
)


def asked(draw: Draw) -> Mutant:
    """A file that is changed a little and prepared with a setting or two."""
    mutant = draw.choice((flipped, delimiters, nested, values, spliced))(draw)
    return Mutant(mutant.name, mutant.content, mutant.seed, draw.choice(SETTINGS))


def real(draw: Draw) -> Mutant:
    """The head of a real file: cut, changed, or put together from two."""
    name, content = _of(draw, real_seeds())
    other = _of(draw, real_seeds())[1]
    at, till = sorted(draw.randrange(len(content)) for _ in range(2))
    changed = bytearray(content)
    for _ in range(draw.choice((1, 5, 200))):
        changed[draw.randrange(len(changed))] = draw.choice(b'\xff",;\t\n\r{}[]\\ a')
    variants = content[:till], content[:at] + content[till:], bytes(changed), content + other
    return Mutant(name, draw.choice(variants), name)


KINDS: dict[str, tuple[Callable[[Draw], Mutant], int]] = {
    "cut": (cut, 90),
    "flipped": (flipped, 150),
    "spliced": (spliced, 100),
    "delimiters": (delimiters, 80),
    "nested": (nested, 80),
    "deep": (deep, 50),
    "cells": (cells, 100),
    "encodings": (encodings, 70),
    "types": (types, 70),
    "values": (values, 80),
    "renamed": (renamed, 50),
    "asked": (asked, 50),
    "real": (real, 50),
}
"""Kind → how one is made, and how many are in a normal run."""


# --- heavy files ---------------------------------------------------------------------------------

WIDE = "lorem ipsum dolor sit amet "


def _huge_cell(text: str) -> dict[str, list[Any]]:
    columns = table()
    columns["text"][3] = text
    return columns


def _zip_sheet(rows: str, strings: str = "") -> Bytes:
    head = '<row r="1"><c r="A1" t="inlineStr"><is><t>text</t></is></c>'
    head += '<c r="B1" t="inlineStr"><is><t>label</t></is></c></row>'
    return workbook({"S": sheet([]).replace("</sheetData>", head + rows + "</sheetData>")}, strings)


def _string_bomb(size: int, number: int, cell: str = '<c r="A{0}" t="s"><v>0</v></c>') -> Bytes:
    rows = "".join(f'<row r="{i}">{cell.format(i)}</row>' for i in range(2, number + 2))
    return _zip_sheet(rows, f"<si><t>{'x' * size}</t></si>")


def _sheets_again(number: int) -> Bytes:
    """A workbook that names one big sheet many times."""
    rows = "".join(
        f'<row r="{i}"><c r="A{i}"><v>{i}</v></c><c r="B{i}"><v>{i % 2}</v></c></row>'
        for i in range(2, 100_000)
    )
    with zipfile.ZipFile(io.BytesIO(_zip_sheet(rows))) as source:
        parts = {info.filename: source.read(info).decode() for info in source.infolist()}
    one = re.search(r"<sheet name.*?/>", parts["xl/workbook.xml"])
    assert one
    many = "".join(one[0].replace('"S"', f'"S{i}"') for i in range(number))
    parts["xl/workbook.xml"] = parts["xl/workbook.xml"].replace(one[0], many)
    return packed(parts)


def _sheet_elsewhere() -> Bytes:
    """A sheet that is not where sheets are, with a cell far away."""
    content = _zip_sheet('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>')
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        parts = {info.filename: source.read(info).decode() for info in source.infolist()}
    parts["xl/odd.xml"] = parts.pop("xl/worksheets/s1.xml")
    rels = "xl/_rels/workbook.xml.rels"
    parts[rels] = parts[rels].replace("worksheets/s1.xml", "odd.xml")
    return packed(parts)


def _far_cells(cell: str) -> Bytes:
    return _zip_sheet(f'<row r="1048576">{cell}</row>')


def _repeated(form: str, text: str, number: int) -> Bytes:
    frame = pl.select(
        pl.repeat(text, number).alias("text"),
        (pl.int_range(number) % 2).cast(pl.String).alias("label"),
    )
    out = io.BytesIO()
    if form == "parquet":
        frame.write_parquet(out, row_group_size=min(number, 200_000 // (1 + len(text) // 1000)))
    else:
        frame.write_ipc(out, compression="zstd" if form == "zstd" else "uncompressed")
    return out.getvalue()


def _varint(number: int) -> Bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _row_groups_again(rows: int, times: int) -> Bytes:
    """Parquet whose one group of rows, of one value, is listed many times in its footer."""
    content = _repeated("parquet", "hello", rows)
    size = struct.unpack("<I", content[-8:-4])[0]
    footer = content[-8 - size : -8]
    # Thrift's compact protocol: field 3 is the number of rows, field 4 the list of groups.
    mark = b"\x16" + _varint(2 * rows) + b"\x19\x1c"
    before, after = footer.split(mark)
    end = after.index(b"\x19\x1c\x18\x0cARROW:schema")
    group, rest = after[:end], after[end:]
    footer = before + b"\x16" + _varint(2 * rows * times) + b"\x19\xfc" + _varint(times)
    footer += group * times + rest
    return content[: -8 - size] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _lying_arrow(length: int) -> Bytes:
    """Arrow whose compressed buffers claim another length than they have."""
    frame = pl.DataFrame(table(5_000)).select("text", "label")
    out = io.BytesIO()
    frame.write_ipc(out, compression="zstd")
    content = bytearray(out.getvalue())
    for found in re.finditer(rb"\x28\xb5\x2f\xfd", content):
        content[found.start() - 8 : found.start()] = struct.pack("<q", length)
    return bytes(content)


def _bomb(pack: Callable[[Bytes], Bytes], megabytes: int) -> Bytes:
    return pack(b"text,label\n" + b"aaaaaaaaaaaaaa,b\n" * (megabytes * 60_000))


HEAVY: dict[str, Callable[[], Mutant]] = {
    "1 MB of words in CSV": lambda: Mutant(
        "t.csv", delimited(",", _huge_cell(WIDE * 38_000)).encode(), "comma.csv"
    ),
    "1 MB of quotes in TSV": lambda: Mutant(
        "t.tsv", delimited("\t", _huge_cell('"' * 1_000_000)).encode(), "tab.tsv"
    ),
    "10 MB of words in CSV": lambda: Mutant(
        "t.csv", delimited(",", _huge_cell(WIDE * 390_000)).encode(), "comma.csv"
    ),
    "10 MB without a space in CSV": lambda: Mutant(
        "t.csv", delimited(",", _huge_cell("x" * 10_000_000)).encode(), "comma.csv"
    ),
    "10 MB of quotes in TSV": lambda: Mutant(
        "t.tsv", delimited("\t", _huge_cell('"' * 10_000_000)).encode(), "tab.tsv"
    ),
    "10 MB of markup in JSONL": lambda: Mutant(
        "t.jsonl",
        lines(pl.DataFrame(_huge_cell("<a href='" * 1_100_000)).to_dicts()),
        "lines.jsonl",
    ),
    "10 MB of brackets in JSON": lambda: Mutant(
        "t.json", json.dumps(_huge_cell("([{<&#" * 1_700_000)).encode(), "columns.json"
    ),
    "10 MB of addresses, masked": lambda: Mutant(
        "t.csv",
        delimited(",", _huge_cell("a.b@c." * 1_700_000)).encode(),
        "comma.csv",
        {"mask": ("all",)},
    ),
    "10 MB of digits, masked": lambda: Mutant(
        "t.csv",
        delimited(",", _huge_cell("4111 1111-1" * 900_000)).encode(),
        "comma.csv",
        {"mask": ("all",)},
    ),
    "10 MB of line ends in Parquet": lambda: Mutant(
        "t.parquet", columnar(pl.DataFrame(_huge_cell("\r\n \n" * 2_500_000)), "parquet"), "parquet"
    ),
    "10 MB of signs in Arrow": lambda: Mutant(
        "t.arrow", columnar(pl.DataFrame(_huge_cell("\U0001f600?!" * 1_700_000)), "file"), "arrow"
    ),
    "10 MB in a conversation": lambda: Mutant(
        "t.jsonl",
        lines([*conversations(), {"messages": [{"role": "user", "content": WIDE * 390_000}]}]),
        "chat.jsonl",
    ),
    "10 MB in a workbook": lambda: Mutant(
        "t.xlsx", _string_bomb(10_000_000, 1), "shared.xlsx"
    ),
    "10 MB label": lambda: Mutant(
        "t.csv",
        delimited(",", table() | {"label": ["x" * 10_000_000, *table()["label"][1:]]}).encode(),
        "comma.csv",
        {"rare_labels": "drop"},
    ),
    "10 MB header": lambda: Mutant(
        "t.csv", b"t" * 10_000_000 + delimited(",").encode(), "comma.csv"
    ),
    "10 MB on one line": lambda: Mutant("t.csv", b"a,b " * 2_500_000, "nothing"),
    "10 MB of line ends": lambda: Mutant("t.csv", b"text,label\n" + b"\n" * 10_000_000, "nothing"),
    "10 MB of empty rows": lambda: Mutant("t.csv", b"text,label\n" + b",\n" * 5_000_000, "nothing"),
    "an open quote and 10 MB": lambda: Mutant(
        "t.csv", b'text,label\n"a,b\n' + b"c,d\n" * 2_500_000, "nothing"
    ),
    "10 MB of open brackets": lambda: Mutant("t.json", b"[" * 10_000_000, "nothing"),
    "10 MB of open objects": lambda: Mutant("t.jsonl", b'{"a":' * 2_000_000, "nothing"),
    "10 MB of closed brackets": lambda: Mutant(
        "t.jsonl", b"[" * 5_000_000 + b"]" * 5_000_000, "nothing"
    ),
    "a number of 10 MB": lambda: Mutant(
        "t.jsonl", lines(objects()) + b'{"text": ' + b"9" * 10_000_000 + b"}\n", "lines.jsonl"
    ),
    "3 MB of escapes": lambda: Mutant(
        "t.jsonl", lines(objects()) + b'{"text": "' + b"\\ud83d" * 500_000 + b'"}\n', "lines"
    ),
    "1 MB of columns": lambda: Mutant(
        "t.jsonl", lines([{f"c{i}": 1 for i in range(70_000)}]), "nothing"
    ),
    "10 MB of columns in CSV": lambda: Mutant(
        "t.csv", b",".join(b"c%d" % i for i in range(1_300_000)) + b"\n1,2\n", "nothing"
    ),
    "gzip bomb": lambda: Mutant("t.csv.gz", _bomb(gzip.compress, 300), "comma.csv.gz"),
    "zstd bomb": lambda: Mutant("t.csv.zst", _bomb(zstandard.compress, 300), "zst"),
    "zstd that says it is short": lambda: Mutant(
        "t.csv.zst",
        zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 300_000_000),
        "zst",
    ),
    "gzip of gzip bomb": lambda: Mutant(
        "t.csv.gz", gzip.compress(_bomb(gzip.compress, 300)), "comma.csv.gz"
    ),
    "sheet bomb": lambda: Mutant(
        "t.xlsx", _zip_sheet(f"<row>{' ' * 300_000_000}</row>"), "inline.xlsx"
    ),
    "shared string in 10,000 cells": lambda: Mutant(
        "t.xlsx", _string_bomb(1_000_000, 10_000), "shared.xlsx"
    ),
    "shared string in 300,000 cells": lambda: Mutant(
        "t.xlsx", _string_bomb(30_000, 300_000), "shared.xlsx"
    ),
    "shared string in odd cells": lambda: Mutant(
        "t.xlsx",
        _string_bomb(1_000_000, 10_000, "<x:c \n t = 's' r='A{0}'><x:v a='>'>0</x:v></x:c>"),
        "shared.xlsx",
    ),
    "one sheet under 300 names": lambda: Mutant("t.xlsx", _sheets_again(300), "inline.xlsx"),
    "a sheet elsewhere": lambda: Mutant("t.xlsx", _sheet_elsewhere(), "inline.xlsx"),
    "cells without places": lambda: Mutant(
        "t.xlsx", _far_cells("<c><v>1</v></c>" * 16_384), "inline.xlsx"
    ),
    "a cell far away in small letters": lambda: Mutant(
        "t.xlsx", _far_cells('<c r="xfd1048576"><v>1</v></c>'), "inline.xlsx"
    ),
    "a cell far away after a sign": lambda: Mutant(
        "t.xlsx", _far_cells("<c s='>' r = 'XFD1048576'><v>1</v></c>"), "inline.xlsx"
    ),
    "1,000,000 sheet rows": lambda: Mutant(
        "t.xlsx", _zip_sheet("<row><c><v>1</v></c></row>" * 1_000_000), "inline.xlsx"
    ),
    "Parquet of one text 30,000 times": lambda: Mutant(
        "t.parquet", _repeated("parquet", WIDE * 400, 30_000), "parquet"
    ),
    "Parquet of 300,000,000 rows": lambda: Mutant(
        "t.parquet", _row_groups_again(200_000, 1_500), "parquet"
    ),
    "Arrow of one text 50,000 times": lambda: Mutant(
        "t.arrow", _repeated("file", WIDE * 4_000, 50_000), "arrow"
    ),
    "zstd Arrow of one text 100,000 times": lambda: Mutant(
        "t.arrow", _repeated("zstd", "a" * 9_000, 100_000), "arrow"
    ),
    "Arrow that says it is vast": lambda: Mutant("t.arrow", _lying_arrow(2**60), "arrow"),
    "Arrow that says it is large": lambda: Mutant("t.arrow", _lying_arrow(2**33), "arrow"),
    "Arrow that says it is less than nothing": lambda: Mutant(
        "t.arrow", _lying_arrow(-(2**40)), "arrow"
    ),
    "Parquet of 20,000 columns": lambda: Mutant(
        "t.parquet",
        columnar(pl.DataFrame({f"c{i}": ["a", "b"] for i in range(20_000)}), "parquet"),
        "parquet",
    ),
    "JSON of 600 columns": lambda: Mutant(
        "t.json",
        json.dumps([row | {f"c{i}": i for i in range(600)} for row in objects()]).encode(),
        "list.json",
    ),
    "a workbook without sheets": lambda: Mutant("t.xlsx", workbook({}), "inline.xlsx"),
}  # fmt: skip
"""What it is → how it is made. Each is one file."""


def mutant(kind: str, number: int) -> Mutant:
    """The mutant of a kind, or the heavy file, of that number."""
    if kind == "heavy":
        return list(HEAVY.values())[number]()
    found = KINDS[kind][0](random.Random(f"{kind} {number}"))
    # Every second one gets further: most changes make a label that only one row has.
    return replace(found, settings={"rare_labels": ("stop", "drop")[number % 2], **found.settings})
