"""One word, five places: file, function, command, folder, page."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERBS = ("prepare", "upload", "train", "deploy", "evaluate", "iterate")


@pytest.mark.parametrize("number, verb", list(enumerate(VERBS, 1)))
def test_every_verb_has_its_five_places(number, verb):
    from tunesmith.cli import COMMANDS
    from tunesmith.pipeline.rundir import FOLDERS

    assert (ROOT / f"tunesmith/pipeline/{verb}.py").is_file()
    assert callable(getattr(importlib.import_module(f"tunesmith.pipeline.{verb}"), verb))
    assert verb in COMMANDS
    assert FOLDERS[verb] == f"{number:02}-{verb}"
    assert (ROOT / f"docs/{verb}.md").is_file()
