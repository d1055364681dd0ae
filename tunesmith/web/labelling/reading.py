"""`python -m tunesmith.web.labelling.reading`: bring a table's rows into the store, or find labels.

A process of its own, so that no table fills the server's memory. Its input is a JSON object: path,
encoding and sheet; and `do`: "labels" of a `column`, or "rows" into a task of a store.
Does not know: who asked.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tunesmith.data.reading.readers import read
from tunesmith.data.reading.table import Table
from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.settings import Settings
from tunesmith.store.database import readable
from tunesmith.store.labelling_rows import LabellingRow, LabellingTaskRow
from tunesmith.store.store import Store, open_store

ROWS_AT_ONCE = 4000
LONGEST_TEXT = 200_000
"""Characters; nobody reads more before labelling it."""


def main() -> None:
    asked = json.load(sys.stdin)
    if asked["do"] == "labels":
        json.dump(labels(asked), sys.stdout)
        return
    settings = Settings(data_dir=Path(asked["data_dir"]), database_url=asked["database_url"])
    with closing(open_store(settings)) as store:
        bring_in(store.of(asked["project"]), asked)


def labels(asked: Mapping[str, Any]) -> dict[str, Any]:
    """`labels`: the different values of a column, the most frequent first; or `error`.

    Of values that differ only in case and spaces, as `prepare` takes them for one, the most
    frequent spelling stands for all.
    """
    try:
        table = _table(asked)
        values = table.columns[_column(table, asked["column"])].drop_nulls().str.strip_chars()
        counts = values.filter(values != "").value_counts(sort=True)
        found: dict[str, str] = {}
        for value in counts[asked["column"]].to_list():
            found.setdefault("".join(value.casefold().split()), value)
        if len(found) > asked["most"]:
            raise ConfigError(
                f"The column has {len(found):,} different values, more than {asked['most']:,}.",
                fix="Choose another column, or type the labels.",
            )
    except TunesmithError as error:
        return {"error": _told(error, asked)}
    return {"labels": list(found.values())}


def bring_in(store: Store, asked: Mapping[str, Any]) -> None:
    """Add the table's rows to a task that is importing, and have it be ready; or say why not.

    Rows without a text are left out, and counted.
    """
    task = store.labelling.get(asked["task"])
    assert task is not None
    try:
        table = _table(asked)
        for column in (task.text_column, *task.shown):
            _column(table, column)
        only = ("importing",)
        total = {"total": table.columns.height}
        store.labelling.change(task.id, only=only, values=total)
        came = 0
        for rows in _rows(table, task):
            store.labelling.add_rows(task.id, rows)
            came += len(rows)
        if not came:
            raise ConfigError("No row of the table has a text.", fix="Choose another column.")
    except TunesmithError as error:
        said = _told(error, asked)
        failed = {"error": f"{said['what']} {said['fix']}".strip(), "process": None}
        store.labelling.change(task.id, to="draft", only=("importing",), values=failed)
        return
    done = {"num_empty": table.columns.height - came, "process": None}
    store.labelling.change(task.id, to="ready", only=("importing",), values=done)


def _rows(table: Table, task: LabellingTaskRow) -> Iterator[list[LabellingRow]]:
    """Rows in the table's order; their ranks are drawn, so they are handed out in a random one."""
    draw = random.Random(task.id)
    columns = table.columns.select(task.text_column, *task.shown)
    for begin in range(0, columns.height, ROWS_AT_ONCE):
        found = []
        fates = table.fates[begin : begin + ROWS_AT_ONCE]
        for number, (cells, fate) in enumerate(
            zip(columns[begin : begin + ROWS_AT_ONCE].iter_rows(), fates, strict=True), begin + 1
        ):
            row_text = readable(cells[0] or "")[:LONGEST_TEXT]
            if fate is None and row_text.strip():
                shown = {
                    name: readable(cell)
                    for name, cell in zip(task.shown, cells[1:], strict=True)
                    if cell is not None
                }
                row = LabellingRow(
                    id=f"{task.id.replace('lab_', 'lrow_')}-{number}",
                    task_id=task.id,
                    number=number,
                    text=row_text,
                    shown=shown,
                    rank=1 + draw.random(),
                )
                found.append(row)
        if found:
            yield found


def _table(asked: Mapping[str, Any]) -> Table:
    return read(Path(asked["path"]), encoding=asked.get("encoding"), sheet=asked.get("sheet"))


def _column(table: Table, name: str) -> str:
    if name not in table.columns.columns:
        raise ConfigError(f"The table has no column {name!r}.", fix="Choose another one.")
    return name


def _told(error: TunesmithError, asked: Mapping[str, Any]) -> dict[str, str]:
    """The sentence with the file's name instead of its place on the server."""
    path = Path(asked["path"])
    return {"what": error.what.replace(str(path), path.name), "fix": error.fix}


if __name__ == "__main__":
    main()
