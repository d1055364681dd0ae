"""One real server on a real port and one real Chromium for all tests of the pages.

site      the server: `site.url`, `site.store`, `site.key(role, project)`, `site.log`.
browser   Chromium; tests that need it are skipped where there is none.
visit     visit(path, key=…): a page of a browser of its own (a context), logged in.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import patience
import pytest

from tunesmith.settings import Settings
from tunesmith.store.store import open_store

CHROMIUM = Path(os.environ.get("TUNESMITH_TEST_CHROMIUM", "/usr/bin/chromium"))
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Site:
    """A server with pages, in a process of its own."""

    def __init__(self, folder: Path):
        self.settings = Settings(data_dir=folder / "data")
        self.store = open_store(self.settings)
        self.process = None
        self._folder = folder
        self.port = 0
        self.start()

    def start(self):
        """Start it, at the same address as before."""
        given = {
            "TUNESMITH_DATA_DIR": str(self.settings.data_dir),
            "TUNESMITH_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "tunesmith", "serve", "--port", str(self.port)]
        with (self._folder / "serve.txt").open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **given},
                cwd=self._folder,
            )
        said = ""
        for line in self.process.stdout:
            said += line
            if line.startswith("In the browser"):
                break
        assert "In the browser" in said, said + self.log
        self.url = re.search(r"Serving at (\S+)/v1,", said)[1]
        self.port = int(self.url.rpartition(":")[2])
        if found := re.search(r"In the browser.*?: (\S+once\S+)", said):
            self.link = found[1]

    def stop(self, number=signal.SIGINT):
        """Stop it."""
        self.process.send_signal(number)
        self.process.wait(60)
        self.process.stdout.close()

    def close(self):
        self.stop()
        self.store.close()

    def key(self, role="member", project="proj_default", name="ada"):
        """A new API key."""
        return self.store.keys.create(name, role=role, project=project)[0]

    def project(self, name):
        """The id of the project of that name, made when there is none."""
        known = {row.name: row.id for row in self.store.projects.all()}
        return known.get(name) or self.store.projects.create(name).id

    def cookie(self, key):
        """What the cookie of a browser holds that is logged in with the key."""
        headers = {"origin": self.url}
        sent = httpx.post(f"{self.url}/login", data={"key": key}, headers=headers)
        assert sent.status_code == 303, sent.text
        return sent.cookies["tunesmith_session"]

    @property
    def log(self):
        """What it has written to its standard error."""
        return (self._folder / "serve.txt").read_text()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    pytest.importorskip("nicegui", reason="the pages are not installed: tunesmith[web]")
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.fixture(scope="session")
def answering(site, tmp_path_factory):
    """A project with a model that answers; see `asked_models.Answering`."""
    from asked_models import answering

    return answering(site, tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM} (TUNESMITH_TEST_CHROMIUM)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(site, browser):
    """visit(path, key=…, **context): a page at `path`; what goes wrong in it fails the test."""
    contexts, wrong = [], []

    def visit(path="/", *, key=None, role="member", project="proj_default", **given):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **given})
        contexts.append(context)
        cookie = site.cookie(key or site.key(role, project))
        context.add_cookies([{"name": "tunesmith_session", "value": cookie, "url": site.url}])
        page = context.new_page()
        page.set_default_timeout(patience.PAGE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.goto(site.url + path)
        return page

    visit.wrong = wrong
    yield visit
    for context in contexts:
        context.close()
    expected = ("Failed to load resource", "WebSocket")  # a refusal that a test asks for
    assert [said for said in wrong if not said.startswith(expected)] == []
