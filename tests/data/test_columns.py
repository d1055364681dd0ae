"""The right columns are found, with a reason, and a missing header is noticed."""

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from tunesmith.data.columns import Columns, check_header, check_same, choose
from tunesmith.data.readers import Table, read
from tunesmith.errors import ConfigError, DataError

Write = Callable[..., Path]
WORDS = ("please", "where", "is", "my", "order", "and", "when", "does", "it", "come", "back", "to")
LABELS = ("refund", "delivery", "praise")


def texts(number: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=8)) + f" {i}" for i in range(number)]


def cycle(values: Sequence[str], number: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [draw.choice(values) for _ in range(number)]


def table(write: Write, **columns: Iterable[str]) -> Table:
    rows = zip(*columns.values(), strict=True)
    content = [";".join(columns), *(";".join(row) for row in rows)]
    return read(write("\n".join(content)))


def guess(
    table: Table, text: str | None = None, label: str | None = None, annotators: Sequence[str] = ()
) -> Columns:
    return choose(table, text=text, label=label, annotators=annotators)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("text", "category"),
        ("Utterance", "Intent"),
        ("v2", "v1"),
        ("review_text", "sentiment"),
        ("SMS", "Label"),
        ("question", "class"),
        ("customerMessage", "topic"),
        ("Inhalt", "Art"),
    ],
)
def test_columns_are_found_by_name_and_content(write: Write, text: str, label: str) -> None:
    found = guess(table(write, **{label: cycle(LABELS, 60), text: texts(60)}))
    assert (found.text, found.labels) == (text, (label,))
    assert [d.what for d in found.decisions] == ["text column", "label column"]
    assert "3 different values in 60 rows" in found.decisions[1].reason


def test_ids_dates_and_numbers_are_neither(write: Write) -> None:
    found = guess(
        table(
            write,
            ticket_id=[f"A-{i}" for i in range(60)],
            date=[f"2026-01-{i % 28 + 1:02}" for i in range(60)],
            amount=[str(i / 7) for i in range(60)],
            body=texts(60),
            language=cycle(("en", "de"), 60),
            queue=cycle(LABELS, 60),
        )
    )
    assert (found.text, found.labels) == ("body", ("queue",))


def test_of_a_subject_and_a_body_the_wordier_is_the_text(write: Write) -> None:
    subjects = [text[:12] for text in texts(60, 1)]
    found = guess(table(write, subject=subjects, body=texts(60), label=cycle(LABELS, 60)))
    assert found.text == "body"


def test_the_finer_of_two_nested_labels_is_taken_and_the_other_named(write: Write) -> None:
    fine = cycle(("pay late", "pay twice", "ship late", "ship lost"), 200)
    coarse = [label.split()[0] for label in fine]
    found = guess(table(write, text=texts(200), category=coarse, intent=fine))
    assert found.labels == ("intent",)
    reason = found.decisions[1].reason
    assert "each within one of the 2 of 'category'" in reason
    assert "--label category" in reason


def test_of_unrelated_labels_the_more_usual_name_is_taken(write: Write) -> None:
    found = guess(
        table(write, text=texts(90), topic=cycle(LABELS, 90), label=cycle(("x", "y"), 90, seed=3))
    )
    assert found.labels == ("label",)
    assert "--label topic" in found.decisions[1].reason


def test_names_are_preferred_to_numbers_for_the_same_labels(write: Write) -> None:
    names = cycle(LABELS, 90)
    numbers = [str(LABELS.index(name)) for name in names]
    found = guess(table(write, text=texts(90), label=numbers, label_name=names))
    assert found.labels == ("label_name",)
    assert "the same as 'label' in words" in found.decisions[1].reason


@pytest.mark.parametrize(
    "names",
    [("annotator_1", "annotator_2"), ("label1", "label2", "label3"), ("rater_anna", "rater_ben")],
)
def test_annotators_are_found_by_name_and_content(write: Write, names: tuple[str, ...]) -> None:
    labels = cycle(LABELS, 60)
    columns = {name: [labels[0], *cycle(LABELS, 59, seed=i)] for i, name in enumerate(names)}
    columns[names[-1]][5] = " REFUND "
    found = guess(table(write, text=texts(60), **columns))
    assert found.labels == names
    assert "majority of" in found.decisions[1].value


def test_a_settled_label_goes_before_its_annotators(write: Write) -> None:
    columns = {f"annotator_{i}": cycle(LABELS, 60, seed=i) for i in (1, 2)}
    found = guess(table(write, text=texts(60), label=cycle(LABELS, 60), **columns))
    assert found.labels == ("label",)
    assert "--annotators annotator_1,annotator_2" in found.decisions[1].reason


def test_columns_with_other_values_are_no_annotators(write: Write) -> None:
    found = guess(
        table(
            write,
            text=texts(60),
            rater_1=cycle(LABELS, 60),
            rater_2=cycle(("sure", "unsure"), 60),
            category=cycle(LABELS, 60, seed=2),
        )
    )
    assert found.labels == ("category",)


def test_given_columns_are_taken_without_a_decision(write: Write) -> None:
    full = table(write, text=texts(60), other=texts(60, 1), label=cycle(LABELS, 60))
    found = guess(full, text="other", label="label")
    assert (found.text, found.labels, found.decisions) == ("other", ("label",), ())


def test_a_missing_column_is_answered_with_the_nearest(write: Write) -> None:
    full = table(write, message=texts(60), label=cycle(LABELS, 60))
    with pytest.raises(ConfigError, match="no column 'mesage'. Did you mean 'message'?"):
        guess(full, text="mesage")
    with pytest.raises(ConfigError, match="no column 'rater'. There are: message, label"):
        guess(full, annotators=("rater", "label"))
    with pytest.raises(ConfigError, match="Both a label column and annotators"):
        guess(full, label="label", annotators=("label",))
    with pytest.raises(ConfigError, match="both as the text and as the label"):
        guess(full, text="label", label="label")


def test_what_cannot_be_guessed_is_asked_for(write: Write) -> None:
    with pytest.raises(ConfigError, match="No column .* looks like the text.*--text"):
        guess(table(write, a=cycle("xy", 60), b=cycle("pq", 60)))
    with pytest.raises(ConfigError, match="No column .* looks like the label.*--label"):
        guess(table(write, question=texts(60), answer=texts(60, 1)))
    flags = {name: cycle("01", 60, seed=i) for i, name in enumerate(("joy", "anger", "fear"))}
    with pytest.raises(ConfigError, match="Several columns .* joy, anger, fear"):
        guess(table(write, text=texts(60), **flags))


HEADERLESS = "\n".join(f"{text},{LABELS[i % 3]}" for i, text in enumerate(texts(30)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (HEADERLESS, "'refund' in it is also a value"),
        (HEADERLESS.replace(",", "\t"), "'refund' in it is also a value"),
        ("this text is the first one,odd\n" + HEADERLESS, "reads like a text"),
    ],
)
def test_a_table_without_a_header_is_refused(write: Write, content: str, why: str) -> None:
    table = read(write(content))
    with pytest.raises(DataError, match=rf"table.csv:1: .*{why}.*text,label above it"):
        check_header(table, (None, None))


@pytest.mark.parametrize(
    ("content", "given"),
    [
        ("text,label\n" + HEADERLESS, None),
        # A survey: long column names, but known ones among them.
        ("What could we do better next time?,category\n" + HEADERLESS, None),
        ("What could we do better next time?,kind\n" + HEADERLESS, "kind"),
        # The word is a name here although it is also a label.
        ("text,refund\n" + HEADERLESS, None),
    ],
)
def test_a_header_is_believed(write: Write, content: str, given: str | None) -> None:
    check_header(read(write(content)), (None, given))


def test_json_lines_need_no_header(write: Write) -> None:
    rows = '{"this is a rather long name indeed": "a", "b": "b"}\n'
    check_header(read(write(rows, "table.jsonl")), ())


def test_the_validation_table_needs_the_same_columns(write: Write) -> None:
    columns = Columns(text="text", labels=("label",))
    check_same(table(write, label=["a"], text=["b"], id=["c"]), columns)
    with pytest.raises(DataError, match=r"table.csv:1: .*no column 'label'.*mean 'labels'\?"):
        check_same(table(write, labels=["a"], text=["b"]), columns)


def test_real_tables(data: Path, tickets: Path) -> None:
    bitext = data / "bitext_customer" / "20000-Utterances-Bitext-sample.csv"
    found = guess(read(bitext))
    assert (found.text, found.labels) == ("utterance", ("intent",))
    assert "category" in found.decisions[1].reason
    found = guess(read(tickets))
    assert (found.text, found.labels) == ("message", ("annotator_1", "annotator_2"))
    with pytest.raises(ConfigError, match="Several columns"):
        guess(read(data / "goemotions_raters" / "raw_sample_with_rater_id.csv"))
