import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.training.room import Disk, Memory, size

MB = 1_000_000
MEMORY = Memory(
    taken=500 * MB,
    features=20 * MB,
    logits=5 * MB,
    model=100 * MB,
    largest=50 * MB,
    state=300 * MB,
    batch=400 * MB,
    batch_tokens=1000,
    longest=100,
)
DISK = Disk(model=100 * MB, features=20 * MB, epochs=3)


def test_the_parts_add_up():
    assert MEMORY.full == (500 + 20 + 300 + 100 + 2 * 50 + 400) * MB
    assert MEMORY.head == (500 + 20 + 100) * MB
    assert replace(MEMORY, logits=200 * MB).head == (500 + 2 * 20 + 4 * 200) * MB
    assert replace(MEMORY, state=0, batch=0).full == MEMORY.head
    assert DISK.full == 20 * MB + (2 * 3 + 1 + 3) * 100 * MB
    assert DISK.head == replace(DISK, epochs=0).full == 120 * MB


def fix(need, available):
    with pytest.raises(ConfigError) as caught:
        need.check(available)
    return caught.value.fix


def test_what_does_not_fit_is_refused_with_what_would():
    MEMORY.check(MEMORY.full)
    MEMORY.check(None)
    with pytest.raises(ConfigError, match=r"about 1\.4 GB of memory, and there are 1\.2 GB"):
        MEMORY.check(1200 * MB)
    assert fix(MEMORY, 1200 * MB) == (
        "Free 0.2 GB of memory, or choose a batch_size of 4 or less, "
        "or choose the method head, which needs 0.6 GB."
    )
    assert "a max_length of 40 or less with a batch_size of 1" in fix(MEMORY, 1036 * MB)
    assert fix(MEMORY, 1021 * MB) == (
        "Free 0.4 GB of memory, or choose the method head, which needs 0.6 GB."
    )
    assert fix(MEMORY, 610 * MB) == "Free 0.8 GB of memory."
    assert fix(DISK, 900 * MB).endswith("of disk, or choose the method head, which needs 0.1 GB.")
    assert fix(DISK, 100 * MB) == "Free 0.9 GB of disk."
    assert fix(replace(DISK, epochs=0), 100 * MB) == "Free 20 MB of disk."


@given(st.integers(1, 400), st.integers(16, 512), st.integers(1, 64))
def test_what_is_proposed_fits(left, longest, texts):
    """As many texts of the longest, or so many tokens of one, take no more than there is."""
    memory = replace(MEMORY, batch_tokens=longest * texts, longest=longest)
    available = memory.full - memory.batch + left * MB
    assume(available < memory.full)
    proposed = re.search(r"a (batch_size|max_length) of (\d+) or less", fix(memory, available))
    assume(proposed)
    tokens = int(proposed[2]) * (longest if proposed[1] == "batch_size" else 1)
    replace(memory, batch=memory.batch * tokens // memory.batch_tokens).check(available)
    assert tokens < memory.batch_tokens


def test_sizes():
    assert [size(n) for n in (1, 99_400_000, 1_240_000_000)] == ["1 MB", "99 MB", "1.2 GB"]
