"""deploy: the parity gate lets equal answers through and names the cause of unequal ones."""

import json
from dataclasses import replace

import pytest

from tunesmith import pipeline
from tunesmith.errors import ParityError
from tunesmith.pipeline.deploy import Compared, cause


@pytest.fixture
def deploy(config, shop):
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    trained = pipeline.train(config, prepared, pipeline.upload(prepared, shop), shop)

    def go(**changes):
        return pipeline.deploy(replace(config.deploy, **changes), trained, shop)

    return go


def parity(shop):
    return json.loads((shop.run_dir.path / "04-deploy/parity.json").read_text())


def test_equal_answers_pass_and_every_row_is_kept(deploy, shop):
    deployed = deploy()
    assert deployed.parity.passed
    assert (deployed.parity.compared, deployed.parity.label_disagreements) == (12, 0)
    assert deployed.parity.max_logprob_gap == 0
    assert (deployed.base_url, deployed.embedded) == ("http://fake/v1", True)
    kept = parity(shop)
    assert len(kept["rows"]) == 12 and all(row["same"] for row in kept["rows"])


def test_fewer_prompts_are_spread_over_all_there_are(deploy, shop):
    deploy()
    texts = [row["text"] for row in parity(shop)["rows"]]
    deploy(parity_examples=4)
    assert [row["text"] for row in parity(shop)["rows"]] == texts[::3]


def test_a_gap_within_the_tolerance_passes_and_beyond_it_does_not(deploy, provider):
    provider.spoil = lambda text, answer: replace(answer, logprob=answer.logprob - 0.9e-4)
    assert deploy().parity.max_logprob_gap == pytest.approx(0.9e-4)
    provider.spoil = lambda text, answer: replace(answer, logprob=answer.logprob - 1.1e-4)
    with pytest.raises(ParityError, match="computed in another precision"):
        deploy(parity_examples=49)


def test_models_that_multiply_in_bf16_have_a_wider_tolerance(config, shop, provider):
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    trained = pipeline.train(config, prepared, pipeline.upload(prepared, shop), shop)
    rounded = replace(trained, facts={**trained.facts, "precision": "bf16"})
    provider.spoil = lambda text, answer: replace(answer, logprob=answer.logprob - 0.9e-2)
    assert pipeline.deploy(config.deploy, rounded, shop).parity.tolerance == 0.02
    with pytest.raises(ParityError):
        pipeline.deploy(replace(config.deploy, parity_tolerance=1e-4), rounded, shop)


def test_labels_as_likely_as_each_other_may_change_places_and_others_may_not(deploy, provider):
    def swap(gap):
        def spoiled(text, answer):
            top = {answer.label: answer.logprob - gap, "other": answer.logprob}
            return replace(answer, label="other", top=top)

        return spoiled

    provider.spoil = swap(0.9e-4)
    assert deploy().parity.label_disagreements == 12
    provider.spoil = swap(1.1e-4)
    with pytest.raises(ParityError):
        deploy(parity_examples=49)


def test_a_model_that_fails_is_not_deployed_and_the_rows_are_kept(deploy, provider, shop):
    provider.spoil = lambda text, answer: replace(answer, label="?", logprob=-9.0)
    with pytest.raises(ParityError) as caught:
        deploy()
    assert "on 12 of 12 held-out prompts" in caught.value.what
    assert "other weights" in caught.value.what
    assert "parity.json" in caught.value.fix
    kept = parity(shop)
    assert kept["label_disagreements"] == 12 and not kept["passed"]
    assert kept["cause"] in caught.value.what
    assert not (shop.run_dir.path / "04-deploy/result.json").exists()


def test_an_answer_without_a_probability_does_not_pass(deploy, provider, shop):
    provider.spoil = lambda text, answer: replace(answer, logprob=float("nan"))
    with pytest.raises(ParityError):
        deploy()
    assert parity(shop)["max_logprob_gap"] is None


def test_without_the_trainers_answers_there_is_no_gate_to_pass(config, shop, provider):
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    trained = pipeline.train(config, prepared, pipeline.upload(prepared, shop), shop)
    with pytest.raises(ParityError, match="left no answers"):
        pipeline.deploy(config.deploy, replace(trained, samples_file=None), shop)


def row(text: str, *, same: bool, label: str = "a", cut: int = 0) -> Compared:
    return Compared(
        text=text, trained_label="a", trained_logprob=-0.1, label=label, logprob=-0.1,
        gap=0.0 if same else 0.5, cut_tokens=cut, same=same,
    )  # fmt: skip


@pytest.mark.parametrize(
    "rows, words",
    [
        ([row("x", same=False), row("y", same=False)], "another precision"),
        ([row("x", same=False, label="b"), row("y", same=False)], "other weights"),
        ([row("x", same=True), row("x" * 999, same=False)], "Only the longest texts"),
        ([row("x" * 9, same=True), row("y", same=False, cut=4)], "Only the longest texts"),
        ([row("abcd", same=True), row("né", same=False)], "characters beyond ASCII"),
        ([row("abcd", same=True), row("né", same=True), row("xy", same=False)], "neither length"),
    ],
)
def test_the_cause_is_read_off_the_rows(rows, words):
    assert words in cause(rows)
