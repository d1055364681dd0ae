"""Several columns become one text, and a gap leaves nothing dangling."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.columns.templates import fill, names_in

CELLS = st.sampled_from([None, "", "  ", "one", "two words", "line\n\nbreak"])


def filled(template: str, **cells: str | None) -> str | None:
    frame = pl.DataFrame({name: [cell] for name, cell in cells.items()}, strict=False)
    value = fill(template, frame.cast(pl.String)).item()
    assert value is None or isinstance(value, str)
    return value


@pytest.mark.parametrize(
    ("template", "a", "b", "text"),
    [
        ("{a}\n\n{b}", "Late", "Where is it?", "Late\n\nWhere is it?"),
        ("{a}\n\n{b}", None, "Where is it?", "Where is it?"),
        ("{a}\n\n{b}", "Late", "  ", "Late"),
        ("{a}\n\n{b}", None, "", None),
        ("{a}\n\n\n{b}", " Late ", "x\n\n\ny", "Late\n\n\nx\n\n\ny"),
        ("Subject: {a}\nBody: {b}", "Late", "Where?", "Subject: Late\nBody: Where?"),
        ("Subject: {a}\nBody: {b}", None, "Where?", "Body: Where?"),
        ("Subject: {a}\nBody: {b}", "Late", None, "Subject: Late"),
        ("{a} – {b}", "Late", "Where?", "Late – Where?"),
        ("{a} – {b}", None, "Where?", "Where?"),
        ("{a} ({b})", "Late", "Where?", "Late (Where?)"),
        ("{a} ({b})", "Late", None, "Late"),
        ("{a} ({b})", None, "Where?", "(Where?)"),
        ("A complaint:\n{a}\n\n{b}", None, "Where?", "A complaint:\n\nWhere?"),
        ("A complaint:\n{a}\n\n{b}", None, None, None),
        ("{a}, {a}", "Late", None, "Late, Late"),
        ("{b}", None, "x", "x"),
    ],
)
def test_templates(template: str, a: str | None, b: str | None, text: str | None) -> None:
    assert filled(template, a=a, b=b) == text


def test_a_column_is_taken_as_it_is() -> None:
    assert filled("a", a=" as it is ") == " as it is "
    assert filled("{odd} name", **{"{odd} name": "x", "odd": "y"}) == "x"


def test_the_names_in_a_template() -> None:
    assert names_in("{a}: {b b}, {a}", ["a", "b b"]) == ("a", "b b")
    assert names_in("a", ["a"]) == ("a",)
    assert names_in("nowhere", ["a"]) == ("nowhere",)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=20))
def test_every_cell_comes_through_and_nothing_dangles(rows: list[tuple[str | None, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys("abc", pl.String), orient="row")
    joined = fill("{a}\n\n{b}\n\n{c}", frame)
    for row, text in zip(rows, joined, strict=True):
        cells = [cell.strip() for cell in row if cell and cell.strip()]
        assert text == ("\n\n".join(cells) if cells else None)
