"""The training process on causal models, from outside: what it leaves, resuming, refusals."""

import math
import os
import sys

import pytest
import torch
import transformers
from conftest import chats
from job_runs import error, events, metrics, result, run, run_with_kills, same, samples, weights
from safetensors.torch import load_file, save_file

from tunesmith.errors import ConfigError
from tunesmith.model.cards import read_card
from tunesmith.model.rendering import Renderer
from tunesmith.training import machine
from tunesmith.training.causal.fit import fit
from tunesmith.training.causal.learner import CausalLearner
from tunesmith.training.job import Job


def answers(folder, examples):
    """What the saved model writes, by transformers alone: (text, whether it stopped by itself)."""
    auto = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder / "model", local_files_only=True, dtype=torch.float32)
    renderer = Renderer(folder / "model", max_length=512)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    found = []
    for example in examples:
        ids = torch.tensor([renderer.prompt(example["messages"][:-1])])
        made = model.generate(ids, do_sample=False, max_new_tokens=30, pad_token_id=0)[0]
        new = made[ids.shape[1] :].tolist()
        text = tokenizer.decode(new, skip_special_tokens=True)
        found.append((text.strip(), new[-1] in renderer.ends))
    return found


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("llama", {"method": "full"}),
        ("qwen3", {"method": "lora", "lora_rank": 4, "packing": "padded", "neftune_alpha": 5.0}),
        ("gemma", {"method": "lora", "use_dora": True, "gradient_checkpointing": True}),
    ],
)
def test_a_job_leaves_a_model_events_and_a_result(causal_job, base, options):
    folder = causal_job(base=base, hyperparameters={"n_epochs": 2}, **options)
    run(folder)
    done = result(folder)
    assert done["facts"]["method"] == options["method"]
    assert done["trained_tokens"] > 0
    assert done["checkpoints"][-1]["folder"] == "model"
    for checkpoint in done["checkpoints"]:
        card = read_card(folder / checkpoint["folder"])
        assert card.is_adapter == (options["method"] == "lora")
    assert all(isinstance(v, int | float) for v in done["hyperparameters"].values())
    assert metrics(folder)[-1].keys() >= {"step", "total_steps", "train_loss", "dev_loss"}
    assert done["checkpoints"][-1]["metrics"].keys() >= {"full_valid_loss", "valid_loss"}
    header, *lines = (folder / "metrics.csv").read_text().splitlines()
    assert header == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(lines) == metrics(folder)[-1]["step"]
    decided = {event.data["what"]: event.data for event in events(folder, "decision")}
    packing = options.get("packing")
    assert decided["packing"]["value"] in ({packing} if packing else {"packed", "padded"})
    twice = "on" if options.get("gradient_checkpointing") else "off"
    assert decided["gradient checkpointing"]["value"] == twice
    assert {"precision", "method", "chat template", "batch_size", "model kept"} <= decided.keys()
    told = [event for event in events(folder, "note") if "estimate" in event.data]
    assert len(told) == 1 and told[0].data["estimate"]["memory"] > 1e8
    made = samples(folder)
    assert len(made) == 5
    for one in made:
        assert len(one["ids"]) == len(one["logprobs"]) == len(one["gaps"]) <= one["most"]
        assert all(p <= 0 for p in one["logprobs"]) and all(g >= 0 for g in one["gaps"])
    assert not (folder / "state").exists()


def test_a_whole_model_is_one_that_transformers_loads_and_an_adapter_one_that_peft_does(causal_job):
    whole = causal_job(method="full", hyperparameters={"n_epochs": 1})
    adapter = causal_job(method="lora", hyperparameters={"n_epochs": 1})
    for folder in (whole, adapter):
        run(folder)
    auto = transformers.AutoModelForCausalLM
    auto.from_pretrained(whole / "model", local_files_only=True)
    from peft import PeftModel

    base = auto.from_pretrained(read_card(adapter / "model").base_folder, local_files_only=True)
    PeftModel.from_pretrained(base, str(adapter / "model"))
    assert not list((adapter / "model").glob("model*"))


def test_it_learns_its_examples_by_heart_and_stops_by_itself(causal_job):
    examples = chats(24)
    folder = causal_job(
        examples, examples, method="full", early_stopping_patience=0,
        hyperparameters={"n_epochs": 40, "learning_rate_multiplier": 60},
    )  # fmt: skip
    run(folder)
    right = [example["messages"][-1]["content"] for example in examples]
    assert answers(folder, examples) == [(text, True) for text in right]
    assert metrics(folder)[-1]["step"] == metrics(folder)[-1]["total_steps"]


def test_pairs_raise_the_margin_and_turn_the_preference_on_new_pairs(causal_job):
    folder = causal_job(
        chats(80, pairs=True), chats(40, seed=7, pairs=True), objective="dpo", method="full",
        hyperparameters={"n_epochs": 8, "learning_rate_multiplier": 300, "beta": 0.2},
    )  # fmt: skip
    run(folder)
    first, facts = metrics(folder)[0], result(folder)["facts"]
    assert first["train_reward_margin"] == pytest.approx(0, abs=1e-6), "it begins as the reference"
    assert first["train_loss"] == pytest.approx(0.6931, abs=1e-3)
    assert facts["full_valid_reward_accuracy"] > 0.95
    assert facts["full_valid_reward_margin"] > 0.5
    assert result(folder)["hyperparameters"]["beta"] == 0.2


def test_of_labels_the_most_probable_is_chosen_and_the_card_names_them(causal_job):
    folder = causal_job(
        method="full", task="classify", early_stopping_patience=0,
        hyperparameters={"n_epochs": 20, "learning_rate_multiplier": 60},
    )  # fmt: skip
    run(folder)
    card = read_card(folder / "model")
    assert set(card.labels) == {e["messages"][-1]["content"] for e in chats(60)}
    made = samples(folder)
    right = {e["messages"][-1]["content"] for e in chats(16, seed=2)}
    assert all(one["label"] in card.labels and one["logprob"] <= 0 for one in made)
    assert sum(one["label"].split()[0] in one["text"] for one in made) == len(made)
    assert right


def test_same_seed_same_model_other_seed_another(causal_job):
    first, second, third = (
        causal_job(method="full", hyperparameters={"n_epochs": 1}, seed=seed) for seed in (1, 1, 2)
    )
    for folder in (first, second, third):
        run(folder)
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(third))


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("supervised", {"method": "full", "neftune_alpha": 5.0}),
        ("supervised", {"method": "lora", "lora_dropout": 0.1}),
        ("dpo", {"method": "lora"}),
    ],
)
def test_killed_at_any_moment_it_ends_with_the_same_model(causal_job, objective, options):
    pairs = objective == "dpo"
    settings = dict(
        train=chats(240, pairs=pairs), objective=objective, early_stopping_patience=50,
        hyperparameters={"n_epochs": 4, "batch_size": 8}, **options,
    )  # fmt: skip
    whole, killed = causal_job(**settings), causal_job(**settings)
    run(whole)
    kills = run_with_kills(killed, (5, 40, 70))
    assert kills == 3
    assert same(weights(whole), weights(killed))
    assert [m["step"] for m in metrics(killed)] == [m["step"] for m in metrics(whole)]
    losses = [[m["train_loss"] for m in metrics(f)] for f in (whole, killed)]
    assert losses[0] == losses[1]
    assert samples(whole) == samples(killed)


@pytest.mark.parametrize(
    ("method", "asked", "ends"),
    [("full", "auto", "full"), ("lora", "auto", "lora"), ("lora", "full", "full")],
)
def test_a_tuned_model_is_tuned_on(causal_job, method, asked, ends):
    first = causal_job(method=method, hyperparameters={"n_epochs": 6})
    run(first)
    start = first / "model"
    again = causal_job(start_from=start, method=asked, hyperparameters={"n_epochs": 1})
    run(again)
    assert result(again)["facts"]["method"] == ends
    fell = metrics(first)[0]["train_loss"] - metrics(first)[-1]["train_loss"]
    went_on = metrics(first)[0]["train_loss"] - metrics(again)[0]["train_loss"]
    assert went_on > fell / 2, "it goes on from where the other ended"
    assert read_card(again / "model").is_adapter == (ends == "lora")
    other = {"full": {"method": "lora"}, "lora": {"lora_rank": 3}}[method]
    refused = causal_job(start_from=start, **other)
    run(refused, expect=2)
    says = {"full": "was tuned whole", "lora": "lora_rank is 3, but the adapter"}[method]
    assert says in error(refused)["message"]


def test_a_loss_that_is_no_number_keeps_the_best_step_and_says_so(causal_job, monkeypatch):
    gradients, calls = CausalLearner.gradients, []

    def fails(self, step):
        calls.append(step)
        loss, sums = gradients(self, step)
        return (math.nan if len(calls) > 20 else loss), sums

    monkeypatch.setattr(CausalLearner, "gradients", fails)
    folder = causal_job(method="full", validation_interval=2, hyperparameters={"n_epochs": 5})
    told = list(fit(Job.read(folder)))
    (warning,) = (e for e in told if e.kind == "warning")
    last = max(e.data["step"] for e in told if e.kind == "metric")
    assert f"Stopped at step {last + 1}: the training loss is no longer a number" in warning.message
    assert "Lower learning_rate_multiplier" in warning.message
    (kept,) = (e.data["value"] for e in told if e.data.get("what") == "model kept")
    assert 0 < int(kept.removeprefix("step ")) <= last
    assert all(torch.isfinite(tensor).all() for tensor in weights(folder).values())


def test_a_loss_that_is_no_number_at_once_is_a_failure(causal_job, causal_bases, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in causal_bases["llama"].iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    folder = causal_job(base=str(broken), method="full", packing="padded")
    run(folder, expect=2)
    assert "not a number before anything was learnt" in error(folder)["message"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "head"}, "The method head is for encoders"),
        ({"label_smoothing": 0.1}, "label_smoothing cannot be asked of a causal model"),
        ({"max_length": 100_000}, "max_length is 100,000, but"),
        ({"method": "lora", "lora_targets": ["nothing"]}, "lora_targets names layers"),
        ({"task": "classify", "objective": "dpo"}, "Pairs of answers have no labels"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(causal_job, options, says):
    folder = causal_job(**options)
    run(folder, expect=2)
    assert says in error(folder)["message"]
    assert "Traceback" not in error(folder)["message"]


def test_what_does_not_fit_is_refused_with_what_would(causal_job, monkeypatch):
    folder = causal_job(method="full")
    monkeypatch.setattr(machine, "memory_for_models", lambda: machine.memory_taken() + 50_000_000)
    with pytest.raises(ConfigError, match="The job needs about") as refused:
        list(fit(Job.read(folder)))
    assert "the method lora" in refused.value.fix
    folder = causal_job()
    monkeypatch.setattr(machine, "memory_for_models", lambda: 100_000)
    with pytest.raises(ConfigError, match="does not fit: its weights alone take"):
        list(fit(Job.read(folder)))


def test_two_processes_find_the_losses_of_one(causal_job):
    settings = dict(
        method="full", early_stopping_patience=50,
        hyperparameters={"n_epochs": 2, "batch_size": 8},
    )  # fmt: skip
    alone, both = causal_job(**settings), causal_job(**settings)
    run(alone)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2",
               "--master-port=0", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0",
               "-m", "tunesmith.training"]  # fmt: skip
    os.environ["OMP_NUM_THREADS"] = "1"
    run(both, command=command)
    for name in ("train_loss", "dev_loss", "valid_loss", "train_mean_token_accuracy"):
        ours, theirs = ([m[name] for m in metrics(f) if name in m] for f in (both, alone))
        assert ours == pytest.approx(theirs, rel=1e-4), name
    found, expected = weights(both), weights(alone)
    assert all(torch.allclose(found[k], expected[k], atol=1e-4) for k in expected)
