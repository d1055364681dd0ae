"""Adapters merged into their base: other programs get what PEFT computes, or a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_causal import tiny
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.catalog import inspect
from tunesmith.errors import ConfigError, NotFound, NotOffered, ParityError
from tunesmith.model import export as export_module
from tunesmith.model.cards import CausalCard, kind_of, read_card
from tunesmith.model.causal import load_network
from tunesmith.model.export import export
from tunesmith.model.rendering import Renderer

# PEFT asks transformers for things by their older names.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

KINDS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}
IDS = torch.tensor([[5, 300, 42, 77, 599, 120, 9]])


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("bases")
    for architecture in ("llama", "qwen3", "gemma"):
        tiny(place / architecture, architecture)
    return place


def adapter(folder: Path, base: Path, *, method="lora", precision="fp32", **config) -> Path:
    """A tuned model's folder: PEFT's adapter with random weights, tokenizer, template, card."""
    from peft import LoraConfig, get_peft_model

    network = load_network(base, precision=precision, in_4_bits=method == "qlora")
    given = {"target_modules": "all-linear", "r": 4, "lora_alpha": 8, **config}
    tuned = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", **given))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weights in tuned.named_parameters():
            if "lora_" in name:
                weights.add_(0.1 * torch.randn_like(weights))
    tuned.save_pretrained(folder)
    Renderer(base, max_length=64).save(folder)
    card = CausalCard(
        base_model="acme", base_folder=str(base), method=method, max_length=64, precision=precision
    )
    card.save(folder)
    return folder


@torch.no_grad()
def by_peft(folder: Path, base: Path) -> torch.Tensor:
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder).eval()(IDS).logits


@torch.no_grad()
def by_transformers(folder: Path) -> torch.Tensor:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()(IDS).logits


# --- merged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_merged_gives_what_peft_gives_for_the_adapter(bases, tmp_path, kind):
    base = bases / "llama"
    tuned = adapter(tmp_path / "tuned", base, **KINDS[kind])
    told = []
    made = export(tuned, tmp_path / "out", report=told.append)
    expected = by_peft(tuned, base)
    assert (expected - by_transformers(base)).abs().max() > 0.1  # it does something
    torch.testing.assert_close(by_transformers(tmp_path / "out"), expected, atol=1e-5, rtol=0)
    assert (made.folder, made.form) == (tmp_path / "out", "merged")
    assert 0 < made.typical < made.difference < 1e-5 and 4 <= made.num_compared <= 64
    assert made.num_bytes == sum(p.stat().st_size for p in (tmp_path / "out").iterdir())
    assert [event.message.split()[0] for event in told] == ["Loading", "Writing", "Comparing"]


@pytest.mark.parametrize("architecture", ["qwen3", "gemma"])
def test_so_it_does_for_other_architectures(bases, tmp_path, architecture):
    base = bases / architecture
    tuned = adapter(tmp_path / "tuned", base, rank_pattern={"q_proj": 2}, lora_dropout=0.5)
    made = export(tuned, tmp_path / "out")
    merged = by_transformers(tmp_path / "out")
    torch.testing.assert_close(merged, by_peft(tuned, base), atol=1e-5, rtol=0)
    assert made.difference < 1e-5
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (base, tmp_path / "out")]
    assert abs(sizes[1] - sizes[0]) < 1_000  # what is tied is there once


def test_a_merged_folder_is_a_whole_model(bases, tmp_path):
    tuned = adapter(tmp_path / "tuned", bases / "llama")
    export(tuned, tmp_path / "out")
    out = tmp_path / "out"
    files = {path.name for path in out.iterdir()}
    assert files == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "tunesmith.json",
    }  # fmt: skip
    before = read_card(tuned)
    assert (read_card(out).method, before.method) == ("full", "lora")
    assert (read_card(out).max_length, kind_of(out)) == (64, "causal")
    assert inspect(out).architecture == "llama"  # it can be a base model again
    chat = [{"role": "user", "content": "hello"}]
    ours = Renderer(out, max_length=64).prompt(chat)
    assert ours == Renderer(tuned, max_length=64).prompt(chat)
    theirs = AutoTokenizer.from_pretrained(out).apply_chat_template(
        chat, add_generation_prompt=True, return_dict=False
    )
    assert theirs == ours
    again = export(out, tmp_path / "again")
    assert (again.difference, again.form) == (None, "merged")
    names = [path.name for path in (tmp_path / "again").iterdir()]
    assert sorted(names) == sorted(files)


def test_in_bf16_the_weights_are_rounded_and_the_answers_near(bases, tmp_path):
    tuned = adapter(tmp_path / "tuned", bases / "llama", precision="bf16")
    made = export(tuned, tmp_path / "out")
    assert 1e-5 < made.difference < 5e-2
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert inspect(tmp_path / "out").num_bytes < 0.6 * inspect(bases / "llama").num_bytes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_adapter_on_4_bits_is_merged_into_what_these_stand_for(bases, tmp_path, precision):
    pytest.importorskip("bitsandbytes")
    tuned = adapter(tmp_path / "tuned", bases / "llama", method="qlora", precision=precision)
    made = export(tuned, tmp_path / "out")
    assert made.typical < 2e-2
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config
    far = by_transformers(tmp_path / "out") - by_peft(tuned, bases / "llama")
    assert far.abs().max() > 1e-3  # which is not the base as it was published


def test_samples_are_what_is_compared(bases, tmp_path):
    tuned = adapter(tmp_path / "tuned", bases / "llama")
    asked = [{"role": "user", "content": "hello"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    samples = [
        {"messages": asked, "ids": [5, 6, 7], "logprobs": [0, 0, 0], "most": 9},
        {"messages": asked, "ids": list(range(40)), "tools": [tool]},
        {"text": "a text to classify", "label": "a", "logprob": 0.0},
        {"text": "long " * 500, "label": "b", "logprob": 0.0},
    ]
    made = export(tuned, tmp_path / "out", samples=samples)
    assert 3 + 16 + 2 <= made.num_compared <= 3 + 16 + 32
    assert made.difference < 1e-5


# --- the adapter alone ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_adapters_folder_is_peft_s_own(bases, tmp_path, kind):
    tuned = adapter(tmp_path / "tuned", bases / "llama", **KINDS[kind])
    made = export(tuned, tmp_path / "out", to="adapter")
    assert (made.form, made.difference) == ("adapter", None)
    theirs = by_peft(tmp_path / "out", bases / "llama")
    torch.testing.assert_close(theirs, by_peft(tuned, bases / "llama"), atol=0, rtol=0)
    sources = {path.name: path.read_bytes() for path in tuned.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == sources


# --- refusals -------------------------------------------------------------------------------------


def refused(kind, said, folder, out, **how):
    with pytest.raises(kind, match=said) as caught:
        export(folder, out, **how)
    assert caught.value.fix and "\n" not in str(caught.value)


def test_what_cannot_be_exported_gets_a_sentence(bases, tmp_path):
    tuned, out = adapter(tmp_path / "tuned", bases / "llama"), tmp_path / "out"
    said = r"no form 'megred' .* merged \(whole.*, adapter \(.*Did you mean 'merged'\?"
    refused(ConfigError, said, tuned, out, to="megred")
    refused(ConfigError, "holds no tuned model", bases / "llama", out)
    refused(ConfigError, "holds no tuned model", tmp_path / "nowhere", out)
    whole = Path(shutil.copytree(bases / "llama", tmp_path / "whole"))
    CausalCard(base_model="a", base_folder="b", method="full", max_length=9).save(whole)
    refused(NotOffered, "tuned whole and has no adapter", whole, out, to="adapter")
    classifier = tmp_path / "classifier"
    classifier.mkdir()
    (classifier / "tunesmith.json").write_text('{"kind": "classifier"}')
    refused(NotOffered, r"a classifier.* already in the usual layout.*cp -r", classifier, out)
    out.mkdir()
    refused(ConfigError, "out exists already", tuned, out)
    out.rmdir()
    (tuned / "adapter_model.safetensors").unlink()
    refused(ConfigError, r"has no adapter_model\.safetensors", tuned, out)
    shutil.copytree(bases / "llama", tmp_path / "base")
    orphan = adapter(tmp_path / "orphan", tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    refused(ConfigError, "on top of acme, whose files in .* are gone", orphan, out)
    assert export(orphan, out, to="adapter").num_bytes
    assert not list(tmp_path.glob(".*"))


def test_a_base_that_was_changed_meanwhile_is_refused(bases, tmp_path):
    base = Path(shutil.copytree(bases / "llama", tmp_path / "base"))
    tuned = adapter(tmp_path / "tuned", base)
    (base / "model.safetensors").write_bytes(b"0" * 100)
    refused(ConfigError, "is damaged or not a safetensors file", tuned, tmp_path / "out")
    shutil.copy(bases / "gemma" / "model.safetensors", base)
    refused(ConfigError, "not those that its config", tuned, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("wrong", [1.01, float("nan")])
def test_a_merge_that_answers_otherwise_leaves_nothing(bases, tmp_path, monkeypatch, wrong):
    """As would one with a wrong scale."""
    from peft.tuners.lora import LoraModel

    merge = LoraModel.merge_and_unload

    def wrongly(self):
        merged = merge(self)
        with torch.no_grad():
            merged.lm_head.weight.mul_(wrong)
        return merged

    monkeypatch.setattr(LoraModel, "merge_and_unload", wrongly)
    tuned = adapter(tmp_path / "tuned", bases / "llama")
    said = r"does not answer as the adapter does: .* differ by \S+ .*, and 0\.0001 is allowed"
    refused(ParityError, said, tuned, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]


def test_what_breaks_off_leaves_nothing(bases, tmp_path, monkeypatch):
    tuned = adapter(tmp_path / "tuned", bases / "llama")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "_difference", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(tuned, tmp_path / "deep" / "out")
    assert not list((tmp_path / "deep").iterdir())


def test_a_full_disk_is_said_before_anything_is_written(bases, tmp_path, monkeypatch):
    tuned = adapter(tmp_path / "tuned", bases / "llama")
    full = shutil._ntuple_diskusage(10, 10, 0)
    monkeypatch.setattr(export_module.shutil, "disk_usage", lambda place: full)
    with pytest.raises(export_module.StorageError, match=r"takes 0\.00 GB, and there are 0\.00 GB"):
        export(tuned, tmp_path / "out")


def test_files_that_are_gone(bases, tmp_path):
    tuned = adapter(tmp_path / "tuned", bases / "llama")
    (tuned / "tokenizer.json").unlink()
    with pytest.raises((ConfigError, NotFound), match=r"no tokenizer\.json"):
        export(tuned, tmp_path / "out")
