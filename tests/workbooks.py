"""Excel workbooks written as XML (ECMA-376), so that every cell is what the test says."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Cell = str | int | float | bool | None
OFFICE = "http://schemas.openxmlformats.org"
MAIN = f'xmlns="{OFFICE}/spreadsheetml/2006/main"'
RELATIONS = f"{OFFICE}/officeDocument/2006/relationships"
PACKAGE = f"{OFFICE}/package/2006"
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"


def sheet(rows: Sequence[Sequence[Cell]], first: int = 1) -> str:
    """The XML of a sheet with these rows; None is no cell, a text that starts with < is XML."""
    body = ""
    for number, row in enumerate(rows, start=first):
        cells = "".join(
            _cell(f"{chr(ord('A') + place)}{number}", value) for place, value in enumerate(row)
        )
        body += f'<row r="{number}">{cells}</row>'
    return f"<worksheet {MAIN}><sheetData>{body}</sheetData></worksheet>"


def workbook(sheets: Mapping[str, str], strings: Sequence[str] | str = ()) -> bytes:
    """A workbook of sheets, name → XML. Style 1 is a date.

    strings  shared strings, which cells such as <c t="s"><v>0</v></c> name; or their XML.
    """
    numbers = range(1, len(sheets) + 1)
    names = zip(sheets, numbers, strict=True)
    listed = "".join(f'<sheet name="{n}" sheetId="{i}" r:id="rId{i}"/>' for n, i in names)
    found = "".join(
        f'<Relationship Id="rId{i}" Type="{RELATIONS}/worksheet" Target="worksheets/s{i}.xml"/>'
        for i in numbers
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{KIND}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{RELATIONS}"><sheets>{listed}</sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{found}'
        "</Relationships>",
        "xl/styles.xml": f'<styleSheet {MAIN}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/>'
        "</cellXfs></styleSheet>",
    }
    for number, xml in zip(numbers, sheets.values(), strict=True):
        parts[f"xl/worksheets/s{number}.xml"] = xml
    if strings:
        items = strings
        if not isinstance(items, str):
            items = "".join(f"<si><t>{escape(string)}</t></si>" for string in items)
        parts["xl/sharedStrings.xml"] = f"<sst {MAIN}>{items}</sst>"
    return packed(parts)


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip file of these parts, the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as book:
        for name, content in parts.items():
            book.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _cell(place: str, value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith("<c"):
        return value.replace("<c", f'<c r="{place}"', 1)
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{value:d}</v></c>'
    if isinstance(value, (int, float)):
        return f'<c r="{place}"><v>{value}</v></c>'
    text = f'<is><t xml:space="preserve">{escape(value)}</t></is>'
    return f'<c r="{place}" t="inlineStr">{text}</c>'
