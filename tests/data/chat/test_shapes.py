"""The chat shape of a table is recognised, and its rows become examples with every row told."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.chat import conversations
from tunesmith.data.chat.examples import examples
from tunesmith.data.chat.files import check
from tunesmith.data.chat.shapes import recognise
from tunesmith.data.reading.table import Table
from tunesmith.errors import DataError

Row = dict[str, Any]
ASK = {"from": "human", "value": "hello"}
SAY = {"from": "gpt", "value": "hi"}
USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": "hi"}


def table(rows: list[Row], fates: list[str | None] | None = None) -> Table:
    """The table of JSON records, as the reader gives it: first line 1."""

    def cell(value: Any) -> str | None:
        plain = value is None or isinstance(value, str)
        return value if plain else json.dumps(value, ensure_ascii=False)

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {n: pl.Series([cell(r.get(n)) for r in rows], dtype=pl.String) for n in names}
    return Table(
        path=Path("chat.json"),
        columns=pl.DataFrame(columns),
        lines=pl.int_range(1, len(rows) + 1, eager=True),
        fates=pl.Series(fates or [None] * len(rows), dtype=pl.String),
        header_line=None,
        decisions=(),
        findings=(),
    )


def made(rows: list[Row]) -> tuple[list[Any], list[str | None], list[str]]:
    """Examples, fates and the words of the findings."""
    given = table(rows)
    shape = recognise(given)
    assert shape
    lines, findings, fates = examples(given, shape)
    assert lines.dtype == fates.dtype == pl.String
    assert [line is None for line in lines] == [fate is not None for fate in fates]
    words = [f"{finding.line}: {finding.what} {finding.fix}" for finding in findings]
    return [line and json.loads(line) for line in lines], fates.to_list(), words


def answered(number: int) -> Row:
    return {"question": f"What is {number}?", "answer": f"It is the number {number}."}


TALK = {"conversations": [ASK, SAY]}
PREFERENCE = {"prompt": "hello", "chosen": "hi", "rejected": "no"}
ALPACA = {"instruction": "Say it.", "input": "hello", "output": "hi"}
INPUT = {"messages": [USER]}


@pytest.mark.parametrize(
    ("rows", "name", "kind"),
    [
        ([{"messages": [USER, ANSWER]}], "openai messages", "chat"),
        ([TALK], "sharegpt", "chat"),
        ([{"id": "1", "talk": [ASK, SAY], "tools": "[]"}], "sharegpt", "chat"),
        ([{**ALPACA, "history": [], "system": "S"}], "alpaca", "chat"),
        ([{"Prompt": "a", "Completion": "b"}], "prompt/completion", "chat"),
        ([{"input": "a", "output": "b"}], "prompt/completion", "chat"),
        ([{"query": "a", "response": "b", "category": "c"}], "prompt/completion", "chat"),
        ([answered(n) for n in range(20)], "prompt/completion", "chat"),
        ([PREFERENCE], "preference pairs", "preference"),
        ([{**PREFERENCE, "messages": [USER, ANSWER]}], "preference pairs", "preference"),
        ([{**TALK, "chosen": SAY, "rejected": SAY}], "preference pairs", "preference"),
        (
            [{"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]}],
            "preference pairs",
            "preference",
        ),
        (
            [{"input": INPUT, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]}],
            "preference pairs",
            "preference",
        ),
        (
            [
                {
                    "input": INPUT,
                    "preferred_completion": [ANSWER],
                    "non_preferred_completion": [USER],
                }
            ],
            "preference pairs",
            "preference",
        ),
        ([{"text": "Once upon a time", "url": "x"}], "text", "text"),
        ([{"text": "Q: what?\nA: that"}], "text", "chat"),
    ],
)
def test_each_shape_is_recognised(rows: list[Row], name: str, kind: str) -> None:
    shape = recognise(table(rows))
    assert shape is not None
    assert (shape.name, shape.kind) == (name, kind)
    assert shape.reason


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": "a b c", "label": "x"}],
        [{"utterance": "a b c", "intent": "x"}],
        [{"prompt": f"text {n}", "completion": "ab"[n % 2]} for n in range(10)],
        [{"input": f"text {n}", "target": f" class {n % 5}"} for n in range(10)],
        [{**answered(n), "label": n % 2} for n in range(10)],
        [{"messages": [USER, ANSWER], "label": "ham" if n else "spam"} for n in range(4)],
        [{"question": n, "answer": n * 1.5} for n in range(10)],
        [{"chosen": "hi", "rejected": "no"}],
        [{"text": "a", "notes": ["x"]}],
        [{"messages": ""}],
        [{"question": "a", "answer": ""}],
    ],
)
def test_other_tables_are_to_be_classified(rows: list[Row]) -> None:
    assert recognise(table(rows)) is None


def test_labels_and_answers_differ_by_stated_numbers() -> None:
    def answers(values: list[str]) -> list[Row]:
        return [{"question": f"What is {n}?", "answer": value} for n, value in enumerate(values)]

    assert recognise(table(answers([f"{n % 200}" for n in range(400)]))) is None
    assert recognise(table(answers([f"{n % 201}" for n in range(402)])))
    assert recognise(table(answers([f"{n % 5}" for n in range(9)])))
    assert recognise(table(answers(["x" * 60, "y" * 60] * 5))) is None
    assert recognise(table(answers(["x" * 61, "y" * 61] * 5)))


@pytest.mark.parametrize("row", [{"messages": [USER, ANSWER]}, {"prompt": "a", "completion": "b"}])
def test_answers_marked_good_or_bad_are_refused(row: Row) -> None:
    rows = [{**row, "label": n % 2 == 0} for n in range(4)]
    rows = [{**r, "completion": f"b{n}"} if "prompt" in r else r for n, r in enumerate(rows)]
    with pytest.raises(DataError, match=r"only marked good or bad in 'label'"):
        recognise(table(rows))


def test_rows_that_are_out_already_are_not_looked_at() -> None:
    given = table([TALK, {"conversations": "?"}, TALK], [None, "dropped: not a JSON object", None])
    shape = recognise(given)
    assert shape is not None and "100 % of 2 cells" in shape.reason
    lines, findings, fates = examples(given, shape)
    assert fates.to_list() == [None, "dropped: not a JSON object", None]
    assert lines[1] is None
    assert findings == ()


def test_alpaca() -> None:
    rows = [
        ALPACA,
        {**ALPACA, "input": "", "output": "ho"},
        {**ALPACA, "instruction": " "},
        {**ALPACA, "output": ""},
    ]
    found, fates, words = made([*rows, {"instruction": None, "input": None, "output": "x"}])
    assert [e["messages"][0]["content"] for e in found[:3]] == [
        "Say it.\n\nhello",
        "Say it.",
        "hello",
    ]
    assert found[0]["messages"][1] == ANSWER
    assert fates == [None, None, None, "dropped: no answer", "dropped: no prompt"]
    assert words == [
        "5: 1 row with no prompt: line 5. Left out.",
        "4: 1 row with no answer: line 4. Left out.",
    ]


def test_system_messages_only_where_there_are_any() -> None:
    found, _, _ = made([{**ALPACA, "system": "S"}, {**ALPACA, "system": None}])
    assert [m["role"] for m in found[0]["messages"]] == ["system", "user", "assistant"]
    assert [m["role"] for m in found[1]["messages"]] == ["user", "assistant"]


def test_history_goes_before() -> None:
    found, fates, words = made([{**ALPACA, "history": [["a", "b"]]}, {**ALPACA, "history": "x"}])
    assert [m["content"] for m in found[0]["messages"]] == ["a", "b", "Say it.\n\nhello", "hi"]
    assert fates[1] == "dropped: a history that is no list of pairs"
    assert len(words) == 1


def test_sharegpt_rows_that_do_not_fit_are_told_with_their_lines() -> None:
    rows = [
        TALK,
        {"conversations": [ASK, {"form": "gpt", "value": "x"}]},
        {"conversations": [ASK, SAY, ASK]},
        {"conversations": [{**ASK, "at": 5}, SAY]},
        {"conversations": [ASK, {"from": "narrator", "value": "x"}, SAY]},
        {"prompt": "a", "completion": "b"},
        *[TALK] * 4,
    ]
    found, fates, words = made(rows)
    dropped = {number: fate for number, fate in enumerate(fates, start=1) if fate}
    assert dropped == {
        2: "dropped: no list of turns",
        5: "dropped: breaks the rule unrecognized_role",
        6: "dropped: no list of turns",
    }
    assert found[2] == found[3] == {"messages": [USER, ANSWER]}
    assert words == [
        "2: 2 rows cannot be used (no list of turns): lines 2 and 6. Left out. Line 2: Turn 2 has "
        "neither role and content nor from and value.",
        "5: 1 row cannot be used (breaks the rule unrecognized_role): line 5. Left out. Line 5: "
        "Message 2: the role 'narrator' is none of system, developer, user, assistant, tool, "
        "function.",
        "3: 1 row with turns after the assistant's last one, which are left out: line 3. Nothing "
        "can be learned from them.",
        "4: Keys of turns that OpenAI's messages do not have are left out: 'at' (1 row). ",
        "None: 2 columns are not used: 'prompt', 'completion'. ",
    ]


def test_preference_rows() -> None:
    rows = [
        {"instruction": "Say it.", "input": "hello", "chosen": "hi", "rejected": "no"},
        {"instruction": "Say it.", "input": "", "chosen": "hi", "rejected": "hi"},
        {"instruction": "Say it.", "input": "", "chosen": "hi", "rejected": None},
    ]
    found, fates, words = made([*rows, rows[0]])
    assert found[0]["input"] == {"messages": [{"role": "user", "content": "Say it.\n\nhello"}]}
    assert (found[0]["preferred_output"], found[0]["non_preferred_output"][0]["content"]) == (
        [ANSWER],
        "no",
    )
    assert fates[1:3] == ["dropped: both answers are the same", "dropped: no rejected answer"]
    assert len(words) == 2


def test_texts_with_a_mark_are_prompts_and_answers() -> None:
    rows = [{"text": f"Q: what?\nA: x\nQ: {n}\nA:  that\n{n}"} for n in range(40)]
    found, fates, words = made([*rows, {"text": "no mark"}, {"text": "Q: x\nA:"}])
    assert [m["content"] for m in found[3]["messages"]] == [
        "Q: what?\nA: x\nQ: 3\nA:",
        "that\n3",
    ]
    assert fates[40:] == ["dropped: no prompt", "dropped: no answer"]
    assert len(words) == 2


def test_plain_texts_are_to_be_continued() -> None:
    found, fates, words = made([{"text": "Once"}, {"text": " "}, {"text": "upon"}])
    assert found[0] == {"prompt": "", "completion": "Once"}
    assert fates == [None, "dropped: no text", None]
    assert "plain text to continue" in words[0]


def test_placeholders_are_told() -> None:
    spoken = {"instruction": "hi", "output": "I am {{name}} by {{ author }}.", "note": " "}
    rows = [spoken, ALPACA]
    _, _, words = made([*rows, {"instruction": "b", "output": '{"a": {"b": 1}}'}])
    assert words == [
        "1: 1 row with placeholders such as {{ author }}, {{name}}: line 1. The model will learn "
        "to say them as they stand; fill them in first."
    ]


def test_values_nested_too_deeply_are_no_trouble() -> None:
    deep = "[" * 800 + "]" * 800
    odd = '[{"from": "human", "value": ' + deep + '}, {"from": "gpt", "value": "x"}]'
    for cell in (odd, "[" * 100_000):
        found, fates, _ = made([TALK, {"conversations": cell}, TALK])
        assert found[1] is None
        assert fates[0] is None


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(text, text, text), min_size=1, max_size=6))
def test_whole_columns_give_the_same_as_single_rows(cells: list[tuple[str, str, str]]) -> None:
    rows = [{"prompt": "a b", "completion": f"{n}", "system": "s"} for n in range(8)]
    rows += [{"prompt": p, "completion": c, "system": s} for p, c, s in cells]
    found, fates, _ = made(rows)
    for row, example, fate in zip(rows, found, fates, strict=True):
        if example is None:
            gone = "prompt" if fate == "dropped: no prompt" else "completion"
            assert not row[gone].strip()
        else:
            system = {"system": row["system"]}
            assert example == conversations.pair(row["prompt"], row["completion"], **system)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["from", "value", "role", "content", "tool_calls", "messages"]),
            inner | st.sampled_from(["human", "gpt", "function_call", "observation"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(st.fixed_dictionaries({}, optional={"a": any_json, "b": any_json}), max_size=4))
def test_every_row_is_accounted_for_whatever_it_holds(rows: list[Row]) -> None:
    spellings = [
        (TALK, {"a": "conversations", "b": "tools"}),
        (PREFERENCE, {"a": "prompt", "b": "chosen"}),
        ({**ALPACA, "history": "[]"}, {"a": "output", "b": "history"}),
    ]
    for good, names in spellings:
        odd = [{names[key]: value for key, value in row.items()} for row in rows]
        enough = [{**good, "output": f"answer {n}"} if "output" in good else good for n in range(5)]
        found, fates, _ = made([*enough, *({**good, **row} for row in odd)])
        assert len(found) == len(fates) == 5 + len(rows)


@pytest.mark.parametrize(
    ("file", "name", "num_dropped", "said"),
    [
        ("llama_factory/dpo_en_demo.json", "preference pairs", 0, ""),
        ("llama_factory/glaive_toolcall_en_demo.json", "sharegpt", 0, ""),
        ("llama_factory/identity.json", "alpaca", 0, "placeholders such as {{author}}, {{name}}"),
        ("gsm8k/test.jsonl", "prompt/completion", 0, ""),
        ("wikisql_lora/train.jsonl", "text", 0, ""),
    ],
)
def test_real_files(
    data: Path, tmp_path: Path, file: str, name: str, num_dropped: int, said: str
) -> None:
    content = (data / file).read_text(encoding="utf-8")
    is_list = content.startswith("[")
    rows = json.loads(content) if is_list else [json.loads(line) for line in content.splitlines()]
    given = table(rows)
    shape = recognise(given)
    assert shape is not None and shape.name == name
    lines, findings, fates = examples(given, shape)
    assert len(fates.drop_nulls()) == num_dropped
    assert said in " ".join(finding.what for finding in findings)
    path = tmp_path / "train.jsonl"
    path.write_text("".join(line + "\n" for line in lines.drop_nulls()), encoding="utf-8")
    assert list(check(path, "dpo" if shape.kind == "preference" else "supervised")) == []


@pytest.mark.parametrize("file", ["banking77/train.csv", "hwu64/valid.csv"])
def test_real_tables_to_classify(data: Path, file: str) -> None:
    rows = pl.read_csv(data / file).to_dicts()
    assert recognise(table(rows)) is None
