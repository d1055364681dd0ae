"""The training rows that are nearest to a row: what a model had to go by.

Knows: features. Does not know: texts, labels, where features come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics.classification import Array
from tunesmith.metrics.heads import Features

CHUNK = 8_000_000
"""Similarities computed at a time: bounds the memory, about 32 MB."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """For each row asked about its nearest ones, nearest first, both [rows asked, k].

    rows        their numbers, from 0; similarity: the cosine, -1 to 1.
    """

    rows: NDArray[np.int64]
    similarity: Array


def nearest(features: Features, query: Features, k: int = 3) -> Neighbours:
    """The k rows of `features` nearest to each row of `query`, by the cosine of their features.

    Both [rows, width], dense or sparse alike; k is at most the number of rows. A row of zeros is
    as far from everything as can be, 0.
    """
    base, asked = _unit(features), _unit(query)
    assert base.shape[0] > 0
    k = min(k, base.shape[0])
    step = max(1, CHUNK // max(1, base.shape[0]))
    rows = np.empty((asked.shape[0], k), dtype=np.int64)
    similarity = np.empty((asked.shape[0], k))
    for start in range(0, asked.shape[0], step):
        block = asked[start : start + step] @ base.T
        found: Array = block.toarray() if hasattr(block, "toarray") else block
        best = np.argpartition(-found, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(found, best, axis=1)
        # Of equals the first row.
        order = np.lexsort((best, -near), axis=1)
        rows[start : start + step] = np.take_along_axis(best, order, axis=1)
        similarity[start : start + step] = np.take_along_axis(near, order, axis=1)
    return Neighbours(rows=rows, similarity=similarity)


def _unit(features: Features) -> Any:
    from sklearn.preprocessing import normalize

    # scikit-learn refuses a table of no rows.
    return normalize(features.astype(np.float32)) if features.shape[0] else features
