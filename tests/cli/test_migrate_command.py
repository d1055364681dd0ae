"""`tunesmith migrate`: its options are on its page, and what it refuses it says plainly."""

import re
from pathlib import Path

import typer

from tunesmith import cli
from tunesmith.cli import app

PAGE = Path(__file__).parent.parent.parent / "docs" / "migrate.md"


def test_every_option_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    told = re.findall(r"^\| `(--[\w-]+)` \| (.*?) ?\| (.+?) \|$", page, re.M)
    command = typer.main.get_command(app).commands["migrate"].commands["openai"]
    shown = {None: "", False: "no", (): ""}
    expected = [
        (p.opts[0], str(shown.get(p.default, p.default)), p.help)
        for p in command.params
        if p.param_type_name == "option" and p.name != "help"
    ]
    assert [(name, default.strip(), says) for name, default, says in told] == expected


def test_recipes_need_a_folder_that_was_fetched(here, tmp_path):
    done = here("migrate", "recipes", tmp_path)
    assert done.code == 2
    assert "tunesmith migrate openai" in done.err


def test_a_comparison_needs_a_job_that_was_fetched(here, tmp_path):
    done = here("migrate", "compare", tmp_path, "ftjob-1", tmp_path)
    assert done.code == 2
    assert "There is no job ftjob-1" in done.err


def test_without_a_key_it_is_told_where_one_comes_from(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code = cli.main(["migrate", "openai", str(tmp_path), "--base-url", "http://127.0.0.1:9/v1"])
    assert code == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err
