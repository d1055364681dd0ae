import shutil

import pytest
import torch

from tunesmith import catalog
from tunesmith.errors import ConfigError, NotFound
from tunesmith.model import classifier

TEXTS = ["Where is my parcel?", "charged twice", "Zoë’s Bris leaks " * 90, "ok"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return classifier.from_base(catalog.find("minilm-l6"), ["a", "b", "c"])


def test_saved_and_loaded_it_answers_alike(model, tmp_path):
    model.save(tmp_path / "m")
    again = classifier.load(tmp_path / "m")
    assert again.card == model.card
    encoded = model.tokens(TEXTS)
    assert again.tokens(TEXTS) == encoded
    assert torch.equal(again.over(again, encoded), model.over(model, encoded))


def test_an_answer_does_not_depend_on_its_company(model):
    encoded = model.tokens(TEXTS * 5)
    together = model.over(model, encoded)
    alone = torch.cat([model.over(model, [e]) for e in encoded])
    assert (together - alone).abs().max() < 1e-5


def test_features_are_the_published_ones(model):
    """Against sentence-transformers, which the model was made with."""
    from sentence_transformers import SentenceTransformer

    peer = SentenceTransformer(str(catalog.find("minilm-l6").files()), device="cpu")
    expected = torch.from_numpy(peer.encode(TEXTS[:2]))
    assert (model.over(model.features, model.tokens(TEXTS[:2])) - expected).abs().max() < 1e-5


def test_a_tampered_base_model_is_refused(tmp_path):
    base = catalog.find("minilm-l6")
    folder = tmp_path / "model"
    shutil.copytree(base.files(), folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(ConfigError, match="not the published ones"):
        catalog.verify(
            catalog.BaseModel(name="x", kind="encoder", folder=folder, sha256=base.sha256)
        )


def test_missing_files_are_named(tmp_path):
    with pytest.raises(NotFound, match="are gone"):
        classifier.load(tmp_path)
