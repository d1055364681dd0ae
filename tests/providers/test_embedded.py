"""The server of a run: started once, gone with its parent, and telling why it does not start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunesmith.errors import ProviderError, StorageError
from tunesmith.providers import Capabilities, embedded
from tunesmith.providers.embedded import EmbeddedServer
from tunesmith.providers.openai_wire import OpenAIWire
from tunesmith.settings import Settings

LISTENS = "import json, sys; print(json.dumps({'base_url': 'http://127.0.0.1:9/v1', 'key': 'k'}), "
LISTENS += "flush=True); sys.stdin.read()"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """An EmbeddedServer that runs this code instead of the real server."""
    started = []

    def start(code: str, patience: float = 10.0) -> EmbeddedServer:
        monkeypatch.setattr(embedded, "COMMAND", ("-c", code))
        started.append(EmbeddedServer(Settings(data_dir=tmp_path / "data"), patience=patience))
        return started[-1]

    yield start
    for server in started:
        server.close()


def test_it_is_started_once_and_stopped_with_close(start):
    server = start(LISTENS)
    first = server.endpoint()
    assert (first.base_url, first.key) == ("http://127.0.0.1:9/v1", "k")
    assert server.endpoint() is first
    assert not server.is_gone()
    process = server._process
    server.close()
    assert process.poll() == 0  # it went by itself when its input closed
    server.close()


def test_it_is_told_where_the_data_are_and_that_folders_are_allowed(start, tmp_path):
    code = "import os, json; print(json.dumps({'base_url': os.environ['TUNESMITH_DATA_DIR'], "
    code += "'key': os.environ['TUNESMITH_ALLOW_FOLDERS']}))"
    at = start(code).endpoint()
    assert (at.base_url, at.key) == (str(tmp_path / "data"), "1")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(start):
    server = start("import sys; sys.exit('the database is locked')")
    with pytest.raises(ProviderError) as caught:
        server.endpoint()
    assert "did not start" in caught.value.what
    assert "  | the database is locked" in caught.value.what
    assert "server.log" in caught.value.fix


def test_an_earlier_servers_log_is_not_shown(start):
    with pytest.raises(ProviderError):
        start("import sys; sys.exit('first')").endpoint()
    with pytest.raises(ProviderError) as caught:
        start("import sys; sys.exit('second')").endpoint()
    assert "second" in caught.value.what and "first" not in caught.value.what


def test_a_silent_server_is_given_up(start):
    server = start("import sys; sys.stdin.read()", patience=0.3)
    with pytest.raises(ProviderError, match="was not ready after"):
        server.endpoint()


@pytest.mark.parametrize("line", ["hello", '{"base_url": 1}', "[]"])
def test_a_server_that_says_something_else_is_no_server(start, line):
    with pytest.raises(ProviderError, match="did not start"):
        start(f"print({line!r})").endpoint()


def test_a_server_that_dies_later_is_not_waited_for(start):
    server = start(LISTENS.replace("sys.stdin.read()", "sys.exit('out of memory')"))
    provider = OpenAIWire(server, can=Capabilities())
    server.endpoint()
    server._process.wait()
    started = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        list(provider.follow("ftjob-1"))
    assert time.monotonic() - started < 20
    assert "it stopped with exit status 1" in caught.value.what
    assert "out of memory" in caught.value.what
    provider.close()


def test_closing_before_it_listens_does_not_wait(start):
    server = start("import time; time.sleep(60)")
    server.warm_up()
    started = time.monotonic()
    server.close()
    assert time.monotonic() - started < 5


def test_nothing_starts_after_closing(start):
    server = start(LISTENS)
    server.close()
    server.warm_up()
    assert server._process is None


def test_a_data_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    server = EmbeddedServer(Settings(data_dir=tmp_path / "file" / "data"))
    with pytest.raises(StorageError):
        server.endpoint()


def test_killing_the_parent_stops_the_server(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tunesmith.providers.embedded import EmbeddedServer\n"
        "from tunesmith.settings import Settings\n"
        "server = EmbeddedServer(Settings(data_dir=Path(sys.argv[1])))\n"
        "server.endpoint(); print(server._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert parent.stdout
    server = int(parent.stdout.readline())
    assert is_alive(server)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while is_alive(server) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_alive(server)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and ") Z " in stat.read_text())
