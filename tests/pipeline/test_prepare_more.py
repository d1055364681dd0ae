"""The settings of prepare beyond the plain way, chat data, and every real file there is."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data.chat.files import check, read_classification
from tunesmith.errors import ConfigError, DataError
from tunesmith.events import Event
from tunesmith.pipeline.prepare import prepare
from tunesmith.pipeline.results import Prepared
from tunesmith.pipeline.rundir import RunDir

WORDS = (
    "alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan",
    "spruce", "willow", "yew",
)  # fmt: skip


@pytest.fixture
def go(tmp_path: Path, run_dir: RunDir):
    """Prepare a frame, told events in `go.told`, texts of a side by `go.texts`."""

    class Go:
        told: list[Event] = []
        folder = run_dir.path / "01-prepare"

        def __call__(self, frame: dict[str, Any] | Path, **settings: Any) -> Prepared:
            if isinstance(frame, dict):
                path = tmp_path / "t.csv"
                pl.DataFrame(frame).write_csv(path)
            else:
                path = frame
            self.told = []
            config = PrepareConfig(table=str(path), **settings)
            prepared = prepare(config, run_dir, self.told.append)
            receipt = pl.read_parquet(self.folder / "receipt.parquet")
            assert receipt.height == prepared.num_rows == sum(prepared.fates.values())
            sides = receipt["split"].value_counts()
            counts = dict(sides.iter_rows())
            assert counts.get("train", 0) <= prepared.num_train
            assert counts.get("test", 0) == prepared.num_test
            return prepared

        def texts(self, side: str) -> list[str]:
            return read_classification(self.folder / f"{side}.jsonl")[0]

        def all_texts(self) -> list[str]:
            return self.texts("train") + self.texts("validation")

        @property
        def words(self) -> str:
            return "\n".join(e.message for e in self.told)

    return Go()


def texts(number: int) -> list[str]:
    """Different texts, none near another."""
    n = len(WORDS)
    return [
        f"{WORDS[i % n]} {WORDS[i * 3 // n % n]} {WORDS[i // 5 % n]} {i} {i * 7} {i * 13}"
        for i in range(number)
    ]


def plain(number: int = 60) -> dict[str, Any]:
    return {"text": texts(number), "label": ["good" if i % 3 else "bad" for i in range(number)]}


def test_three_shares_give_a_test_file_for_the_final_score(go):
    prepared = go(plain(100), split="80/10/10", balance="none")
    assert (prepared.num_train, prepared.num_validation, prepared.num_test) == (80, 10, 10)
    assert prepared.scored == prepared.test == "01-prepare/test.jsonl"
    assert not set(go.texts("test")) & set(go.all_texts())
    go(plain(100), balance="none")
    assert not (go.folder / "test.jsonl").exists()


def test_three_shares_and_a_validation_file_do_not_go_together(go, tmp_path):
    with pytest.raises(ConfigError, match="come from a file"):
        go(plain(), split="80/10/10", validation=str(tmp_path / "t.csv"))


def test_near_duplicates_never_stand_on_both_sides(go):
    table = plain(60)
    table["text"] += [f"{text} please" for text in texts(60)]
    table["label"] *= 2
    prepared = go(table, balance="none")
    held_out = {text.removesuffix(" please") for text in go.texts("validation")}
    assert held_out and not held_out & {t.removesuffix(" please") for t in go.texts("train")}
    assert "would have leaked" in go.words
    assert prepared.num_train + prepared.num_validation == 120
    assert go(table, balance="none", near_duplicates=0.0).num_train == 96


def test_rows_of_one_thread_stay_together(go):
    table = plain(90) | {"thread_id": [i // 3 for i in range(90)]}
    go(table, balance="none")
    assert "group column" in go.words
    sides = pl.read_parquet(go.folder / "receipt.parquet")["split"].to_list()
    assert all(len(set(sides[i : i + 3])) == 1 for i in range(0, 90, 3))


def test_the_newest_rows_are_held_out_by_time(go):
    days = [f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(60)]
    go(plain() | {"date": days}, split_by="time", balance="none")
    sides = pl.read_parquet(go.folder / "receipt.parquet")["split"].to_list()
    assert sides == ["train"] * 48 + ["validation"] * 12


def test_by_time_without_a_time_is_refused(go):
    with pytest.raises(DataError, match="looks like a time"):
        go(plain(), split_by="time")


def test_the_order_of_the_rows_does_not_matter(go):
    table = plain()
    go(table)
    before = set(go.texts("train"))
    go({name: values[::-1] for name, values in table.items()})
    assert set(go.texts("train")) == before


def test_a_template_joins_columns(go):
    table = plain() | {"subject": [f"about {i}" for i in range(60)]}
    go(table, text=r"{subject}\n{text}", balance="none")
    assert f"about 7\n{table['text'][7]}" in go.all_texts()


def test_fields_stand_above_the_text_and_may_be_required(go):
    table = plain() | {"priority": ["high", None, "low"] * 20}
    prepared = go(table, field=("priority=drop",), label="label", balance="none")
    assert prepared.fates["dropped: no priority"] == 20
    assert f"priority: high\n{table['text'][0]}" in go.all_texts()


def test_labels_are_merged_and_missing_ones_named(go):
    table = plain()
    table["label"][0], table["label"][1] = "baad", None
    prepared = go(table, merge=("baad=bad",), missing_label="other", rare_labels="drop")
    assert prepared.fates["dropped: the only row with its label"] == 1
    assert prepared.labels == ("bad", "good")


def test_cleaning_steps_are_chosen_and_noted(go):
    table = plain()
    table["text"][0] += " <b>now</b>"
    prepared = go(table, balance="none")
    assert "html" in prepared.cleaning
    assert any(text.endswith(" now") for text in go.all_texts())
    prepared = go(table, clean=("-html",), balance="none")
    assert "html" not in prepared.cleaning
    assert any(text.endswith("<b>now</b>") for text in go.all_texts())


def test_sensitive_data_is_told_of_and_masked_on_request(go):
    table = plain()
    table["text"][0] += " ann.lee@example.org"
    go(table, balance="none")
    assert "e-mail address" in go.words
    assert any("@example.org" in text for text in go.all_texts())
    assert "ann.lee@" not in (go.folder / "report.html").read_text()
    prepared = go(table, mask=("all",), balance="none")
    assert prepared.mask and any("[EMAIL]" in text for text in go.all_texts())
    for file in go.folder.iterdir():
        assert b"ann.lee@" not in file.read_bytes(), file.name


def test_counts_of_votes_decide_and_ties_are_reviewed(go):
    number = 60
    table = {
        "text": texts(number),
        "votes_good": [3 if i % 3 else 1 for i in range(number)],
        "votes_bad": [0 if i % 3 else 2 for i in range(number)],
    }
    table["votes_good"][5] = table["votes_bad"][5] = 2
    prepared = go(table, balance="none")
    assert prepared.labels == ("bad", "good")
    assert prepared.fates["dropped: annotators tie"] == 1
    review = pl.read_csv(go.folder / "review.csv")
    filled = go.folder.parent / "filled.csv"
    review.with_columns(pl.lit("good").alias("decision")).write_csv(filled)
    prepared = go(table, balance="none", review=str(filled))
    assert prepared.fates == {"kept": 60}


def test_soft_labels_stand_in_training_once_for_each_vote(go):
    table = {
        "text": texts(60),
        "votes_good": [3 if i % 3 else 1 for i in range(60)],
        "votes_bad": [1 if i % 3 else 2 for i in range(60)],
    }
    table["votes_good"][4] = table["votes_bad"][4] = 2  # a tie, of which each label has a half
    prepared = go(table, balance="none", vote_by="soft")
    assert prepared.fates == {"kept": 60} and prepared.soft_labels
    assert (prepared.num_train, prepared.num_validation) == (48, 12)
    found = Counter(zip(*read_classification(go.folder / "train.jsonl"), strict=True))
    for text in set(go.texts("train")):
        at = table["text"].index(text)
        votes = table["votes_good"][at], table["votes_bad"][at]
        votes = (1, 1) if votes == (2, 2) else votes
        assert (found[text, "good"], found[text, "bad"]) == votes
    assert len(set(go.texts("train"))) == 48
    assert len(go.texts("validation")) == 12
    assert "votes: soft" in go.words
    with pytest.raises(ConfigError, match="--balance repeat"):
        go(table, balance="repeat", vote_by="soft")


def test_a_review_filled_in_where_it_lies_is_kept(go):
    table = {"text": texts(40), "annotator_1": ["a", "b"] * 20, "annotator_2": ["a", "b"] * 20}
    table["annotator_2"][0] = "b"
    go(table, balance="none")
    path = go.folder / "review.csv"
    filled = pl.read_csv(path).with_columns(pl.lit("a").alias("decision"))
    filled.write_csv(path)
    assert go(table, balance="none", review=str(path)).fates == {"kept": 40}
    assert pl.read_csv(path).equals(filled)


def test_a_review_can_leave_rows_out(go):
    one = {"text": texts(40), "label": ["a", "b"] * 20}
    several = {"text": texts(40), "annotator_1": ["a", "b"] * 20, "annotator_2": ["a", "b"] * 20}
    for table in (one, several):
        go(table, balance="none")
        said = {"file": ["t.csv"] * 2, "line": [2, 3], "text": table["text"][:2]}
        path = go.folder.parent / "said.csv"
        pl.DataFrame({**said, "decision": ["(drop)", "a"]}).write_csv(path)
        prepared = go(table, balance="none", review=str(path))
        assert prepared.fates == {"kept": 39, "dropped: as decided in the review": 1}
        assert table["text"][0] not in go.all_texts()


def test_a_decision_holds_for_all_rows_of_the_text(go):
    some = texts(40)
    table = {"text": [*some, some[0], some[1]], "label": ["a", "b"] * 21}
    said = {"file": ["t.csv"] * 2, "line": [2, 3], "text": some[:2], "decision": ["b", "(drop)"]}
    path = go.folder.parent / "said.csv"
    path.parent.mkdir()
    pl.DataFrame(said).write_csv(path)
    prepared = go(table, balance="none", review=str(path))
    assert prepared.fates == {
        "kept": 39, "dropped: as decided in the review": 2, "merged: duplicate of another row": 1,
    }  # fmt: skip
    labels = dict(zip(*read_classification(go.folder / "train.jsonl"), strict=True))
    held_out = dict(zip(*read_classification(go.folder / "validation.jsonl"), strict=True))
    assert (labels | held_out)[some[0]] == "b"


def test_a_row_for_each_rating(go):
    rows = {"text": [], "label": [], "rater_id": []}
    for i, text in enumerate(texts(40)):
        for rater in ("r1", "r2", "r3"):
            rows["text"].append(text)
            rows["label"].append("bad" if i % 2 and not (rater == "r3" and i % 5) else "good")
            rows["rater_id"].append(rater)
    prepared = go(rows, balance="none", vote_by="dawid-skene")
    assert prepared.fates == {"kept": 40, "merged: a rating of an earlier row": 80}
    assert "Krippendorff's alpha" in go.words


# --- chat data ----------------------------------------------------------------------------------


def chat_file(path: Path, number: int = 20) -> Path:
    rows = [{"prompt": f"What about {t}?", "completion": f"It is {t} {t}."} for t in texts(number)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prompts_with_answers_become_chat_examples(go, tmp_path):
    prepared = go(chat_file(tmp_path / "c.jsonl"))
    assert (prepared.task, prepared.num_train, prepared.num_validation) == ("chat", 16, 4)
    assert list(check(go.folder / "train.jsonl")) == []


def test_chat_rows_in_a_validation_file_leave_training(go, tmp_path):
    held_out = chat_file(tmp_path / "v.jsonl", 3)
    prepared = go(chat_file(tmp_path / "c.jsonl"), validation=str(held_out))
    assert (prepared.num_train, prepared.num_validation) == (17, 3)


def test_a_table_to_classify_is_not_chat(go):
    with pytest.raises(DataError, match="none of the known shapes"):
        go(plain(), task="chat")


# --- every real file ----------------------------------------------------------------------------

REAL = {
    "banking77/test.csv": {},
    "bitext_customer/20000-Utterances-Bitext-sample.csv": {},
    "bitext_customer/20000-Utterances-Bitext-sample.xlsx": {},
    "bitext_customer/Bitext_Sample_Customer_Service_Training_Dataset.csv": {},
    "bitext_customer/Bitext_Sample_Customer_Service_Training_Dataset.xlsx": {},
    "goemotions_raters/raw_sample_with_rater_id.csv": {},
    "gsm8k/test.jsonl": {},
    "gsm8k/train.jsonl": {},
    "hwu64/test.csv": {"rare_labels": "drop"},
    "hwu64/train.csv": {},
    "hwu64/train_10.csv": {},
    "hwu64/train_5.csv": {},
    "hwu64/valid.csv": {},
    "llama_factory/dpo_en_demo.json": {},
    "llama_factory/glaive_toolcall_en_demo.json": {},
    "llama_factory/identity.json": {},
    "sms_spam/SMSSpamCollection": {},
    "sms_spam/spam.csv": {},
    "wikisql_lora/test.jsonl": {},
    "wikisql_lora/train.jsonl": {},
    "wikisql_lora/valid.jsonl": {},
}


@pytest.mark.parametrize("name", list(REAL))
def test_every_real_file_goes_through_and_adds_up(go, data, name):
    prepared = go(data / name, **REAL[name])
    assert prepared.num_train >= 10
    assert prepared.num_validation > 0
    assert prepared.fates["kept"] > 0.5 * prepared.num_rows
    assert (go.folder / "report.html").stat().st_size > 10_000


def test_of_a_text_longer_than_any_model_reads_the_rest_is_not_looked_at(go) -> None:
    texts = [f"the {word} by the river" for word in WORDS]
    texts[3] = "a lane of elms " * 80_000 + "at someone@example.org"
    prepared = go({"text": texts, "label": ["big", "small"] * 7})
    assert "1 row whose text is longer than 1,000,000 characters and cut there: line 5." in go.words
    assert "sensitive" not in go.words
    receipt = pl.read_parquet(go.folder / "receipt.parquet")
    assert receipt["note"][3] == "cut to 1,000,000 characters; cut to 256 tokens"
    assert max(map(len, go.all_texts())) == 1_000_000 - 1  # the last is a space
    assert prepared.num_rows == 14


# --- rows that are all alike ----------------------------------------------------------------------


def alike(number: int) -> list[str]:
    """Texts that differ in a number only."""
    return [
        f"Where is my parcel, please? I ordered it last week and it has not come, number {n}"
        for n in range(number)
    ]


def test_few_rows_that_are_all_alike_are_divided_and_that_is_said(go, tmp_path):
    prepared = go({"text": alike(12), "label": ["a", "b"] * 6})
    assert (prepared.num_train, prepared.num_validation) == (10, 2)
    assert "12 texts are nearly alike" in go.words and "the score may flatter" in go.words
    path = tmp_path / "chats.jsonl"
    turns = [[{"role": "user", "content": text}, {"role": "assistant", "content": f"Yes, {n}."}]
             for n, text in enumerate(alike(12))]  # fmt: skip
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns))
    prepared = go(path)
    assert prepared.num_validation == 2 and "the score may flatter" in go.words


def test_one_group_for_all_rows_is_refused_with_what_to_do(go):
    with pytest.raises(DataError, match="no rows to check with") as raised:
        go({"text": WORDS, "label": ["a", "b"] * 7, "who": ["me"] * 14},
           group="who", near_duplicates=0.0)  # fmt: skip
    assert "--group" in str(raised.value)
