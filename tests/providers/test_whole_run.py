"""The whole pipeline against a separate server over HTTP, with OpenAI's row, through trouble."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from table import write_table
from wire_servers import OwnServer, Troubled, running

from tunesmith import cli, pipeline, settings
from tunesmith.config import PrepareConfig, ProviderConfig, RunConfig
from tunesmith.errors import TunesmithError
from tunesmith.events import Event, EventWriter
from tunesmith.pipeline import RunDir, Spending
from tunesmith.providers import connect

KEY = "WHOLE_RUN_KEY"


@dataclass(frozen=True)
class Ran:
    """Two runs of the same: one through trouble, one in quiet."""

    place: Path
    server: OwnServer
    config: RunConfig
    faults: Counter[str]
    troubled: list[Any]
    quiet: list[Any]


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Iterator[Ran]:
    place = tmp_path_factory.mktemp("client")
    with (
        running(tmp_path_factory.mktemp("server")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(KEY, server.key)
        patch.setenv("TUNESMITH_DATA_DIR", str(place / "data"))
        config = RunConfig(
            prepare=PrepareConfig(table=str(write_table(place / "mail.csv"))),
            provider=ProviderConfig(name="openai", base_url=server.base_url, key_env=KEY),
        )
        config = replace(
            config,
            train=replace(config.train, base_model="minilm-l6", n_epochs=2),
            evaluate=replace(config.evaluate, bootstrap=50, baselines=False, advice=False),
        )
        front = Troubled(server.port)
        thread = restart_twice(server, front)
        there = replace(config, provider=replace(config.provider, base_url=front.base_url))
        try:
            troubled = go(there, place / "troubled")
        finally:
            thread.join()
            front.close()
        quiet = go(config, place / "quiet")
        yield Ran(place, server, config, front.faults, troubled, quiet)


def go(config: RunConfig, place: Path) -> list[Any]:
    """The results of a run; its events are kept in its folder."""
    run_dir = RunDir(place)
    with closing(EventWriter(run_dir.writable("events.jsonl"))) as keep:

        def report(event: Event) -> None:
            if event.kind != "progress":
                keep(event)

        paying = Spending(yes=True)
        with pipeline.open_workshop(config.provider, run_dir, report, paying) as shop:
            results = list(pipeline.run(config, shop))
            pipeline.keep_config(config, run_dir, results)
    return results


def restart_twice(server: OwnServer, front: Troubled) -> threading.Thread:
    """The server goes and comes back two times, once a job is there."""
    begun = threading.Event()

    def watch(method: str, path: str) -> None:
        if path.startswith("/v1/fine_tuning/jobs/ftjob-"):
            begun.set()

    def restart() -> None:
        if begun.wait(120):
            for _ in range(2):
                time.sleep(1.5)
                server.restart()

    front.before = watch
    thread = threading.Thread(target=restart)
    thread.start()
    return thread


def weights(server: OwnServer, job: str) -> dict[str, str]:
    """Each file of weights of a job's model with its checksum, on the server's disk."""
    found = list((server.data_dir / "models" / job).rglob("*.safetensors"))
    assert found
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_there_was_trouble(ran):
    assert ran.server.starts == 3
    assert set(ran.faults) == {"429", "500", "cut", "lost"}


def test_it_ends_with_the_same_model_and_scores(ran):
    (_, _, trained, _, evaluated), (_, _, smooth, _, expected) = ran.troubled, ran.quiet
    assert weights(ran.server, trained.job) == weights(ran.server, smooth.job)
    assert evaluated.metrics == pytest.approx(expected.metrics, abs=1e-6)
    assert trained.checkpoints[-1] == trained.model


def test_there_is_no_second_job_and_no_file_twice(ran):
    with connect(ran.config.provider, settings.load()) as provider:
        jobs = Counter((job.metadata or {}).get("tunesmith_run") for job in provider.jobs())
        files = provider.account().page("/files")["data"]
    assert list(jobs.values()) == [1, 1]  # one of each run
    names = Counter(file["filename"] for file in files if file["purpose"] == "fine-tune")
    assert list(names.values()) == [1, 1]  # both runs have the same two
    assert ran.troubled[1].train_file == ran.quiet[1].train_file


def test_no_key_is_left_anywhere(ran, monkeypatch, capfd):
    wrong = "sk-planted-0123456789abcdef"
    monkeypatch.setenv(KEY, wrong)
    with pytest.raises(TunesmithError) as caught:
        go(ran.config, ran.place / "refused")
    assert "refused the API key" in caught.value.what
    asked = ["--provider", "openai", "--base-url", ran.server.base_url, "--key-env"]
    table = [str(ran.place / "mail.csv"), "--base-model", "minilm-l6", "--yes"]
    place = ["--run-dir", str(ran.place / "by-hand")]
    assert cli.main(["run", *table, *asked, KEY, *place]) == 2
    assert cli.main(["run", *table, *asked, wrong, *place]) == 2
    secrets = [ran.server.key, wrong]
    left = [path for path in ran.place.rglob("*") if path.is_file()]
    assert len(left) > 30
    for path in left:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path
    printed = "".join(capfd.readouterr())
    assert "refused the API key" in printed and "never the key itself" in printed
    assert not [secret for secret in secrets if secret in printed + str(caught.value)]
    log = (ran.server.data_dir / "serve.log").read_text()
    assert not [secret for secret in secrets if secret in log]


def test_a_large_file_goes_in_parts_and_is_there_once(ran, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path))
    (tmp_path / "providers.toml").write_text("[openai.limits]\npart_bytes = 40_000\n")
    row = '{"messages": [{"role": "user", "content": "%06d"}, '
    row += '{"role": "assistant", "content": "x"}]}\n'
    large = tmp_path / "large.jsonl"
    large.write_text("".join(row % number for number in range(5_000)))
    front = Troubled(ran.server.port, nth=5)
    there = replace(ran.config.provider, base_url=front.base_url)
    try:
        with connect(there, settings.load()) as provider:
            sent = [provider.upload(large, name="large-1.jsonl") for _ in range(2)]
            assert sent[0] == sent[1] and sent[0].bytes == large.stat().st_size
            assert provider.download(sent[0].id) == large.read_bytes()
    finally:
        front.close()
    assert sum(n for path, n in front.asked.items() if path.endswith("/parts")) >= 10
    assert not front.asked["POST /v1/files"] and front.faults
