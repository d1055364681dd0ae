"""The parity gate for written answers: the same tokens pass, and the cause of others is named."""

import json
from dataclasses import replace

import pytest
from chats import write_calls, write_notes

from tunesmith import pipeline
from tunesmith.config import DeployConfig, PrepareConfig, RunConfig
from tunesmith.errors import ParityError
from tunesmith.pipeline.deploy_chat import Written, cause


@pytest.fixture
def table(tmp_path):
    return write_notes(tmp_path / "notes.jsonl")


@pytest.fixture
def deploy(table, shop, provider):
    config = RunConfig(prepare=PrepareConfig(table=str(table)))
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    trained = pipeline.train(config, prepared, pipeline.upload(prepared, shop), shop)

    def go(spoil, **facts):
        provider.spoil_reply = lambda asked, reply: spoil(reply)
        tuned = replace(trained, facts={**trained.facts, **facts})
        return pipeline.deploy(DeployConfig(), tuned, shop).parity

    return go


def kept(shop):
    return json.loads((shop.run_dir.path / "04-deploy/parity.json").read_text())


def refused(deploy, spoil, **facts):
    with pytest.raises(ParityError) as caught:
        deploy(spoil, **facts)
    return caught.value.what


def with_gaps(provider, gap):
    """The trainer's samples with another token as close as that everywhere."""
    for file_id, file in provider.files.items():
        if file.filename == "samples.jsonl":
            samples = [json.loads(line) for line in provider.contents[file_id].splitlines()]
            for sample in samples:
                sample["gaps"] = [gap] * len(sample["ids"])
            text = "".join(json.dumps(sample) + "\n" for sample in samples)
            provider.contents[file_id] = text.encode()


def other_token(reply, place=1):
    return replace(reply, ids=(*reply.ids[:place], 7, *reply.ids[place + 1 :]))


def test_the_same_tokens_pass_and_every_row_is_kept(deploy, shop):
    parity = deploy(lambda reply: reply)
    assert (parity.passed, parity.by, parity.ties, parity.max_logprob_gap) == (True, "tokens", 0, 0)
    found = kept(shop)
    assert len(found["rows"]) == parity.compared == 8
    assert all(row["ids"] == row["trained_ids"] and row["same"] for row in found["rows"])
    assert found["rows"][0]["messages"][0]["role"] == "user"


def test_each_prompt_is_limited_to_the_tokens_that_the_trainer_had(deploy, provider, monkeypatch):
    chat, limits = provider.chat, []

    def watched(model, conversations, **more):
        limits.extend(conversation.most for conversation in conversations)
        assert more["writing"].temperature == 0 and more["writing"].logprobs
        return chat(model, conversations, **more)

    monkeypatch.setattr(provider, "chat", watched)
    deploy(lambda reply: reply)
    assert len(limits) == 8 and min(limits) > 8


@pytest.mark.parametrize("off, passes", [(0.9e-4, True), (1.1e-4, False)])
def test_numbers_may_be_off_by_the_tolerance(deploy, shop, off, passes):
    def spoil(reply):
        return replace(reply, logprobs=tuple(p - off for p in reply.logprobs))

    if passes:
        assert deploy(spoil).max_logprob_gap == pytest.approx(off)
    else:
        assert "another precision" in refused(deploy, spoil)
        assert kept(shop)["label_disagreements"] == 0
        assert deploy(spoil, precision="bf16").tolerance == 0.02


def test_tokens_as_likely_as_each_other_may_change_places(deploy, provider, shop):
    with_gaps(provider, 1.9e-4)
    parity = deploy(other_token)
    assert (parity.passed, parity.ties, parity.label_disagreements) == (True, 8, 0)
    assert all(row["is_tie"] and row["parts_at"] == 1 for row in kept(shop)["rows"])


def test_tokens_further_apart_may_not(deploy, provider):
    with_gaps(provider, 2.1e-4)
    assert "begin alike and part later" in refused(deploy, other_token)


def test_a_tie_does_not_excuse_numbers_before_it(deploy, provider):
    with_gaps(provider, 1e-5)

    def spoil(reply):
        return replace(other_token(reply), logprobs=(-5.0, *reply.logprobs[1:]))

    assert "another precision" in refused(deploy, spoil)


def test_other_weights_differ_from_the_first_token_on(deploy, shop):
    words = refused(deploy, lambda reply: other_token(reply, 0))
    assert "on 8 of 8 held-out prompts" in words and "other weights" in words
    found = kept(shop)
    assert not found["passed"] and found["cause"] in words


def test_an_answer_that_goes_on_is_told_as_such(deploy):
    def go_on(reply):
        ids, logprobs = (*reply.ids, 8, 9), (*reply.logprobs, -1.0, -1.0)
        return replace(reply, ids=ids, logprobs=logprobs, finish_reason="length")

    assert "stops by other tokens" in refused(deploy, go_on)


def test_a_server_that_leaves_out_the_last_token_answers_alike(deploy):
    parity = deploy(lambda r: replace(r, ids=r.ids[:-1], logprobs=r.logprobs[:-1]))
    assert parity.passed and parity.max_logprob_gap == 0


def test_an_answer_that_was_cut_before_its_end_does_not(deploy):
    def cut(reply):
        ids, logprobs = reply.ids[:-1], reply.logprobs[:-1]
        return replace(reply, ids=ids, logprobs=logprobs, finish_reason="length")

    assert "end elsewhere" in refused(deploy, cut)


def test_without_log_probabilities_the_tokens_are_compared(deploy):
    parity = deploy(lambda reply: replace(reply, logprobs=None))
    assert (parity.passed, parity.by, parity.max_logprob_gap) == (True, "tokens", None)


def test_without_tokens_the_texts_are_compared_and_it_is_said(deploy, shop):
    parity = deploy(lambda reply: replace(reply, ids=None, logprobs=None, text=reply.text + "\n"))
    assert (parity.passed, parity.by, parity.max_logprob_gap) == (True, "texts", None)
    from tunesmith.pipeline.evaluating.labels.report import compared

    assert "8 got the trainer’s own text; it gives no log-probabilities" in compared(parity)


def test_other_texts_do_not_pass(deploy, shop):
    refused(deploy, lambda reply: replace(reply, ids=None, text=reply.text + " and more"))
    assert kept(shop)["rows"][0]["why"] == "text"


def test_a_prompt_that_is_refused_is_no_answer(deploy):
    words = refused(deploy, lambda r: replace(r, text="", ids=None, refused="too long: 9,000"))
    assert "refuses prompts as too long" in words


def test_calls_pass_too(tmp_path, shop):
    path = write_calls(tmp_path / "calls.jsonl")
    config = RunConfig(prepare=PrepareConfig(table=str(path)))
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    trained = pipeline.train(config, prepared, pipeline.upload(prepared, shop), shop)
    assert pipeline.deploy(DeployConfig(), trained, shop).parity.passed
    assert kept(shop)["rows"][0]["tools"][0]["function"]["name"] == "track"


def row(text="x", *, why="", parts_at=None, tools=()):
    return Written(
        messages=[{"role": "user", "content": text}], tools=tools, trained_ids=(1,), ids=(1,),
        trained_text=None, text="", parts_at=parts_at, is_tie=False, gap=None, same=not why,
        why=why,
    )  # fmt: skip


TOOL = ({"type": "function", "function": {"name": "f"}},)


@pytest.mark.parametrize(
    "rows, words",
    [
        ([row(tools=TOOL, why="tokens", parts_at=0), row()], "Only conversations with tools"),
        ([row("x" * 99, why="tokens", parts_at=0), row()], "Only the longest conversations"),
        ([row("xxx"), row(why="tokens", parts_at=4)], "begin alike and part later"),
        ([row("xxx"), row(why="tokens", parts_at=0)], "neither length nor tools"),
        ([row(why="tokens", parts_at=0), row(why="text")], "other weights"),
        ([row(why="refused"), row(why="tokens", parts_at=0)], "refuses prompts"),
        ([row(), row(why="end", parts_at=3)], "stops by other tokens"),
    ],
)
def test_the_cause_is_read_off_the_rows(rows, words):
    assert words in cause(rows)
