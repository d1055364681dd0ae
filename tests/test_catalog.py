import json

import pytest

from tunesmith import catalog
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
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        catalog.find(str(tmp_path))


def test_a_causal_model_is_not_taken_for_an_encoder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(NotOffered, match="tunes encoders"):
        catalog.find(str(tmp_path))
