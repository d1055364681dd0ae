import dataclasses
import json
import re
import struct

import pytest
from small_weights import LLAMA, model_folder, safetensors
from tiny_causal import ARCHITECTURES, tiny

from tunesmith import catalog
from tunesmith.catalog import architectures, shelf
from tunesmith.errors import ConfigError, NotFound, NotOffered


def test_the_default_is_there_and_whole():
    base = catalog.find(catalog.DEFAULT)
    catalog.verify(base)
    assert base.kind == "encoder"


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(NotFound, match="Did you mean 'minilm-l6'"):
        catalog.find("minilm-16")


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json"):
        catalog.find(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"config\.json"):
        catalog.find(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        catalog.find(str(tmp_path))


# --- what a name stands for -----------------------------------------------------------------------


@pytest.mark.parametrize("shards", [0, 2])
def test_a_causal_model_is_not_taken_for_an_encoder(tmp_path, shards):
    folder = model_folder(tmp_path / "m", shards=shards)
    assert catalog.find(str(folder)) == catalog.inspect(folder)
    assert catalog.find(str(folder)).kind == "causal"
    with pytest.raises(NotFound, match="no base model named"):
        catalog.find(str(folder), folders=False)


def test_a_name_is_looked_for_on_the_shelf_first(tmp_path, monkeypatch):
    place = tmp_path / "base-models"
    row = catalog.find("qwen3-0.6b", place)
    assert row.kind == "causal" and row.folder is None
    with pytest.raises(NotFound, match="tunesmith models pull qwen3-0.6b"):
        row.files()
    folder = model_folder(tmp_path / "m")
    same = dataclasses.replace(row, architecture="llama", parameters=11, learning_rate=0.5)
    monkeypatch.setitem(catalog.catalog(), row.name, same)
    kept = shelf.register(folder, place, name=row.name)
    assert catalog.find(row.name, place) == kept
    assert kept.files() == folder and kept.learning_rate == 0.5
    assert catalog.find("minilm-l6", place).kind == "encoder"
    shelf.register(folder, place, name="mine-2")
    with pytest.raises(NotFound, match="Did you mean 'mine-2'"):
        catalog.find("mine2", place)


def test_what_training_is_told_of_a_kept_model_is_the_model(tmp_path):
    """Without the shelf: a folder, and the name by which the model goes."""
    folder, place = model_folder(tmp_path / "m"), tmp_path / "base-models"
    kept = shelf.register(folder, place, name="mine")
    assert catalog.of_folder(folder, name="mine") == dataclasses.replace(kept, kept=())


def test_a_base_model_is_found_again_by_its_address(tmp_path):
    folder, place = model_folder(tmp_path / "M"), tmp_path / "base-models"
    kept = shelf.register(folder, place, name="mine")
    assert [base.address for base in (catalog.find("minilm-l6"), kept)] == ["minilm-l6", "mine"]
    assert catalog.find(str(folder)).address == str(folder)
    assert catalog.find("qwen3-0.6b").address == "qwen3-0.6b"


def test_a_name_is_no_way_out_of_the_shelf(tmp_path):
    place = tmp_path / "base-models"
    place.mkdir()
    shelf.register(model_folder(tmp_path / "m"), tmp_path, name="secret")
    with pytest.raises(NotFound):
        catalog.find("../secret", place, folders=False)


def test_a_limit_beyond_the_context_is_refused_with_the_number(tmp_path):
    base = catalog.inspect(model_folder(tmp_path / "m"))
    base.check_length(None)
    base.check_length(1024)
    with pytest.raises(ConfigError, match=r"max_length is 2,000, but m reads at most 1,024 tok"):
        base.check_length(2000)


def test_the_rows_for_text_generation_are_complete():
    rows = {name: row for name, row in catalog.catalog().items() if row.kind == "causal"}
    assert 10 <= len(rows) <= 16
    families = {"llama", "qwen", "gemma", "mistral", "smollm", "phi"}
    assert families == {next(f for f in families if name.startswith(f)) for name in rows}
    for name, row in rows.items():
        assert row.hub.split("/")[1].lower() == name == row.name
        assert row.licence and row.chat_template and row.description
        assert row.architecture in architectures.loadable()
        assert 1024 <= row.max_length <= 131_072
        assert row.num_bytes >= 2 * row.parameters > 2e8
        assert 0 < row.learning_rate <= 1e-4
        assert 1.7e9 < row.created < 1.8e9
        assert row.gated == row.licence.startswith(("Llama", "Gemma"))
    rates = [row.learning_rate for row in sorted(rows.values(), key=lambda row: row.parameters)]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == 3


def test_the_files_of_a_row_are_fetched_first():
    with pytest.raises(NotFound, match="tunesmith models pull gemma-3-1b-it"):
        catalog.catalog()["gemma-3-1b-it"].files()


# --- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_real_folder_is_read(tmp_path, architecture):
    from transformers import AutoModelForCausalLM

    folder = tiny(tmp_path / "Tiny", architecture, template=architecture != "gemma")
    base = catalog.inspect(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert base.parameters == sum(weights.numel() for weights in model.parameters())
    assert base.num_bytes == (folder / "model.safetensors").stat().st_size
    assert (base.name, base.kind, base.folder) == ("tiny", "causal", folder)
    assert (base.architecture, base.max_length) == (model.config.model_type, 512)
    assert bool(base.chat_template) == (architecture != "gemma")


def test_the_list_of_architectures_is_transformers_own():
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert architectures.loadable() == set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def test_a_template_in_a_file_of_its_own_counts(tmp_path):
    folder = model_folder(tmp_path / "m")
    (folder / "tokenizer_config.json").write_text("{}")
    assert not catalog.inspect(folder).chat_template
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert catalog.inspect(folder).chat_template


def test_weights_in_several_files_are_one_model(tmp_path):
    base = catalog.inspect(model_folder(tmp_path / "m", shards=3))
    assert base.parameters == 48
    assert base.num_bytes > 3 * 64


def test_a_tied_output_layer_is_counted_once(tmp_path):
    folder = model_folder(tmp_path / "m", LLAMA | {"tie_word_embeddings": True})
    shapes = {"model.embed_tokens.weight": [10, 4], "lm_head.weight": [10, 4]}
    (folder / "model.safetensors").write_bytes(safetensors(shapes, dtype="BF16"))
    assert catalog.inspect(folder).parameters == 40


def refused(folder, kind, said):
    with pytest.raises(kind, match=said) as caught:
        catalog.inspect(folder)
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_missing_shard_is_named(tmp_path):
    folder = model_folder(tmp_path / "m", shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    refused(folder, ConfigError, r"lacks 1 of the 3 files .*: model-00002-of-00003\.safetensors\.")


def test_a_shard_of_another_model_is_noticed(tmp_path):
    folder = model_folder(tmp_path / "m", shards=2)
    (folder / "model-00002-of-00002.safetensors").write_bytes(safetensors({"other": [4, 4]}))
    refused(folder, ConfigError, r"no tensor layer\.2, which the index places there")


@pytest.mark.parametrize(
    "index",
    ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../../secret.safetensors"}}'],
)
def test_a_useless_index_is_refused(tmp_path, index):
    folder = model_folder(tmp_path / "m", shards=2)
    (folder / "model.safetensors.index.json").write_text(index)
    refused(folder, ConfigError, "names no weights beside it")


def test_pickles_are_refused_with_the_reason(tmp_path):
    folder = model_folder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, ConfigError, r"only as pytorch_model\.bin, .*run any program.*save_pretrained")
    (folder / "pytorch_model.bin").unlink()
    refused(folder, ConfigError, r"has no model\.safetensors")


def test_a_tokenizer_of_another_kind_is_not_enough(tmp_path):
    folder = model_folder(tmp_path / "m")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    refused(folder, ConfigError, r"no tokenizer\.json")


def test_code_of_its_own_is_refused_and_not_needed_is_fine(tmp_path):
    code = {"auto_map": {"AutoModelForCausalLM": "modeling_x.XForCausalLM"}}
    native = model_folder(tmp_path / "native", LLAMA | code)
    assert catalog.inspect(native).architecture == "llama"
    other = {"architectures": ["XForCausalLM"], "model_type": "x"}
    refused(model_folder(tmp_path / "own", other | code), NotOffered, "never run")
    refused(model_folder(tmp_path / "new", other), NotOffered, "unknown architecture: XForCausalLM")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architectures": ["BertModel"], "model_type": "bert"}, "no causal .* BertModel"),
        ({"model_type": "llama"}, "no causal .* not named"),
        (LLAMA | {"quantization_config": {"quant_method": "awq"}}, r"quantized weights \(awq\)"),
        ({}, "unknown architecture"),
    ],
)
def test_other_models_are_not_offered(tmp_path, config, said):
    folder = model_folder(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, NotOffered, said)


WHOLE = safetensors({"a": [2, 3], "b": [5]})


def header(text: str, data: int = 0) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode() + bytes(data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "header cannot be read"),
        (WHOLE[:5], "header cannot be read"),
        (WHOLE[:40], "header cannot be read"),
        (WHOLE[:-1], rf"tells of {len(WHOLE)} bytes and it has {len(WHOLE) - 1}"),
        (WHOLE + b"\0", rf"tells of {len(WHOLE)} bytes and it has {len(WHOLE) + 1}"),
        (b"\xff" * 200, "header cannot be read"),
        (header("[]"), "header cannot be read"),
        (header("no json"), "header cannot be read"),
        (header('{"a": 1}'), "header cannot be read"),
        (header('{"a": {"data_offsets": [0, 4], "dtype": "?"}}', 4), "header cannot be read"),
        (
            header('{"a": {"data_offsets": [0, 4], "dtype": "F32", "shape": [2]}}', 4),
            "header cannot be read",
        ),
        (
            header('{"a": {"data_offsets": [4, 8], "dtype": "F32", "shape": [1]}}', 8),
            "header cannot be read",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    ],
)
def test_damaged_weights_are_refused(tmp_path, content, said):
    folder = model_folder(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, ConfigError, said)


# --- what is kept on this machine -----------------------------------------------------------------


def test_a_folder_is_kept_with_its_checksums(tmp_path):
    folder, place = model_folder(tmp_path / "My-Model", shards=2), tmp_path / "base-models"
    assert shelf.installed(place) == {}
    made = shelf.register(folder, place)
    assert [path.name for path in (place / "my-model").iterdir()] == [shelf.MANIFEST]
    kept = catalog.find("my-model", place)
    assert kept == made == shelf.installed(place)["my-model"]
    assert (kept.folder, kept.parameters, kept.max_length) == (folder, 32, 1024)
    assert [file.name for file in kept.kept] == [
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    catalog.verify(kept)


def test_changed_files_are_noticed(tmp_path):
    folder, place = model_folder(tmp_path / "m"), tmp_path / "base-models"
    kept = shelf.register(folder, place)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] = 1
    (folder / "model.safetensors").write_bytes(content)
    assert catalog.changed(kept) == []  # of the same size: it takes the checksum
    with pytest.raises(ConfigError, match=r"model\.safetensors .*checksum differs") as caught:
        catalog.verify(kept)
    assert f"tunesmith models add {folder} --name m" in caught.value.fix
    catalog.verify(shelf.register(folder, place, name="m"))
    (folder / "tokenizer.json").unlink()
    assert catalog.changed(kept) == ["tokenizer.json"]
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        catalog.verify(kept)


def test_a_name_belongs_to_one_folder(tmp_path):
    place = tmp_path / "base-models"
    shelf.register(model_folder(tmp_path / "a" / "m"), place)
    other = model_folder(tmp_path / "b" / "m")
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "a" / "m"))):
        shelf.register(other, place)
    shelf.register(other, place, name="m-2")
    assert list(shelf.installed(place)) == ["m", "m-2"]


@pytest.mark.parametrize("name", ["minilm-l6", "../m", "a b", "Ü", "ft:x", ".hidden", "a/b"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(ConfigError, match="--name"):
        shelf.register(model_folder(tmp_path / "m"), tmp_path / "base-models", name=name)
    assert not (tmp_path / "base-models").exists()


def test_a_folder_by_the_name_of_a_row_has_to_be_that_model(tmp_path, monkeypatch):
    place = tmp_path / "base-models"
    folder = model_folder(place / "smollm2-135m-instruct")
    with pytest.raises(ConfigError, match="holds 11 parameters .* has 134,515,008"):
        shelf.register(folder, place)
    row = catalog.catalog()[folder.name]
    monkeypatch.setitem(catalog.catalog(), folder.name, dataclasses.replace(row, parameters=11))
    base = shelf.register(folder, place)
    assert (base.hub, base.licence) == (row.hub, "Apache-2.0")
    assert (base.folder, base.max_length, base.chat_template) == (folder, 1024, "")
    assert shelf.installed(place) == {folder.name: base}
    moved = place.rename(tmp_path / "elsewhere")
    found = catalog.find(folder.name, moved)
    catalog.verify(found)  # a folder on the shelf may move with the shelf
    assert found.files() == moved / folder.name


def test_a_damaged_manifest_is_named(tmp_path):
    shelf.register(model_folder(tmp_path / "m"), tmp_path)
    (tmp_path / "m" / shelf.MANIFEST).write_text('{"folder": "."}')
    with pytest.raises(ConfigError, match=r"base-model\.json cannot be read"):
        shelf.installed(tmp_path)
    with pytest.raises(ConfigError, match=r"base-model\.json cannot be read"):
        catalog.find("m", tmp_path)
