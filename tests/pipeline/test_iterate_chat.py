"""iterate where answers are written: by the trainer's dev slice, or by asking about kept rows."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from chats import write_notes, write_pairs

from tunesmith import pipeline
from tunesmith.config import EvaluateConfig, IterateConfig, PrepareConfig, RunConfig
from tunesmith.errors import NotOffered
from tunesmith.pipeline import EvaluatedText, RunDir, Workshop


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write_notes(tmp_path / "notes.jsonl")


def asked(table: Path, **iteration) -> RunConfig:
    return RunConfig(
        prepare=PrepareConfig(table=str(table)),
        evaluate=EvaluateConfig(bootstrap=50),
        iterate=IterateConfig(**{"search": ("neftune_alpha",), "trials": 3} | iteration),
    )


def iterate(config: RunConfig, shop: Workshop) -> list:
    return list(pipeline.iterate(config, shop))


def test_written_answers_are_chosen_by_their_loss(notes, shop, provider):
    steps = iterate(asked(notes), shop)
    assert isinstance(steps[-2], EvaluatedText)
    result = steps[-1]
    assert result.searched.metric == "loss" and "dev slice" in result.searched.choosing.value
    assert [t.score for t in result.searched.trials] == [pytest.approx(0.3)] * 3
    assert result.searched.chosen == 0  # of equals the first
    # The model in memory knows what it was sent, and the held-out rows it was not.
    assert result.drop is None and result.final["exact_match"] == 0.0
    assert list(provider.writers) == [result.model]
    assert "0.300" in " ".join(result.verdict)


def test_the_adapter_is_varied(notes, shop, provider):
    provider.curve = lambda request: (0.1, 0.5 + request.tunesmith.neftune_alpha / 100)
    result = iterate(asked(notes, metric="token_accuracy"), shop)[-1]
    best = result.searched.trials[result.searched.chosen]
    assert best.settings == {"neftune_alpha": 10.0} and best.score == pytest.approx(0.6)
    assert {r.tunesmith.neftune_alpha for r in provider.requests} == {0.0, 5.0, 10.0}


def test_other_metrics_are_asked_on_rows_kept_from_all_trials(notes, shop, provider):
    result = iterate(asked(notes, until="json_match>=1", trials=2), shop)[-1]
    own = RunDir(shop.run_dir.path / result.run_dir)
    best = result.searched.trials[0]
    # The model in memory knows by heart what is in its two files, and the slice is in neither.
    assert (best.score, best.num_rows) == (0.0, 6) and not result.searched.reached
    receipt = pl.read_parquet(own.path / "01-prepare/receipt.parquet")
    aside = receipt.filter(pl.col("note") == "kept aside to choose between trials")
    assert aside.height == 6 and aside["split"].null_count() == 6
    learned = (own.path / "01-prepare/train.jsonl").read_text().splitlines()
    assert (receipt["split"] == "train").sum() == len(learned) == 26


def test_what_training_cut_is_noted_in_the_trials_own_receipt(notes, shop, provider):
    provider.facts = {"cut_rows": [[2, 7]], "max_length": 512}
    before = (shop.run_dir.path / "01-prepare/receipt.parquet",)
    result = iterate(asked(notes, trials=1), shop)[-1]
    own = pl.read_parquet(shop.run_dir.path / result.run_dir / "01-prepare/receipt.parquet")
    assert own["note"].to_list().count("cut to 512 tokens, 7 lost") == 1
    assert pl.read_parquet(before[0])["note"].null_count() == own.height


def test_pairs_are_chosen_by_the_order_that_the_trainer_tells(tmp_path, shop):
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    with pytest.raises(NotOffered, match="told no dev_reward_accuracy"):
        iterate(asked(pairs), shop)
    with pytest.raises(Exception, match="no metric 'exact_match'"):
        iterate(asked(pairs, metric="exact_match"), replace(shop, run_dir=RunDir(tmp_path / "x")))
