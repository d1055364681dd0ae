"""Chat and preference data through all verbs, with a provider in memory."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from chats import write_calls, write_notes, write_pairs, write_talk
from fake_provider import UNTUNED

from tunesmith import pipeline
from tunesmith.config import EvaluateConfig, PrepareConfig, RunConfig
from tunesmith.errors import ConfigError, NotFound, NotOffered
from tunesmith.metrics.generation import Call
from tunesmith.pipeline import EvaluatedText, RunDir
from tunesmith.pipeline.base import choose
from tunesmith.providers import Reply


@pytest.fixture
def notes(tmp_path) -> Path:
    return write_notes(tmp_path / "notes.jsonl")


def asked(table: Path, **evaluate) -> RunConfig:
    evaluation = EvaluateConfig(bootstrap=50, **evaluate)
    return RunConfig(prepare=PrepareConfig(table=str(table)), evaluate=evaluation)


def trained_with(config: RunConfig, **changes) -> RunConfig:
    return replace(config, train=replace(config.train, **changes))


def run(config, shop):
    return list(pipeline.run(config, shop))


def test_notes_become_a_model_that_writes_them(notes, shop, provider, told):
    prepared, _, trained, deployed, evaluated = run(asked(notes), shop)
    assert isinstance(evaluated, EvaluatedText)
    assert (prepared.task, evaluated.num_examples) == ("chat", prepared.num_validation)
    assert evaluated.main == "json_match"
    for name in ("exact_match", "json_match", "schema_match", "stops_by_itself", "token_f1"):
        assert evaluated.metrics[name] == 1.0
        low, high = evaluated.intervals[name]
        assert low < 1 == high  # eight rows leave room for doubt
    assert evaluated.untuned.metrics["json_match"] == 0
    assert evaluated.untuned.gains["json_match"] == 1.0
    assert (deployed.parity.by, deployed.parity.compared) == ("tokens", prepared.num_validation)
    assert trained.decisions[0].value == "tiny-writer"
    assert "base model: tiny-writer (the first base model that writes and is there)" in told.words
    assert evaluated.verdict[0].startswith("Every one of 8 held-out prompts is answered with the")
    assert "Tuning was worth it: +100.0 points" in evaluated.verdict[1]
    request = provider.requests[0]
    assert request.tunesmith.model_dump(exclude_unset=True)["task"] == "chat"
    assert (request.model, request.method.type) == ("tiny-writer", "supervised")
    assert not {"label_smoothing", "class_weights"} & request.tunesmith.model_fields_set


def test_a_second_start_does_nothing_and_asks_nobody(notes, shop, provider):
    first = run(asked(notes), shop)
    before = dict(provider.calls)
    again = replace(shop, run_dir=RunDir(shop.run_dir.path))
    assert run(asked(notes), again) == first
    assert dict(provider.calls) == before
    assert again.run_dir.reused == set(pipeline.VERBS)


def test_predictions_hold_everything(notes, shop, provider):
    provider.spoil_reply = lambda asked, reply: (
        replace(reply, finish_reason="length") if reply.text == UNTUNED else reply
    )
    evaluated = run(asked(notes), shop)[-1]
    rows = pl.read_parquet(shop.run_dir.path / evaluated.predictions)
    assert rows.height == 8
    lines = notes.read_text().splitlines()
    for row in rows.iter_rows(named=True):
        example = json.loads(lines[row["line"] - 1])["messages"]
        assert json.loads(row["messages"]) == example[:-1]
        assert row["right_answer"] == row["answer"] == example[-1]["content"]
        assert (row["untuned_answer"], row["untuned_finish_reason"]) == (UNTUNED, "length")
        assert (row["json_match"], row["untuned_json_match"]) == (1.0, 0.0)
        assert (row["stops_by_itself"], row["untuned_stops_by_itself"]) == (1.0, 0.0)


def test_calls_are_asked_for_with_their_tools_and_compared(tmp_path, shop, provider):
    def other_order(asked, reply):
        assert asked.tools[0]["function"]["name"] == "track"
        is_late = provider.calls["chat"] > 16 and reply.calls
        calls = (Call(name="track", arguments='{"order": "A1"}'),) if is_late else reply.calls
        return replace(reply, calls=calls)

    provider.spoil_reply = other_order
    evaluated = run(asked(write_calls(tmp_path / "calls.jsonl")), shop)[-1]
    assert evaluated.main == "tool_call_match"
    assert evaluated.metrics["tool_call_match"] == 1.0
    assert evaluated.untuned.metrics["tool_call_match"] == 0.0
    page = (shop.run_dir.path / evaluated.report).read_text()
    assert "Right calls" in page


def test_talk_is_scored_by_its_words(tmp_path, shop):
    evaluated = run(asked(write_talk(tmp_path / "talk.jsonl")), shop)[-1]
    assert evaluated.main == "token_f1" and "json_match" not in evaluated.metrics
    assert "of their words in common with the right ones" in evaluated.verdict[0]


def test_pairs_of_answers_are_preference_tuning(tmp_path, shop, provider):
    provider.facts = {"full_valid_reward_accuracy": 0.875, "valid_reward_margin": 1.25}
    config = trained_with(asked(write_pairs(tmp_path / "pairs.jsonl")), beta=0.3, n_epochs=2)
    prepared, _, trained, _, evaluated = run(config, shop)
    method = provider.requests[0].method
    assert (prepared.task, method.type, method.supervised) == ("preference", "dpo", None)
    assert method.dpo.hyperparameters.model_dump() == {
        "n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto", "beta": 0.3,
    }  # fmt: skip
    assert trained.hyperparameters["beta"] == 0.3
    assert "It prefers the better answer in 87.5\u202f% of the held-out pairs." in evaluated.verdict
    rows = pl.read_parquet(shop.run_dir.path / evaluated.predictions)
    assert rows["worse_answer"][0].startswith("No. Not case")
    assert "by a margin of <b>1.25</b>" in (shop.run_dir.path / evaluated.report).read_text()


def test_conversations_that_training_cut_are_in_the_receipt(notes, shop, provider):
    provider.facts = {"max_length": 512, "cut_rows": [[2, 1900], [5, 7]]}
    config = asked(notes)
    prepared = run(config, shop)[0]
    place = shop.run_dir.path / "01-prepare/receipt.parquet"
    rows = pl.read_parquet(place).filter(pl.col("split") == "train")
    assert rows["note"][1] == "cut to 512 tokens, 1,900 lost"
    assert rows["note"][4] == "cut to 512 tokens, 7 lost"
    assert rows["note"].null_count() == prepared.num_train - 2
    line = rows["line"][1]
    example = notes.read_text().splitlines()[line - 1]
    train = (shop.run_dir.path / prepared.train).read_text().splitlines()
    assert json.loads(train[1]) == json.loads(example)
    provider.facts = {"max_length": 600, "cut_rows": [[2, 1812]]}
    evaluated = run(trained_with(config, max_length=600), shop)[-1]
    notes_now = pl.read_parquet(place).filter(pl.col("split") == "train")["note"]
    assert notes_now.drop_nulls().to_list() == ["cut to 600 tokens, 1,812 lost"]
    page = (shop.run_dir.path / evaluated.report).read_text()
    assert "1 training conversation was cut, by 1,812 tokens together" in page


def test_what_the_trainer_says_of_its_curves_is_told(notes, shop, provider):
    said = {"kind": "gap", "step": 2, "sentence": "The gap is wide.", "change": "Add rows."}
    provider.facts = {"diagnoses": [said]}
    evaluated = run(asked(notes), shop)[-1]
    assert evaluated.diagnoses == (said,)
    page = (shop.run_dir.path / evaluated.report).read_text()
    assert "<b>Gap.</b> The gap is wide." in page


def test_the_final_rows_are_those_of_the_test_where_there_is_one(notes, shop):
    config = asked(notes)
    config = replace(config, prepare=replace(config.prepare, split="70/10/20"))
    prepared, *_, evaluated = run(config, shop)
    rows = pl.read_parquet(shop.run_dir.path / evaluated.predictions)
    receipt = pl.read_parquet(shop.run_dir.path / "01-prepare/receipt.parquet")
    assert rows["line"].to_list() == receipt.filter(pl.col("split") == "test")["line"].to_list()
    assert evaluated.num_examples == prepared.num_test


# --- which base model ---------------------------------------------------------------------------


def test_without_a_base_model_that_writes_nothing_is_sent(notes, shop, provider):
    provider.bases = []
    with pytest.raises(NotFound) as caught:
        run(asked(notes), shop)
    for words in ("tunesmith models list", "models pull NAME", "models add FOLDER", "--base-model"):
        assert words in caught.value.fix
    assert not provider.files


def test_an_encoder_does_not_write(notes, shop, provider):
    with pytest.raises(NotOffered, match="minilm-l6 is an encoder, which labels texts"):
        run(trained_with(asked(notes), base_model="minilm-l6"), shop)
    assert not provider.files


def test_the_base_model_that_is_named_is_taken(notes, shop, provider):
    provider.bases = ["tiny-writer", "other"]
    *_, trained, _, _ = run(trained_with(asked(notes), base_model="other"), shop)
    assert trained.base_model == "other" and trained.decisions[0].what == "model kept"


def test_texts_without_prompts_are_refused(tmp_path, shop, provider):
    path = tmp_path / "texts.jsonl"
    rows = [
        {"text": f"The {i} winds blew over {i * i} hills, and then came rain."} for i in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(NotOffered, match="texts without prompts"):
        run(asked(path), shop)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"label_smoothing": 0.1}, "label_smoothing = 0.1"),
        ({"method": "head"}, "method = 'head'"),
        ({"beta": 0.2}, "beta is 0.2"),
    ],
)
def test_settings_that_do_not_fit_written_answers_are_named(notes, shop, provider, changes, words):
    with pytest.raises(ConfigError, match=words):
        run(trained_with(asked(notes), **changes), shop)
    assert not provider.requests


@pytest.mark.parametrize(
    "changes, words",
    [({"lora_rank": 8, "use_dora": True}, "lora_rank = 8, use_dora = True"),
     ({"method": "qlora"}, "method = 'qlora'"), ({"beta": 0.2}, "beta is 0.2")],
)  # fmt: skip
def test_settings_that_do_not_fit_an_encoder_are_named(config, shop, provider, changes, words):
    with pytest.raises(ConfigError, match=words):
        run(trained_with(config, **changes), shop)
    assert not provider.requests


def test_impossible_values_are_refused_before_anything_starts(notes, shop, provider):
    with pytest.raises(ConfigError, match="lora_rank is 0.*neftune_alpha is -1"):
        run(trained_with(asked(notes), lora_rank=0, neftune_alpha=-1.0), shop)
    with pytest.raises(ConfigError, match="beta is 3"):
        run(trained_with(asked(notes), beta=3.0), shop)
    with pytest.raises(ConfigError, match="schema.json cannot be read"):
        run(asked(notes, schema="/nowhere/schema.json"), shop)
    assert not provider.calls


# --- labels by a causal model -------------------------------------------------------------------


def test_a_causal_base_classifies_by_its_labels(config, shop, provider):
    changed = trained_with(config, base_model="tiny-writer", method="lora", lora_rank=4)
    prepared, _, trained, deployed, evaluated = run(changed, shop)
    options = provider.requests[0].tunesmith
    assert (options.task, options.lora_rank) == ("classify", 4)
    assert {"cleaning", "mask"} <= options.model_fields_set
    assert "class_weights" not in options.model_fields_set
    assert (deployed.parity.by, evaluated.metrics["accuracy"]) == ("labels", 1.0)
    assert trained.base_model == "tiny-writer"
    with pytest.raises(NotOffered, match="weighed labels"):
        choose(changed, replace(prepared, class_weights="balanced"), shop)


def test_of_a_base_model_that_is_unknown_here_the_provider_judges(config, shop, provider):
    options = {"base_model": "unknown-here", "label_smoothing": 0.1, "lora_rank": 4}
    run(trained_with(config, **options), shop)
    sent = provider.requests[0].tunesmith.model_dump(exclude_unset=True)
    assert (sent["label_smoothing"], sent["lora_rank"]) == (0.1, 4)


def test_a_causal_base_repeats_rows_where_an_encoder_weighs_labels(tmp_path, shop):
    table = tmp_path / "mail.csv"
    rows = [f"the parcel number {i} never came {i * i},late" for i in range(60)]
    rows += [f"please send invoice {i} again {i * 7},bill" for i in range(20)]
    table.write_text("text,label\n" + "\n".join(rows) + "\n")
    encoder = pipeline.prepare(PrepareConfig(table=str(table)), shop.run_dir, shop.report)
    assert encoder.class_weights == "balanced"
    causal = pipeline.prepare(
        PrepareConfig(table=str(table)), shop.run_dir, shop.report, base_model="unknown-here"
    )
    assert causal.class_weights == "none"
    assert causal.train_counts["late"] == causal.train_counts["bill"] == 48
    reason = next(d.reason for d in causal.decisions if d.what == "balance")
    assert reason.startswith("a causal base model cannot weigh labels")
    with pytest.raises(ConfigError, match="--balance weight"):
        weigh = PrepareConfig(table=str(table), balance="weight")
        pipeline.prepare(weigh, shop.run_dir, shop.report, base_model="unknown-here")


def test_tokens_of_conversations_are_counted_by_the_base_models_own_tokenizer(
    notes, shop, tmp_path, monkeypatch
):
    from tunesmith import catalog
    from tunesmith.data.texts import tokens

    path = catalog.find("minilm-l6").files() / "tokenizer.json"
    reader = tokens.Reader(name="tiny", tokenizer=path, limit=512)
    monkeypatch.setattr(tokens, "reader", lambda name, limit=None: reader)
    prepared = pipeline.prepare(
        PrepareConfig(table=str(notes)), shop.run_dir, shop.report, base_model="tiny"
    )
    decision = next(d for d in prepared.decisions if d.what == "length")
    assert decision.value == "counted by the tokenizer of tiny"
    assert "tokens" in (shop.run_dir.path / "01-prepare/report.html").read_text()


# --- votes --------------------------------------------------------------------------------------


def test_the_majority_of_drawn_answers_wins_and_ties_are_told(config, shop, provider, told):
    texts: list[str] = []

    def draw(asked, reply):
        text = asked.messages[0]["content"]
        place = texts.count(text)
        texts.append(text)
        # Two for each of two labels, one of them likelier; or all for one.
        label, logprob = ("billing", -0.1) if place % 2 else ("account", -0.9)
        label = label if len(set(texts)) <= 3 else "shipping"
        return Reply(text=label, finish_reason="stop", logprobs=(logprob,))

    provider.spoil_reply = draw
    voting = replace(config, evaluate=replace(config.evaluate, num_votes=4))
    evaluated = run(voting, shop)[-1]
    assert (evaluated.num_votes, evaluated.num_tied) == (4, 3)
    assert "On 3 of 12 rows the 4 answers tied" in told.words
    told_too = "The most frequent of 4 answers to each text counts; on 3 of 12 they tied"
    assert any(sentence.startswith(told_too) for sentence in evaluated.verdict)
    rows = pl.read_parquet(shop.run_dir.path / evaluated.predictions)
    assert set(rows.filter(pl.col("tied"))["predicted"]) == {"billing"}
    assert set(rows.filter(~pl.col("tied"))["predicted"]) == {"shipping"}


def test_votes_are_drawn_alike_each_time(config, shop, provider):
    voting = replace(config, evaluate=replace(config.evaluate, num_votes=5))
    first = run(voting, shop)[-1]
    (shop.run_dir.path / "05-evaluate/result.json").unlink()
    again = run(voting, replace(shop, run_dir=RunDir(shop.run_dir.path)))[-1]
    assert again.confusion == first.confusion
    assert provider.calls["chat"] == 24


def test_votes_need_labels(notes, shop, provider):
    with pytest.raises(ConfigError, match="only where they are labels"):
        run(asked(notes, num_votes=3), shop)
    with pytest.raises(ConfigError, match="num_votes is 0"):
        run(asked(notes, num_votes=0), shop)
