"""A real server on a real port, with stand-ins for training and for the loaded models."""

import asyncio
import json
import math
import re
import struct
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import httpx
import openai
import pytest
from postgres_server import database_of

from tunesmith.model.cards import CausalCard
from tunesmith.server.app import make_app
from tunesmith.server.engines import Engines
from tunesmith.server.serve import Server, _listen
from tunesmith.serving.batch import Classification, Embedding
from tunesmith.serving.writing import Began, Ended, Piece, Token
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.store import open_store
from tunesmith.work import worker as worker_module
from tunesmith.work.runner import LocalRunner
from tunesmith.work.worker import Worker

TRAINER = (sys.executable, str(Path(__file__).parent.parent / "work" / "stand_in_trainer.py"))
OWN_KEY = "sk-own-key-of-this-process"


class StandInPool:
    """Answers at once; the text says what: "cut" cuts, an exception's name raises it."""

    labels = ("card lost", "größer", "refund")

    def __init__(self):
        self.probabilities = (0.2, 0.7, 0.1)
        self.asked = []
        self.forgotten = []
        self.error = None
        self.answered_tokens = 0

    def submit(self, model, folder, text):
        self.asked.append((model, folder, text))
        answer = Future()
        if self.error:
            answer.set_exception(self.error)
        else:
            logprobs = [math.log(p) for p in self.probabilities]
            cut = 444 if "cut" in text else 0
            self.answered_tokens += 5
            answer.set_result(Classification(self.labels, logprobs, 256 if cut else 5, cut))
        return answer

    def classify(self, model, folder, texts):
        answers, each = Future(), [self.submit(model, folder, text) for text in texts]
        if self.error:
            answers.set_exception(self.error)
        else:
            answers.set_result([answer.result() for answer in each])
        return answers

    def embed(self, model, folder, texts):
        """The vector of a text points to (its length, 1, 0)."""
        self.asked.append((model, folder, texts))
        answer = Future()
        if self.error:
            answer.set_exception(self.error)
        else:
            scales = [math.hypot(len(text), 1) for text in texts]
            answer.set_result(
                [
                    Embedding(
                        struct.pack("<3f", len(text) / scale, 1 / scale, 0),
                        *((256, 444) if "cut" in text else (5, 0)),
                    )
                    for text, scale in zip(texts, scales, strict=True)
                ]
            )
        return answer

    def forget(self, model):
        self.forgotten.append(model)

    def close(self):
        pass


class StandInWriters:
    """Writes `text` in pieces of a word each, which are its tokens, all choices by turns.

    A token's id is its place in the text; the end token's is 0.
    """

    def __init__(self):
        self.text = "Hello there, größer 🙂."
        self.calls, self.reason = (), "stop"
        self.error = None
        self.error_after = 0
        """Words; 0: before anything is written."""
        self.hold = False
        """Whether to write no end."""
        self.asked, self.chosen, self.forgotten = [], [], []
        self.open = 0
        """Answers that are being written."""
        self.read_tokens = self.written_tokens = 0

    async def write(self, ask):
        self.asked.append(ask)
        self.open += 1
        try:
            async for event in self._write(ask):
                yield event
        finally:
            self.open -= 1

    async def _write(self, ask):
        if self.error and not self.error_after:
            raise self.error
        yield Began(3, (7, 8, 9))
        self.read_tokens += 3
        words = re.findall(r"\S+\s*", self.text)
        for number, word in enumerate(words, start=1):
            for choice in range(ask.n):
                yield Piece(choice, word, (self._token(ask, word, number),))
            self.written_tokens += ask.n
            await asyncio.sleep(0.001)
            if self.error and number == self.error_after:
                raise self.error
        while self.hold:
            await asyncio.sleep(0.01)
        for choice in range(ask.n):
            end = Token(0, "<|end|>", b"", -0.5 if ask.top is not None else math.nan)
            yield Piece(choice, "", (end,))
            yield Ended(choice, self.reason, len(words) + 1, self.calls)

    @staticmethod
    def _token(ask, word, number):
        top = [(number + 100 * i, f"{word}{i}", f"{word}{i}".encode(), -1.0 - i) for i in range(5)]
        logprob = -number / 10 if ask.top is not None else math.nan
        return Token(number, word, word.encode(), logprob, top[: ask.top or 0])

    def choose(self, choose):
        self.chosen.append(choose)
        answer = Future()
        logprobs = [math.log(p) for p in (0.2, 0.7, 0.1)]
        if self.error:
            answer.set_exception(self.error)
        else:
            labels = choose.labels or StandInPool.labels
            answer.set_result(Classification(labels, logprobs, 5, 0))
        return answer

    def forget(self, model):
        self.forgotten.append(model)

    def close(self):
        pass


class Running:
    """The server, and clients of it."""

    def __init__(self, data_dir, *, worker=True, writers=None, **settings):
        given = {"organization": "acme", "max_file_bytes": 100_000, **settings}
        given.setdefault("database_url", database_of(data_dir))
        self.settings = Settings(data_dir=data_dir, lease_seconds=2.0, **given)
        self.store = open_store(self.settings)
        self.blobs = Blobs(self.settings.blobs)
        self.pool, self.writers = StandInPool(), writers or StandInWriters()
        runner = LocalRunner(TRAINER)
        self.worker = Worker(self.settings, self.store, self.blobs, runner=runner)
        app = make_app(
            self.settings,
            self.store,
            self.blobs,
            Engines(encoders=self.pool, writers=self.writers),
            worker=self.worker if worker else None,
            own_key=OWN_KEY,
        )
        listener = _listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        up = threading.Event()
        self._server = Server(app, self.url, lambda _: up.set())
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()
        assert up.wait(10)
        self.client = openai.OpenAI(base_url=self.url, api_key=OWN_KEY, max_retries=0)
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {OWN_KEY}"}, timeout=10
        )

    def upload(self, behaviour="train", *, rows=12, purpose="fine-tune"):
        turns = [(behaviour, "a")] + [("text", "b")] * (rows - 1)
        lines = [
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": text},
                        {"role": "assistant", "content": label},
                    ]
                }
            )
            for text, label in turns
        ]
        content = ("t.jsonl", ("\n".join(lines) + "\n").encode())
        return self.client.files.create(file=content, purpose=purpose).id

    def create(self, behaviour="train", **asked):
        asked = {"model": "minilm-l6", **asked}
        asked.setdefault("training_file", self.upload(behaviour))
        return self.client.fine_tuning.jobs.create(**asked)

    def wait(self, job_id, status, until=lambda job: True):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            job = self.client.fine_tuning.jobs.retrieve(job_id)
            if job.status == status and until(job):
                return job
            time.sleep(0.02)
        raise AssertionError(job)

    def tuned(self, **asked):
        """A finished job."""
        return self.wait(self.create(**asked).id, "succeeded")

    def causal(self, **card):
        """Name of a tuned causal model; its folder holds no more than the card."""
        job = self.tuned()
        given = {"base_model": "b", "base_folder": "", "method": "full", "max_length": 64}
        folder = self.settings.models_dir / job.id
        CausalCard(**{**given, **card}).save(folder)
        return job.fine_tuned_model

    def close(self):
        self.client.close()
        self.http.close()
        self._server.should_exit = True
        self._thread.join()
        self.store.close()


@pytest.fixture(scope="session", autouse=True)
def quick_worker():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_module, "POLL_SECONDS", 0.02)
        patch.setattr(worker_module, "PAUSE_SECONDS", 0.1)
        yield


@pytest.fixture(scope="session")
def running():
    """`Running`, for a server in a place of its own."""
    return Running


@pytest.fixture
def start(tmp_path):
    """Starts servers, and stops them after the test."""
    servers = []

    def start(**settings):
        servers.append(Running(tmp_path, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(start):
    """A server of this test's own."""
    return start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server for tests that leave nothing behind."""
    server = Running(tmp_path_factory.mktemp("server"))
    yield server
    server.close()
