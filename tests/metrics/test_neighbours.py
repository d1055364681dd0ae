"""The nearest rows, against all similarities at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from tunesmith.metrics import neighbours
from tunesmith.metrics.neighbours import nearest


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("chunk", [1, 500, 8_000_000])
def test_they_are_the_nearest_by_the_cosine(monkeypatch, form, chunk):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    generator = np.random.default_rng(0)
    base, query = generator.normal(size=(80, 9)), generator.normal(size=(25, 9))
    found = nearest(form(base), form(query), k=4)
    similarity = cosine_similarity(query, base)
    assert np.array_equal(found.rows, np.argsort(-similarity, axis=1)[:, :4])
    expected = np.take_along_axis(similarity, found.rows, axis=1)
    assert found.similarity == pytest.approx(expected, abs=1e-5)


def test_length_does_not_count_and_a_row_is_nearest_to_itself():
    base = np.array([[1.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    found = nearest(base, base * 7, k=1)
    assert found.rows[:, 0].tolist() == [0, 1, 2]
    assert found.similarity[:, 0] == pytest.approx([1, 1, 1])


def test_fewer_rows_than_asked_for_rows_of_zeros_and_equals():
    base = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = nearest(base, np.zeros((1, 2)), k=5)
    assert found.rows.tolist() == [[0, 1]] and found.similarity.tolist() == [[0.0, 0.0]]
    assert nearest(base, np.zeros((0, 2))).rows.shape == (0, 2)
