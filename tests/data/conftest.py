"""Writing small tables to disk; property tests that are the same in every run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The first call of Polars is slow, and a failure must come back when the test is run again.
settings.register_profile("tunesmith", deadline=None, derandomize=True)
settings.load_profile("tunesmith")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(content, name="table.csv"): a file with that text (UTF-8) or those bytes."""

    def write(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
