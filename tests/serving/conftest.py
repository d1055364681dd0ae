import pytest
import torch

from tunesmith import catalog
from tunesmith.model import classifier
from tunesmith.wire import Options

LABELS = ["delivery", "billing", "technical"]


@pytest.fixture(scope="package")
def folders(tmp_path_factory):
    """Three models that differ in their heads."""
    out = {}
    model = classifier.from_base(catalog.find("minilm-l6"), LABELS, options=Options(max_length=32))
    for seed, name in enumerate(("one", "two", "three")):
        torch.manual_seed(seed)
        model.head.reset_parameters()
        out[name] = tmp_path_factory.mktemp("models") / name
        model.save(out[name])
    return out
