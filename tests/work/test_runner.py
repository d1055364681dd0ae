"""Processes: started, stopped with all they started, and told alive from dead."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tunesmith.work.identity import is_gone, own_name
from tunesmith.work.runner import LocalRunner


def runner(program):
    return LocalRunner((sys.executable, "-u", "-c", program))


def wait(process, seconds=10.0):
    deadline = time.monotonic() + seconds
    while (status := process.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return status


def test_what_a_process_prints_goes_to_its_log_and_its_status_comes_back(tmp_path):
    program = "import sys; print(sys.argv[1:]); print('bad', file=sys.stderr); sys.exit(2)"
    process = runner(program).start(tmp_path)
    assert wait(process) == 2
    process.stop()
    log = (tmp_path / "train.log").read_text()
    assert "--stop-with-parent" in log
    assert str(tmp_path) in log
    assert "bad" in log


def test_stopping_reaches_the_processes_it_has_started(tmp_path):
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    process = runner(program).start(tmp_path)
    log, deadline = tmp_path / "train.log", time.monotonic() + 10
    while not log.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.stop()
    assert process.poll() is not None
    child = Path(f"/proc/{log.read_text().strip()}/stat")
    deadline = time.monotonic() + 10  # it is killed, and dies when it next has a processor
    while child.exists() and ") Z " not in child.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_will_not_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.work.runner.STOP_SECONDS", 0.2)
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(60)"
    process = runner(program).start(tmp_path)
    while not (tmp_path / "train.log").read_text():
        time.sleep(0.01)
    process.stop()
    assert process.poll() == -9


def test_its_input_stays_open_until_it_is_stopped(tmp_path):
    process = runner("import os; os.read(0, 1); print('end of input', flush=True)").start(tmp_path)
    time.sleep(0.1)
    assert process.poll() is None
    process.stop()


def test_a_living_process_is_not_gone_and_a_dead_one_is():
    name = own_name()
    assert not is_gone(name)
    host, _, started, token = name.split("|")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert is_gone("|".join([host, str(child.pid), started, token]))


def test_a_process_id_used_again_is_another_process():
    host, pid, _, token = own_name().split("|")
    assert is_gone("|".join([host, pid, "long ago", token]))


def test_about_another_host_nothing_is_certain():
    _, _, started, token = own_name().split("|")
    assert not is_gone("|".join(["elsewhere", "999999999", started, token]))
    assert not is_gone("a name of another form")


def test_two_workers_of_one_process_have_two_names():
    assert own_name() != own_name()
    assert own_name().split("|")[1] == str(os.getpid())
