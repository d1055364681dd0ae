"""Folders of causal models with something wrong: a sentence before any training, and no more."""

import json
import shutil
from pathlib import Path

import pytest
from small_weights import safetensors
from tiny_causal import tiny

from tunesmith import catalog
from tunesmith.config import RunConfig, TrainConfig
from tunesmith.errors import ConfigError, DataError, NotOffered, TunesmithError
from tunesmith.model import causal
from tunesmith.pipeline.train import check
from tunesmith.wire import Options

CHAT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Whole ones: llama, qwen3, gemma, and llama in several files."""
    place = tmp_path_factory.mktemp("models")
    for architecture in ("llama", "qwen3", "gemma"):
        tiny(place / architecture, architecture)
    shutil.copytree(place / "llama", place / "sharded")
    network = causal.load_network(place / "llama", precision="fp32")
    (place / "sharded" / "model.safetensors").unlink()
    network.save_pretrained(place / "sharded", max_shard_size="100KB")
    return place


@pytest.fixture
def copy(models, tmp_path):
    """copy("llama"): a folder to be damaged."""

    def copy(name: str = "llama") -> Path:
        return Path(shutil.copytree(models / name, tmp_path / "model"))

    return copy


def start(folder: Path, max_length: int = 64) -> causal.Causal:
    """All that comes before the first step of a job with this base model."""
    return causal.from_base(
        catalog.find(str(folder)),
        Options(max_length=max_length),
        method="full",
        precision="fp32",
    )


def refused(folder: Path, said: str, kind: type[TunesmithError] = ConfigError, **how) -> None:
    with pytest.raises(kind, match=said) as caught:
        start(folder, **how)
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def edit(path: Path, **changes) -> None:
    """Change a JSON file; None takes a key out."""
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


# --- weights --------------------------------------------------------------------------------------


def test_whole_folders_are_loaded(models):
    for folder in models.iterdir():
        assert start(folder).num_parameters > 50_000


def test_a_missing_shard(copy):
    folder = copy("sharded")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    refused(folder, rf"lacks 1 of the \d+ files of its weights: {shard.name}\.")


@pytest.mark.parametrize("name", ["llama", "sharded"])
def test_weights_that_are_cut_short(copy, name):
    folder = copy(name)
    path = sorted(folder.glob("*.safetensors"))[-1]
    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, rf"{path.name} is damaged: its header tells of [\d,]+ bytes and it has [\d,]+")


def test_weights_only_as_a_pickle(copy):
    folder = copy()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, r"only as pytorch_model\.bin, .*\(a pickle\) can run any program\. Convert")


def test_weights_that_lack_a_tensor(copy):
    from safetensors.torch import load_file, save_file

    folder = copy()
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"not those that its config\.json describes: .*layers\.1\.mlp\.up_proj\.weight")


def test_weights_of_another_shape(copy):
    folder = copy()
    edit(folder / "config.json", intermediate_size=256)
    refused(folder, r"not those that its config\.json describes: .*mlp")


def test_weights_of_another_model(copy):
    folder = copy()
    (folder / "model.safetensors").write_bytes(safetensors({"a": [2]}))
    refused(folder, r"not those that its config\.json describes: .*and \d+ more")


# --- config.json ----------------------------------------------------------------------------------


def test_code_of_its_own(copy):
    folder = copy()
    code = {"AutoModelForCausalLM": "modeling_x.XForCausalLM"}
    edit(folder / "config.json", auto_map=code, model_type="x", architectures=["XForCausalLM"])
    (folder / "modeling_x.py").write_text("raise SystemExit('this ran')")
    refused(folder, "code from a model folder is never run", NotOffered)


def test_code_that_is_not_needed_is_not_run(copy):
    folder = copy()
    code = {"AutoModelForCausalLM": "modeling_x.XForCausalLM", "AutoConfig": "modeling_x.X"}
    edit(folder / "config.json", auto_map=code)
    (folder / "modeling_x.py").write_text("raise SystemExit('this ran')")
    assert start(folder).num_parameters


def test_quantized_weights(copy):
    folder = copy()
    edit(folder / "config.json", quantization_config={"quant_method": "gptq"})
    refused(folder, r"quantized weights \(gptq\), which cannot be tuned", NotOffered)


def test_a_limit_beyond_the_context(models):
    refused(models / "llama", r"max_length is 1,000, but llama reads at most 512", max_length=1000)


def test_a_run_with_such_a_limit_does_not_begin(models):
    asked = TrainConfig(base_model=str(models / "llama"), max_length=1000)
    with pytest.raises(ConfigError, match="llama reads at most 512 tokens"):
        check(RunConfig(train=asked))


# --- the tokenizer --------------------------------------------------------------------------------


def test_no_tokenizer(copy):
    folder = copy()
    (folder / "tokenizer.json").unlink()
    refused(folder, r"has no tokenizer\.json")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"model": {}}', '{"model": {"vocab": {}}}', "\0\xff"]
)
def test_a_damaged_tokenizer(copy, content):
    folder = copy()
    (folder / "tokenizer.json").write_text(content, encoding="latin-1")
    refused(folder, r"tokenizer\.json is damaged: no vocabulary can be read from it")


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"vocab": {"a": 0}}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b c"]}},
        {"model": {"type": "Odd", "vocab": {"a": 0}}},
        {"version": "9.9", "model": {"type": "WordLevel", "vocab": {"a": 0}}, "added_tokens": [{}]},
    ],
)
def test_a_tokenizer_that_is_json_and_no_more(copy, content):
    folder = copy()
    (folder / "tokenizer.json").write_text(json.dumps(content))
    refused(folder, r"[Tt]okenizer.* (cannot be read|is damaged)")


def test_a_damaged_tokenizer_config(copy):
    folder = copy()
    (folder / "tokenizer_config.json").write_text("{")
    refused(folder, "tokenizer in .* cannot be read")


def test_token_ids_that_the_model_has_not(copy):
    folder = copy()
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    added = {"content": "<new>", "id": 600, "special": False, "single_word": False}
    added |= {"lstrip": False, "rstrip": False, "normalized": False}
    content["added_tokens"].append(added)
    path.write_text(json.dumps(content))
    said = r"token ids up to 600, and the model has 600 tokens .*resize_token_embeddings"
    refused(folder, said)
    content["added_tokens"][-1]["special"] = True  # no text is read as it, and nothing writes it
    path.write_text(json.dumps(content))
    assert start(folder).renderer.prompt([{"role": "user", "content": "<new>"}])
    settings = folder / "tokenizer_config.json"
    template = json.loads(settings.read_text())["chat_template"]
    edit(settings, chat_template="<new>" + template)
    refused(folder, r"chat template writes <new>, which is token 600, and the model has fewer")


def test_a_vocabulary_that_is_larger_than_the_embedding(copy):
    folder = copy()
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["zzz"] = 700
    path.write_text(json.dumps(content))
    refused(folder, r"does not belong to these weights: it has token ids up to 700")


def test_without_a_token_to_pad_with(copy):
    folder = copy()
    edit(folder / "tokenizer_config.json", pad_token=None)
    model = start(folder)
    assert model.renderer.pad in model.renderer.ends


def test_with_one_that_the_model_has_not(copy):
    folder = copy()
    edit(folder / "tokenizer_config.json", pad_token="[PAD]")
    model = start(folder)
    assert 0 <= model.renderer.pad < 600


def test_without_a_token_to_end_with(copy):
    folder = copy()
    edit(folder / "tokenizer_config.json", eos_token=None)
    for name in ("config.json", "generation_config.json"):
        edit(folder / name, eos_token_id=None)
    model = start(folder)  # the template writes one after every answer
    chat = model.renderer.example({"messages": CHAT})
    assert chat.ids[-1] in model.renderer.ends and chat.trained[-1]
    edit(
        folder / "tokenizer_config.json",
        chat_template="{{ messages | map(attribute='content') | join(' ') }}",
    )
    refused(folder, "Nothing says which token ends an answer")


# --- the chat template ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{{ raise_exception('No chats, please.') }}",
            "refuses the conversation: No chats, please",
        ),
        ("{{ messages[9].content }}", "refuses the conversation"),
        ("{{ 1 / 0 }}", "refuses the conversation: division by zero"),
        ("{% for message in messages %}", "refuses the conversation: Unexpected end of template"),
        ("{{ messages | nonsense }}", "refuses the conversation: No filter named 'nonsense'"),
        ("{{ ''.__class__.__mro__ }}", "refuses the conversation|leaves out"),
        ("Hello!", "leaves out what the assistant says"),
        ("", "leaves out what the assistant says"),
    ],
)
def test_templates_that_cannot_be_used(copy, template, said):
    folder = copy()
    edit(folder / "tokenizer_config.json", chat_template=template)
    refused(folder, said)


def test_a_template_that_refuses_some_chats_refuses_the_row(models):
    renderer = start(models / "gemma").renderer
    with pytest.raises(DataError, match="Turns must alternate"):
        renderer.example({"messages": [*CHAT, CHAT[1]]})


def test_without_a_template(copy):
    folder = copy("gemma")
    edit(folder / "tokenizer_config.json", chat_template=None)
    assert start(folder).renderer.decision.reason == "the model has none"
