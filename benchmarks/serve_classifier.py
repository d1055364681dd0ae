"""Answers per second of a served classifier, ours against transformers' pipeline.

Ours: a real server process, its HTTP, its key check and the OpenAI answer shape included, asked by
64 clients at once on keep-alive connections. The clients are bare sockets, since they share the two
cores with the server and a client's cost is not the server's. The peer is the pipeline called in
process, without any HTTP, one by one and in its best of several batch sizes, on the same texts with
the same encoder and number of labels.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import compare
from tunesmith import catalog

BATCH_SIZES = (8, 32, 64)


class Served:
    """A server in a process of its own with a classifier tuned on a few of the rows; `options` are
    more of the command that tunes it."""

    def __init__(self, folder: Path, table: compare.Table, *options: str) -> None:
        environment = {**os.environ, "TUNESMITH_DATA_DIR": str(folder / "data")}
        training = folder / "rows.jsonl"
        with training.open("w", encoding="utf-8") as file:
            for text, label in table:
                file.write(json.dumps({"text": text, "label": label}) + "\n")
        command = [sys.executable, "-m", "tunesmith"]
        run = [*command, "run", str(training), "--method", "head", "--json"]
        run += ["--run-dir", str(folder / "run"), "--no-baselines", "--no-advice", *options]
        done = subprocess.run(run, check=True, env=environment, capture_output=True, text=True)
        self.model: str = json.loads(done.stdout)["model"]
        self._process = subprocess.Popen(
            [*command, "serve", "--port", "0", "--with-parent", "--announce-json"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self.address = urlsplit(said["base_url"])
        self.key: str = said["key"]

    def close(self) -> None:
        """Stop the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


async def ask_all(served: Served, texts: list[str], *, clients: int) -> tuple[float, list[float]]:
    """(answers per second, latency of each in seconds), with that many clients at once."""
    waiting = iter(texts)
    latencies: list[float] = []

    async def client() -> None:
        host, port = served.address.hostname, served.address.port
        reader, writer = await asyncio.open_connection(host, port)
        for text in waiting:
            body = json.dumps(
                {"model": served.model, "messages": [{"role": "user", "content": text}],
                 "logprobs": True, "top_logprobs": 5}
            ).encode()  # fmt: skip
            head = (
                f"POST {served.address.path}/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
                f"Authorization: Bearer {served.key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            started = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = next(
                int(line.split(b":")[1])
                for line in answer.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - started)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(texts) / (time.perf_counter() - started), latencies


def pipeline(num_labels: int) -> Any:
    """The peer: same encoder, its own head."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import pipeline as make
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = catalog.find(catalog.DEFAULT).files()
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=num_labels)
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=256)
    return make("text-classification", model=model, tokenizer=tokenizer, top_k=5, truncation=True)


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=int, default=1500)
    asked = parser.parse_args()
    name, table = compare.rows()
    _, held_out = compare.rows("test")
    labels = sorted({label for _, label in table})
    few = [row for label in labels for row in [r for r in table if r[1] == label][:8]]
    texts = [text for text, _ in held_out][: asked.texts]
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder), few)
        peer = pipeline(len(labels))
        latencies: list[float] = []

        def ours() -> float:
            rate, waits = asyncio.run(ask_all(served, texts, clients=asked.clients))
            latencies.extend(waits)
            return rate

        def alone() -> float:
            some = texts[:: max(1, len(texts) // 300)]
            started = time.perf_counter()
            for text in some:
                peer(text)
            return len(some) / (time.perf_counter() - started)

        def batched(size: int) -> float:
            started = time.perf_counter()
            for _ in peer(texts, batch_size=size):
                pass
            return len(texts) / (time.perf_counter() - started)

        runs = {f"ours, {asked.clients} clients": ours, "pipeline, one by one": alone}
        for size in BATCH_SIZES:
            runs[f"pipeline, batch {size}"] = lambda size=size: batched(size)
        for run in runs.values():
            run()  # warm up
        latencies.clear()
        found = compare.in_turn(runs, rounds=asked.rounds)
        served.close()
    compare.report(
        "serve_classifier",
        "answers/s",
        found,
        ours=f"ours, {asked.clients} clients",
        more_is_better=True,
        notes={
            "data": f"{name}, {len(texts)} texts, {len(labels)} labels",
            "our latency (ms)": f"median {statistics.median(latencies) * 1000:.0f}, "
            f"95 % under {statistics.quantiles(latencies, n=20)[-1] * 1000:.0f}",
        },
    )


if __name__ == "__main__":
    main()
