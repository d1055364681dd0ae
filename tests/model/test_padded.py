"""Encoders of other kinds, through transformers."""

import pytest
import torch
from transformers import DistilBertConfig, DistilBertModel

from tunesmith.model import bert, padded
from tunesmith.model.padded import collate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("distil")
    config = DistilBertConfig(vocab_size=90, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    DistilBertModel(config).save_pretrained(folder)
    return folder


def test_a_kind_that_is_not_ours_is_read_by_transformers(folder):
    assert bert.load(folder) is None
    encoder = padded.load(folder, dropout=0.3)
    assert (encoder.width, encoder.max_length) == (16, 512)
    assert encoder.model.config.dropout == 0.3


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_is_pooled_alike_alone_and_in_company(folder, pooling):
    encoder = padded.load(folder).eval()
    texts = [[5, 6, 7, 8], [9], [10, 11]]
    with torch.no_grad():
        together = encoder.pooled(texts, pooling)
        alone = torch.cat([encoder.pooled([text], pooling) for text in texts])
    assert torch.allclose(together, alone, atol=1e-5)


def test_saved_and_read_again_it_answers_alike(folder, tmp_path):
    encoder = padded.load(folder).eval()
    encoder.save(tmp_path)
    with torch.no_grad():
        texts = [[5, 6], [7]]
        again = padded.load(tmp_path).eval()
        assert torch.equal(again.pooled(texts, "mean"), encoder.pooled(texts, "mean"))


def test_nothing_padded_needs_no_mask():
    ids, mask = collate([[1, 2], [3, 4]], 0)
    assert ids.tolist() == [[1, 2], [3, 4]]
    assert mask is None
    ids, mask = collate([[1, 2, 3], [4]], 9)
    assert ids.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
