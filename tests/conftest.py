"""What tests share: places, small tables, and few threads, so that tests do not slow each other."""

import asyncio
import os
from pathlib import Path

import postgres_server
import pytest

THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
os.environ.setdefault("OMP_NUM_THREADS", THREADS)
os.environ["TUNESMITH_THREADS"] = THREADS
KEPT = ("TUNESMITH_THREADS", "TUNESMITH_TEST_REAL_CRASHES")
for name in [n for n in os.environ if n.startswith("TUNESMITH_") and n not in KEPT]:
    del os.environ[name]

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def tickets() -> Path:
    """The example table."""
    return ROOT / "examples" / "tickets.csv"


@pytest.fixture(scope="session")
def data() -> Path:
    """Real data sets that lie beside a checkout; tests that need them are skipped elsewhere."""
    if not DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    return DATA


@pytest.fixture(autouse=True)
def no_loop_of_the_browser(request):
    """Playwright leaves its event loop marked as the one that runs in this thread, and no other
    can run then. It rests while tests without a browser do, so the mark can be taken off for these.
    """
    if "browser" in request.fixturenames:
        yield
        return
    resting = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(resting)


@pytest.fixture(scope="session", autouse=True)
def postgres_ends_with_the_tests():
    yield
    if postgres_server.postgres.cache_info().currsize:
        postgres_server.postgres().close()
