"""The public surface is a list; whoever changes it changes the list, and tells CHANGELOG.md."""

from pathlib import Path

import tunesmith
from tunesmith import config, pipeline

NAMES = (Path(__file__).parent / "public_names.txt").read_text(encoding="utf-8").split()


def test_the_public_surface_did_not_move():
    assert sorted(tunesmith.__all__) == sorted(NAMES)
    assert all(hasattr(tunesmith, name) for name in NAMES)


def test_every_name_offered_by_the_pipeline_is_there():
    assert all(hasattr(pipeline, name) for name in pipeline.__all__)


def test_every_step_has_a_public_config():
    parts = {type(getattr(config.RunConfig(), name)).__name__ for name in vars(config.RunConfig())}
    assert parts <= set(tunesmith.__all__)
