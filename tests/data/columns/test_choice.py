"""The right columns are found, with a reason, and a missing header is noticed."""

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.columns.choice import Columns, Roles, check_header, check_same, choose
from tunesmith.data.columns.templates import fill
from tunesmith.data.reading.readers import read
from tunesmith.data.reading.table import Table
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


guess = choose


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
        ("Nachricht", "Kategorie"),
        ("Texte", "Catégorie"),
        ("Mensaje del cliente", "ETIQUETA"),
        ("testo", "Etichetta"),
        ("descrição", "intenção"),
        ("bericht-tekst", "Afdeling"),
        ("E-Mail", "Stimmung"),
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


def test_a_headline_is_joined_to_its_body(write: Write) -> None:
    subjects = [text[:12] for text in texts(60, 1)]
    full = table(write, id=subjects, Betreff=subjects, body=texts(60), label=cycle(LABELS, 60))
    found = guess(full)
    assert found.text == "{Betreff}\n\n{body}"
    assert "'Betreff' reads like the headline of 'body'" in found.decisions[0].reason
    assert "--text body takes one only" in found.decisions[0].reason
    assert fill(found.text, full.columns)[0] == f"{subjects[0].strip()}\n\n{texts(60)[0]}"
    assert guess(full, text="body").text == "body"


@pytest.mark.parametrize(
    "headlines",
    [
        ["maths", "physics"] * 30,  # few values: a topic rather than a headline
        [text[:20] for text in texts(60)],  # the body says it again
        [f"{text} and much more of this kind" for text in texts(60, 1)],  # longer than the body
    ],
)
def test_other_columns_called_subject_are_not_joined(write: Write, headlines: list[str]) -> None:
    full = table(write, subject=headlines, body=texts(60), label=cycle(LABELS, 60))
    assert "{" not in guess(full).text


def test_an_address_is_no_text(write: Write) -> None:
    addresses = [f"someone.with.a.long.name{i}@example.org" for i in range(60)]
    found = guess(table(write, email=addresses, Inhalt=texts(60), label=cycle(LABELS, 60)))
    assert found.text == "Inhalt"


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
    with pytest.raises(ConfigError, match="no column 'masage'. Did you mean 'message'?"):
        guess(full, text="{label}: {masage}")
    with pytest.raises(ConfigError, match="no column 'massage'. Did you mean 'message'?"):
        guess(full, others=Roles(group="massage"))
    with pytest.raises(ConfigError, match="Both a label column and annotators"):
        guess(full, label="label", annotators=("label",))
    with pytest.raises(ConfigError, match="both as the text and as the label"):
        guess(full, text="label", label="label")
    with pytest.raises(ConfigError, match="both as the text and as the label"):
        guess(full, text="{message} {label}", votes=("label", "message"))


def test_what_cannot_be_guessed_is_asked_for(write: Write) -> None:
    with pytest.raises(ConfigError, match="No column .* looks like the text.*--text"):
        guess(table(write, a=cycle("xy", 60), b=cycle("pq", 60)))
    with pytest.raises(ConfigError, match="No column .* looks like the label.*--label"):
        guess(table(write, question=texts(60), answer=texts(60, 1)))
    flags = {name: cycle("01", 60, seed=i) for i, name in enumerate(("joy", "anger", "fear"))}
    with pytest.raises(ConfigError, match="Several columns .* joy, anger, fear"):
        guess(table(write, text=texts(60), **flags))


def one_hot(number: int, names: Sequence[str] = LABELS) -> dict[str, list[str]]:
    chosen = cycle(names, number)
    return {name: [str(int(name == label)) for label in chosen] for name in names}


def test_one_hot_columns_are_votes(write: Write) -> None:
    # A flag that is no neighbour of theirs, and a number that is one, stay out.
    full = table(
        write,
        urgent=cycle("01", 60),
        text=texts(60),
        **one_hot(60),
        likes=cycle("017", 60),
    )
    found = guess(full)
    assert (found.labels, found.votes) == ((), LABELS)
    assert [d.what for d in found.decisions] == ["text column", "vote columns"]
    assert "a single 1 in 100 % of the rows" in found.decisions[1].reason
    words = {name: ["True" if c == "1" else "False" for c in v] for name, v in one_hot(60).items()}
    assert guess(table(write, text=texts(60), **words)).votes == LABELS


def counts(number: int) -> dict[str, list[str]]:
    """Five annotators' votes a row."""
    draw = random.Random(0)
    rows = [draw.choices(LABELS, weights=(8, 2, 1), k=5) for _ in range(number)]
    return {name: [str(row.count(name)) for row in rows] for name in LABELS}


def test_vote_counts_are_found_without_their_total(write: Write) -> None:
    found = guess(table(write, total=["5"] * 60, **counts(60), text=texts(60)))
    assert found.votes == LABELS
    assert "add up to the same in 100 % of the rows" in found.decisions[1].reason
    named = {f"votes_{name}": column for name, column in counts(60).items()}
    assert guess(table(write, text=texts(60), **named)).votes == tuple(named)


def test_a_settled_label_goes_before_votes(write: Write) -> None:
    found = guess(table(write, text=texts(60), **counts(60), label=cycle(LABELS, 60)))
    assert (found.labels, found.votes) == (("label",), ())
    assert "--votes refund,delivery,praise" in found.decisions[1].reason
    assert guess(table(write, t=texts(60), **counts(60)), votes=LABELS[:2]).votes == LABELS[:2]


def test_scores_and_numbered_labels_are_no_votes(write: Write) -> None:
    stars = {name: cycle("12345", 60, seed) for seed, name in enumerate(("food", "room", "staff"))}
    found = guess(table(write, text=texts(60), **stars, label=cycle(LABELS, 60)))
    assert found.labels == ("label",)
    assert "--votes" not in found.decisions[1].reason
    raters = {f"annotator_{i}": [*cycle("0011111", 59), str(i % 2)] for i in (1, 2, 3)}
    assert guess(table(write, text=texts(60), **raters)).labels == tuple(raters)


def ratings(number: int) -> dict[str, list[str]]:
    """Each text rated by two of five people, the rows of one text apart."""
    return {
        "rating_id": [str(i) for i in range(2 * number)],
        "item_id": [f"T{i}" for i in range(number)] * 2,
        "annotator": [f"p{i % 5}" for i in range(number)]
        + [f"p{(i + 1) % 5}" for i in range(number)],
        "text": texts(number) * 2,
        "kind": cycle(LABELS, 2 * number),
    }


def test_a_row_for_each_rating_is_recognised(write: Write) -> None:
    full = table(write, **ratings(40))
    found = guess(full)
    assert (found.text, found.rater, found.id, found.labels) == (
        "text",
        "annotator",
        "item_id",
        ("kind",),
    )
    assert "80 rows about 40 items, each row by one of 5 raters" in found.decisions[1].reason
    columns = ratings(40)
    del columns["item_id"]
    found = guess(table(write, **columns))
    assert (found.rater, found.id) == ("annotator", None)
    assert "rows of one text are one item" in found.decisions[1].reason
    found = guess(full, label="kind", others=Roles(rater=""))
    assert (found.rater, found.id) == (None, "rating_id")
    found = guess(full, others=Roles(rater="annotator", id=""))
    assert (found.rater, found.id, found.labels) == ("annotator", None, ("kind",))
    with pytest.raises(ConfigError, match="one row a rating, by 'annotator', and several columns"):
        guess(full, annotators=("kind", "item_id"), others=Roles(rater="annotator"))


def test_who_rated_each_of_different_texts_is_no_long_table(write: Write) -> None:
    full = table(write, text=texts(60), annotator=cycle("pqr", 60), label=cycle(LABELS, 60))
    assert guess(full).rater is None


def test_groups_dates_weights_and_ids(write: Write) -> None:
    full = table(
        write,
        id=[str(i) for i in range(60)],
        customerId=[f"C{i // 3}" for i in range(60)],
        created_at=["2026-01-05 09:39"] * 60,
        updated=[str(1_700_000_000 + i) for i in range(60)],
        weight=["1.5"] * 60,
        sample_weight=["0.5"] * 60,
        text=texts(60),
        label=cycle(LABELS, 60),
    )
    found = guess(full)
    assert (found.group, found.time, found.weight, found.id) == (
        "customerId",
        "created_at",
        "sample_weight",
        "id",
    )
    assert [d.what for d in found.decisions[2:]] == ["group column"]
    assert "20 values in 60 rows" in found.decisions[2].reason
    assert [d.what for d in found.suggestions] == ["id column", "time column", "weight column"]
    none = guess(full, others=Roles(group="", time="updated", weight="", id=""))
    assert (none.group, none.time, none.weight, none.id) == (None, "updated", None, None)
    assert not none.suggestions


def test_a_group_that_would_spoil_the_split_is_told_of(write: Write) -> None:
    full = table(
        write,
        author=["bot"] * 30 + [str(i) for i in range(30)],
        text=texts(60),
        label=["a", "b"] * 30,
    )
    found = guess(full)
    assert found.group is None
    assert "one of them is on 50 % of the rows" in found.suggestions[0].reason


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


def test_a_template_proves_the_header(write: Write) -> None:
    check_header(read(write("texts,refund\n" + HEADERLESS)), ("{texts}: {refund}",))


def test_the_validation_table_needs_the_same_columns(write: Write) -> None:
    columns = Columns(text="{text} {id}", labels=("label",))
    check_same(table(write, label=["a"], text=["b"], id=["c"]), columns)
    with pytest.raises(DataError, match=r"table.csv:1: .*no column 'label'.*mean 'labels'\?"):
        check_same(table(write, labels=["a"], text=["b"], id=["c"]), columns)


NAMES = (
    "text",
    "label",
    "id",
    "author",
    "rater_id",
    "date",
    "votes_a",
    "votes_b",
    "subject",
    "ß_1",
)
CELLS = st.sampled_from([None, "", " ", "0", "1", "2.0", "-1", "inf", "nan", "true", "a b c", "x"])


@given(st.data(), st.lists(st.sampled_from(NAMES), min_size=2, max_size=8, unique=True))
def test_any_table_gets_columns_of_its_own_or_a_sentence(
    data: st.DataObject, names: list[str]
) -> None:
    number = data.draw(st.integers(1, 12))
    cells = st.lists(CELLS, min_size=number, max_size=number)
    columns = pl.DataFrame([pl.Series(n, data.draw(cells), dtype=pl.String) for n in names])
    full = Table(
        path=Path("t.csv"),
        columns=columns,
        lines=pl.int_range(2, number + 2, eager=True),
        fates=pl.Series([None] * number, dtype=pl.String),
        header_line=1,
        decisions=(),
        findings=(),
    )
    try:
        found = choose(full)
    except ConfigError as refused:
        assert "--" in refused.fix
        return
    parts = (*found.needed(names), found.group, found.time, found.weight)
    used = [name for name in parts if name]
    assert set(used) <= set(names)
    assert len(set(found.needed(names))) == len(found.needed(names)) > 1
    assert bool(found.labels) != bool(found.votes)
    assert fill(found.text, columns).len() == number


def test_real_tables(data: Path, tickets: Path) -> None:
    bitext = data / "bitext_customer" / "20000-Utterances-Bitext-sample.csv"
    found = guess(read(bitext))
    assert (found.text, found.labels) == ("utterance", ("intent",))
    assert "category" in found.decisions[1].reason
    found = guess(read(tickets))
    assert (found.text, found.labels) == ("message", ("annotator_1", "annotator_2"))
    assert found.time == "received"
    spam = guess(read(data / "sms_spam" / "spam.csv"))
    assert (spam.text, spam.labels) == ("v2", ("v1",))
    emotions = guess(read(data / "goemotions_raters" / "raw_sample_with_rater_id.csv"))
    assert (emotions.text, emotions.rater, emotions.id) == ("text", "rater_id", "id")
    assert (emotions.votes[0], emotions.votes[-1], len(emotions.votes)) == (
        "admiration",
        "neutral",
        28,
    )
    assert (emotions.group, emotions.time) == ("author", "created_utc")
