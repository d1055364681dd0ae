"""The README keeps its word: its commands exist, and its SDK block runs as it stands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from table import write_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_two_commands_are_there():
    commands = [line for block in blocks("console") for line in block.splitlines()]
    assert commands == ["make demo", "make test"]
    for command in commands:
        done = subprocess.run(
            [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_ci_runs_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_picture_is_there():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).is_file(), picture


@pytest.fixture
def server(tmp_path):
    """`tunesmith serve` on a free port: (base URL, key)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "serve", "--port", "0", "--with-parent"]
        + ["--announce-json"],
        env={**os.environ, "TUNESMITH_DATA_DIR": str(tmp_path / "data")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    said = json.loads(process.stdout.readline())
    yield said["base_url"], said["key"]
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def run_python(code: str, server: tuple[str, str], folder: Path, *arguments: str) -> str:
    url, key = server
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "OPENAI_API_KEY": key, "OPENAI_BASE_URL": url},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sdk_block_and_the_example_run(server, tmp_path):
    """Both on one server, on files that `prepare` wrote for them."""
    table = write_table(tmp_path / "table.csv")
    for run in ("demo", "tickets"):
        prepare = ["prepare", str(table), "--run-dir", str(tmp_path / "runs" / run)]
        subprocess.run([sys.executable, "-m", "tunesmith", *prepare], check=True, stdout=-3)
    block = next(b for b in blocks("python") if "fine_tuning" in b)
    fixed = '(base_url="http://127.0.0.1:8000/v1")'
    assert fixed in block
    answer = run_python(block.replace(fixed, "()"), server, tmp_path).strip()
    labels = json.loads((tmp_path / "runs/demo/01-prepare/labels.json").read_text())
    assert answer in json.dumps(labels)
    example = shutil.copy(ROOT / "examples" / "model_fine_tuning.py", tmp_path)
    said = run_python(Path(example).read_text(encoding="utf-8"), server, tmp_path)
    assert "The job has successfully completed" in said
