"""Every command that a page of the documentation shows is typed here, in the order of the pages.

A block that cannot run everywhere says so in its first line, `# needs …`, where readers see it too.
Training and answering are done by the provider in memory, and `serve` starts nothing: that these do
as they should for real is tested beside this file.
"""

import asyncio
import json
import os
import re
import shlex
import struct
import tomllib
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import documented_world as world
import httpx
import pytest
from fake_provider import FakeProvider

from tunesmith import providers
from tunesmith import settings as environment
from tunesmith.serving.batch import Embedding

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
ELSEWHERE = {"migrate", "providers"}
"""Pages whose commands have tests of their own, beside what they document."""
NEEDS = re.compile(r"\A# needs (.+)\n")
MOST_NEEDING = 6
"""Blocks that may say so, in all pages together."""
PLACES = {"/data/": "", "/backups/": "backups/", "/srv/": "srv/"}
"""Folders of the pages, as they are here."""
INSTALLING = re.compile(
    r"python3 -m venv \.venv|\. \.venv/bin/activate|pip install '\.\[([\w,]+)\]'"
)
GATE = "The model does not pass"
ADDRESS = "http://127.0.0.1:8000"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def lines(page: Path) -> list[str]:
    """Commands to be typed, one a line."""
    typed = [block for block in blocks(page) if not NEEDS.match(block)]
    return [line for block in typed for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def here_for_all(tmp_path_factory):
    """One folder, and one provider's memory, for all pages: as if one person typed them all."""
    place = tmp_path_factory.mktemp("documented")
    world.write_tables(place)
    (config,) = [t for t in _tomls(DOCS / "index.md") if "[prepare]" in t]
    (place / "tickets.toml").write_text(config, encoding="utf-8")
    return SimpleNamespace(place=place, provider=FakeProvider(), is_ready=False)


def _tomls(page):
    found = re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    assert all(map(tomllib.loads, found))
    return found


@pytest.fixture(autouse=True)
def place(here_for_all, monkeypatch):
    monkeypatch.chdir(here_for_all.place)
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(here_for_all.place / "data"))
    monkeypatch.setenv("JUDGE_KEY", "sk-judge")
    return here_for_all.place


@pytest.fixture
def typed(here_for_all, provider, here, monkeypatch):
    """typed(line): the line as if it were typed; its output."""
    shared = here_for_all.provider
    vars(provider).update(vars(shared))
    provider.estimate = lambda request: 10_000.0  # so that budgets of time and money end a search
    provider.bases = ["tiny-writer", "qwen3-0.6b", "mine"]
    monkeypatch.setattr("tunesmith.server.serve.serve", lambda *args, **options: None)
    monkeypatch.setattr("tunesmith.cli.serve._site", lambda: None)
    monkeypatch.setattr("tunesmith.cli.docs._encoder", lambda: None)
    # The address of a judge is somebody's; ours answers there.
    monkeypatch.setattr(providers, "endpoint", lambda url, key: nullcontext(provider))

    def type_(line):
        words = shlex.split(re.sub(r"--trials \d+", "--trials 2", line), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            monkeypatch.setenv(name, _here(value))
        if not words:
            return ""
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value)
            return ""
        if words[0] == "curl":
            return _fetched(words[1:])
        if found := INSTALLING.fullmatch(line):
            _check_extras(found[1])
            return ""
        assert words[0] == "tunesmith", line
        ended = here(*map(_here, words[1:]))
        is_gate = ended.code == 1 and GATE in ended.err  # which did its work
        assert ended.code == 0 or is_gate, f"{line}\n{ended.out}\n{ended.err}"
        return ended.out

    if not here_for_all.is_ready:
        _make_runs(type_, provider)
        world.plant_exported(here_for_all.place)
        here_for_all.is_ready = True
    yield type_
    vars(shared).update(vars(provider))


def _make_runs(type_, provider):
    for run in ("tickets-1", "tickets-2", "tickets"):
        type_(f"tunesmith run tickets.csv --run-dir runs/{run} --bootstrap 50")
    words = next(iter(provider.tuned.values()))
    provider.tuned |= dict.fromkeys(world.CLASSIFIERS, words)
    type_("tunesmith run pairs.jsonl --run-dir runs/notes --base-model tiny-writer --bootstrap 50")


def _here(word):
    for there, here in PLACES.items():
        word = re.sub(rf"^{there}", here, word)
    return word


def _check_extras(extras):
    with (ROOT / "pyproject.toml").open("rb") as file:
        known = tomllib.load(file)["project"]["optional-dependencies"]
    assert set((extras or "local").split(",")) <= set(known)


@pytest.mark.parametrize("page", [p for p in PAGES if lines(p)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, typed):
    if page.stem in ELSEWHERE:
        pytest.skip("its commands are typed by its own tests")
    for line in lines(page):
        typed(line)


def test_what_cannot_run_says_what_it_needs():
    marked = [found[1] for page in PAGES for b in blocks(page) if (found := NEEDS.match(b))]
    allowed = ("several GPUs", "a second machine", "PostgreSQL", "an account", "a network")
    of_ours = [m for m in marked if m.startswith(allowed)]
    assert of_ours == marked
    ours = [b for p in PAGES if p.stem not in ELSEWHERE for b in blocks(p) if NEEDS.match(b)]
    assert len(ours) <= MOST_NEEDING


def _fetched(words):
    """What `curl` would print, asked of the application itself."""
    headers, url = {}, ""
    while words:
        word = words.pop(0)
        if word == "-H":
            name, _, value = words.pop(0).partition(":")
            headers[name] = value.strip()
        else:
            url = word
    assert url.startswith(ADDRESS)

    async def get():
        transport = httpx.ASGITransport(app=_application())
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            return await client.get(url, headers=headers)

    reply = asyncio.run(get())
    assert reply.status_code == 200, reply.text
    if headers.get("Accept") == "application/json":
        json.loads(reply.text)
    return reply.text


class _Pool:
    """Vectors that say nothing, so that words decide."""

    answered_tokens = 0

    def embed(self, model, folder, texts):
        answer = Future()
        answer.set_result([Embedding(struct.pack("<2f", 1, 0), 5, 0) for _ in texts])
        return answer


def _application():
    from tunesmith.server.app import make_app
    from tunesmith.server.engines import Engines
    from tunesmith.store.blobs import Blobs
    from tunesmith.store.store import open_store

    settings = environment.load({k: v for k, v in os.environ.items() if k == "TUNESMITH_DATA_DIR"})
    engines = Engines(encoders=_Pool(), writers=SimpleNamespace(read_tokens=0, written_tokens=0))
    return make_app(settings, open_store(settings), Blobs(settings.blobs), engines)
