"""What the pages cost: opening long lists and large tables, and being looked at while training.

A real server process and a real Chromium on the same cores. Three parts:

lists   a project with 10,000 runs, and the page of a table of 1,000,000 rows: seconds from asking
        to the last thing shown, and what the server then holds in memory.
tabs    one training, followed by no page and by 20 in turn: steps a second, as a ratio, and the
        share of the cores that the server itself takes. The pages are bare clients of the server's
        socket, as open tabs elsewhere are; drawing is done where the browser is.

There is no peer: no other server of this kind keeps ten thousand runs to be shown.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert

from benchmarks import compare
from tunesmith.settings import Settings
from tunesmith.store.rows import RunRow
from tunesmith.store.store import open_store
from tunesmith.store.tables import RUNS
from tunesmith.web import run_files

CHROMIUM = os.environ.get("TUNESMITH_TEST_CHROMIUM", "/usr/bin/chromium")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
TICKETS = Path(__file__).parents[1] / "examples" / "tickets.csv"
CORES = os.cpu_count() or 1


class Site:
    """A server with pages, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.store = open_store(self.settings)
        self.key = self.store.keys.create("bench", role="admin")[0]
        command = [sys.executable, "-m", "tunesmith", "serve", "--port", "0"]
        environ = {**os.environ, "TUNESMITH_DATA_DIR": str(folder)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if line.startswith("In the browser"):
                break
        found = re.search(r"Serving at (\S+)/v1,", said)
        assert found, said
        self.url = found[1]
        self.headers = {"origin": self.url}
        sent = httpx.post(f"{self.url}/login", data={"key": self.key}, headers=self.headers)
        self.cookies = {"tunesmith_session": sent.cookies["tunesmith_session"]}

    def memory(self) -> float:
        """What the server holds, in MB; 0 where /proc is not there."""
        with suppress(OSError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        return 0.0

    def busy(self) -> float:
        """Seconds of a core that the server has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def draft(self, path: Path, **train: Any) -> str:
        """A draft with that table; its id."""
        to = f"{self.url}/runs/new/table?name={path.name}"
        with path.open("rb") as content:
            sent = httpx.put(
                to, content=content, headers=self.headers, cookies=self.cookies, timeout=600
            )
        run_id = str(sent.json()["run"])
        row = self.store.runs.get(run_id)
        assert row is not None
        folder = self.settings.data_dir / "runs" / row.folder
        asked = run_files.config(folder)
        run_files.keep_config(folder, replace(asked, train=replace(asked.train, **train)))
        return run_id

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        self.store.close()


# --- lists ----------------------------------------------------------------------------------------


def plant_runs(site: Site, number: int) -> None:
    """So many runs, in the project of the key."""
    rows = [
        RunRow(
            project_id="proj_default", key_id="k", role="member", name=f"Tickets {n}",
            folder="none", state=("succeeded", "failed", "cancelled")[n % 3],
            summary={"score": 0.9, "metric": "accuracy", "task": "classify"},
        )
        for n in range(number)
    ]  # fmt: skip
    values = [{k: v for k, v in vars(row).items() if k != "seq"} for row in rows]
    with site.store._database.write() as connection:
        connection.execute(insert(RUNS), values)


def write_large(path: Path, rows: int) -> Path:
    """A table of so many tickets."""
    with TICKETS.open(newline="", encoding="utf-8") as file:
        texts = [row["message"].replace("\n", " ") for row in csv.DictReader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        for n in range(rows):
            out.writerow([f"{texts[n % len(texts)]} No. {n}", f"label {n % 9}"])
    return path


def open_pages(site: Site, run_id: str, rounds: int) -> dict[str, list[float]]:
    """Page → seconds from asking to the last row shown, each time in a browser that is warm."""
    from playwright.sync_api import sync_playwright

    places = {
        "10,000 runs": ("/", "table.runs tbody tr >> nth=49"),
        "table of 1,000,000 rows": (f"/data/tables/{run_id}", "table tbody tr >> nth=20"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in places}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        cookie = {"name": "tunesmith_session", "value": site.cookies["tunesmith_session"]}
        context.add_cookies([{**cookie, "url": site.url}])
        page = context.new_page()
        page.goto(f"{site.url}/keys")
        for _ in range(rounds):
            for name, (path, last) in places.items():
                began = time.perf_counter()
                page.goto(site.url + path)
                page.wait_for_selector(last)
                seconds[name].append(time.perf_counter() - began)
        browser.close()
    return seconds


# --- tabs -----------------------------------------------------------------------------------------


async def _tab(site: Site, path: str) -> asyncio.Task[None]:
    """A page that is open and takes in everything, as its browser does; what comes is not read.

    The socket's first message opens it, "40" enters; "2" asks whether we live, "3" answers.
    """
    from websockets.asyncio.client import connect

    async with httpx.AsyncClient(base_url=site.url, cookies=site.cookies) as http:
        html = (await http.get(path)).text
    found = re.search(r"client_id'?: '([^']+)'", html)
    assert found, "this is no page of NiceGUI"
    query = (
        f"EIO=4&transport=websocket&client_id={found[1]}&next_message_id=0&implicit_handshake=true"
        f"&tab_id={found[1]}&document_id={found[1]}"
    )
    address = f"{site.url.replace('http', 'ws', 1)}/_nicegui_ws/socket.io/?{query}"
    headers = {"Cookie": f"tunesmith_session={site.cookies['tunesmith_session']}"}
    socket = await connect(address, additional_headers=headers, origin=site.url, max_size=None)
    assert str(await socket.recv()).startswith("0")
    await socket.send("40")
    assert str(await socket.recv()).startswith("40"), "the server does not know the page"

    async def take_in() -> None:
        async for message in socket:
            if message == "2":
                await socket.send("3")

    return asyncio.create_task(take_in())


@contextmanager
def tabs(site: Site, run_id: str, number: int) -> Iterator[None]:
    """So many pages of the run are open, in a process of their own."""
    if not number:
        yield
        return
    command = [sys.executable, "-m", "benchmarks.pages", "--as-tabs", str(number)]
    told = {"url": site.url, "cookies": site.cookies, "path": f"/runs/{run_id}"}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(json.dumps(told) + "\n")
    child.stdin.flush()
    said = child.stdout.readline()
    assert said.strip() == "open", said
    yield
    child.stdin.close()
    child.wait(30)


def be_tabs(number: int) -> None:
    """Open the pages that standard input names, until it ends."""
    told = json.loads(sys.stdin.readline())

    class There:
        url, cookies = told["url"], told["cookies"]

    async def stay() -> None:
        pages = [await _tab(There, told["path"]) for _ in range(number)]  # type: ignore[arg-type]
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        assert not any(page.done() for page in pages), "a page was closed"

    asyncio.run(stay())


def steps_done(folder: Path) -> int:
    """Steps of training so far."""
    with suppress(OSError):
        return (folder / "events.jsonl").read_bytes().count(b'"tokens_per_second"')
    return 0


def follow(
    site: Site, number: int, rounds: int, seconds: float
) -> dict[int, list[tuple[float, float]]]:
    """Pages open → steps a second, and the server's share of the cores, for each round."""
    run_id = site.draft(
        TICKETS, method="full", n_epochs=50, batch_size=8, early_stopping_patience=0
    )
    site.store.runs.change(run_id, to="queued")
    folder = None
    while folder is None or steps_done(folder) < 5:
        time.sleep(0.5)
        found = sorted((site.settings.data_dir / "jobs").glob("ftjob-*"))
        folder = Path(found[-1]) if found else None
        row = site.store.runs.get(run_id)
        assert row is not None and row.state in ("queued", "running"), row
    assert folder is not None
    measured: dict[int, list[tuple[float, float]]] = {0: [], number: []}
    for _ in range(rounds):
        for open_now in measured:
            with tabs(site, run_id, open_now):
                time.sleep(1)
                began, steps, busy = time.perf_counter(), steps_done(folder), site.busy()
                time.sleep(seconds)
                took = time.perf_counter() - began
                rate = (steps_done(folder) - steps) / took
                measured[open_now].append((rate, (site.busy() - busy) / took / CORES))
    site.store.runs.change(run_id, to="cancelled")
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--tabs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--as-tabs", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_tabs:
        be_tabs(given.as_tabs)
        return
    notes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        site = Site(Path(place) / "data")
        try:
            plant_runs(site, given.runs)
            large = site.draft(write_large(Path(place) / "large.csv", given.rows))
            while site.store.runs.get(large).state == "checking":  # type: ignore[union-attr]
                time.sleep(0.5)
            for name, took in open_pages(site, large, given.rounds).items():
                notes[name] = f"{took[0]:.2f} s first, then {statistics.median(took[1:]):.2f} s"
            notes["server holds"] = f"{site.memory():.0f} MB"
            measured = follow(site, given.tabs, given.rounds, given.seconds)
        finally:
            site.close()
    for number, found in measured.items():
        share = statistics.median(share for _, share in found)
        notes[f"server's share of the cores, {number} pages"] = f"{100 * share:.1f} %"
    compare.report(
        "pages",
        "training steps/s",
        {f"{number} pages": [rate for rate, _ in found] for number, found in measured.items()},
        ours=f"{given.tabs} pages",
        more_is_better=True,
        notes=notes,
    )


if __name__ == "__main__":
    main()
