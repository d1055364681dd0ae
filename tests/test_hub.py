"""Base models fetched from a real HTTP server that plays the hub."""

import dataclasses
import json

import huggingface_hub
import pytest
from hub_server import files_of, serving
from huggingface_hub import constants
from small_weights import LLAMA, model_folder, safetensors

from tunesmith import catalog, hub
from tunesmith.catalog import shelf
from tunesmith.errors import (
    ConfigError,
    NotAllowed,
    NotFound,
    NotOffered,
    ProviderError,
    StorageError,
)

REPOSITORY = "Acme/Tiny-Llama"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = model_folder(tmp_path_factory.mktemp("real") / "llama")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (folder / "generation_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors({"a": [300, 256], "b": [64]}))
    return files_of(folder)


@pytest.fixture
def there(monkeypatch, real):
    """The hub, with one repository."""
    monkeypatch.setattr(hub, "PAUSE", 0)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    with serving() as (found, address):
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        found.repositories[REPOSITORY] = dict(real)
        yield found
        huggingface_hub.close_session()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "base-models"


@pytest.fixture
def fetch(place):
    def fetch(wanted=REPOSITORY, *, name="", report=lambda event: None):
        return hub.pull(wanted, place, name=name, report=report)

    return fetch


def sharded(folder, *, size=300_000):
    """A repository whose weights are two files, the second of that many bytes."""
    files = files_of(model_folder(folder, shards=2))
    second = "model-00002-of-00002.safetensors"
    return files | {second: safetensors({"layer.2": [size // 4]})}


# --- what is fetched ------------------------------------------------------------------------------


def test_a_repository_is_fetched_and_kept(there, fetch, place, real):
    there.repositories[REPOSITORY] |= {
        "README.md": b"#", "consolidated.safetensors": b"twice", "pytorch_model.bin": b"pickle",
        "original/params.json": b"{}",
    }  # fmt: skip
    told = []
    base = fetch(report=told.append)
    assert (base.name, base.hub, base.folder) == ("tiny-llama", REPOSITORY, place / "tiny-llama")
    assert base.architecture == "llama" and base.chat_template
    assert files_of(base.folder).keys() == {*real, shelf.MANIFEST}
    assert {name: files_of(base.folder)[name] for name in real} == real
    catalog.verify(base)
    assert catalog.find("tiny-llama", place) == base
    assert json.loads((base.folder / shelf.MANIFEST).read_text())["commit"] == there.commit
    assert {event.kind for event in told} == {"progress"}
    assert told[-1].data["done"] == told[-1].data["total"] == len(real["model.safetensors"]) / 1e6


def test_what_is_there_is_not_fetched_again(there, fetch):
    base = fetch()
    there.asked.clear()
    there.status = 500  # not even asked
    assert fetch() == base
    assert there.asked == []


def test_what_was_changed_is_fetched_again(there, fetch):
    base = fetch()
    catalog.verify(base)
    settings = base.folder / "tokenizer_config.json"
    settings.write_bytes(b"?" * settings.stat().st_size)
    there.asked.clear()
    catalog.verify(fetch())
    assert there.asked == [("tokenizer_config.json", "")]


def test_weights_in_several_files(there, fetch, tmp_path):
    there.repositories[REPOSITORY] = sharded(tmp_path / "r")
    there.repositories[REPOSITORY]["model-of-another.safetensors"] = b"not named"
    base = fetch(name="two")
    assert base.name == "two"
    assert len(list(base.folder.glob("*.safetensors"))) == 2


def test_a_name_in_the_catalog_is_enough(there, fetch, monkeypatch, real):
    name = "smollm2-135m-instruct"
    row = dataclasses.replace(catalog.catalog()[name], parameters=0)
    there.repositories[row.hub] = real
    monkeypatch.setitem(catalog.catalog(), name, row)
    with pytest.raises(ConfigError, match="is not smollm2-135m-instruct"):
        fetch(name)  # an impostor
    size = fetch().parameters
    monkeypatch.setitem(catalog.catalog(), name, dataclasses.replace(row, parameters=size))
    base = fetch(row.hub.upper())
    assert (base.name, base.licence, base.chat_template) == (name, "Apache-2.0", "chatml")


# --- interrupted ----------------------------------------------------------------------------------


def test_a_broken_connection_is_taken_up_where_it_broke(there, fetch, real):
    there.breaks["model.safetensors"] = [100_000, 50_000]
    catalog.verify(fetch())
    spans = [span for _, span in there.downloads(".safetensors")]
    assert spans == ["", "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_where_an_earlier_one_broke_off(there, fetch, place):
    there.breaks["model.safetensors"] = [120_000] + [0] * hub.ATTEMPTS
    with pytest.raises(ProviderError, match=r"model\.safetensors broke off after") as caught:
        fetch()
    assert "goes on from there" in caught.value.fix
    assert shelf.installed(place) == {}
    there.asked.clear()
    told = []
    catalog.verify(fetch(report=told.append))
    assert there.asked == [("model.safetensors", "bytes=120000-")]
    assert told[0].data["done"] > 0.12
    assert not list((place / "tiny-llama").glob("*.part"))


def test_parts_of_two_commits_are_never_put_together(there, fetch, real):
    there.breaks["model.safetensors"] = [120_000] + [0] * hub.ATTEMPTS
    with pytest.raises(ProviderError):
        fetch()
    there.commit = "f" * 40
    there.repositories[REPOSITORY]["model.safetensors"] = safetensors({"a": [64, 1024]})
    there.asked.clear()
    assert fetch().parameters == 64 * 1024
    assert there.downloads(".safetensors") == [("model.safetensors", "")]


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_what_arrives_damaged_is_not_kept(there, fetch, place, real, file):
    there.lies[file] = bytes(len(real[file]))
    with pytest.raises(ProviderError, match=rf"{file} did not arrive as it is at the hub"):
        fetch()
    assert not (place / "tiny-llama" / file).exists()
    there.lies.clear()
    catalog.verify(fetch())


# --- refused before the weights are fetched -------------------------------------------------------


def test_pickles_only_are_refused_before_anything_is_fetched(there, fetch, place):
    files = there.repositories[REPOSITORY]
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    with pytest.raises(ConfigError, match=r"only as pytorch_model\.bin"):
        fetch()
    assert there.asked == [] and not place.exists()


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_repository_that_lacks_a_file(there, fetch, missing):
    del there.repositories[REPOSITORY][missing]
    with pytest.raises(ConfigError, match=f"{REPOSITORY} has no {missing}"):
        fetch()
    assert there.asked == []


def test_a_repository_that_lacks_a_shard(there, fetch, tmp_path):
    files = sharded(tmp_path / "r")
    del files["model-00002-of-00002.safetensors"]
    there.repositories[REPOSITORY] = files
    with pytest.raises(ConfigError, match="lacks model-00002-of-00002.safetensors"):
        fetch()
    assert there.downloads(".safetensors") == []


def test_code_of_its_own_is_refused_before_the_weights_are_fetched(there, fetch):
    config = LLAMA | {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "m.M"}}
    there.repositories[REPOSITORY]["config.json"] = json.dumps(config).encode()
    with pytest.raises(NotOffered, match="code of its own"):
        fetch()
    assert there.downloads(".safetensors") == []


def test_a_full_disk_is_noticed_beforehand(there, fetch, monkeypatch):
    usage = hub.shutil.disk_usage("/")._replace(free=60_000)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="needs 0.00 GB more"):
        fetch()
    assert there.downloads(".safetensors") == []


# --- the hub says no, or nothing ------------------------------------------------------------------


def test_a_licence_that_is_not_accepted(there, fetch, monkeypatch):
    there.gated[REPOSITORY] = "Bearer hf_mine"
    with pytest.raises(NotAllowed, match="accepted its licence") as caught:
        fetch()
    assert f"/{REPOSITORY}" in caught.value.fix and "HF_TOKEN" in caught.value.fix
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    catalog.verify(fetch())
    assert there.tokens == {"127.0.0.1": "Bearer hf_mine", "localhost": ""}


@pytest.mark.parametrize("wanted", ["Acme/Unknown", "Acme/not an id!", "Acme/.."])
def test_an_unknown_repository(there, fetch, wanted):
    with pytest.raises(NotFound, match=f"no repository {wanted}"):
        fetch(wanted, name="x")


@pytest.mark.parametrize("wanted", ["qwen3-0.6", "a/b/c", ""])
def test_a_name_that_is_neither_in_the_catalog_nor_an_id(there, fetch, wanted):
    with pytest.raises(NotFound, match="in the catalog.*OWNER/NAME"):
        fetch(wanted)


def test_a_name_that_another_model_has(there, fetch):
    with pytest.raises(ConfigError, match=r"another base model, Qwen/Qwen3-0\.6B"):
        fetch("Fork/Qwen3-0.6B")
    fetch()
    with pytest.raises(ConfigError, match=f"another base model, {REPOSITORY}"):
        fetch("Fork/Tiny-Llama")


def test_a_folder_of_ones_own_is_not_fetched_over(there, fetch, place, tmp_path):
    kept = shelf.register(model_folder(tmp_path / "tiny-llama"), place)
    assert fetch() == kept
    (tmp_path / "tiny-llama" / "tokenizer.json").write_text("{ }")
    with pytest.raises(ConfigError, match="tokenizer.json"):
        fetch()
    assert there.asked == []


def test_a_hub_that_fails(there, fetch):
    there.status = 503
    with pytest.raises(ProviderError, match="answered 503") as caught:
        fetch()
    assert caught.value.status == 503


def by_hand(error, folder):
    """The sentence that says what to put where."""
    assert f"put them into {folder}: config.json, tokenizer.json" in error.fix
    assert "model.safetensors.index.json with all files that it names" in error.fix
    assert error.fix.endswith(f"tunesmith models add {folder}")


def test_without_a_network_the_message_says_what_to_put_where(there, fetch, place, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ProviderError, match="cannot be reached at http://127.0.0.1:1") as caught:
        fetch("qwen3-0.6b")
    by_hand(caught.value, place / "qwen3-0.6b")
    assert "http://127.0.0.1:1/Qwen/Qwen3-0.6B" in caught.value.fix
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ProviderError, match="HF_HUB_OFFLINE") as caught:
        fetch()
    by_hand(caught.value, place / "tiny-llama")
    assert "\n" not in str(caught.value)
