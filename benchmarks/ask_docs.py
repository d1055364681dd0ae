"""How long the documentation takes to answer, and how often it answers rightly.

`python -m benchmarks.ask_docs [--json FILE]`: the questions of tests/manual/questions.toml, asked
of an index in this process, as `tunesmith docs ask` has it, and over HTTP of a server.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tunesmith.cli.docs import _encoder
from tunesmith.manual import pages
from tunesmith.manual.answering import PAGES, answer
from tunesmith.manual.passages import passages
from tunesmith.manual.ranking import Index, pages_of

QUESTIONS = Path(__file__).parent.parent / "tests/manual/questions.toml"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    asked = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))
    found = {"cores": len(os.sched_getaffinity(0)), **here(asked), **served(asked)}
    for name, value in found.items():
        print(f"{name:<32} {value:.3f}" if isinstance(value, float) else f"{name:<32} {value}")
    if (file := parser.parse_args().json) is not None:
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def here(asked: dict[str, Any]) -> dict[str, object]:
    """In this process."""
    all_pages, began = pages.read(pages.folder()), time.perf_counter()
    index = Index(passages(all_pages), _encoder())
    made = time.perf_counter() - began
    hits = [
        bool(set(list(pages_of(index.search(one["question"])))[:PAGES]) & set(one["pages"]))
        for one in asked["asked"]
    ]
    refused = [
        not answer(one["question"], index, all_pages).is_documented for one in asked["unknown"]
    ]
    seconds = timed(lambda question: answer(question, index, all_pages), asked)
    return {
        "passages": len(index.passages),
        "index made in, s": made,
        "page among the first three": f"{sum(hits)} of {len(hits)}",
        "not documented": f"{sum(refused)} of {len(refused)}",
        "in this process, median s": statistics.median(seconds),
        "in this process, slowest s": max(seconds),
    }


def served(asked: dict[str, Any]) -> dict[str, object]:
    """Over HTTP, each question for the first time, after one that warms the server up."""
    with tempfile.TemporaryDirectory() as data:
        server = subprocess.Popen(
            [sys.executable, "-m", "tunesmith", "serve", "--port", "0", "--with-parent"]
            + ["--announce-json"],
            env={**os.environ, "TUNESMITH_DATA_DIR": data},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdin and server.stdout
        root = json.loads(server.stdout.readline())["base_url"].removesuffix("/v1")

        def ask(question: str) -> None:
            with urllib.request.urlopen(f"{root}/docs/index.md?ask={quote(question)}") as reply:
                reply.read()

        began = time.perf_counter()
        ask("Is this warm?")
        first = time.perf_counter() - began
        seconds = timed(ask, asked)
        server.stdin.close()
        server.wait(30)
    return {
        "over HTTP, first question ever, s": first,
        "over HTTP, median s": statistics.median(seconds),
        "over HTTP, slowest s": max(seconds),
    }


def timed(ask: Callable[[str], object], asked: dict[str, Any]) -> list[float]:
    """Seconds of each question."""
    seconds = []
    for one in (*asked["asked"], *asked["unknown"]):
        began = time.perf_counter()
        ask(one["question"])
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
