import pytest

from tunesmith.settings import Settings
from tunesmith.store.store import open_store


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path)


@pytest.fixture
def store(settings):
    store = open_store(settings)
    yield store
    store.close()
